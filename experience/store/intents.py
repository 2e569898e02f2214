"""Intents, and the outbox that hands them to Runtime.

The outbox is the rows with `next_attempt_at`: something of them has not reached Runtime yet, the submit or a cancel
after it. Whoever delivers one moves that time ahead first, so that for a while nobody else does; when it then dies,
the time passes and the row is anybody's again. That time is the database's: replicas' clocks may differ, and are set.
Delivering twice does no harm, because Runtime knows an execution by
its id; delivering never can't happen, because only a confirmed delivery takes the time away.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, Update, case, func, insert, update
from sqlmodel import col, select

from contracts.model import ExecutionId, IntentId, SessionId, TenantId
from experience.store.db import SystemSession, TenantSession
from experience.store.tables import IntentRow


@dataclass(frozen=True, slots=True)
class OutboxDepth:
    """What has not reached Runtime yet."""

    submits: int
    cancels: int
    oldest_s: float
    """Age of the oldest undelivered intent in seconds; 0 when there is none. A cancel has no age of its own."""


async def add_intent(session: TenantSession, row: IntentRow, *, lease: timedelta) -> None:
    """Store an intent of the session's tenant, which is the caller's to deliver for so long."""
    values = row.model_dump(exclude={"next_attempt_at"})
    await session.exec(insert(IntentRow).values(**values, next_attempt_at=_in(lease)))


async def find_intent(session: TenantSession, intent_id: IntentId) -> IntentRow | None:
    """The intent, if the tenant has it."""
    found = select(IntentRow).where(IntentRow.tenant_id == session.tenant_id, IntentRow.intent_id == intent_id)
    return (await session.exec(found)).first()


async def find_intent_of(session: TenantSession, execution_id: ExecutionId) -> IntentRow | None:
    """The intent that an execution was started by, if the tenant has it."""
    found = select(IntentRow).where(IntentRow.tenant_id == session.tenant_id, IntentRow.execution_id == execution_id)
    return (await session.exec(found)).first()


async def list_intents_of(session: TenantSession, executions: Sequence[ExecutionId]) -> list[IntentRow]:
    """The intents that these executions were started by, newest first."""
    if not executions:
        return []
    found = select(IntentRow).where(
        IntentRow.tenant_id == session.tenant_id, col(IntentRow.execution_id).in_(executions)
    )
    return list((await session.exec(found.order_by(col(IntentRow.intent_id).desc()))).all())


async def list_undelivered(session: TenantSession, before: UUID | None, limit: int) -> list[IntentRow]:
    """Intents that wait for Runtime, newest first, older than `before`, one more than `limit` when there are."""
    found = select(IntentRow).where(IntentRow.tenant_id == session.tenant_id, IntentRow.status == "pending")
    if before is not None:
        found = found.where(col(IntentRow.intent_id) < before)
    return list((await session.exec(found.order_by(col(IntentRow.intent_id).desc()).limit(limit + 1))).all())


async def list_started(session: TenantSession, session_id: SessionId, limit: int) -> list[ExecutionId]:
    """Executions that a session has started, newest first."""
    found = (
        select(IntentRow.execution_id)
        .where(IntentRow.tenant_id == session.tenant_id, IntentRow.session_id == session_id)
        .order_by(col(IntentRow.intent_id).desc())
        .limit(limit)
    )
    return [ExecutionId(execution_id) for execution_id in (await session.exec(found)).all()]


async def request_cancel(
    session: TenantSession, intent_id: IntentId, reason: str, *, lease: timedelta
) -> IntentRow | None:
    """Note that an intent shall end, and answer it as it is then; None when it is unknown or was refused.

    Of an intent that Runtime has, the cancel is the caller's to deliver as long as the lease and the outbox's from then
    on. One that Runtime has not heard of stays in the outbox, where the submit comes first.
    """
    wanted = (
        update(IntentRow)
        .where(
            col(IntentRow.tenant_id) == session.tenant_id,
            col(IntentRow.intent_id) == intent_id,
            col(IntentRow.status) != "refused",
        )
        .values(
            cancel_requested=True,
            cancel_reason=reason,
            next_attempt_at=case((col(IntentRow.status) == "pending", IntentRow.next_attempt_at), else_=_in(lease)),
        )
        .returning(IntentRow)
    )
    return (await session.exec(wanted)).scalar_one_or_none()


async def withdraw_cancel(session: TenantSession, intent_id: IntentId) -> None:
    """Forget a wish to cancel that came too late."""
    await session.exec(
        _of(session.tenant_id, intent_id).values(cancel_requested=False, cancel_reason="", next_attempt_at=None)
    )


async def mark_delivered(session: TenantSession, intent_id: IntentId) -> bool:
    """Runtime has it. Answers whether a cancel is to follow: then the row stays in the outbox, due at once."""
    owes_cancel = col(IntentRow.cancel_requested) & col(IntentRow.cancel_delivered_at).is_(None)
    marked = (
        _of(session.tenant_id, intent_id)
        .values(
            status="delivered",
            delivered_at=func.now(),
            last_error=None,
            next_attempt_at=case((owes_cancel, func.now()), else_=None),
        )
        .where(col(IntentRow.status) == "pending")
        .returning(col(IntentRow.next_attempt_at).is_not(None))
    )
    return bool((await session.exec(marked)).scalar_one_or_none())


async def mark_cancel_delivered(session: TenantSession, intent_id: IntentId) -> None:
    """Runtime knows that the execution shall end."""
    await session.exec(
        _of(session.tenant_id, intent_id).values(cancel_delivered_at=func.now(), last_error=None, next_attempt_at=None)
    )


async def mark_refused(session: TenantSession, intent_id: IntentId, error: str) -> None:
    """Runtime will never run it."""
    await session.exec(
        _of(session.tenant_id, intent_id)
        .values(status="refused", error=error, last_error=None, next_attempt_at=None)
        .where(col(IntentRow.status) == "pending")
    )


async def postpone(session: TenantSession, intent_id: IntentId, error: str, *, delay: timedelta) -> None:
    """A delivery failed: leave it to the outbox, after the delay. The caller is told that it will run: no way back."""
    await session.exec(
        _of(session.tenant_id, intent_id)
        .values(
            deferred=True,
            attempts=IntentRow.attempts + 1,
            last_error=error,
            next_attempt_at=_in(delay),
        )
        .where(col(IntentRow.next_attempt_at).is_not(None))  # else somebody has delivered it meanwhile
    )


async def claim_due(session: SystemSession, limit: int, *, lease: timedelta) -> list[IntentRow]:
    """Take up to `limit` rows whose time has come, of all tenants, for the lease's time; never another's."""
    due = (
        select(IntentRow.intent_id)
        .where(col(IntentRow.next_attempt_at) <= func.now())
        .order_by(col(IntentRow.next_attempt_at))
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    claimed = (
        update(IntentRow)
        .where(col(IntentRow.intent_id).in_(due))
        .values(next_attempt_at=_in(lease), deferred=True)
        .returning(IntentRow)
    )
    return list((await session.exec(claimed)).scalars().all())


async def measure_outbox(session: SystemSession) -> OutboxDepth:
    """How full the outbox of all tenants is."""
    is_submit = col(IntentRow.status) == "pending"
    age = func.extract("epoch", func.now() - func.min(IntentRow.created_at).filter(is_submit))
    counted = select(func.count().filter(is_submit), func.count().filter(~is_submit), func.coalesce(age, 0))
    counted = counted.where(col(IntentRow.next_attempt_at).is_not(None))
    submits, cancels, oldest_s = (await session.exec(counted)).one()
    return OutboxDepth(submits=submits, cancels=cancels, oldest_s=max(0.0, float(oldest_s)))


async def hurry(session: SystemSession, tenant_id: TenantId) -> int:
    """Make everything that a tenant has in the outbox due at once, and answer how much that is."""
    hurried = (
        update(IntentRow)
        .where(col(IntentRow.tenant_id) == tenant_id, col(IntentRow.next_attempt_at).is_not(None))
        .values(next_attempt_at=func.now())
        .returning(col(IntentRow.intent_id))
    )
    return len((await session.exec(hurried)).all())


def _of(tenant_id: TenantId, intent_id: IntentId) -> Update:
    return update(IntentRow).where(col(IntentRow.tenant_id) == tenant_id, col(IntentRow.intent_id) == intent_id)


def _in(delay: timedelta) -> ColumnElement[datetime]:
    """So long from now, by the database's clock."""
    return func.now() + delay
