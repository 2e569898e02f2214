"""A worker that can't reach the database for as long as a lease lasts: another one may have taken over by then."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from contracts.execution import ExecutionStatus, FailureCode
from contracts.model import ExecutionId
from runtime.node import Node
from tests.chaos.proxy import Fault, FaultProxy
from tests.runtime.conftest import open_line
from tests.runtime.staging import Staging, node
from tests.runtime.troupe import TROUPE, Hang
from tests.support.postgres import Database

LEASE_S = 2.0


@asynccontextmanager
async def staged(
    database: Database, folder: Path, nodes: tuple[type[Node[Any, Any]], ...]
) -> AsyncIterator[tuple[Staging, FaultProxy]]:
    async with open_line(database) as (line, behind):
        made = Staging(database, folder, nodes, heartbeat_s=LEASE_S, workers_database=behind)
        try:
            yield made, line
        finally:
            await made.close()


async def expect_question(staging: Staging, execution_id: ExecutionId, node_id: str) -> None:
    assert await staging.wait_for_end(execution_id) is ExecutionStatus.FAILED
    row = await staging.executions.get(staging.tenant_id, execution_id)
    assert row.error is not None
    assert (row.error["code"], row.error["asks_about"]) == (FailureCode.INTERRUPTED_UNSAFE, node_id)


async def test_what_may_not_run_twice_is_ended_and_what_may_goes_on(own_database: Database, tmp_path: Path) -> None:
    Hang.left.clear()
    async with staged(own_database, tmp_path, TROUPE) as (staging, line):
        execution_id = await staging.submit([node("a", "hang_unsafe"), node("b", "hang", timeout_s=10)])
        async with staging.perform():
            async with asyncio.timeout(10):
                while [one.type for one in await staging.read(execution_id)].count("log") < 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            line.break_with(Fault.BLACK_HOLE)
            await asyncio.sleep(LEASE_S / 2)
            assert Hang.left == []
            await asyncio.sleep(2 * LEASE_S)
            assert Hang.left == ["a"]
            line.heal()
            await expect_question(staging, execution_id, "a")
