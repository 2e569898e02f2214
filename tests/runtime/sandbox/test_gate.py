"""Places for runs: in turn between tenants, and whoever waits can leave."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from runtime.sandbox.gate import Gate


class Queue:
    """Runs that note when they have their place, and keep it until they are told."""

    def __init__(self, places: int) -> None:
        self.gate = Gate(places)
        self.inside: list[str] = []
        self.all: list[tuple[str, asyncio.Task[None], asyncio.Event]] = []

    async def come(self, *names: str) -> None:
        """Each name begins with its tenant."""
        for name in names:
            ends = asyncio.Event()
            self.all.append((name, asyncio.create_task(self._run(name, ends)), ends))
            await asyncio.sleep(0)
        await self.settle()

    async def _run(self, name: str, ends: asyncio.Event) -> None:
        async with self.gate.hold_place(name[0]):
            self.inside.append(name)
            try:
                await ends.wait()
            finally:
                self.inside.remove(name)

    async def end(self, name: str) -> None:
        next(ends for who, _, ends in self.all if who == name).set()
        await self.settle()

    async def cancel(self, name: str) -> None:
        next(task for who, task, _ in self.all if who == name).cancel()
        await self.settle()

    async def settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)


@pytest.fixture
async def two() -> AsyncIterator[Queue]:
    queue = Queue(2)
    yield queue
    await close(queue)


@pytest.fixture
async def eight() -> AsyncIterator[Queue]:
    queue = Queue(8)
    yield queue
    await close(queue)


async def close(queue: Queue) -> None:
    for _, task, _ in queue.all:
        task.cancel()
    await asyncio.wait([task for _, task, _ in queue.all])
    assert queue.inside == []


async def test_tenants_take_turns(two: Queue) -> None:
    await two.come("a1", "a2", "a3", "a4", "a5", "b1", "b2", "c1")
    assert two.inside == ["a1", "a2"]
    seen = []
    for _ in range(6):
        first = two.inside[0]
        await two.end(first)
        seen.append(two.inside[-1])
    assert seen == ["b1", "a3", "c1", "b2", "a4", "a5"]


async def test_whoever_holds_fewest_comes_first(eight: Queue) -> None:
    await eight.come(*(f"a{n}" for n in range(6)), "b0", "c0", "a6", "b1")
    assert eight.inside == [*(f"a{n}" for n in range(6)), "b0", "c0"]
    await eight.end("a0")
    assert eight.inside[-1] == "b1"  # though a6 has waited longer


async def test_some_places_are_left_to_others(eight: Queue) -> None:
    await eight.come(*(f"a{n}" for n in range(9)))
    assert len(eight.inside) == 6
    await eight.come("b0", "c0")
    assert eight.inside[6:] == ["b0", "c0"]
    await eight.end("b0")
    assert len(eight.inside) == 7
    await eight.end("a0")
    assert eight.inside[-1] == "a6"


async def test_whoever_waits_can_leave_at_once(two: Queue) -> None:
    await two.come("a1", "a2", "b1", "c1")
    await two.cancel("b1")
    assert two.all[2][1].cancelled()
    await two.end("a1")
    assert two.inside == ["a2", "c1"]


async def test_a_place_that_nobody_takes_any_more_goes_to_the_next(two: Queue) -> None:
    await two.come("a1", "a2", "b1", "c1")
    two.all[2][1].cancel()
    two.all[0][2].set()  # in the same moment
    await two.settle()
    assert two.inside == ["a2", "c1"]
    two.all[1][2].set()
    await asyncio.sleep(0)
    await two.settle()
    assert two.inside == ["c1"]


async def test_one_that_is_called_away_on_its_way_in_gives_its_place_back() -> None:
    gate, entered = Gate(1), asyncio.Event()

    async def enter() -> None:
        async with gate.hold_place("a"):
            entered.set()

    async with gate.hold_place("b"):
        waiting = asyncio.create_task(enter())
        await asyncio.sleep(0)
    waiting.cancel()  # its turn has come, and it does not know yet
    await asyncio.wait([waiting])
    assert (waiting.cancelled(), entered.is_set()) == (True, False)
    async with asyncio.timeout(60), gate.hold_place("a"):
        pass
