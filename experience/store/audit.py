"""The audit trail: written and read, never changed (the roles have no grant for it)."""

from sqlalchemy import insert
from sqlmodel import col, select

from contracts.identity import AuditAct, AuditEntry, ReadAudit
from contracts.model import UserId
from experience.store.db import SystemSession, TenantSession
from experience.store.tables import AuditRow


async def insert_entry(session: TenantSession, row: AuditRow) -> None:
    """Add an entry to the caller's tenant's trail."""
    row.tenant_id = session.tenant_id
    await session.exec(insert(AuditRow).values(row.model_dump(exclude={"id"})))


async def insert_entry_for(session: SystemSession, row: AuditRow) -> None:
    """Add an entry to the trail of the tenant that the row names."""
    await session.exec(insert(AuditRow).values(row.model_dump(exclude={"id"})))


async def list_entries(session: TenantSession, wanted: ReadAudit, before: int | None) -> list[AuditEntry]:
    """Entries of the tenant that fit, newest first, one more than the limit when there are."""
    statement = select(AuditRow).where(AuditRow.tenant_id == session.tenant_id)
    if wanted.act is not None:
        statement = statement.where(AuditRow.act == wanted.act)
    if wanted.user_id is not None:
        statement = statement.where(AuditRow.user_id == wanted.user_id)
    if wanted.since is not None:
        statement = statement.where(col(AuditRow.at) >= wanted.since)
    if wanted.until is not None:
        statement = statement.where(col(AuditRow.at) < wanted.until)
    if before is not None:
        statement = statement.where(col(AuditRow.id) < before)
    rows = await session.exec(statement.order_by(col(AuditRow.id).desc()).limit(wanted.limit + 1))
    return [_show(row) for row in rows]


def _show(row: AuditRow) -> AuditEntry:
    return AuditEntry(
        id=row.id or 0,
        at=row.at,
        act=AuditAct(row.act),
        user_id=None if row.user_id is None else UserId(row.user_id),
        subject=row.subject,
        address=row.address,
        request_id=row.request_id,
        detail=row.detail,
    )
