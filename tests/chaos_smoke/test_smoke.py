"""Each kind of process killed once, under an execution that shows it: a smoke of what `make chaos` does in full."""

import asyncio

import pytest

from tests.chaos.checker import check_now
from tests.chaos.documents import TICKET_TEXT, buy_once, read_the_ticket, wait_in_turn
from tests.chaos.fixtures import SetStage

HEARTBEAT_S = 4.0
"""Waiting costs the machine nothing, and a worker that is slow because of other tests keeps what it has."""


@pytest.mark.timeout(300)
async def test_one_of_each_is_killed_and_nothing_is_lost(set_stage: SetStage) -> None:
    async with set_stage(heartbeat_s=HEARTBEAT_S) as rig, rig.visit() as ada:
        (worker,), (experience,) = rig.workers, rig.experiences
        arrived = rig.shop.hold("GET /told/name")
        ticket = await ada.start(read_the_ticket(rig.shop))
        waits = await ada.start(wait_in_turn(0.4, steps=6))
        for execution_id in (ticket, waits):
            ada.watch(execution_id, jitter_s=0.2)
        assert await asyncio.to_thread(arrived.wait, 60)
        worker.kill()
        rig.shop.release()
        await check_now(rig)
        worker.start()  # most of what this takes is the start of processes, so the next one takes over, not a second
        experience.kill()
        experience.start()
        await worker.ready()
        for pid in await rig.backends.list_pids("runtime%"):
            await rig.backends.terminate(pid)
        bought = await ada.start(buy_once(rig.shop, "ada"))
        ends = {one: await ada.ended(one) for one in (ticket, waits, bought)}
        assert {end["status"] for end in ends.values()} == {"completed"}
        assert ends[ticket]["result"]["n8-text"]["Text"] == TICKET_TEXT
        assert rig.shop.orders == {"ada": 1}
        await ada.seen()
