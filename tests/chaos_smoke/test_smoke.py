"""Each kind of process killed once, under an execution that shows it: a smoke of what `make chaos` does in full."""

import asyncio

import pytest

from tests.chaos.checker import check_now, open_runs
from tests.chaos.documents import TICKET_TEXT, buy_once, read_the_ticket, wait_in_turn
from tests.chaos.fixtures import SetStage
from tests.chaos.parts import Part


@pytest.mark.timeout(300)
async def test_one_of_each_is_killed_and_nothing_is_lost(set_stage: SetStage) -> None:
    async with set_stage(workers=2) as rig, rig.visit() as ada:
        arrived = rig.shop.hold("GET /told/name")
        ticket = await ada.start(read_the_ticket(rig.shop))
        waits = await ada.start(wait_in_turn(0.4, steps=6))
        for execution_id in (ticket, waits):
            ada.watch(execution_id, jitter_s=0.2)
        await asyncio.to_thread(arrived.wait, 60)
        assert arrived.is_set()
        victim = await find_worker(rig.workers, await open_runs(rig, ticket))
        victim.kill()
        rig.shop.release()
        await check_now(rig)
        rig.experiences[0].kill()
        rig.experiences[0].start()
        for pid in await rig.backends.list_pids("runtime%"):
            await rig.backends.terminate(pid)
        bought = await ada.start(buy_once(rig.shop, "ada"))
        ends = {one: await ada.ended(one) for one in (ticket, waits, bought)}
        assert {end["status"] for end in ends.values()} == {"completed"}
        assert ends[ticket]["result"]["n8-text"]["Text"] == TICKET_TEXT
        assert rig.shop.orders == {"ada": 1}
        await ada.seen()


async def find_worker(workers: list[Part], pids: list[int]) -> Part:
    (pid,) = pids
    return next(worker for worker in workers if worker.pid == pid)
