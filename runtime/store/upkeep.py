"""Work across tenants that nobody waits for: what fell out of the queue goes back in, what is old goes away."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar
from uuid import UUID

from sqlalchemy import TextClause, text

from contracts.execution import ExecutionStatus
from contracts.model import TenantId
from runtime.store.admission import (
    ADMITTED,
    DEFAULT_CONCURRENCY,
    WAITING,
    admit_waiting,
    lock_tenant,
)
from runtime.store.db import DatabaseAway, SystemDatabase, SystemSession
from runtime.store.queue import Queue, QueueFigures, entry_of
from runtime.store.tables import SCHEMA

_ResT = TypeVar("_ResT")

QUEUE_LOG_DAYS = 14
DEAD_LETTER_DAYS = 14
"""From the decision, or where nobody decides, from the death (spec W1); the execution keeps its own retention."""
RECORD_DAYS = 365
"""Calls of tools and uses of credentials, which outlive their executions."""
RETENTION_DAYS = 30
"""Of finished executions, where their tenant says nothing else; a workflow may only shorten what its tenant says."""
BATCH = 200
"""Rows that one transaction of pruning looks at and removes, with what hangs on them."""


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """What one transaction of pruning took away."""

    executions: int = 0
    queue_lines: int = 0
    dead_letters: int = 0
    workflows: int = 0
    records: int = 0
    """Calls of tools and uses of credentials."""
    folders: Sequence[str] = ()
    """Artifact folders that nothing refers to any more."""


@dataclass(frozen=True)
class Figures:
    """How much there is to do, over all tenants."""

    queue: QueueFigures
    open: Mapping[str, int]
    """Executions that have not ended, by status; every such status is there."""
    not_admitted: int
    """Pending ones that their tenant's limit keeps out of the queue."""
    dead_letters: int
    """That nobody has decided about."""


class Upkeep:
    """Each method is safe to run on any number of processes at once."""

    def __init__(self, system: SystemDatabase, queue: Queue) -> None:
        self._system = system
        self._queue = queue

    async def reconcile(self) -> None:
        """Queue every admitted execution that should be there and is not, and admit what limits leave room for.

        An entry that somebody else has put in meanwhile stays the only one.
        """
        async with self._system.write() as session:
            fallen_out = text(_FALLEN_OUT.format(lacks=self._queue.lacks("e.execution_id")))
            rows = (await (await session.connection()).execute(fallen_out)).all()
            entries = [entry_of(row.tenant_id, row.execution_id, row.turn) for row in rows]
            await self._queue.enqueue(session, entries)
        for tenant_id in await self.find_behind():
            async with self._system.write() as session:
                await admit_waiting(session, self._queue, await lock_tenant(session, tenant_id))

    async def find_behind(self) -> list[TenantId]:
        """Tenants for which executions wait although their limit leaves room, as far as one sees without a lock."""
        async with self._system.write() as session:
            rows = await (await session.connection()).execute(_BEHIND, {"limit": DEFAULT_CONCURRENCY})
            return [TenantId(row.tenant_id) for row in rows]

    async def prune(self) -> AsyncGenerator[Pruned, None]:
        """Remove all that is past its time, a transaction for each batch, and say after each what it took away.

        The retention of an execution is the shorter of its tenant's and that of the document which it ran. However
        much has piled up, what has been removed stays removed; a batch that takes longer than a statement may is tried
        again with half as many rows.
        """
        now, pace = datetime.now(UTC), _Pace(self._system)
        log_end = now - timedelta(days=QUEUE_LOG_DAYS)
        while lines := await pace.take(lambda session, most: self._queue.prune(session, log_end, most)):
            yield Pruned(queue_lines=lines)
        async for pruned in _prune_executions(pace, now):
            yield pruned
        for kind, statement, days in _OLD:
            values = {"before": now - timedelta(days=days)}
            while number := await pace.take(partial(_delete, statement, values)):
                yield Pruned(**{kind: number})  # type: ignore[arg-type]  # kinds that are numbers, see _OLD

    async def measure(self) -> Figures:
        """Count what is open."""
        async with self._system.write() as session:
            queue = await self._queue.measure(session)
            rows = (await (await session.connection()).execute(_OPEN)).all()
            dead = (await (await session.connection()).execute(_DEAD)).scalar_one()
        return Figures(
            queue=queue,
            open={status.value: 0 for status in ExecutionStatus if not status.final}
            | {row.status: row.number for row in rows},
            not_admitted=sum(row.not_admitted for row in rows),
            dead_letters=dead,
        )


class _Pace:
    """How many rows a transaction of pruning takes on, so that each of them ends within its deadline."""

    def __init__(self, system: SystemDatabase) -> None:
        self._system = system
        self._most = BATCH

    async def take(self, work: Callable[[SystemSession, int], Awaitable[_ResT]]) -> _ResT:
        """Do `work` in a transaction of its own, on at most as many rows as it is told.

        Raises:
            DatabaseAway: it failed otherwise, or takes too long with a single row.
        """
        while True:
            began = False
            try:
                async with self._system.write() as session:
                    began = True
                    return await work(session, self._most)
            except DatabaseAway as error:
                if not began or self._most == 1 or not isinstance(error.__cause__, TimeoutError):
                    raise
                self._most //= 2


async def _prune_executions(pace: _Pace, now: datetime) -> AsyncGenerator[Pruned, None]:
    """Go through those that ended more than a day ago, in order of their end."""
    place = _Place(datetime.fromtimestamp(0, UTC), UUID(int=0))
    while True:
        found = await pace.take(partial(_prune_page, place, now))
        if found is None:
            return
        pruned, place = found
        if pruned.executions:
            yield pruned


@dataclass(frozen=True)
class _Place:
    """The last execution that pruning has looked at."""

    finished_at: datetime
    execution_id: UUID


async def _prune_page(place: _Place, now: datetime, session: SystemSession, most: int) -> tuple[Pruned, _Place] | None:
    values = {"now": now, "days": RETENTION_DAYS, "most": most, "at": place.finished_at, "id": place.execution_id}
    rows = (await (await session.connection()).execute(_PRUNE, values)).all()
    if not rows:
        return None
    gone = [row for row in rows if row.gone]
    folders = sorted({folder for row in gone for folder in row.folders})
    last = max(rows, key=lambda row: (row.finished_at, row.execution_id))
    return Pruned(executions=len(gone), folders=folders), _Place(last.finished_at, last.execution_id)


async def _delete(statement: TextClause, values: Mapping[str, datetime], session: SystemSession, most: int) -> int:
    done = await (await session.connection()).execute(statement, {**values, "most": most})
    return int(done.rowcount)


_FALLEN_OUT = f"""
    SELECT e.tenant_id, e.execution_id, e.turn FROM {SCHEMA}.executions AS e
    WHERE {ADMITTED} AND e.admitted_at < now() - interval '30 seconds' AND {{lacks}} ORDER BY e.turn
"""  # noqa: S608 — constants
_OPEN = text(f"""
    SELECT status, count(*) AS number,
           count(*) FILTER (WHERE status = 'pending' AND admitted_at IS NULL) AS not_admitted
    FROM {SCHEMA}.executions WHERE status IN ('pending', 'running', 'paused', 'waiting') GROUP BY status
""")  # noqa: S608
_DEAD = text(f"SELECT count(*) FROM {SCHEMA}.dead_letters WHERE resolved_at IS NULL")  # noqa: S608
# LATERAL: a probe for each tenant, however many executions wait
_BEHIND = text(f"""
    SELECT t.tenant_id FROM {SCHEMA}.tenants AS t
    CROSS JOIN LATERAL (SELECT FROM {SCHEMA}.executions AS e WHERE e.tenant_id = t.tenant_id AND {WAITING} LIMIT 1) AS w
    CROSS JOIN LATERAL (
        SELECT count(*) AS number FROM {SCHEMA}.executions AS e WHERE e.tenant_id = t.tenant_id AND {ADMITTED}
    ) AS busy
    WHERE NOT t.suspended AND busy.number < coalesce(t.max_concurrent_executions, :limit)
""")  # noqa: S608
# No retention is shorter than a day, so younger executions need not be looked at; and documents are large, so each
# version is read once for all of a page's executions. Folders are told by name too: a worker that died between a file
# and its row has left what no row tells of; after an adoption the rows' paths lead to the guest's folder.
_DAYS = "jsonb_path_query_first({}, '$.settings.retention_days ? (@.type() == \"number\")')::int"
_PRUNE = text(f"""
    WITH page AS MATERIALIZED (
        SELECT execution_id, tenant_id, workflow_id, workflow_version, finished_at,
               cast(:now AS timestamptz) - finished_at AS age, {_DAYS.format("document")} AS days
        FROM {SCHEMA}.executions
        WHERE finished_at <= cast(:now AS timestamptz) - interval '1 day'
          AND (finished_at, execution_id) > (cast(:at AS timestamptz), cast(:id AS uuid))
        ORDER BY finished_at, execution_id LIMIT :most
    ), limits AS MATERIALIZED (
        SELECT workflow_id, version, {_DAYS.format("document")} AS days FROM {SCHEMA}.workflow_versions
        WHERE (workflow_id, version) IN (SELECT workflow_id, workflow_version FROM page)
    ), old AS (
        SELECT e.execution_id FROM page JOIN {SCHEMA}.executions e USING (execution_id)
        JOIN {SCHEMA}.tenants t ON t.tenant_id = page.tenant_id
        LEFT JOIN limits v ON v.workflow_id = page.workflow_id AND v.version = page.workflow_version
        WHERE page.age > make_interval(days => coalesce(t.retention_days, :days))
           OR page.age > make_interval(days => v.days)
           OR page.age > make_interval(days => page.days)
        FOR UPDATE OF e SKIP LOCKED
    ), folders AS (
        SELECT execution_id, array_agg(DISTINCT regexp_replace(path, '/[^/]*$', '')) AS folders
        FROM {SCHEMA}.artifacts WHERE execution_id IN (SELECT execution_id FROM old) GROUP BY execution_id
    ), gone AS (
        DELETE FROM {SCHEMA}.executions e USING old LEFT JOIN folders USING (execution_id)
        WHERE e.execution_id = old.execution_id
        RETURNING e.execution_id,
                  array_append(folders.folders, concat(e.tenant_id, '/', e.execution_id)) AS folders
    )
    SELECT page.execution_id, page.finished_at, gone.folders, gone.execution_id IS NOT NULL AS gone
    FROM page LEFT JOIN gone USING (execution_id)
""")  # noqa: S608
# Arrays: a subquery with a LIMIT could be run more than once.
_PRUNE_DEAD_LETTERS = text(f"""
    DELETE FROM {SCHEMA}.dead_letters WHERE execution_id = ANY(ARRAY(
        SELECT execution_id FROM {SCHEMA}.dead_letters WHERE coalesce(resolved_at, died_at) < :before
        LIMIT :most FOR UPDATE SKIP LOCKED))
""")  # noqa: S608
# A deleted workflow stays as long as an execution shows one of its versions.
_PRUNE_WORKFLOWS = text(f"""
    DELETE FROM {SCHEMA}.workflows WHERE workflow_id = ANY(ARRAY(
        SELECT w.workflow_id FROM {SCHEMA}.workflows w
        WHERE w.deleted_at < :before
          AND NOT EXISTS (SELECT FROM {SCHEMA}.executions e WHERE e.workflow_id = w.workflow_id)
        LIMIT :most FOR UPDATE SKIP LOCKED))
""")  # noqa: S608
# By tenant, because their indexes begin with it.
_PRUNE_RECORDS = """
    DELETE FROM {schema}.{table} WHERE {key} = ANY(ARRAY(
        SELECT old.{key} FROM {schema}.tenants t CROSS JOIN LATERAL (
            SELECT {key} FROM {schema}.{table} r
            WHERE r.tenant_id = t.tenant_id AND r.at < :before ORDER BY r.at LIMIT :most FOR UPDATE SKIP LOCKED
        ) AS old LIMIT :most))
"""
# Refusals and uses of profiles stay: they are few, and some of them are what an audit looks for years later.
_OLD: Sequence[tuple[str, TextClause, int]] = [
    ("dead_letters", _PRUNE_DEAD_LETTERS, DEAD_LETTER_DAYS),
    ("workflows", _PRUNE_WORKFLOWS, 1),
    *(
        ("records", text(_PRUNE_RECORDS.format(schema=SCHEMA, table=table, key=key)), RECORD_DAYS)
        for table, key in (("tool_events", "event_id"), ("credential_uses", "use_id"))
    ),
]
"""What goes by age alone: its name in Pruned, how, and after how many days."""
