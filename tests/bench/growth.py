"""B13: what a table that has grown costs those who ask and those who work."""

import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import asyncpg
from uuid_utils.compat import uuid7

from contracts.execution import ExecutionStatus, ListExecutions
from contracts.model import ExecutionId, TenantId, WorkflowId
from runtime.api.execution_view import describe_execution, summarize_execution
from runtime.store.changes import Change, End
from runtime.store.db import Database as TenantDatabase
from runtime.store.executions import Executions
from runtime.store.queue import PgQueue
from runtime.store.records import Records
from runtime.store.runs import Runs
from tests.bench.figure import Bar, Figure, percentile
from tests.bench.ground import Ground
from tests.bench.rounds import Effort, take_turns
from tests.runtime.made import make_execution
from tests.support.postgres import Database

FEW, MANY = 1_000, 1_000_000
FEW_WAITING, MANY_WAITING = 1_000, 100_000
CALLS = 200
ROUNDS = 7
SEED = 13
BAR = 1.5

_TENANT = "INSERT INTO runtime.tenants (tenant_id, max_concurrent_executions) VALUES ($1, 1000000)"
_EXECUTIONS = """
INSERT INTO runtime.executions (execution_id, tenant_id, intent_id, realm, intent, name, parameters, workflow_id,
    workflow_version, plan, trigger, timeout_s, status, admitted_at, epoch, head_seq, log_id, progress, result, credits,
    created_at, started_at, finished_at)
SELECT gen_random_uuid(), CASE WHEN n % 2 = 0 THEN $2::uuid ELSE ($3::uuid[])[1 + n % cardinality($3::uuid[])] END,
    gen_random_uuid(), 'workflow', 'run', 'Order ' || n, '{"order": 1}',
    ($4::uuid[])[1 + n % cardinality($4::uuid[])], 1, NULL, '{}', 900,
    CASE WHEN n % 20 = 0 THEN 'failed' WHEN n % 50 = 1 THEN 'cancelled' ELSE 'completed' END,
    at, 1, 12, gen_random_uuid(), 1, '{"text": "done"}', 3, at, at + interval '1 s', at + interval '9 s'
FROM (SELECT n, now() - interval '90 days' + n * interval '90 days' / $1 AS at
      FROM generate_series(1, $1::bigint) n) made
"""
"""Ended ones, over ninety days: half of one tenant, half of fifty others; ten workflows; one in twenty failed."""
_WAITING = """
INSERT INTO runtime.executions (execution_id, tenant_id, intent_id, realm, intent, name, parameters, workflow_id,
    workflow_version, workflow_concurrency, trigger, timeout_s, status, priority, head_seq, log_id, created_at)
SELECT gen_random_uuid(), $2::uuid, gen_random_uuid(), 'workflow', 'run', 'Order ' || n, '{"order": 1}',
    ($3::uuid[])[1 + n % 10], 1, CASE WHEN n % 10 < 5 THEN 2 END, '{}', 900, 'pending', n % 2, 1, gen_random_uuid(),
    now() - interval '1 hour' + n * interval '1 ms'
FROM generate_series(1, $1::bigint) n
"""
"""Of one tenant and ten workflows, of which five limit themselves to two at once; of two priorities."""
_BEGINNABLE = """
SELECT execution_id FROM runtime.executions
WHERE tenant_id = $1 AND admitted_at IS NOT NULL AND status = 'pending' ORDER BY turn LIMIT 1
"""
_STEPS = """
INSERT INTO runtime.steps (step_id, execution_id, tenant_id, node_id, attempt, epoch, node_type, phase, status, outputs,
    started_at, finished_at, duration_ms, credits, ordinal)
SELECT gen_random_uuid(), execution_id, tenant_id, 'node-' || n, 1, 1, 'delay', n, 'success', '{"text": "done"}',
    started_at, finished_at, 1000, 1, n
FROM (SELECT * FROM runtime.executions WHERE tenant_id = $1 LIMIT $2) picked, generate_series(1, 3) n
"""
_EVENTS = """
INSERT INTO runtime.events (execution_id, seq, tenant_id, type, body)
SELECT execution_id, n, tenant_id, 'log', '{"type": "log"}'
FROM (SELECT * FROM runtime.executions WHERE tenant_id = $1 LIMIT $2) picked, generate_series(1, 12) n
"""
_DETAILED = 2_000
"""Executions that have their steps and events."""
_PICK = "SELECT execution_id FROM runtime.steps WHERE tenant_id = $1 AND phase = 1 ORDER BY execution_id"


async def measure(ground: Ground, effort: Effort) -> list[Figure]:
    """Two databases, one with a thousand executions and one with a million, made by INSERT … SELECT: ended ones over
    ninety days, half of them of the tenant that asks, steps and events for two thousand of each. p95 of the same
    calls of the store in both, in turn: the status of some execution, pages of the list (as the page opens, by
    status, by workflow, and from a cursor deep down), and what a worker does to take one up (submit with admission,
    then claim). The floor is the small table itself.

    And two more, in which a thousand and a hundred thousand executions of one tenant wait for its four places: what a
    submit costs there, and an end, which lets the next one in.
    """
    return [*await _measure_growth(ground, effort), *await _measure_backlog(ground, effort)]


async def _measure_growth(ground: Ground, effort: Effort) -> list[Figure]:
    async with (
        _Hall.open(ground, effort.count(FEW, 100)) as small,
        _Hall.open(ground, effort.count(MANY, 200)) as large,
    ):
        figures = []
        for what in ("status", "list", "list by status", "list by workflow", "list deep down", "submit", "claim"):
            calls = effort.count(CALLS, 5)
            ours, theirs = await take_turns(
                effort.rounds(ROUNDS), _timed(large, what, calls), _timed(small, what, calls)
            )
            figures.append(
                Figure(
                    bench="B13",
                    what=f"{what}, p95 with {large.size:,} executions",
                    unit="ms",
                    ours=ours,
                    against=f"with {small.size:,}",
                    peer=theirs,
                    bar=Bar(limit=BAR),
                )
            )
    return figures


async def _measure_backlog(ground: Ground, effort: Effort) -> list[Figure]:
    async with (
        _Backlog.open(ground, effort.count(FEW_WAITING, 100)) as short,
        _Backlog.open(ground, effort.count(MANY_WAITING, 200)) as long,
    ):
        figures = []
        for what in ("submit", "finish"):
            calls = effort.count(CALLS // 2, 5)
            ours, theirs = await take_turns(
                effort.rounds(ROUNDS), _timed(long, what, calls), _timed(short, what, calls)
            )
            figures.append(
                Figure(
                    bench="B13",
                    what=f"{what}, p95 with {long.size:,} waiting",
                    unit="ms",
                    ours=ours,
                    against=f"with {short.size:,}",
                    peer=theirs,
                    bar=Bar(limit=BAR),
                )
            )
    return figures


def _timed(hall: "_Hall | _Backlog", what: str, calls: int) -> Callable[[], Awaitable[float]]:
    return lambda: hall.time(what, calls)


class _Hall:
    """A database of some size, and those who use it."""

    def __init__(self, db: TenantDatabase, tenant_id: TenantId, workflows: Sequence[UUID], size: int) -> None:
        queue = PgQueue("", concurrency=1, heartbeat_s=15)
        self.size = size
        self._tenant_id = tenant_id
        self._executions = Executions(db, queue)
        self._records = Records(db)
        self._runs = Runs(db, queue)
        self._workflows = workflows
        self._chance = random.Random(SEED)
        self._detailed: list[UUID] = []
        self._cursor: str | None = None
        self._submitted: list[ExecutionId] = []

    @classmethod
    @asynccontextmanager
    async def open(cls, ground: Ground, size: int) -> AsyncIterator["_Hall"]:
        database = await ground.make_database()
        tenant_id, others = TenantId(uuid7()), [uuid7() for _ in range(50)]
        workflows = [uuid7() for _ in range(10)]
        picked = await _fill(database, size, tenant_id, others, workflows)
        db = TenantDatabase(database.dsn("runtime_app"))
        hall = cls(db, tenant_id, workflows, size)
        hall._detailed = picked
        await hall._go_down()
        try:
            yield hall
        finally:
            await db.close()
            database.drop()

    async def time(self, what: str, calls: int) -> float:
        """p95 in ms."""
        acts: dict[str, Callable[[], Awaitable[object]]] = {
            "status": self._read_status,
            "list": self._list,
            "list by status": self._list_failed,
            "list by workflow": self._list_of_workflow,
            "list deep down": self._list_from_cursor,
            "submit": self._submit,
            "claim": self._claim,
        }
        act, took = acts[what], []
        for number in range(calls + 5):
            if what == "claim":
                await self._submit()
            began = time.perf_counter()
            await act()
            if number >= 5:  # the first ones warm caches of connection and server
                took.append((time.perf_counter() - began) * 1e3)
        return percentile(took, 0.95)

    async def _read_status(self) -> None:
        execution_id = ExecutionId(self._chance.choice(self._detailed))
        snapshot = await self._records.read_snapshot(self._tenant_id, execution_id, artifacts=True)
        describe_execution(snapshot, artifacts=True, visuals=True)

    async def _list(self, **wanted: object) -> str | None:
        asked = ListExecutions.model_validate({"limit": 50, **wanted})
        rows, cursor = await self._executions.list_page(self._tenant_id, asked)
        assert rows, "nothing was found"
        for row in rows:
            summarize_execution(row)
        return cursor

    async def _list_failed(self) -> None:
        await self._list(status=ExecutionStatus.FAILED)

    async def _list_of_workflow(self) -> None:
        await self._list(workflow_id=WorkflowId(self._workflows[0]))

    async def _list_from_cursor(self) -> None:
        await self._list(cursor=self._cursor)

    async def _go_down(self) -> None:
        for _ in range(4):
            self._cursor = await self._list(limit=100 if self.size > FEW else 10, cursor=self._cursor)

    async def _submit(self) -> None:
        row = await self._executions.submit(self._tenant_id, make_execution())
        self._submitted.append(ExecutionId(row.execution_id))

    async def _claim(self) -> None:
        assert await self._runs.claim(self._tenant_id, self._submitted.pop(), "bench") is not None


class _Backlog:
    """A database in which a tenant has more waiting than it may have at once."""

    def __init__(
        self, db: TenantDatabase, probe: "asyncpg.Connection[asyncpg.Record]", tenant_id: TenantId, size: int
    ) -> None:
        queue = PgQueue("", concurrency=1, heartbeat_s=15)
        self.size = size
        self._tenant_id = tenant_id
        self._executions = Executions(db, queue)
        self._runs = Runs(db, queue)
        self._probe = probe

    @classmethod
    @asynccontextmanager
    async def open(cls, ground: Ground, size: int) -> AsyncIterator["_Backlog"]:
        database = await ground.make_database()
        tenant_id, workflows = TenantId(uuid7()), [uuid7() for _ in range(10)]
        probe = await asyncpg.connect(database.superuser_dsn)
        db = TenantDatabase(database.dsn("runtime_app"))
        try:
            await probe.execute("INSERT INTO runtime.tenants (tenant_id) VALUES ($1)", tenant_id)
            await probe.execute(_WAITING, size, tenant_id, workflows)
            await probe.execute("VACUUM ANALYZE")
            yield cls(db, probe, tenant_id, size)
        finally:
            await db.close()
            await probe.close()
            database.drop()

    async def time(self, what: str, calls: int) -> float:
        """p95 in ms."""
        act = {"submit": self._submit, "finish": self._finish}[what]
        took = [await act() for _ in range(calls + 5)]
        return percentile(took[5:], 0.95)  # the first ones warm caches of connection and server

    async def _submit(self) -> float:
        new = make_execution()
        began = time.perf_counter()
        await self._executions.submit(self._tenant_id, new)
        return (time.perf_counter() - began) * 1e3

    async def _finish(self) -> float:
        execution_id = ExecutionId(await self._probe.fetchval(_BEGINNABLE, self._tenant_id))
        claimed = await self._runs.claim(self._tenant_id, execution_id, "bench")
        assert claimed is not None
        began = time.perf_counter()
        await self._runs.finish(claimed.lease, Change(), End(status=ExecutionStatus.COMPLETED))
        return (time.perf_counter() - began) * 1e3


async def _fill(
    database: Database, size: int, tenant_id: TenantId, others: Sequence[UUID], workflows: Sequence[UUID]
) -> list[UUID]:
    """Make the rows; the ids of executions that have steps and events."""
    connection = await asyncpg.connect(database.superuser_dsn)
    try:
        await connection.execute("SET synchronous_commit = off")
        await connection.executemany(_TENANT, [(one,) for one in (tenant_id, *others)])
        await connection.execute(_EXECUTIONS, size, tenant_id, others, workflows)
        await connection.execute(_STEPS, tenant_id, _DETAILED)
        await connection.execute(_EVENTS, tenant_id, _DETAILED)
        await connection.execute("VACUUM ANALYZE")
        return [row["execution_id"] for row in await connection.fetch(_PICK, tenant_id)]
    finally:
        await connection.close()
