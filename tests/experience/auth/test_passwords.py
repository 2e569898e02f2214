"""Hashing: parameters, bounds, nobody's hash."""

import asyncio
import threading
from collections.abc import Iterator

import argon2
import pytest

from contracts.errors import ApiError, Code
from experience.auth.passwords import LONGEST_QUEUE, THREADS, PasswordHasher


@pytest.fixture
def hasher() -> Iterator[PasswordHasher]:
    made = PasswordHasher()
    yield made
    made.close()


async def test_a_hash_has_the_parameters_and_fits_its_password_only(hasher: PasswordHasher) -> None:
    stored = await hasher.hash("correct horse battery")
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert await hasher.verify(stored, "correct horse battery")
    assert not await hasher.verify(stored, "correct horse batterz")
    assert not hasher.is_outdated(stored)
    assert hasher.is_outdated(argon2.PasswordHasher(1, 8_192, 1).hash("x"))


async def test_nobody_fits_nothing_and_nobodys_hash_is_a_real_one(hasher: PasswordHasher) -> None:
    assert not await hasher.verify(None, "")
    assert not hasher.is_outdated(hasher._nobody)
    with pytest.raises(argon2.exceptions.VerifyMismatchError):
        argon2.PasswordHasher().verify(hasher._nobody, "anything")
    assert not await hasher.verify("not a hash", "x")


async def test_two_hash_at_a_time_and_a_long_queue_turns_people_away(
    hasher: PasswordHasher, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, lock = threading.Event(), threading.Lock()
    running, most = 0, 0

    def slow(_hasher: argon2.PasswordHasher, _password: str) -> str:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        go.wait(100)
        with lock:
            running -= 1
        return "done"

    monkeypatch.setattr(argon2.PasswordHasher, "hash", slow)
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(hasher.hash("x")) for _ in range(LONGEST_QUEUE)]
        await asyncio.sleep(0)
        with pytest.raises(ApiError) as caught:
            await hasher.hash("x")
        assert (caught.value.code, caught.value.retry_after) == (Code.RATE_LIMITED, 3)
        async with asyncio.timeout(60):
            while running < THREADS:  # noqa: ASYNC110 — threads tell no loop
                await asyncio.sleep(0.01)
        go.set()
    assert {task.result() for task in waiting} == {"done"}
    assert most == THREADS
