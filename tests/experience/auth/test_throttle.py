"""Exact numbers of the throttle, on the real database with a clock to turn."""

import asyncio
from collections import Counter

import pytest

from contracts.errors import ApiError, Code
from contracts.identity import ChangePassword, LogIn, Register
from experience.auth.throttle import ACCOUNT, ADDRESS, REGISTRATION, VISIT, Limit
from experience.store.throttle import lock_counters
from tests.support.asking import refused
from tests.support.front import PASSWORD, Front, TurnableClock, open_front

WRONG = "wrong password"


@pytest.fixture
def clock() -> TurnableClock:
    """A clock that only the test turns on."""
    clock = TurnableClock()
    clock.stop()
    return clock


async def attempt(front: Front, email: str, address: str, password: str = WRONG) -> ApiError | None:
    try:
        await front.call(address=address).log_in(LogIn(email=email, password=password))
    except ApiError as error:
        return error
    return None


async def fail(front: Front, email: str, address: str) -> ApiError:
    error = await attempt(front, email, address)
    assert error is not None
    return error


@pytest.mark.parametrize(
    ("limit", "waits"),
    [
        (ACCOUNT, {4: 0, 5: 2, 6: 4, 7: 8, 8: 16, 9: 32, 10: 60, 11: 60, 10_000: 60}),
        (ADDRESS, {29: 0, 30: 10, 31: 20, 36: 640, 37: 900, 10_000: 900}),
        (REGISTRATION, {199: 0, 200: 30, 201: 60, 205: 900, 10_000: 900}),
        (VISIT, {299: 0, 300: 10, 301: 20, 307: 900, 10_000: 900}),
    ],
)
def test_waits(limit: Limit, waits: dict[int, float]) -> None:
    assert {failures: limit.wait_after(failures) for failures in waits} == waits


async def test_the_sixth_attempt_has_to_wait_and_says_how_long(front: Front) -> None:
    ada = await front.register()
    for _ in range(5):
        assert (await fail(front, ada.email, "192.0.2.1")).code is Code.UNAUTHENTICATED
    page = front.visit(address="192.0.2.1")
    answer = await page.post("/api/auth/login", json={"email": ada.email, "password": PASSWORD})
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "2")
    assert 1 < answer.json()["retry_after"] <= 2
    front.clock.advance(2.1)
    assert (await fail(front, ada.email, "192.0.2.1")).code is Code.UNAUTHENTICATED
    assert 3 < ((await fail(front, ada.email, "192.0.2.1")).retry_after or 0) <= 4


async def test_unknown_accounts_are_throttled_alike(front: Front) -> None:
    codes = [(await fail(front, "nobody-here@example.com", "192.0.2.2")).code for _ in range(6)]
    assert codes == [Code.UNAUTHENTICATED] * 5 + [Code.RATE_LIMITED]


async def test_a_hundred_guesses_at_once_are_a_hundred_failures(front: Front) -> None:
    ada = await front.register()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(fail(front, ada.email, f"192.0.2.{10 + n}")) for n in range(20)]
    assert Counter(task.result().code for task in tasks) == {Code.UNAUTHENTICATED: 5, Code.RATE_LIMITED: 15}


async def test_a_success_wipes_the_accounts_slate(front: Front) -> None:
    ada = await front.register()
    for _ in range(3):
        for _ in range(4):
            await fail(front, ada.email, "192.0.2.40")
        assert await attempt(front, ada.email, "192.0.2.40", PASSWORD) is None


async def test_failures_are_forgotten_after_an_hour(front: Front) -> None:
    for _ in range(6):
        await fail(front, "forgotten@example.com", "192.0.2.41")
    front.clock.advance(3_601)
    codes = [(await fail(front, "forgotten@example.com", "192.0.2.41")).code for _ in range(5)]
    assert codes == [Code.UNAUTHENTICATED] * 5


async def test_strangers_never_shut_the_owner_out_where_the_owner_signs_in_from(front: Front) -> None:
    ada = await front.register()
    assert await attempt(front, ada.email, "192.0.2.50", PASSWORD) is None
    for number in range(12):
        await fail(front, ada.email, f"192.0.2.{60 + number}")
    assert (await fail(front, ada.email, "192.0.2.80")).code is Code.RATE_LIMITED
    assert await attempt(front, ada.email, "192.0.2.50", PASSWORD) is None


async def test_from_a_new_address_the_owner_waits_a_minute_at_most(front: Front) -> None:
    ada = await front.register()
    for number in range(40):
        await fail(front, ada.email, f"198.18.0.{number}")
        front.clock.advance(61)
    refusal = await fail(front, ada.email, "198.18.1.1")
    assert refusal.code is Code.UNAUTHENTICATED
    assert ((await fail(front, ada.email, "198.18.1.2")).retry_after or 0) <= 60
    front.clock.advance(60)
    assert await attempt(front, ada.email, "198.18.1.3", PASSWORD) is None


async def test_an_address_that_tries_many_accounts_has_to_wait(front: Front) -> None:
    for number in range(30):
        assert (await fail(front, f"a{number}@example.com", "192.0.2.90")).code is Code.UNAUTHENTICATED
    refusal = await fail(front, "a99@example.com", "192.0.2.90")
    assert refusal.code is Code.RATE_LIMITED
    assert 9 < (refusal.retry_after or 0) <= 10
    assert (await fail(front, "a99@example.com", "192.0.2.91")).code is Code.UNAUTHENTICATED


async def test_people_behind_one_address_who_know_their_passwords_are_not_counted(front: Front) -> None:
    for _ in range(35):
        ada = await front.register()
        assert await attempt(front, ada.email, "192.0.2.92", PASSWORD) is None


async def test_an_ipv6_customer_is_one_address(front: Front) -> None:
    for number in range(30):
        await fail(front, f"b{number}@example.com", f"2001:db8:1:2::{number:x}")
    assert (await fail(front, "b99@example.com", "2001:db8:1:2:ffff::1")).code is Code.RATE_LIMITED
    assert (await fail(front, "b99@example.com", "2001:db8:1:3::1")).code is Code.UNAUTHENTICATED


async def test_registrations_from_one_address_are_limited(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    few = Limit(free=3, first_wait_s=30, longest_wait_s=900, forget_s=3_600)
    monkeypatch.setattr("experience.auth.throttle.REGISTRATION", few)
    for number in range(3):
        await front.call(address="192.0.2.93").register(Register(email=f"r{number}@throttle.test", password=PASSWORD))
    more = Register(email="r99@throttle.test", password=PASSWORD)
    assert await refused(front.call(address="192.0.2.93").register(more)) is Code.RATE_LIMITED
    front.clock.advance(31)
    assert (await front.call(address="192.0.2.93").register(more)).access_token


async def test_another_process_counts_along(front: Front) -> None:
    ada = await front.register()
    for _ in range(5):
        await fail(front, ada.email, "192.0.2.94")
    async with open_front(front.ground.settings, front.clock) as other:
        assert (await fail(other, ada.email, "192.0.2.94")).code is Code.RATE_LIMITED


async def test_guessing_passwords_with_a_stolen_token_counts_as_signing_in(front: Front) -> None:
    ada = await front.register()
    guess = ChangePassword(current_password=WRONG, new_password="another good one")
    for _ in range(5):
        await refused(ada.client.change_password(guess))
    assert (await fail(front, ada.email, "192.0.2.95")).code is Code.RATE_LIMITED


async def test_counters_are_locked_in_one_order(front: Front) -> None:
    async def count(names: list[str]) -> None:
        async with front.ground.system.transaction() as session:
            await lock_counters(session, names, front.clock())
            await asyncio.sleep(0.01)

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(count(["deadlock:a", "deadlock:b"]))
            group.create_task(count(["deadlock:b", "deadlock:a"]))
