"""Resolve, check, connect: with real sockets, and a resolver that lies where a test wants it to."""

import asyncio
import socket
from collections.abc import Iterator, Sequence

import httpcore
import pytest

from runtime.egress.backend import DoorBackend
from runtime.egress.door import Door, NoSuchHost, Streams, Unreachable
from runtime.egress.hosts import Address
from runtime.egress.permit import Limits, Permit, Tally
from runtime.egress.policy import Policy, Refusal, Refused, Rule, read_lists
from tests.runtime.egress.played import PUBLIC, Internet, make_permit
from tests.support.site import Site, run_site


@pytest.fixture
def internet(forbidden: Site) -> Internet:
    return Internet(
        names={"public.example": [PUBLIC], "inside.example": ["127.0.0.1"], "mixed.example": [PUBLIC, "10.0.0.1"]},
        lands={PUBLIC: int(forbidden.host.split(":")[1])},
    )


@pytest.fixture
def forbidden() -> Iterator[Site]:
    with run_site({"/": "<h1>hello</h1>"}) as site:
        yield site


async def fetch(door: Door, permit: Permit, url: str) -> httpcore.Response:
    async with httpcore.AsyncConnectionPool(network_backend=DoorBackend(door, permit)) as pool:
        return await pool.request("GET", url)


async def test_a_public_name_is_reached_at_the_address_that_was_checked(internet: Internet) -> None:
    permit = make_permit()
    answer = await fetch(internet.door(), permit, "http://public.example/")
    assert answer.content == b"<h1>hello</h1>"
    assert internet.connected == [f"{PUBLIC}:80"]
    assert permit.sent > 0
    assert permit.received > len(answer.content)
    assert permit.open == 0


@pytest.mark.parametrize(
    ("where", "rule"),
    [
        ("inside.example", Rule.LOOPBACK),
        ("mixed.example", Rule.PRIVATE),
        ("127.0.0.1", Rule.LOOPBACK),
        ("2130706433", Rule.LOOPBACK),
        ("[::ffff:127.0.0.1]", Rule.LOOPBACK),
        ("localhost", Rule.LOOPBACK),
        ("169.254.169.254", Rule.METADATA),
    ],
)
async def test_what_is_not_public_is_not_connected_to(internet: Internet, where: str, rule: Rule) -> None:
    permit, told = make_permit(), list[Refusal]()
    permit.tell(told.append)
    with pytest.raises(Refused) as caught:
        await fetch(internet.door(), permit, f"http://{where}/")
    assert caught.value.refusal.rule is rule
    assert internet.connected == []
    assert [refusal.rule for refusal in told] == [rule]


async def test_a_name_that_changes_its_address_behind_the_check_is_checked_again(internet: Internet) -> None:
    internet.names["rebind.example"] = [PUBLIC, "127.0.0.1"]
    internet.rebinding.add("rebind.example")
    door, permit = internet.door(), make_permit()
    await fetch(door, permit, "http://rebind.example/")
    with pytest.raises(Refused):
        await fetch(door, permit, "http://rebind.example/")
    assert internet.asked == ["rebind.example", "rebind.example"]
    assert internet.connected == [f"{PUBLIC}:80"]


async def test_what_a_list_denies_is_not_resolved(internet: Internet) -> None:
    permit = make_permit(policy=Policy().narrow(read_lists(deny=["public.example"])))
    with pytest.raises(Refused):
        await internet.door().connect(permit, "public.example", 80)
    assert internet.asked == []


async def test_who_does_not_answer_is_told_from_who_may_not_be_asked(internet: Internet) -> None:
    door, permit = internet.door(), make_permit(["127.0.0.1:9"])
    with pytest.raises(Unreachable, match="its name does not resolve"):
        await door.connect(permit, "nowhere.example", 80)
    with pytest.raises(Unreachable, match="it refuses connections"):
        await door.connect(permit, "127.0.0.1:9")
    assert permit.find_trouble("NOWHERE.example", 80) == "its name does not resolve"
    assert permit.find_refusal("127.0.0.1", 9) is None
    assert (permit.find_missing("nowhere.example", 80), permit.find_missing("127.0.0.1", 9)) == (
        "nowhere.example",
        None,
    )


@pytest.mark.parametrize("silence", [socket.EAI_AGAIN, socket.EAI_FAIL, socket.EAI_MEMORY])
async def test_a_resolver_that_does_not_answer_has_not_said_that_there_is_no_such_host(
    internet: Internet, silence: int
) -> None:
    internet.silence = silence
    permit = make_permit()
    with pytest.raises(Unreachable, match="its name can't be resolved now") as caught:
        await internet.door().connect(permit, "nowhere.example", 80)
    assert not isinstance(caught.value, NoSuchHost)
    assert permit.find_missing("nowhere.example", 80) is None


async def test_a_connection_that_takes_too_long_is_given_up(internet: Internet) -> None:
    async def never(name: str, port: int) -> list[object]:
        await asyncio.sleep(60)
        return []

    with pytest.raises(Unreachable) as caught:
        await Door(never, internet.connect).connect(make_permit(), "slow.example", 80, timeout_s=0.05)  # type: ignore[arg-type]
    assert caught.value.timed_out


async def test_a_run_moves_no_more_bytes_than_it_may(internet: Internet, forbidden: Site) -> None:
    forbidden.pages["/"] = "x" * 50_000
    permit, told = make_permit(limits=Limits(max_bytes=20_000)), list[Refusal]()
    permit.tell(told.append)
    with pytest.raises(Refused) as caught:
        await fetch(internet.door(), permit, "http://public.example/")
    assert caught.value.refusal.rule is Rule.BYTES
    with pytest.raises(Refused):
        await internet.door().connect(permit, "public.example", 80)
    assert [refusal.rule for refusal in told] == [Rule.BYTES]


async def test_a_run_has_no_more_connections_open_than_it_may(internet: Internet) -> None:
    door, permit = internet.door(), make_permit(limits=Limits(max_connections=2))
    first = await door.connect(permit, "public.example", 80)
    await door.connect(permit, "public.example", 80)
    with pytest.raises(Refused) as caught:
        await door.connect(permit, "public.example", 80)
    assert caught.value.refusal.rule is Rule.CONNECTIONS
    await first.close()
    await door.connect(permit, "public.example", 80)
    permit.close()


async def test_a_run_tries_no_more_at_once_than_it_may_have_open(internet: Internet) -> None:
    async def hang(_address: Address, _port: int) -> Streams:
        await asyncio.Event().wait()
        raise AssertionError

    door, permit = Door(internet.resolve, hang), make_permit(limits=Limits(max_connections=2))
    trying = [asyncio.create_task(door.connect(permit, "public.example", 80)) for _ in range(2)]
    await asyncio.sleep(0.05)
    with pytest.raises(Refused) as caught:
        await door.connect(permit, "public.example", 80)
    assert caught.value.refusal.rule is Rule.CONNECTIONS
    for task in trying:
        task.cancel()
    await asyncio.wait(trying)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(door.connect(permit, "public.example", 80), 0.1)


async def test_a_public_address_of_this_machine_is_not_talked_to(internet: Internet) -> None:
    """A connection to oneself has one address at both ends, whatever that address is."""

    async def reach_oneself(address: Address, port: int) -> Streams:
        reader, writer = await internet.connect(address, port)
        writer.transport._extra["sockname"] = (str(address), 50_000)  # type: ignore[attr-defined]
        return reader, writer

    door = Door(internet.resolve, reach_oneself)
    permit = make_permit()
    with pytest.raises(Refused) as caught:
        await door.connect(permit, "public.example", 80)
    assert caught.value.refusal.rule is Rule.LOOPBACK
    assert permit.open == 0
    connection = await door.connect(opened := make_permit(["public.example"]), "public.example", 80)
    await connection.close()
    opened.close()


async def test_the_end_of_a_run_cuts_off_what_it_has_open(internet: Internet) -> None:
    tally = Tally()
    permit = make_permit(tally=tally)
    connection = await internet.door().connect(permit, "public.example", 80)
    assert tally.open == 1
    permit.close()
    assert tally.open == 0
    assert connection.at_end
    with pytest.raises(Refused) as caught:
        await internet.door().connect(permit, "public.example", 80)
    assert caught.value.refusal.rule is Rule.OVER
    assert tally.refused.total() == 0


async def test_slow_names_of_one_run_do_not_hold_up_another(internet: Internet) -> None:
    slow = asyncio.Event()
    waiting = 0

    async def resolve(name: str, port: int) -> Sequence[Address]:
        nonlocal waiting
        if name.startswith("slow"):
            waiting += 1
            await slow.wait()
        return await internet.resolve("public.example", port)

    door, greedy = Door(resolve, internet.connect), make_permit()
    async with asyncio.TaskGroup() as tasks:
        held = [tasks.create_task(door.connect(greedy, f"slow{number}.example", 80)) for number in range(30)]
        await asyncio.sleep(0.05)
        assert waiting == 8
        connection = await door.connect(make_permit(), "quick.example", 80)
        await connection.close()
        slow.set()
        await asyncio.wait(held)
    greedy.close()


async def test_refusals_are_told_once_and_no_storm_of_them(internet: Internet) -> None:
    permit, told = make_permit(tally=(tally := Tally())), list[Refusal]()
    with pytest.raises(Refused):
        await internet.door().connect(permit, "127.0.0.1", 80)
    permit.tell(told.append)
    for port in range(1, 400):
        for _ in range(2):
            with pytest.raises(Refused):
                await internet.door().connect(permit, "127.0.0.1", port)
    assert len(told) == 200
    assert tally.refused[Rule.LOOPBACK] == 799


async def test_the_machines_own_resolver_and_sockets(forbidden: Site) -> None:
    door, permit = Door(), make_permit([forbidden.host, "localhost"])
    port = int(forbidden.host.split(":")[1])
    for where in (forbidden.host, f"localhost:{port}"):
        answer = await fetch(door, permit, f"http://{where}/")
        assert answer.status == 200
    door.close()
