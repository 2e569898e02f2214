"""Pages that misbehave: their own run ends with a word about it, and nobody beside them notices."""

import pytest

from tests.chaos.documents import SAFE_NODES, TICKET_TEXT, meet_hostility, read_the_ticket
from tests.chaos.fixtures import SetStage
from tests.chaos.shop import FLOOD_BYTES
from tests.chaos.snapshot import read_snapshot
from tests.chaos.waiting import until

ENDS = {
    "alerts": {"element_not_found", "timeout"},
    "hangs": {"element_not_found", "timeout", "page_closed"},
    "windows": {"page_closed"},
    "memory": {"browser_crashed"},
    "download": {"element_not_found", "timeout"},
}
"""How a run ends that has met such a page."""


@pytest.mark.parametrize("deed", ENDS)
async def test_a_hostile_page_ends_its_own_run_and_nobody_elses(set_stage: SetStage, deed: str) -> None:
    async with set_stage() as rig, rig.visit() as ada, rig.visit() as bob:
        struck = await ada.start(meet_hostility(rig.shop, deed))
        ada.watch(struck)
        await until(lambda: "GET /told/deed?who=" in rig.shop.asked, "the page has come, and is about to begin")
        beside = await bob.start(read_the_ticket(rig.shop))
        bob.watch(beside)
        hers, his = await ada.ended(struck), await bob.ended(beside)
        assert his["status"] == "completed", his["error"]
        assert his["result"]["n8-text"]["Text"] == TICKET_TEXT
        assert hers["status"] == "failed"
        assert hers["error"]["code"] in ENDS[deed], hers["error"]
        assert hers["error"]["hint"]
        snapshot = await read_snapshot(rig.database)
        assert [step["status"] for step in snapshot.steps[beside]] == ["success"] * len(SAFE_NODES), (
            "he noticed nothing"
        )
        assert not any(row["losses"] for row in snapshot.executions.values()), "the worker has lived through it"
        assert ("GET /flood?who=" in rig.shop.asked) == (deed == "download")
        assert rig.shop.flooded < FLOOD_BYTES / 10, "what nobody asked for is not taken"
        await ada.seen()
        await bob.seen()
