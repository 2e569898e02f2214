"""Tenants. A caller reads its own; making, changing and deleting them is work across tenants."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import exists
from sqlmodel import col, delete, select, update
from uuid_utils.compat import uuid7

from contracts.execution import TenantState
from contracts.identity import Tenant, TenantLimits
from contracts.model import TenantId
from experience.store.db import SystemSession, TenantSession
from experience.store.tables import MembershipRow, Row, TenantRow, UserRow


async def read_own_tenant(session: TenantSession) -> TenantRow | None:
    """The caller's tenant."""
    return (await session.exec(select(TenantRow).where(TenantRow.tenant_id == session.tenant_id))).one_or_none()


async def insert_tenant(
    session: SystemSession, *, name: str, kind: Literal["team", "guest"], limits: TenantLimits, now: datetime
) -> TenantRow:
    """A new tenant. Runtime gives tenants it has not heard of its defaults, so only other limits must be told."""
    row = TenantRow(
        tenant_id=uuid7(),
        kind=kind,
        name=name,
        suspended=False,
        runtime_behind=limits != TenantLimits(),
        created_at=now,
        **limits.model_dump(),
    )
    session.add(row)
    await session.flush()
    return row


async def list_tenants(session: SystemSession, after: UUID | None, limit: int) -> list[TenantRow]:
    """Tenants of people (not of guests), oldest first, one more than `limit` when there are."""
    statement = select(TenantRow).where(TenantRow.kind == "team")
    if after is not None:
        statement = statement.where(col(TenantRow.tenant_id) > after)
    return list(await session.exec(statement.order_by(col(TenantRow.tenant_id)).limit(limit + 1)))


async def lock_tenant(session: SystemSession, tenant_id: TenantId) -> TenantRow | None:
    """A tenant, locked until the transaction ends."""
    return (
        await session.exec(select(TenantRow).where(TenantRow.tenant_id == tenant_id).with_for_update())
    ).one_or_none()


async def save_tenant(session: SystemSession, row: TenantRow) -> None:
    """Write a locked tenant back."""
    session.add(row)
    await session.flush()


async def delete_tenant(session: SystemSession, tenant_id: TenantId) -> None:
    """Delete a tenant with all its rows, and the users who were nowhere else."""
    elsewhere = exists().where(
        col(MembershipRow.user_id) == col(UserRow.user_id), col(MembershipRow.tenant_id) != tenant_id
    )
    here = select(MembershipRow.user_id).where(MembershipRow.tenant_id == tenant_id)
    await session.exec(
        delete(UserRow).where(col(UserRow.user_id).in_(here), ~elsewhere, ~col(UserRow.operator)),
        execution_options={"synchronize_session": False},
    )
    await session.exec(delete(TenantRow).where(col(TenantRow.tenant_id) == tenant_id))


async def list_behind(session: SystemSession, limit: int) -> list[TenantRow]:
    """Tenants whose state Runtime has not confirmed."""
    return list(await session.exec(select(TenantRow).where(col(TenantRow.runtime_behind)).limit(limit)))


async def confirm_state(session: SystemSession, state: TenantState) -> None:
    """Runtime knows this state now; changes made since then are still to be told."""
    statement = update(TenantRow).where(
        col(TenantRow.tenant_id) == state.tenant_id,
        col(TenantRow.suspended) == state.suspended,
        col(TenantRow.max_concurrent_executions).is_not_distinct_from(state.max_concurrent_executions),
        col(TenantRow.max_workflows).is_not_distinct_from(state.max_workflows),
        col(TenantRow.retention_days).is_not_distinct_from(state.retention_days),
    )
    await session.exec(statement.values(runtime_behind=False))


async def read_everything(session: TenantSession, table: type[Row], without: set[str]) -> list[dict[str, Any]]:
    """All rows of the tenant in one table, as JSON, without the named columns."""
    columns: Any = table
    rows = await session.exec(select(table).where(columns.tenant_id == session.tenant_id))
    return [row.model_dump(mode="json", exclude=without) for row in rows]


def show_tenant(row: TenantRow) -> Tenant:
    """A tenant as the wire shows it."""
    limits = TenantLimits(
        max_concurrent_executions=row.max_concurrent_executions,
        max_workflows=row.max_workflows,
        retention_days=row.retention_days,
    )
    return Tenant(
        tenant_id=TenantId(row.tenant_id),
        name=row.name,
        suspended=row.suspended,
        limits=limits,
        created_at=row.created_at,
    )


def state_of(row: TenantRow) -> TenantState:
    """What Runtime must know of a tenant."""
    return TenantState(
        tenant_id=TenantId(row.tenant_id),
        suspended=row.suspended,
        max_concurrent_executions=row.max_concurrent_executions,
        max_workflows=row.max_workflows,
        retention_days=row.retention_days,
    )
