"""Submitting once, admission, cancelling, listing; and that no tenant sees another's."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TypeAlias
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import text
from uuid_utils.compat import uuid7

from contracts.errors import ApiError, Code
from contracts.events import TERMINAL
from contracts.execution import ExecutionStatus, Failure, FailureCode, ListExecutions, TenantState
from contracts.model import ExecutionId, TenantId, WorkflowId
from runtime.store.changes import Change, End
from runtime.store.db import Database, SystemDatabase
from runtime.store.events import EventLog
from runtime.store.executions import Executions
from runtime.store.runs import Runs
from runtime.store.tenants import Tenants
from tests.runtime.made import make_execution

Bare: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


async def test_fifty_duplicates_at_once_make_one_execution(
    executions: Executions, events: EventLog, system: SystemDatabase, tenant_id: TenantId
) -> None:
    new = make_execution()
    async with asyncio.TaskGroup() as group:
        answers = [group.create_task(executions.submit(tenant_id, new)) for _ in range(50)]
    assert {answer.result().execution_id for answer in answers} == {new.execution_id}
    page = await events.read_after(tenant_id, new.execution_id, 0, 100)
    assert [(event.seq, event.type) for event in page.events] == [(1, "accepted")]
    assert await queued(system, new.execution_id) == 1


async def test_a_taken_id_of_another_tenant_starts_nothing(executions: Executions, tenant_id: TenantId) -> None:
    new = make_execution()
    await executions.submit(tenant_id, new)
    with pytest.raises(ApiError) as refused:
        await executions.submit(TenantId(uuid7()), new)
    assert refused.value.code is Code.CONFLICT


async def test_what_can_never_run_is_recorded_as_failed(
    executions: Executions, events: EventLog, system: SystemDatabase, tenant_id: TenantId
) -> None:
    failure = Failure(code=FailureCode.WORKFLOW_INVALID, message="No start node.", hint="Add one.")
    row = await executions.submit(tenant_id, make_execution(failure=failure, plan=None))
    assert row.status is ExecutionStatus.FAILED
    page = await events.read_after(tenant_id, ExecutionId(row.execution_id), 0, 100)
    assert [event.type for event in page.events] == ["accepted", "status", "error"]
    assert page.terminal
    assert await queued(system, row.execution_id) == 0


async def test_the_limit_holds_and_a_finish_lets_the_next_one_in(
    executions: Executions, runs: Runs, tenants: Tenants, tenant_id: TenantId
) -> None:
    await tenants.put(TenantState(tenant_id=tenant_id, suspended=False, max_concurrent_executions=2))
    rows = [await executions.submit(tenant_id, make_execution()) for _ in range(4)]
    assert [row.admitted_at is not None for row in rows] == [True, True, False, False]
    claimed = await runs.claim(tenant_id, ExecutionId(rows[0].execution_id), "worker")
    assert claimed is not None
    await runs.finish(claimed.lease, Change(), End(status=ExecutionStatus.COMPLETED, result={}))
    admitted = [(await executions.get(tenant_id, ExecutionId(row.execution_id))).admitted_at for row in rows]
    assert [instant is not None for instant in admitted] == [True, True, True, False]
    await tenants.put(TenantState(tenant_id=tenant_id, suspended=False, max_concurrent_executions=5))
    last = await executions.get(tenant_id, ExecutionId(rows[3].execution_id))
    assert last.admitted_at is not None


async def test_the_limit_holds_when_many_come_at_once(
    executions: Executions, tenants: Tenants, tenant_id: TenantId
) -> None:
    await tenants.put(TenantState(tenant_id=tenant_id, suspended=False, max_concurrent_executions=3))
    async with asyncio.TaskGroup() as group:
        new = make_execution()
        for asked in [new, new, *(make_execution() for _ in range(10))]:
            group.create_task(executions.submit(tenant_id, asked))
    rows, _ = await executions.list_page(tenant_id, ListExecutions())
    assert len(rows) == 11
    assert sum(row.admitted_at is not None for row in rows) == 3


async def test_a_workflow_has_a_limit_of_its_own(executions: Executions, tenant_id: TenantId) -> None:
    workflow_id = WorkflowId(uuid7())
    limited = {"workflow_id": workflow_id, "workflow_version": 1, "workflow_concurrency": 1}
    first = await executions.submit(tenant_id, make_execution(**limited))
    second = await executions.submit(tenant_id, make_execution(**limited))
    other = await executions.submit(tenant_id, make_execution())
    assert [row.admitted_at is not None for row in (first, second, other)] == [True, False, True]


async def test_a_suspended_tenant_starts_nothing_but_still_hears_of_what_it_had(
    executions: Executions, tenants: Tenants, tenant_id: TenantId
) -> None:
    new = make_execution()
    await executions.submit(tenant_id, new)
    await tenants.put(TenantState(tenant_id=tenant_id, suspended=True))
    assert (await executions.submit(tenant_id, new)).execution_id == new.execution_id
    with pytest.raises(ApiError) as refused:
        await executions.submit(tenant_id, make_execution())
    assert refused.value.code is Code.FORBIDDEN


async def test_cancelling_what_has_not_begun_ends_it_at_once(
    executions: Executions, runs: Runs, events: EventLog, tenant_id: TenantId
) -> None:
    row = await executions.submit(tenant_id, make_execution())
    execution_id = ExecutionId(row.execution_id)
    await executions.request_cancel(tenant_id, execution_id, "changed my mind")
    await executions.request_cancel(tenant_id, execution_id, "again")
    assert (await executions.get(tenant_id, execution_id)).status is ExecutionStatus.CANCELLED
    page = await events.read_after(tenant_id, execution_id, 0, 100)
    assert [event.type for event in page.events] == ["accepted", "status", "cancelled"]
    assert sum(event.type in TERMINAL for event in page.events) == 1
    assert await runs.claim(tenant_id, execution_id, "worker") is None


async def test_cancelling_what_has_ended_otherwise_is_a_conflict(
    executions: Executions, runs: Runs, tenant_id: TenantId
) -> None:
    row = await executions.submit(tenant_id, make_execution())
    claimed = await runs.claim(tenant_id, ExecutionId(row.execution_id), "worker")
    assert claimed is not None
    await runs.finish(claimed.lease, Change(), End(status=ExecutionStatus.COMPLETED, result={}))
    with pytest.raises(ApiError) as refused:
        await executions.request_cancel(tenant_id, claimed.lease.execution_id, "")
    assert refused.value.code is Code.CONFLICT


async def test_pages_follow_each_other_without_gap_or_repetition(executions: Executions, tenant_id: TenantId) -> None:
    now = datetime.now(UTC)
    ids = [
        (
            await executions.submit(tenant_id, make_execution(submitted_at=now - timedelta(seconds=place // 2)))
        ).execution_id
        for place in range(7)
    ]
    seen: list[UUID] = []
    cursor = None
    while True:
        rows, cursor = await executions.list_page(tenant_id, ListExecutions(limit=2, cursor=cursor))
        seen += [row.execution_id for row in rows]
        if cursor is None:
            break
    assert len(seen) == len(ids)
    assert set(seen) == set(ids)


@pytest.mark.parametrize("cursor", ["AAAA", "not-one", "=", "A" * 32 + "."])
async def test_a_bad_cursor_is_named(executions: Executions, tenant_id: TenantId, cursor: str) -> None:
    with pytest.raises(ApiError) as refused:
        await executions.list_page(tenant_id, ListExecutions(cursor=cursor))
    assert refused.value.code is Code.INVALID
    assert refused.value.faults[0].where == "query.cursor"


async def test_filters(executions: Executions, tenant_id: TenantId) -> None:
    await executions.submit(tenant_id, make_execution(name="50% off_tea"))
    await executions.submit(tenant_id, make_execution(name="50 percent off tea"))
    rows, _ = await executions.list_page(tenant_id, ListExecutions(text="0% OFF_"))
    assert [row.name for row in rows] == ["50% off_tea"]
    rows, _ = await executions.list_page(tenant_id, ListExecutions(status=ExecutionStatus.RUNNING))
    assert rows == []


async def test_another_tenants_execution_is_an_unknown_one(
    executions: Executions, events: EventLog, tenant_id: TenantId
) -> None:
    row = await executions.submit(tenant_id, make_execution())
    stranger, execution_id = TenantId(uuid7()), ExecutionId(row.execution_id)
    assert await executions.find(stranger, execution_id) is None
    for attempt in (
        executions.get(stranger, execution_id),
        executions.request_cancel(stranger, execution_id, ""),
        events.read_after(stranger, execution_id, 0, 10),
    ):
        with pytest.raises(ApiError) as refused:
            await attempt
        assert refused.value.code is Code.NOT_FOUND


@pytest.mark.parametrize(
    "table", ["tenants", "workflows", "workflow_versions", "executions", "runs", "steps", "events"]
)
async def test_row_level_security_stands_behind_every_query(
    db: Database, executions: Executions, tenant_id: TenantId, table: str
) -> None:
    await executions.submit(tenant_id, make_execution())
    async with db.write(TenantId(uuid7())) as session:
        connection = await session.connection()
        seen = await connection.scalar(text(f"SELECT count(*) FROM runtime.{table}"))
        assert seen == 0
    async with db.write(TenantId(uuid7())) as session:
        stolen = text(f"INSERT INTO runtime.tenants (tenant_id) VALUES ('{uuid7()}')")
        with pytest.raises(Exception, match="row-level security"):
            await (await session.connection()).execute(stolen)
        await session.rollback()


async def test_without_a_tenant_nothing_is_seen(
    migrated_app: "Bare", executions: Executions, tenant_id: TenantId
) -> None:
    await executions.submit(tenant_id, make_execution())
    assert await migrated_app.fetchval("SELECT count(*) FROM runtime.executions") == 0
    changed = await migrated_app.execute("UPDATE runtime.executions SET status = 'failed'")
    assert changed == "UPDATE 0"


async def test_a_reading_transaction_can_not_write(db: Database, tenant_id: TenantId) -> None:
    with pytest.raises(Exception, match="read-only transaction"):
        async with db.read(tenant_id) as session:
            await (await session.connection()).execute(text("DELETE FROM runtime.steps"))


async def test_the_log_can_not_be_rewritten(db: Database, tenant_id: TenantId) -> None:
    for statement in ("UPDATE runtime.events SET body = ''", "DELETE FROM runtime.events"):
        with pytest.raises(Exception, match="permission denied"):
            async with db.write(tenant_id) as session:
                await (await session.connection()).execute(text(statement))


async def queued(system: SystemDatabase, execution_id: UUID) -> int:
    async with system.write() as session:
        query = text("SELECT count(*) FROM runtime.pgqueuer WHERE dedupe_key = :key")
        return int((await (await session.connection()).execute(query, {"key": str(execution_id)})).scalar_one())
