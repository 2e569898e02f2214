"""Clients that watch: Experience killed under 200 of them, one that never reads, one that reads slowly."""

import asyncio
import time

from tests.chaos.checker import check_now
from tests.chaos.documents import read_a_lot, wait_in_turn
from tests.chaos.fixtures import SetStage
from tests.chaos.waiting import until

STREAMS = 200
LONG_READS, LONG_KB = 250, 60
"""15 MB of events: the kernel takes some four for a client that does not read."""
BACK_S = 5.0
"""Promised: from Experience's return until each of them is back."""


async def test_200_streams_are_back_after_experience_was_killed(set_stage: SetStage) -> None:
    async with set_stage() as rig, rig.visit() as ada:
        watched = [await ada.start(wait_in_turn(1, steps=25)) for _ in range(4)]
        sightings = [ada.watch(watched[number % len(watched)]) for number in range(STREAMS)]
        await until(lambda: all(one.opened for one in sightings), "all of them watch", 90)
        rig.experiences[0].kill()
        await until(lambda: all(one.closes for one in sightings), "all of them are cut")
        rig.experiences[0].start()
        await rig.experiences[0].ready("/health")
        returned = time.monotonic()
        await until(lambda: all(len(one.opened) > 1 for one in sightings), "all of them are back")
        waited = max(one.opened[1] for one in sightings) - returned
        assert waited <= BACK_S, f"{waited:.1f} s"
        await check_now(rig)
        for execution_id in watched:
            await ada.ended(execution_id)
        await ada.seen()
        assert all(one.done for one in sightings)


async def test_who_reads_nothing_and_who_reads_slowly_keep_nobody_waiting(set_stage: SetStage) -> None:
    """What a stalled client is owed outgrows every buffer on the way to it; it is sent on once that client reads."""
    async with set_stage() as rig, rig.visit() as ada:
        gate = asyncio.Event()
        long = await ada.start(read_a_lot(rig.shop, LONG_READS, LONG_KB))
        # not through Traefik, which with the kernel's buffers on both sides of it would take all of it
        stalled = ada.watch(long, gate=gate, url=f"http://127.0.0.1:{rig.experiences[0].port}")
        slow = ada.watch(long, pause_s=0.02)
        quick = [ada.watch(long) for _ in range(4)]
        assert (await ada.ended(long))["status"] == "completed"
        await until(lambda: all(one.done for one in quick), "those who read have seen the end")
        assert not stalled.seqs
        assert sum(len(str(body)) for body in quick[0].bodies) > LONG_READS * LONG_KB * 1_000
        await check_now(rig)
        gate.set()
        await until(lambda: slow.done and stalled.done, "the others have seen it, too", 120)
        assert await rig.experiences[0].read_figure("dropped_to_log_streams_total") >= 1, "a buffer held all of it"
        await ada.seen()


async def test_watchers_of_what_runtime_has_not_heard_of_yet_miss_nothing(set_stage: SetStage) -> None:
    async with set_stage() as rig, rig.visit() as ada:
        workflow_id = await ada.save(wait_in_turn(0.1, steps=2))
        await ada.run(workflow_id)  # a catalogue that Experience has never seen can't be asked for anything
        rig.runtimes[0].kill()
        early = await ada.run(workflow_id)
        sightings = [ada.watch(early) for _ in range(10)]
        await until(lambda: all(one.opened or one.closes for one in sightings), "all of them have tried")
        rig.runtimes[0].start()
        assert (await ada.ended(early))["status"] == "completed"
        await asyncio.wait_for(ada.seen(), 60)
