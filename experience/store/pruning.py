"""Removes what has expired. Across tenants, so the system role only."""

from datetime import datetime
from typing import Any

from sqlmodel import col, delete

from experience.store.db import SystemSession
from experience.store.tables import IdempotencyRow, InvitationRow, LinkRow, LoginRow, ThrottleRow, TicketRow


async def delete_expired(session: SystemSession, now: datetime) -> None:
    """Delete tickets, links, invitations, keys of requests, logins and counters whose time is over."""
    ended: list[tuple[Any, Any]] = [
        (TicketRow, TicketRow.expires_at),
        (LinkRow, LinkRow.expires_at),
        (InvitationRow, InvitationRow.expires_at),
        (IdempotencyRow, IdempotencyRow.expires_at),
        (LoginRow, LoginRow.expires_at),
        (ThrottleRow, ThrottleRow.forget_at),
    ]
    for table, end in ended:
        await session.exec(delete(table).where(col(end) <= now), execution_options={"synchronize_session": False})
