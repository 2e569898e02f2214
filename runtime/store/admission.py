"""Which executions of a tenant may lie in the queue: as many as its limits allow, oldest first.

Whoever submits, finishes or changes limits takes the tenant's row first (`lock_tenant`), so that two of them never
count at the same time, and in every transaction before any execution's row, so that they never wait for each other.
"""

from dataclasses import dataclass

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from contracts.model import TenantId
from runtime.store.queue import Entry, Queue
from runtime.store.tables import SCHEMA

DEFAULT_CONCURRENCY = 4
"""Executions of a tenant at once where its limits say nothing: half of what a worker does by default, so that a tenant
whose executions all wait does not keep the others waiting."""


@dataclass(frozen=True)
class LockedTenant:
    """A tenant whose row the current transaction holds."""

    tenant_id: TenantId
    suspended: bool
    max_concurrent_executions: int
    max_workflows: int | None


async def lock_tenant(session: AsyncSession, tenant_id: TenantId) -> LockedTenant:
    """Take the tenant's row until commit; a tenant that nobody has announced yet gets one with default limits."""
    connection = await session.connection()
    values = {"tenant_id": tenant_id}
    row = (await connection.execute(_LOCK, values)).one_or_none()
    if row is None:
        await connection.execute(_KNOW, values)
        row = (await connection.execute(_LOCK, values)).one()
    limit = row.max_concurrent_executions
    return LockedTenant(
        tenant_id=tenant_id,
        suspended=row.suspended,
        max_concurrent_executions=DEFAULT_CONCURRENCY if limit is None else limit,
        max_workflows=row.max_workflows,
    )


async def admit_waiting(session: AsyncSession, queue: Queue, tenant: LockedTenant) -> None:
    """Queue as many waiting executions as the limits leave room for, in the caller's transaction."""
    if tenant.suspended:
        return
    values = {"tenant_id": tenant.tenant_id, "limit": tenant.max_concurrent_executions}
    rows = (await (await session.connection()).execute(_ADMIT, values)).all()
    await queue.enqueue(session, [Entry(tenant_id=tenant.tenant_id, execution_id=row.execution_id) for row in rows])


# NO KEY UPDATE: rows that refer to the tenant may be written meanwhile
_LOCK = text(f"""
    SELECT suspended, max_concurrent_executions, max_workflows
    FROM {SCHEMA}.tenants WHERE tenant_id = :tenant_id FOR NO KEY UPDATE
""")  # noqa: S608 — constants
_KNOW = text(
    f"INSERT INTO {SCHEMA}.tenants (tenant_id) VALUES (:tenant_id) ON CONFLICT DO NOTHING"  # noqa: S608
)
# Waiting and paused executions hold no worker, so they take no place.
_ADMIT = text(f"""
    WITH busy AS (
        SELECT workflow_id, count(*) AS number FROM {SCHEMA}.executions
        WHERE tenant_id = :tenant_id AND admitted_at IS NOT NULL AND status IN ('pending', 'running')
        GROUP BY workflow_id
    ), waiting AS (
        SELECT execution_id, workflow_id, workflow_concurrency, created_at,
               row_number() OVER (PARTITION BY workflow_id ORDER BY created_at, execution_id) AS place
        FROM {SCHEMA}.executions
        WHERE tenant_id = :tenant_id AND admitted_at IS NULL AND status = 'pending'
    ), next AS (
        SELECT waiting.execution_id
        FROM waiting LEFT JOIN busy ON busy.workflow_id = waiting.workflow_id
        WHERE waiting.workflow_concurrency IS NULL
           OR coalesce(busy.number, 0) + waiting.place <= waiting.workflow_concurrency
        ORDER BY waiting.created_at, waiting.execution_id
        LIMIT greatest(0, :limit - (SELECT coalesce(sum(number), 0) FROM busy))
    )
    UPDATE {SCHEMA}.executions SET admitted_at = now()
    WHERE tenant_id = :tenant_id AND execution_id IN (SELECT execution_id FROM next)
    RETURNING execution_id
""")  # noqa: S608
