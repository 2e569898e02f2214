"""Pausing: nothing starts, the worker goes free where it can, and resuming goes on where it stood."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from contracts.errors import ApiError, Code
from contracts.execution import ExecutionStatus, StepStatus
from contracts.model import ExecutionId
from runtime.store.runs import Runs
from tests.runtime.staging import Staging, edge, node
from tests.runtime.troupe import TROUPE, Echo, Hang
from tests.support.postgres import Database


@pytest.fixture
async def staging(own_database: Database, tmp_path: Path) -> AsyncIterator[Staging]:
    Echo.asked.clear()
    Hang.left.clear()
    made = Staging(own_database, tmp_path, TROUPE, grace_s=1)
    yield made
    await made.close()


async def statuses(staging: Staging, execution_id: ExecutionId) -> list[str]:
    told = [event.status.value for event in await staging.read(execution_id) if event.type == "status"]
    return [status for place, status in enumerate(told) if place == 0 or told[place - 1] != status]


async def pause(staging: Staging, execution_id: ExecutionId) -> None:
    await staging.executions.request_pause(staging.tenant_id, execution_id, "lunch")


async def resume(staging: Staging, execution_id: ExecutionId) -> None:
    await staging.executions.request_resume(staging.tenant_id, execution_id)


async def test_what_has_not_begun_is_paused_at_once_and_resumed(staging: Staging) -> None:
    execution_id = await staging.submit([node("a", "echo", {"Text": "x"})])
    await pause(staging, execution_id)
    await pause(staging, execution_id)
    row = await staging.executions.get(staging.tenant_id, execution_id)
    assert (row.status, row.admitted_at, row.ready) == (ExecutionStatus.PAUSED, None, False)
    async with staging.perform():
        other = await staging.submit([node("a", "echo")])
        await staging.wait_for_end(other)  # a worker is there and leaves the paused one alone
        assert (await staging.executions.get(staging.tenant_id, execution_id)).status is ExecutionStatus.PAUSED
        await resume(staging, execution_id)
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.COMPLETED
    assert await statuses(staging, execution_id) == ["paused", "running", "completed"]


async def test_a_wait_is_interrupted_and_the_worker_goes_free(staging: Staging) -> None:
    nodes = [node("wait", "delay", {"Duration": 0.5}), node("a", "echo", {"Text": "x"})]
    execution_id = await staging.submit([*nodes, node("long", "delay", {"Duration": 300})])
    async with staging.perform():
        await staging.wait_until(execution_id, lambda row: row.progress > 0.5)
        await pause(staging, execution_id)
        await staging.wait_until(execution_id, lambda row: row.status is ExecutionStatus.PAUSED)
        row = await staging.executions.get(staging.tenant_id, execution_id)
        assert (row.ready, row.admitted_at, row.losses) == (False, None, 0)
        await resume(staging, execution_id)
        await staging.wait_until(execution_id, lambda row: row.epoch == 2)
        await staging.executions.request_cancel(staging.tenant_id, execution_id, "enough")
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.CANCELLED
    assert Echo.asked == ["a"]
    assert (await staging.executions.get(staging.tenant_id, execution_id)).losses == 0


async def test_a_node_at_work_comes_to_its_end_before_the_pause(staging: Staging) -> None:
    nodes = [node("a", "stroll", {"Text": "1"}), node("b", "echo", {"Text": "2"})]
    execution_id = await staging.submit(nodes, [edge("a", "b", "Text", "Text")])
    async with staging.perform():
        await staging.wait_until(execution_id, lambda row: row.current_node == "a")
        await pause(staging, execution_id)
        await staging.wait_until(execution_id, lambda row: row.status is ExecutionStatus.PAUSED)
        steps = await staging.records.list_steps(staging.tenant_id, execution_id)
        assert [(step.node_id, step.status) for step in steps] == [("a", StepStatus.SUCCESS)]
        await resume(staging, execution_id)
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.COMPLETED
    assert Echo.asked == ["b"]
    assert await statuses(staging, execution_id) == ["running", "paused", "running", "completed"]


async def test_a_resume_at_once_is_as_if_nothing_was(staging: Staging) -> None:
    nodes = [node("a", "stroll", {"Text": "1"}), node("b", "echo", {"Text": "2"})]
    execution_id = await staging.submit(nodes, [edge("a", "b", "Text", "Text")])
    async with staging.perform():
        await staging.wait_until(execution_id, lambda row: row.current_node == "a")
        await pause(staging, execution_id)
        await resume(staging, execution_id)
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.COMPLETED
    assert Echo.asked == ["b"]


async def test_a_paused_one_can_be_cancelled(staging: Staging) -> None:
    execution_id = await staging.submit([node("a", "echo")])
    await pause(staging, execution_id)
    await staging.executions.request_cancel(staging.tenant_id, execution_id, "never mind")
    row = await staging.executions.get(staging.tenant_id, execution_id)
    assert row.status is ExecutionStatus.CANCELLED
    assert [event.type for event in await staging.read(execution_id)][-1] == "cancelled"
    for ask in (pause, resume):
        with pytest.raises(ApiError) as refused:
            await ask(staging, execution_id)
        assert refused.value.code is Code.CONFLICT


async def test_a_lost_worker_of_one_that_was_to_pause_leaves_it_paused(staging: Staging) -> None:
    execution_id = await staging.submit([node("a", "echo")])
    runs = Runs(staging.db, staging.make_queue())
    claimed = await runs.claim(staging.tenant_id, execution_id, "gone")
    assert claimed is not None
    await pause(staging, execution_id)
    assert await runs.claim(staging.tenant_id, execution_id, "next") is None
    row = await staging.executions.get(staging.tenant_id, execution_id)
    assert (row.status, row.losses, row.ready) == (ExecutionStatus.PAUSED, 1, False)
