"""Work across tenants that nobody waits for: what fell out of the queue goes back in, what is old goes away."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from contracts.model import TenantId
from runtime.store.admission import admit_waiting, lock_tenant
from runtime.store.db import SystemDatabase
from runtime.store.queue import Entry, Queue, QueueFigures
from runtime.store.tables import SCHEMA

QUEUE_LOG_DAYS = 14
RETENTION_DAYS = 30
"""Of finished executions, where their tenant says nothing else."""
BATCH = 200
"""Executions removed by one transaction."""


@dataclass(frozen=True)
class Pruned:
    """What one round of pruning took away."""

    executions: int
    queue_lines: int
    folders: Sequence[str]
    """Artifact folders that nothing refers to any more."""


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
            entries = [Entry(tenant_id=row.tenant_id, execution_id=row.execution_id) for row in rows]
            await self._queue.enqueue(session, entries)
            waiting = (await (await session.connection()).execute(_WAITING)).all()
        for row in waiting:
            async with self._system.write() as session:
                tenant = await lock_tenant(session, TenantId(row.tenant_id))
                await admit_waiting(session, self._queue, tenant)

    async def prune(self) -> Pruned:
        """Remove one batch of executions past their retention, and the queue's old history."""
        now = datetime.now(UTC)
        async with self._system.write() as session:
            lines = await self._queue.prune(session, now - timedelta(days=QUEUE_LOG_DAYS))
            values = {"now": now, "days": RETENTION_DAYS, "batch": BATCH}
            rows = (await (await session.connection()).execute(_PRUNE, values)).all()
            await (await session.connection()).execute(_PRUNE_WORKFLOWS)
        return Pruned(
            executions=len(rows),
            queue_lines=lines,
            folders=sorted({folder for row in rows for folder in row.folders or ()}),
        )

    async def measure_queue(self) -> QueueFigures:
        """How full the queue is."""
        async with self._system.write() as session:
            return await self._queue.measure(session)


_ADMITTED = text(f"""
    SELECT tenant_id, execution_id FROM {SCHEMA}.executions
    WHERE status IN ('pending', 'running') AND admitted_at < now() - interval '30 seconds'
""")  # noqa: S608 — constants
_WAITING = text(f"""
    SELECT DISTINCT tenant_id FROM {SCHEMA}.executions
    WHERE status = 'pending' AND admitted_at IS NULL
""")  # noqa: S608
_PRUNE = text(f"""
    WITH old AS (
        SELECT e.execution_id FROM {SCHEMA}.executions e JOIN {SCHEMA}.tenants t USING (tenant_id)
        WHERE e.finished_at < cast(:now AS timestamptz) - make_interval(days => coalesce(t.retention_days, :days))
        ORDER BY e.finished_at LIMIT :batch FOR UPDATE OF e SKIP LOCKED
    ), folders AS (
        SELECT execution_id, array_agg(DISTINCT regexp_replace(path, '/[^/]*$', '')) AS folders
        FROM {SCHEMA}.artifacts WHERE execution_id IN (SELECT execution_id FROM old) GROUP BY execution_id
    )
    DELETE FROM {SCHEMA}.executions e USING old LEFT JOIN folders USING (execution_id)
    WHERE e.execution_id = old.execution_id
    RETURNING e.execution_id, folders.folders
""")  # noqa: S608
# A deleted workflow stays as long as an execution shows one of its versions.
_PRUNE_WORKFLOWS = text(f"""
    DELETE FROM {SCHEMA}.workflows w
    WHERE w.deleted_at < now() - interval '1 day'
      AND NOT EXISTS (SELECT FROM {SCHEMA}.executions e WHERE e.workflow_id = w.workflow_id)
""")  # noqa: S608
