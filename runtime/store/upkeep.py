"""Work across tenants that nobody waits for: what fell out of the queue goes back in, what is old goes away."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from contracts.execution import ExecutionStatus
from contracts.model import TenantId
from runtime.store.admission import (
    ADMITTED,
    DEFAULT_CONCURRENCY,
    WAITING,
    admit_waiting,
    lock_tenant,
)
from runtime.store.db import SystemDatabase
from runtime.store.queue import Queue, QueueFigures, entry_of
from runtime.store.tables import SCHEMA

QUEUE_LOG_DAYS = 14
DEAD_LETTER_DAYS = 14
RECORD_DAYS = 365
"""Calls of tools and uses of credentials, which outlive their executions."""
"""From the decision, or where nobody decides, from the death (spec W1); the execution keeps its own retention."""
RETENTION_DAYS = 30
"""Of finished executions, where their tenant says nothing else; a workflow may only shorten what its tenant says."""
BATCH = 200
"""Executions removed by one transaction."""


@dataclass(frozen=True)
class Pruned:
    """What one round of pruning took away."""

    executions: int
    queue_lines: int
    dead_letters: int
    folders: Sequence[str]
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
        """Queue every admitted execution that should be there, and admit what limits leave room for.

        An entry that is queued or being performed already stays one, so this asks nothing and repeats safely.
        """
        async with self._system.write() as session:
            rows = (await (await session.connection()).execute(_ADMITTED)).all()
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

    async def prune(self) -> Pruned:
        """Remove one batch of executions past their retention, old dead letters, and the queue's old history.

        The retention is the shorter of the tenant's and that of the document which the execution ran.
        """
        now = datetime.now(UTC)
        async with self._system.write() as session:
            lines = await self._queue.prune(session, now - timedelta(days=QUEUE_LOG_DAYS))
            values = {"now": now, "days": RETENTION_DAYS, "batch": BATCH}
            rows = (await (await session.connection()).execute(_PRUNE, values)).all()
            old = {"before": now - timedelta(days=DEAD_LETTER_DAYS)}
            letters = (await (await session.connection()).execute(_PRUNE_DEAD_LETTERS, old)).rowcount
            await (await session.connection()).execute(_PRUNE_WORKFLOWS)
            for statement in _PRUNE_RECORDS:
                await (await session.connection()).execute(statement, {"before": now - timedelta(days=RECORD_DAYS)})
        return Pruned(
            executions=len(rows),
            queue_lines=lines,
            dead_letters=int(letters),
            folders=sorted({folder for row in rows for folder in row.folders}),
        )

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


_ADMITTED = text(f"""
    SELECT tenant_id, execution_id, turn FROM {SCHEMA}.executions
    WHERE {ADMITTED} AND admitted_at < now() - interval '30 seconds' ORDER BY turn
""")  # noqa: S608 — constants
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
# version is read once for all of its executions. Folders are told by name too: a worker that died between a file and
# its row has left what no row tells of; after an adoption the rows' paths lead to the guest's folder.
_DAYS = "jsonb_path_query_first({}, '$.settings.retention_days ? (@.type() == \"number\")')::int"
_PRUNE = text(f"""
    WITH limits AS MATERIALIZED (
        SELECT workflow_id, version, {_DAYS.format("document")} AS days FROM {SCHEMA}.workflow_versions
    ), old AS (
        SELECT e.execution_id FROM {SCHEMA}.executions e JOIN {SCHEMA}.tenants t USING (tenant_id)
        LEFT JOIN limits v ON v.workflow_id = e.workflow_id AND v.version = e.workflow_version
        CROSS JOIN LATERAL (SELECT cast(:now AS timestamptz) - e.finished_at AS value) age
        WHERE e.finished_at <= cast(:now AS timestamptz) - interval '1 day' AND (
            age.value > make_interval(days => coalesce(t.retention_days, :days))
            OR age.value > make_interval(days => v.days)
            OR age.value > make_interval(days => {_DAYS.format("e.document")}))
        ORDER BY e.finished_at LIMIT :batch FOR UPDATE OF e SKIP LOCKED
    ), folders AS (
        SELECT execution_id, array_agg(DISTINCT regexp_replace(path, '/[^/]*$', '')) AS folders
        FROM {SCHEMA}.artifacts WHERE execution_id IN (SELECT execution_id FROM old) GROUP BY execution_id
    )
    DELETE FROM {SCHEMA}.executions e USING old LEFT JOIN folders USING (execution_id)
    WHERE e.execution_id = old.execution_id
    RETURNING array_append(folders.folders, concat(e.tenant_id, '/', e.execution_id)) AS folders
""")  # noqa: S608
_PRUNE_DEAD_LETTERS = text(f"""
    DELETE FROM {SCHEMA}.dead_letters WHERE coalesce(resolved_at, died_at) < :before
""")  # noqa: S608
# Refusals and uses of profiles stay: they are few, and some of them are what an audit looks for years later.
_PRUNE_RECORDS = [
    text(f"DELETE FROM {SCHEMA}.{table} WHERE at < :before")  # noqa: S608
    for table in ("tool_events", "credential_uses")
]
# A deleted workflow stays as long as an execution shows one of its versions.
_PRUNE_WORKFLOWS = text(f"""
    DELETE FROM {SCHEMA}.workflows w
    WHERE w.deleted_at < now() - interval '1 day'
      AND NOT EXISTS (SELECT FROM {SCHEMA}.executions e WHERE e.workflow_id = w.workflow_id)
""")  # noqa: S608
