"""Executions as the API sees them: recorded once per id, listed, read, cancelled. A worker's writes are in runs.py."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import defer
from sqlmodel import col, select
from uuid_utils.compat import uuid7

from contracts.errors import ApiError, Code
from contracts.events import Cancelled, Event, ExecutionAccepted, Failed, StatusChanged, StatusData
from contracts.execution import ExecutionStatus, Failure, ListExecutions
from contracts.model import ExecutionId, IntentId, SessionId, TenantId, UserId, WorkflowId
from contracts.workflow import JsonObject
from runtime.store.admission import admit_waiting, lock_tenant
from runtime.store.cursors import Position, read_cursor, write_cursor
from runtime.store.db import Database, TenantSession
from runtime.store.events import append, wake_readers
from runtime.store.queue import Queue
from runtime.store.records import find_execution, get_execution
from runtime.store.states import check_execution_move
from runtime.store.tables import ExecutionRow


@dataclass(frozen=True, kw_only=True)
class NewExecution:
    """An execution to record."""

    execution_id: ExecutionId
    intent_id: IntentId
    session_id: SessionId | None
    user_id: UserId | None
    realm: str
    intent: str
    parameters: JsonObject
    name: str
    submitted_at: datetime
    workflow_id: WorkflowId | None = None
    workflow_version: int | None = None
    document: JsonObject | None = None
    """With `plan`: a one-off workflow that has no version elsewhere."""
    plan: JsonObject | None = None
    trigger: JsonObject = field(default_factory=dict)
    workflow_concurrency: int | None = None
    timeout_s: float = 900
    failure: Failure | None = None
    """It can never run: recorded as failed at once."""


class Executions:
    """Every row is the caller's tenant's; another tenant's execution is an unknown one."""

    def __init__(self, db: Database, queue: Queue) -> None:
        self._db = db
        self._queue = queue

    async def find(self, tenant_id: TenantId, execution_id: ExecutionId) -> ExecutionRow | None:
        """The execution, or None."""
        async with self._db.read(tenant_id) as session:
            return await find_execution(session, execution_id)

    async def get(self, tenant_id: TenantId, execution_id: ExecutionId) -> ExecutionRow:
        """The execution. Raises ApiError (NOT_FOUND)."""
        async with self._db.read(tenant_id) as session:
            return await get_execution(session, execution_id)

    async def submit(self, tenant_id: TenantId, new: NewExecution, *, deferred: bool = False) -> ExecutionRow:
        """Record the execution with event 1 and admit it, in one transaction; a known id answers what is there.

        Args:
            deferred: it was accepted long ago; while the tenant is suspended it is recorded and waits.

        Raises:
            ApiError: FORBIDDEN while the tenant is suspended; CONFLICT when the id belongs to somebody else.
        """
        async with self._db.write(tenant_id) as session:
            tenant = await lock_tenant(session, tenant_id)
            known = await find_execution(session, new.execution_id)
            if known is not None:
                return known
            if tenant.suspended and not deferred:
                raise ApiError(Code.FORBIDDEN, "This tenant is suspended.", "Ask the operator of this installation.")
            await self._insert(session, new)
            await admit_waiting(session, self._queue, tenant)
            return await get_execution(session, new.execution_id)

    async def list_page(self, tenant_id: TenantId, wanted: ListExecutions) -> tuple[Sequence[ExecutionRow], str | None]:
        """One page, newest first, and the cursor of the next. Raises ApiError (INVALID) for a cursor of ours not."""
        query = select(ExecutionRow).order_by(
            col(ExecutionRow.created_at).desc(), col(ExecutionRow.execution_id).desc()
        )
        query = query.where(col(ExecutionRow.tenant_id) == tenant_id, *_conditions(wanted))
        query = query.options(*_UNLISTED).limit(wanted.limit + 1)
        async with self._db.read(tenant_id) as session:
            rows = (await session.exec(query)).all()
        if len(rows) <= wanted.limit:
            return rows, None
        last = rows[wanted.limit - 1]
        return rows[: wanted.limit], write_cursor(Position(last.created_at, last.execution_id))

    async def request_cancel(self, tenant_id: TenantId, execution_id: ExecutionId, reason: str) -> None:
        """End what has not begun at once, and ask the worker to end what has. Again is fine.

        Raises:
            ApiError: NOT_FOUND; CONFLICT when it ended otherwise.
        """
        async with self._db.write(tenant_id) as session:
            tenant = await lock_tenant(session, tenant_id)
            row = await get_execution(session, execution_id, lock=True)
            if row.status is ExecutionStatus.CANCELLED:
                return
            if row.status.final:
                raise ApiError(Code.CONFLICT, f"This execution is {row.status.value} already.")
            row.cancel_requested_at = row.cancel_requested_at or datetime.now(UTC)
            row.cancel_reason = row.cancel_reason or reason
            if row.epoch == 0:
                await _cancel_unbegun(session, row)
                await admit_waiting(session, self._queue, tenant)
            else:
                await session.flush()
                await wake_readers(session, execution_id)

    async def cancel_if_running(self, tenant_id: TenantId, execution_id: ExecutionId, reason: str) -> None:
        """As `request_cancel`, but one that has ended meanwhile is fine, too."""
        try:
            await self.request_cancel(tenant_id, execution_id, reason)
        except ApiError as error:
            if error.code not in (Code.CONFLICT, Code.NOT_FOUND):
                raise

    async def _insert(self, session: TenantSession, new: NewExecution) -> None:
        events: list[Event] = [_accepted(new)]
        if new.failure is not None:
            events += end_events(new.execution_id, ExecutionStatus.FAILED, new.failure, progress=0, current_node=None)
        values = _values(session.tenant_id, new) | {"head_seq": len(events)}
        added = insert(ExecutionRow).values(**values).on_conflict_do_nothing().returning(col(ExecutionRow.execution_id))
        if (await session.exec(added)).one_or_none() is None:
            raise ApiError(Code.CONFLICT, "This execution id is taken.", "Submit with a fresh id.")
        await append(session, events, len(events))


_UNLISTED = [
    defer(column, raiseload=True)  # type: ignore[arg-type]  # SQLModel's fields are columns
    for column in (
        ExecutionRow.parameters,
        ExecutionRow.document,
        ExecutionRow.plan,
        ExecutionRow.trigger,
        ExecutionRow.result,
    )
]
"""What a page of a list does without: each may be large."""


def end_events(
    execution_id: ExecutionId,
    status: ExecutionStatus,
    failure: Failure | None,
    *,
    progress: float,
    current_node: str | None,
    reason: str = "",
) -> list[Event]:
    """The `status` event and the terminal event of an end without a result."""
    now = datetime.now(UTC)
    said = failure.message if failure else reason
    data = StatusData(progress=progress, current_node=current_node, reason=said or None)
    changed = StatusChanged(execution_id=execution_id, seq=0, timestamp=now, status=status, data=data)
    if status is ExecutionStatus.CANCELLED:
        return [changed, Cancelled(execution_id=execution_id, seq=0, timestamp=now, reason=reason)]
    return [changed, Failed(execution_id=execution_id, seq=0, timestamp=now, error=said or status.value)]


async def _cancel_unbegun(session: TenantSession, row: ExecutionRow) -> None:
    """Nobody has ever claimed it, and the row is locked, so nobody will: a queue entry finds it ended."""
    check_execution_move(row.status, ExecutionStatus.CANCELLED)
    execution_id = ExecutionId(row.execution_id)
    events = end_events(
        execution_id,
        ExecutionStatus.CANCELLED,
        None,
        progress=row.progress,
        current_node=None,
        reason=row.cancel_reason or "",
    )
    row.status = ExecutionStatus.CANCELLED
    row.finished_at = datetime.now(UTC)
    row.head_seq += len(events)
    await session.flush()
    await append(session, events, row.head_seq)


def _accepted(new: NewExecution) -> ExecutionAccepted:
    return ExecutionAccepted(
        execution_id=new.execution_id,
        seq=1,
        timestamp=datetime.now(UTC),
        name=new.name,
        realm=new.realm,
        intent=new.intent,
        workflow_id=new.workflow_id,
        workflow_version=new.workflow_version,
    )


def _values(tenant_id: TenantId, new: NewExecution) -> dict[str, Any]:
    failed = new.failure is not None
    return {
        "execution_id": new.execution_id,
        "tenant_id": tenant_id,
        "intent_id": new.intent_id,
        "session_id": new.session_id,
        "user_id": new.user_id,
        "realm": new.realm,
        "intent": new.intent,
        "name": new.name,
        "parameters": new.parameters,
        "workflow_id": new.workflow_id,
        "workflow_version": new.workflow_version,
        "document": new.document,
        "plan": new.plan,
        "trigger": new.trigger,
        "workflow_concurrency": new.workflow_concurrency,
        "timeout_s": new.timeout_s,
        "status": ExecutionStatus.FAILED if failed else ExecutionStatus.PENDING,
        "error": new.failure.model_dump(mode="json") if new.failure else None,
        "log_id": uuid7(),
        "created_at": new.submitted_at,
        "finished_at": datetime.now(UTC) if failed else None,
    }


def _conditions(wanted: ListExecutions) -> list[Any]:
    conditions: list[Any] = []
    if wanted.status is not None:
        conditions.append(col(ExecutionRow.status) == wanted.status)
    if wanted.workflow_id is not None:
        conditions.append(col(ExecutionRow.workflow_id) == wanted.workflow_id)
    if wanted.since is not None:
        conditions.append(col(ExecutionRow.created_at) >= wanted.since)
    if wanted.until is not None:
        conditions.append(col(ExecutionRow.created_at) < wanted.until)
    if wanted.text:
        conditions.append(col(ExecutionRow.name).icontains(wanted.text, autoescape=True))
    if wanted.cursor is not None:
        after = read_cursor(wanted.cursor)
        keys = tuple_(col(ExecutionRow.created_at), col(ExecutionRow.execution_id))
        conditions.append(keys < tuple_(after.at, after.id))
    return conditions
