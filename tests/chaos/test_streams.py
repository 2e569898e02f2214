"""Clients that watch: Experience killed under 200 of them, one that never reads, one that reads slowly."""

import asyncio
import time

from tests.chaos.checker import check_now
from tests.chaos.documents import wait_in_turn
from tests.chaos.fixtures import SetStage
from tests.chaos.visitors import open_line
from tests.chaos.waiting import until

STREAMS = 200
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


async def test_who_never_reads_and_who_reads_slowly_keep_nobody_waiting(set_stage: SetStage) -> None:
    async with set_stage() as rig, rig.visit() as ada:
        talk = await ada.start(wait_in_turn(0, steps=400))
        address = f"{rig.url.replace('http', 'ws', 1)}/api/execution/{talk}/stream"
        # a reader of the library stops to read from the socket once one frame waits; its own pings stop with it
        async with open_line(address, ada.token, max_queue=1, ping_interval=None):
            slow = ada.watch(talk, pause_s=0.01)
            quick = [ada.watch(talk) for _ in range(20)]
            assert (await ada.ended(talk))["status"] == "completed"
            await until(lambda: all(one.done for one in quick), "those who read have seen the end")
            await check_now(rig)
            await until(lambda: slow.done, "the slow one has seen it, too")
        await ada.seen()


async def test_watchers_of_what_runtime_has_not_heard_of_yet_miss_nothing(set_stage: SetStage) -> None:
    async with set_stage() as rig, rig.visit() as ada:
        workflow_id = await ada.save(wait_in_turn(0.1, steps=2))
        rig.runtimes[0].kill()
        early = await ada.run(workflow_id)
        sightings = [ada.watch(early) for _ in range(10)]
        await until(lambda: all(one.opened or one.closes for one in sightings), "all of them have tried")
        rig.runtimes[0].start()
        assert (await ada.ended(early))["status"] == "completed"
        await asyncio.wait_for(ada.seen(), 60)
