"""A server that stops being the primary under running executions: nothing of theirs is lost, and nothing runs twice."""

import asyncio
from pathlib import Path

from sqlalchemy import text

from contracts.execution import ExecutionStatus
from tests.runtime.conftest import Killer
from tests.runtime.staging import Staging, edge, node
from tests.runtime.troupe import TROUPE, Echo
from tests.support.postgres import Database

AWAY_S = 4.0


async def test_executions_outlast_a_server_that_can_not_write(own_database: Database, tmp_path: Path) -> None:
    Echo.asked.clear()
    staging = Staging(own_database, tmp_path, TROUPE)
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
