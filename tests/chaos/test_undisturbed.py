"""The stack left alone: what the broken ones are compared with, and proof that the rig itself is sound."""

from tests.chaos.documents import TICKET_TEXT, buy_once, read_the_ticket, wait_in_turn
from tests.chaos.fixtures import SetStage


async def test_a_day_without_chaos(set_stage: SetStage) -> None:
    async with set_stage() as rig, rig.visit() as ada, rig.visit() as bob:
        ticket = await ada.start(read_the_ticket(rig.shop))
        bought = await bob.start(buy_once(rig.shop, "bob"))
        waited = await ada.start(wait_in_turn(0.1))
        for visitor, execution_id in ((ada, ticket), (bob, bought), (ada, waited)):
            visitor.watch(execution_id)
            assert (await visitor.ended(execution_id))["status"] == "completed"
        assert (await ada.status(ticket))["result"]["n8-text"]["Text"] == TICKET_TEXT
        assert rig.shop.orders == {"bob": 1}
        await ada.seen()
        await bob.seen()
