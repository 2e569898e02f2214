"""Guests' sessions as credentials. Looked up before a tenant is known, so the system role only."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.sql.elements import ColumnElement
from sqlmodel import col, select

from experience.store.db import SystemSession
from experience.store.tables import SessionRow, TenantRow


@dataclass(frozen=True, slots=True)
class FoundGuest:
    """A living anonymous session."""

    session_id: UUID
    tenant_id: UUID
    suspended: bool
    expires_at: datetime | None


async def find_guest(session: SystemSession, token_hash: bytes, now: datetime) -> FoundGuest | None:
    """The session of a guest's token."""
    return await _find(session, col(SessionRow.token_hash) == token_hash, now)


async def find_guest_session(session: SystemSession, session_id: UUID, now: datetime) -> FoundGuest | None:
    """A guest's session by its id."""
    return await _find(session, col(SessionRow.session_id) == session_id, now)


async def _find(session: SystemSession, which: ColumnElement[bool], now: datetime) -> FoundGuest | None:
    statement = (
        select(SessionRow, TenantRow.suspended)
        .join(TenantRow, col(TenantRow.tenant_id) == SessionRow.tenant_id)
        .where(which, col(SessionRow.user_id).is_(None))
        .where(col(SessionRow.expires_at).is_(None) | (col(SessionRow.expires_at) > now))
    )
    found = (await session.exec(statement)).one_or_none()
    if found is None:
        return None
    row, suspended = found
    return FoundGuest(row.session_id, row.tenant_id, suspended, row.expires_at)
