"""Sessions with their history, and the guests' tenants that come and go with them."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, exists, update
from sqlmodel import col, select

from contracts.model import SessionId, TenantId, UserId
from experience.store.db import SystemSession, TenantSession
from experience.store.tables import IntentRow, SessionRow, SessionTurnRow, TenantRow


async def add_session(session: TenantSession, row: SessionRow) -> None:
    """Store a member's session."""
    session.add(row)
    await session.flush()


async def add_guest(session: SystemSession, row: SessionRow) -> None:
    """Store a guest's session, in a tenant that was made for it."""
    session.add(row)
    await session.flush()


async def find_session(session: TenantSession, session_id: SessionId) -> SessionRow | None:
    """The session, if the tenant has it."""
    found = select(SessionRow).where(SessionRow.tenant_id == session.tenant_id, SessionRow.session_id == session_id)
    return (await session.exec(found)).first()


async def hold_session(session: TenantSession, session_id: SessionId) -> SessionRow | None:
    """The same, and until this transaction ends the session can neither be deleted nor move to another tenant."""
    held = (
        select(SessionRow)
        .where(SessionRow.tenant_id == session.tenant_id, SessionRow.session_id == session_id)
        .with_for_update(read=True, key_share=True)
    )
    return (await session.exec(held)).first()


async def list_turns(session: TenantSession, session_id: SessionId, limit: int) -> Sequence[SessionTurnRow]:
    """The latest `limit` lines of a session's history, oldest first."""
    latest = (
        select(SessionTurnRow)
        .where(SessionTurnRow.tenant_id == session.tenant_id, SessionTurnRow.session_id == session_id)
        .order_by(col(SessionTurnRow.id).desc())
        .limit(limit)
    )
    return (await session.exec(latest)).all()[::-1]


async def delete_session(session: TenantSession, session_id: SessionId) -> None:
    """Forget a session with its history; what it started stays."""
    await session.exec(
        delete(SessionRow).where(
            col(SessionRow.tenant_id) == session.tenant_id, col(SessionRow.session_id) == session_id
        )
    )


async def lock_guest(
    session: SystemSession, session_id: SessionId, token_hash: bytes, *, now: datetime
) -> SessionRow | None:
    """A guest's living session, known by its token: nothing can be started from it while this transaction lasts."""
    locked = (
        select(SessionRow)
        .where(
            SessionRow.session_id == session_id, SessionRow.token_hash == token_hash, col(SessionRow.expires_at) > now
        )
        .with_for_update()
    )
    return (await session.exec(locked)).first()


async def move_session(session: SystemSession, session_id: SessionId, tenant_id: TenantId, user_id: UserId) -> None:
    """Give a guest's session to a user. Its history and its intents go along, by the foreign keys."""
    await session.exec(
        update(SessionRow)
        .where(col(SessionRow.session_id) == session_id)
        .values(tenant_id=tenant_id, user_id=user_id, token_hash=None, expires_at=None)
    )


async def list_left_tenants(session: SystemSession, limit: int, *, now: datetime) -> list[TenantId]:
    """Guests' tenants without a living session, oldest first. Those that still owe Runtime something are left out."""
    living = exists().where(col(SessionRow.tenant_id) == col(TenantRow.tenant_id), col(SessionRow.expires_at) > now)
    owing = exists().where(
        col(IntentRow.tenant_id) == col(TenantRow.tenant_id), col(IntentRow.next_attempt_at).is_not(None)
    )
    left = (
        select(TenantRow.tenant_id)
        .where(TenantRow.kind == "guest", ~living, ~owing)
        .order_by(col(TenantRow.created_at))
        .limit(limit)
    )
    return [TenantId(tenant_id) for tenant_id in (await session.exec(left)).all()]
