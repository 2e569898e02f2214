"""Runtime unreachable, silent, slow, resetting, killed, frozen: what is submitted meanwhile runs once, afterwards."""

import asyncio
from collections.abc import Callable

import pytest

from tests.chaos.checker import check_now
from tests.chaos.documents import wait_in_turn
from tests.chaos.fixtures import SetStage
from tests.chaos.proxy import Fault
from tests.chaos.rig import Rig
from tests.chaos.visitors import Visitor

SUBMITS = 6


@pytest.mark.parametrize("fault", [Fault.REFUSE, Fault.BLACK_HOLE, Fault.SLOW, Fault.RESET])
async def test_submits_are_taken_while_the_line_is_broken(set_stage: SetStage, fault: Fault) -> None:
    async with set_stage() as rig, rig.visit() as ada:
        rig.runtime_line.delay_s, rig.runtime_line.reset_after = 0.4, 400
        await submit_under(rig, ada, lambda: rig.runtime_line.break_with(fault), rig.runtime_line.heal)


async def test_submits_are_taken_while_runtime_is_dead(set_stage: SetStage) -> None:
    async with set_stage() as rig, rig.visit() as ada:
        await submit_under(rig, ada, rig.runtimes[0].kill, rig.runtimes[0].start)


async def test_submits_are_taken_while_runtime_is_frozen(set_stage: SetStage) -> None:
    async with set_stage() as rig, rig.visit() as ada:
        await submit_under(rig, ada, rig.runtimes[0].freeze, rig.runtimes[0].thaw)


async def test_an_experience_that_dies_over_its_outbox_leaves_it_to_the_others(set_stage: SetStage) -> None:
    async with set_stage(experiences=2) as rig, rig.visit() as ada:
        workflow_id = await ada.save(wait_in_turn(0.1, steps=2))
        rig.runtime_line.break_with(Fault.BLACK_HOLE)
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(ada.run(workflow_id)) for _ in range(SUBMITS)]
        for part in rig.experiences:
            part.kill()
        rig.runtime_line.heal()
        rig.experiences[1].start()
        await rig.experiences[1].ready()
        for task in asked:
            assert (await ada.ended(task.result()))["status"] == "completed"


async def submit_under(rig: Rig, visitor: Visitor, break_it: Callable[[], None], mend_it: Callable[[], None]) -> None:
    """Submit and watch under a fault, with every submit answered by 202 at the first asking."""
    workflow_id = await visitor.save(wait_in_turn(0.1, steps=2))
    before = await visitor.run(workflow_id)
    visitor.watch(before)
    break_it()
    body = {"realm": "workflow", "intent": "run", "parameters": {"workflow_id": workflow_id}}
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(visitor.http.post("/api/intent", json=body)) for _ in range(SUBMITS)]
    answers = [task.result() for task in asked]
    assert {answer.status_code for answer in answers} == {202}, [answer.text for answer in answers]
    accepted = [str(answer.json()["execution_id"]) for answer in answers]
    for execution_id in accepted:
        rig.ledger.accepted[execution_id] = visitor.tenant_id
        visitor.watch(execution_id)
    await check_now(rig)
    mend_it()
    for execution_id in (before, *accepted):
        assert (await visitor.ended(execution_id))["status"] == "completed"
    await visitor.seen()
