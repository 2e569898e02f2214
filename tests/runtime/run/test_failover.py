"""A server that stops being the primary under running executions: nothing of theirs is lost, and nothing runs twice."""

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import text

from contracts.execution import ExecutionStatus, Failure, FailureCode, StepStatus
from runtime.store.changes import Change
from runtime.store.runs import Runs
from tests.runtime.conftest import Killer
from tests.runtime.made import make_step
from tests.runtime.staging import Staging, edge, node
from tests.runtime.troupe import TROUPE, Echo
from tests.support.postgres import Database

AWAY_S = 4.0


@pytest.mark.parametrize("why", ["cancel", "deadline"])
async def test_an_end_that_lost_its_worker_midway_is_the_end_it_was(
    own_database: Database, tmp_path: Path, why: str
) -> None:
    """The worker had stopped one of two nodes, recorded that, and was gone."""
    staging = Staging(own_database, tmp_path, TROUPE)
    execution_id = await staging.submit([node("a", "hang"), node("b", "hang")], timeout_s=60)
    claimed = await Runs(staging.db, staging.make_queue()).claim(staging.tenant_id, execution_id, "lost")
    assert claimed is not None
    if why == "cancel":
        await staging.executions.request_cancel(staging.tenant_id, execution_id, "enough")
    stopped = Failure(code=FailureCode.STOPPED, message="“a” was stopped.", hint="Start it again.", node_id="a")
    steps = [make_step("a", StepStatus.FAILED, error=stopped), make_step("b", StepStatus.RUNNING)]
    spent_s = 60.0 if why == "deadline" else 1.0
    change = Change(steps=steps, progress=0.0, current_node="b", spent_s=spent_s)
    await Runs(staging.db, staging.make_queue()).record(claimed.lease, change)
    async with staging.perform():
        status = await staging.wait_for_end(execution_id)
    row = await staging.executions.get(staging.tenant_id, execution_id)
    assert row.losses == 1
    if why == "cancel":
        assert (status, row.error) == (ExecutionStatus.CANCELLED, None)
    else:
        assert row.error is not None
        assert (status, row.error["code"]) == (ExecutionStatus.FAILED, FailureCode.DEADLINE_EXCEEDED)
    await staging.close()


async def test_executions_outlast_a_server_that_can_not_write(own_database: Database, tmp_path: Path) -> None:
    Echo.asked.clear()
    staging = Staging(own_database, tmp_path, TROUPE, heartbeat_s=60)
    killer = Killer(own_database)
    nodes = [node("a", "stroll"), node("b", "stroll"), node("c", "echo_unsafe"), node("d", "stroll")]
    edges = [edge(source, target, "Text", "Text") for source, target in ("ab", "bc", "cd")]
    running = [await staging.submit(nodes, edges) for _ in range(3)]
    async with staging.perform():
        for execution_id in running:
            await staging.wait_for_event(execution_id, "step_update")
        with own_database.read_only():
            for role in ("runtime_app", "runtime_system"):
                await killer.terminate_backends(role)
            await asyncio.sleep(AWAY_S)
        assert [await staging.wait_for_end(execution_id) for execution_id in running] == [ExecutionStatus.COMPLETED] * 3
    async with staging.system.write() as session:
        claimed = text("SELECT epoch, losses FROM runtime.executions")
        assert (await (await session.connection()).execute(claimed)).all() == [(1, 0)] * 3
    assert Echo.asked == ["c"] * 3
    await staging.close()
