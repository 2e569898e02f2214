"""Refresh tokens, WebSocket tickets and sign-in links: single use, stored as hashes."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlmodel import col, delete, select, update

from contracts.model import UserId
from experience.store.db import SystemSession, TenantSession
from experience.store.tables import LinkRow, LoginRow, RefreshTokenRow, TicketRow


@dataclass(frozen=True, slots=True)
class PresentedToken:
    """A refresh token whose login is alive and locked."""

    login: LoginRow
    spent_at: datetime | None
    """None on its first use."""
    successor_salt: bytes | None


async def lock_refresh_token(session: SystemSession, token_hash: bytes, now: datetime) -> PresentedToken | None:
    """What is known of a refresh token; None when it was never ours or its login is over.

    The login's row is locked first, so that parallel uses of one family come one after the other: read and write
    without it gave a family two heads in 40 of 40 trials.
    """
    owner = select(RefreshTokenRow.login_id).where(RefreshTokenRow.token_hash == token_hash).scalar_subquery()
    living = select(LoginRow).where(col(LoginRow.login_id) == owner, col(LoginRow.expires_at) > now)
    login = (await session.exec(living.with_for_update())).one_or_none()
    if login is None:
        return None
    # read after the lock was granted, and so as the one before left it
    token = (await session.exec(select(RefreshTokenRow).where(RefreshTokenRow.token_hash == token_hash))).one()
    return PresentedToken(login, token.spent_at, token.successor_salt)


async def is_unspent(session: SystemSession, token_hash: bytes) -> bool:
    """Whether a refresh token has not been used yet."""
    statement = select(RefreshTokenRow.token_hash).where(
        RefreshTokenRow.token_hash == token_hash, col(RefreshTokenRow.spent_at).is_(None)
    )
    return (await session.exec(statement)).first() is not None


async def spend_refresh_token(session: SystemSession, token_hash: bytes, *, salt: bytes, now: datetime) -> None:
    """Mark a token as used and keep what makes its successor."""
    statement = update(RefreshTokenRow).where(col(RefreshTokenRow.token_hash) == token_hash)
    await session.exec(statement.values(spent_at=now, successor_salt=salt))


async def insert_refresh_token(session: SystemSession, token_hash: bytes, login: LoginRow, now: datetime) -> None:
    """Add the newest token of a family."""
    row = RefreshTokenRow(
        token_hash=token_hash,
        tenant_id=login.tenant_id,
        login_id=login.login_id,
        issued_at=now,
        spent_at=None,
        successor_salt=None,
    )
    session.add(row)
    await session.flush()


async def find_family(session: SystemSession, token_hash: bytes) -> LoginRow | None:
    """The login a refresh token belongs to, spent or not."""
    statement = (
        select(LoginRow)
        .join(RefreshTokenRow, col(RefreshTokenRow.login_id) == LoginRow.login_id)
        .where(RefreshTokenRow.token_hash == token_hash)
    )
    return (await session.exec(statement)).one_or_none()


async def insert_ticket(
    session: TenantSession, *, ticket_hash: bytes, via: str, credential_id: UUID, until: datetime
) -> None:
    """Store a pass for one WebSocket of the caller's tenant."""
    row = TicketRow(
        ticket_hash=ticket_hash, tenant_id=session.tenant_id, via=via, credential_id=credential_id, expires_at=until
    )
    session.add(row)
    await session.flush()


async def take_ticket(session: SystemSession, ticket_hash: bytes, now: datetime) -> TicketRow | None:
    """Use a ticket up: of many at once exactly one gets it."""
    statement = delete(TicketRow).where(col(TicketRow.ticket_hash) == ticket_hash).returning(TicketRow)
    ticket = (await session.exec(statement)).scalar_one_or_none()
    return ticket if ticket is not None and ticket.expires_at > now else None


async def insert_link(session: TenantSession, *, code_hash: bytes, user_id: UserId, until: datetime) -> None:
    """Store a sign-in link for a member of the caller's tenant."""
    session.add(LinkRow(code_hash=code_hash, tenant_id=session.tenant_id, user_id=user_id, expires_at=until))
    await session.flush()


async def take_link(session: SystemSession, code_hash: bytes, now: datetime) -> LinkRow | None:
    """Use a sign-in link up: of many at once exactly one gets it."""
    statement = delete(LinkRow).where(col(LinkRow.code_hash) == code_hash).returning(LinkRow)
    link = (await session.exec(statement)).scalar_one_or_none()
    return link if link is not None and link.expires_at > now else None


async def delete_links(session: SystemSession, user_id: UserId) -> None:
    """Void every open sign-in link of a user."""
    await session.exec(delete(LinkRow).where(col(LinkRow.user_id) == user_id))
