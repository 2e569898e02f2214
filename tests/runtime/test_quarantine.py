"""Who is let in at a worker's door, who is sent back, and for how long at most."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from runtime.quarantine import Quarantine
from runtime.store.queue import HandBack

PATIENCE_S = 60.0


class Door(Quarantine):
    """One whose queue can be looked at."""

    def __init__(self, wait_s: float = PATIENCE_S) -> None:
        super().__init__(lambda: self.told.append("shut"), lambda: self.told.append("open"), wait_s)
        self.told: list[str] = []

    @asynccontextmanager
    async def beside(self) -> AsyncIterator[None]:
        """As `join`, for Visit."""
        with self.join():
            yield


class Visit:
    """Somebody who stays until told to go."""

    def __init__(self, way_in: AbstractAsyncContextManager[None]) -> None:
        self._way_in = way_in
        self.inside = asyncio.Event()
        self._goes = asyncio.Event()
        self.task = asyncio.create_task(self._stay())

    async def _stay(self) -> None:
        async with self._way_in:
            self.inside.set()
            await self._goes.wait()

    async def enters(self) -> None:
        """Wait until it is inside."""
        async with asyncio.timeout(PATIENCE_S):
            await self.inside.wait()

    async def ends(self) -> None:
        """Let it go."""
        self._goes.set()
        async with asyncio.timeout(PATIENCE_S):
            await self.task

    async def is_sent_back(self) -> None:
        """Wait until it is."""
        with pytest.raises(HandBack):
            async with asyncio.timeout(PATIENCE_S):
                await self.task
        assert not self.inside.is_set()


async def settle() -> None:
    """Let everybody do what they can do now."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_suspect_waits_for_what_runs_and_nothing_is_taken_meanwhile() -> None:
    door = Door()
    before = [Visit(door.beside()) for _ in range(3)]
    for visit in before:
        await visit.enters()
    suspect = Visit(door.alone())
    await settle()
    assert door.told == ["shut"]
    await Visit(door.beside()).is_sent_back()
    await before[0].ends()
    await settle()
    assert not suspect.inside.is_set()
    for visit in before[1:]:
        await visit.ends()
    await suspect.enters()
    await Visit(door.beside()).is_sent_back()
    await suspect.ends()
    assert door.told == ["shut", "open"]
    after = Visit(door.beside())
    await after.enters()
    await after.ends()


async def test_a_second_suspect_is_sent_back_and_gets_in_once_the_first_has_begun_well() -> None:
    door = Door(wait_s=0.2)
    first = Visit(door.alone())
    await first.enters()
    await Visit(door.alone()).is_sent_back()
    async with asyncio.timeout(PATIENCE_S):
        while door.told[-1] != "open":  # noqa: ASYNC110 — a timer tells nobody else
            await asyncio.sleep(0.01)
    second = Visit(door.alone())
    await second.enters()  # although the first is still there
    await first.ends()
    assert door.told == ["shut", "open", "shut"], "the first to end does not open the second one's door"
    await second.ends()
    assert door.told[-1] == "open"


async def test_nobody_is_let_in_when_the_worker_leaves() -> None:
    door = Door()
    before = Visit(door.beside())
    await before.enters()
    suspect = Visit(door.alone())
    await settle()
    door.leave()
    await suspect.is_sent_back()
    assert door.told == ["shut", "open"]
    for late in (door.beside(), door.alone()):
        await Visit(late).is_sent_back()
    await before.ends()


async def test_one_that_is_cut_off_while_it_waits_leaves_the_door_open() -> None:
    door = Door()
    before = Visit(door.beside())
    await before.enters()
    suspect = Visit(door.alone())
    await settle()
    suspect.task.cancel()
    await asyncio.wait({suspect.task})
    assert door.told == ["shut", "open"]
    after = Visit(door.beside())
    await after.enters()
    for visit in (before, after):
        await visit.ends()
