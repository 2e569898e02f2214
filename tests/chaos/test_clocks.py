"""Clocks that are set while work goes on: what counts is how long things take, and the database's order."""

import pytest

from tests.chaos.checker import check_now
from tests.chaos.documents import SAFE_NODES, TICKET_TEXT, read_the_ticket, wait_in_turn
from tests.chaos.fixtures import SetStage
from tests.chaos.rig import find_clock
from tests.chaos.snapshot import read_snapshot
from tests.chaos.waiting import until

JUMP_S = 300
"""Below the life of a token, far above every lease and deadline of a step."""

pytestmark = pytest.mark.skipif(find_clock() is None, reason="libfaketime is not on this machine")


@pytest.mark.parametrize("ahead_s", [JUMP_S, -JUMP_S], ids=["forward", "back"])
async def test_a_clock_that_jumps_costs_nothing(set_stage: SetStage, ahead_s: int) -> None:
    async with set_stage(workers=2, heartbeat_s=None, clock=True) as rig, rig.visit() as ada:
        rig.shop.hold("GET /told/act")
        reading, waiting = await ada.start(read_the_ticket(rig.shop)), await ada.start(wait_in_turn(3))
        sighting = ada.watch(reading)
        ada.watch(waiting)
        await until(lambda: "GET /told/act?who=" in rig.shop.asked, "a step is half done")
        rig.set_clock(ahead_s)
        rig.shop.release()
        await check_now(rig)
        await until(lambda: sighting.done, "all of it was seen")
        read, waited = await ada.ended(reading), await ada.ended(waiting)
        assert (read["status"], waited["status"]) == ("completed", "completed"), (read["error"], waited["error"])
        assert read["result"]["n8-text"]["Text"] == TICKET_TEXT
        snapshot = await read_snapshot(rig.database)
        assert [step["status"] for step in snapshot.steps[reading]] == ["success"] * len(SAFE_NODES)
        assert not any(row["losses"] for row in snapshot.executions.values()), "no lease ended for it"
        times = [float(event["timestamp"]) for event in sighting.bodies]
        assert JUMP_S / 2 < abs(times[-1] - times[0]) < JUMP_S * 2, "the clock was really set"
        after = await ada.start(read_the_ticket(rig.shop))
        ada.watch(after)
        assert (await ada.ended(after))["status"] == "completed"
        await ada.seen()
