"""Logins: cookies and token families. They are looked up before a tenant is known, so the system role only."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.sql.elements import ColumnElement
from sqlmodel import col, delete, select, update

from contracts.identity import Role
from contracts.model import LoginId, UserId
from experience.store.db import SystemSession
from experience.store.tables import LoginRow, MembershipRow, TenantRow, UserRow


@dataclass(frozen=True, slots=True)
class FoundLogin:
    """A live login with what its user is in its tenant at this moment."""

    login_id: UUID
    tenant_id: UUID
    user_id: UUID
    role: Role
    operator: bool
    suspended: bool
    last_seen_at: datetime
    expires_at: datetime
    ends_at: datetime


async def insert_login(session: SystemSession, row: LoginRow) -> None:
    """Store a new login."""
    session.add(row)
    await session.flush()


async def find_login(session: SystemSession, login_id: UUID, now: datetime) -> FoundLogin | None:
    """A live login by id."""
    return await _find(session, col(LoginRow.login_id) == login_id, now)


async def find_cookie(session: SystemSession, cookie_hash: bytes, now: datetime) -> FoundLogin | None:
    """The live login of a cookie."""
    return await _find(session, col(LoginRow.cookie_hash) == cookie_hash, now)


async def slide(session: SystemSession, login_id: UUID, *, seen_at: datetime, expires_at: datetime) -> None:
    """Note that a login was used, and let its end move on."""
    statement = update(LoginRow).where(col(LoginRow.login_id) == login_id)
    await session.exec(statement.values(last_seen_at=seen_at, expires_at=expires_at))


async def delete_login(session: SystemSession, login_id: LoginId) -> bool:
    """End a login with all its tokens; False when it had ended before."""
    statement = delete(LoginRow).where(col(LoginRow.login_id) == login_id).returning(col(LoginRow.login_id))
    return (await session.exec(statement)).scalar_one_or_none() is not None


async def delete_other_logins(session: SystemSession, user_id: UserId, kept: UUID | None) -> None:
    """End all logins of a user, in every tenant, but one."""
    statement = delete(LoginRow).where(col(LoginRow.user_id) == user_id)
    await session.exec(statement if kept is None else statement.where(col(LoginRow.login_id) != kept))


async def _find(session: SystemSession, which: ColumnElement[bool], now: datetime) -> FoundLogin | None:
    statement = (
        select(LoginRow, MembershipRow.role, UserRow.operator, TenantRow.suspended)
        .join(
            MembershipRow,
            (col(MembershipRow.tenant_id) == LoginRow.tenant_id) & (col(MembershipRow.user_id) == LoginRow.user_id),
        )
        .join(UserRow, col(UserRow.user_id) == LoginRow.user_id)
        .join(TenantRow, col(TenantRow.tenant_id) == LoginRow.tenant_id)
        .where(which, col(LoginRow.expires_at) > now)
    )
    found = (await session.exec(statement)).one_or_none()
    if found is None:
        return None
    login, role, operator, suspended = found
    return FoundLogin(
        login_id=login.login_id,
        tenant_id=login.tenant_id,
        user_id=login.user_id,
        role=Role(role),
        operator=operator,
        suspended=suspended,
        last_seen_at=login.last_seen_at,
        expires_at=login.expires_at,
        ends_at=login.ends_at,
    )
