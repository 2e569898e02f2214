"""Removes what has expired. Across tenants, so the system role only."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Uuid, cast, func, true, tuple_
from sqlmodel import col, delete, select

from experience.store.db import SystemSession
from experience.store.tables import (
    IdempotencyRow,
    IntentRow,
    InvitationRow,
    LinkRow,
    LoginRow,
    TenantRow,
    ThrottleRow,
    TicketRow,
)

BATCH = 500
"""Rows that one transaction removes."""
INTENT_DAYS = 30
"""How long intents are kept where their tenant does not say for how long its executions are (workflows chapter, W1)."""
EXPIRING: list[tuple[Any, Any]] = [
    (TicketRow, TicketRow.expires_at),
    (LinkRow, LinkRow.expires_at),
    (InvitationRow, InvitationRow.expires_at),
    (IdempotencyRow, IdempotencyRow.expires_at),
    (LoginRow, LoginRow.expires_at),
    (ThrottleRow, ThrottleRow.forget_at),
]
"""Tickets, links, invitations, keys of requests, logins and counters, and when the time of each is over."""


async def delete_expired(table: Any, end: Any, now: datetime, session: SystemSession) -> int:
    """Delete at most BATCH rows of one of EXPIRING whose time is over, and answer how many."""
    key = [col(column) for column in table.__table__.primary_key]
    found = select(*key).where(col(end) <= now).limit(BATCH).with_for_update(skip_locked=True)
    gone = delete(table).where(tuple_(*key).in_(found.cte("found").select()))
    return int((await session.exec(gone, execution_options={"synchronize_session": False})).rowcount)


async def delete_old_intents(session: SystemSession) -> int:
    """Delete at most BATCH intents that Runtime has had, or refused, for longer than their tenant keeps executions.

    Answers how many. What has not reached Runtime yet stays, however old, also a cancel.
    """
    kept = func.make_interval(0, 0, 0, func.coalesce(TenantRow.retention_days, INTENT_DAYS))
    end = func.now() - kept
    # Ids are UUIDv7: those of before an instant are less than the one that begins with its milliseconds and goes on
    # with zeros. That bound lets the index find them; what is old is decided by the times.
    milliseconds = func.to_hex(cast(func.extract("epoch", end) * 1_000, BigInteger))
    bound = cast(func.rpad(func.lpad(milliseconds, 12, "0"), 32, "0"), Uuid)
    last = func.greatest(IntentRow.created_at, IntentRow.delivered_at, IntentRow.cancel_delivered_at)
    old = (
        select(IntentRow.intent_id)
        .where(
            IntentRow.tenant_id == TenantRow.tenant_id,
            col(IntentRow.intent_id) < bound,
            IntentRow.status != "pending",
            col(IntentRow.next_attempt_at).is_(None),
            last < end,
        )
        .order_by(col(IntentRow.intent_id))
        .limit(BATCH)
        .with_for_update(skip_locked=True)
        .correlate(TenantRow)
        .lateral("old")
    )
    found = select(old.c.intent_id).select_from(TenantRow).join(old, true()).limit(BATCH).cte("found")
    gone = delete(IntentRow).where(col(IntentRow.intent_id).in_(found.select()))
    return int((await session.exec(gone, execution_options={"synchronize_session": False})).rowcount)
