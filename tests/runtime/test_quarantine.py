"""Who waits for whom at a worker's door, and for how long at most."""

import asyncio
from contextlib import AbstractAsyncContextManager

from runtime.quarantine import Quarantine

PATIENCE_S = 10.0


class Visit:
    """Somebody who stays until told to go."""

    def __init__(self, way_in: AbstractAsyncContextManager[None]) -> None:
        self._way_in = way_in
        self.inside = asyncio.Event()
        self.goes = asyncio.Event()
        self.task = asyncio.create_task(self._stay())

    async def _stay(self) -> None:
        async with self._way_in:
            self.inside.set()
            await self.goes.wait()

    async def enters(self) -> None:
        """Wait until it is inside."""
        async with asyncio.timeout(PATIENCE_S):
            await self.inside.wait()

    async def ends(self) -> None:
        """Let it go."""
        self.goes.set()
        async with asyncio.timeout(PATIENCE_S):
            await self.task


async def settle() -> None:
    """Let everybody do what they can do now."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_suspect_waits_for_what_runs_and_what_comes_waits_for_it() -> None:
    door = Quarantine()
    before = [Visit(door.join()) for _ in range(3)]
    for visit in before:
        await visit.enters()
    suspect = Visit(door.alone())
    await settle()
    after = Visit(door.join())
    await settle()
    assert not suspect.inside.is_set()
    for visit in before:
        await visit.ends()
    await suspect.enters()
    await settle()
    assert not after.inside.is_set()
    await suspect.ends()
    await after.enters()
    await after.ends()


async def test_two_suspects_are_not_together() -> None:
    door = Quarantine()
    first = Visit(door.alone())
    await first.enters()
    second = Visit(door.alone())
    await settle()
    assert not second.inside.is_set()
    await first.ends()
    await second.enters()
    await second.ends()


async def test_nobody_waits_for_longer_than_said() -> None:
    door = Quarantine(wait_s=0.2)
    long = Visit(door.join())
    await long.enters()
    suspect = Visit(door.alone())
    await suspect.enters()  # although the first is still there
    after = Visit(door.join())
    await after.enters()  # although the suspect is still there
    for visit in (long, suspect, after):
        await visit.ends()


async def test_nobody_waits_when_the_worker_leaves() -> None:
    door = Quarantine()
    before = Visit(door.join())
    await before.enters()
    suspect = Visit(door.alone())
    await settle()
    after = Visit(door.join())
    await settle()
    door.lift()
    await suspect.enters()
    await after.enters()
    for visit in (before, suspect, after):
        await visit.ends()


async def test_one_that_is_cut_off_while_it_waits_leaves_the_door_open() -> None:
    door = Quarantine()
    before = Visit(door.join())
    await before.enters()
    suspect = Visit(door.alone())
    await settle()
    suspect.task.cancel()
    after = Visit(door.join())
    await after.enters()
    for visit in (before, after):
        await visit.ends()
