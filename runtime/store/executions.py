"""Executions as the API sees them: recorded once per id, listed, read, cancelled. A worker's writes are in runs.py."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import defer
from sqlmodel import col, select
from uuid_utils.compat import uuid7

from contracts.errors import ApiError, Code
from contracts.events import Event, ExecutionAccepted
from contracts.execution import ExecutionStatus, Failure, ListExecutions, Priority
from contracts.model import ExecutionId, IntentId, SessionId, TenantId, UserId, WorkflowId
from contracts.workflow import JsonObject
from runtime.store.admission import RANKS, admit_waiting, lock_tenant
from runtime.store.answers import note_retry
from runtime.store.cursors import cut_page, select_page
from runtime.store.db import Database, TenantSession
from runtime.store.events import append, wake_readers
from runtime.store.moves import cancel_unclaimed, end_events, pause_unclaimed
from runtime.store.queue import Queue
from runtime.store.records import find_execution, get_execution
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
    priority: Priority = Priority.NORMAL
    trace_parent: str | None = None
    """W3C `traceparent` of what submitted it."""
    failure: Failure | None = None
    """It can never run: recorded as failed at once."""
    retry_of: ExecutionId | None = None
    retry: JsonObject | None = None
    """With `retry_of`: how it goes on from there; see contracts.recovery.Retry."""
    answered_of: ExecutionId | None = None
    """With `retry_of`: what was asked to be done once more, where that is a retry of it which never began."""
    answered: Collection[str] = ()
    """With `retry_of`: nodes that a person answers for now; each is answered once."""
    named: Collection[str] = ()
    """With `retry_of`: nodes that would be asked about, had the person not named them to begin at."""
    of_dead_letter: bool = False
    """With `retry_of`: only while its dead letter waits for a decision."""


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

    async def submit(
        self, tenant_id: TenantId, new: NewExecution, *, deferred: bool = False, cancelled: str | None = None
    ) -> ExecutionRow:
        """Record the execution with event 1 and admit it, in one transaction; a known id answers what is there.

        Args:
            deferred: it was accepted long ago; while the tenant is suspended it is recorded and waits.
            cancelled: why nobody wants it any more: it is recorded as cancelled, unless it can never run anyway.

        Raises:
            ApiError: FORBIDDEN while the tenant is suspended; CONFLICT when the id belongs to somebody else, or for a
                retry that answers what was answered before.
        """
        async with self._db.write(tenant_id) as session:
            tenant = await lock_tenant(session, tenant_id)
            known = await find_execution(session, new.execution_id)
            if known is not None:
                return known
            if tenant.suspended and not deferred:
                raise ApiError(Code.FORBIDDEN, "This tenant is suspended.", "Ask the operator of this installation.")
            await self._insert(session, new, cancelled)
            if new.retry_of is not None:
                await note_retry(
                    session,
                    new.answered_of or new.retry_of,
                    new.execution_id,
                    new.user_id,
                    answered=new.answered,
                    named=new.named,
                    of_dead_letter=new.of_dead_letter,
                )
            await admit_waiting(session, self._queue, tenant)
            return await get_execution(session, new.execution_id)

    async def list_page(self, tenant_id: TenantId, wanted: ListExecutions) -> tuple[Sequence[ExecutionRow], str | None]:
        """One page, newest first, and the cursor of the next. Raises ApiError (INVALID) for a cursor of ours not."""
        query = select(ExecutionRow).where(col(ExecutionRow.tenant_id) == tenant_id, *_conditions(wanted))
        keys = (col(ExecutionRow.created_at), col(ExecutionRow.execution_id))
        query = select_page(query.options(*_UNLISTED), *keys, wanted.cursor, wanted.limit)
        async with self._db.read(tenant_id) as session:
            rows = (await session.exec(query)).all()
        return cut_page(rows, wanted.limit, lambda last: (last.created_at, last.execution_id))

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
            if _is_unclaimed(row):
                await cancel_unclaimed(session, row)
                await admit_waiting(session, self._queue, tenant)
            else:
                await session.flush()
                await wake_readers(session, execution_id)

    async def request_pause(self, tenant_id: TenantId, execution_id: ExecutionId, reason: str) -> None:
        """Pause what has not begun at once, and ask the worker to leave what has. Again is fine.

        Raises:
            ApiError: NOT_FOUND; CONFLICT when it has ended.
        """
        async with self._db.write(tenant_id) as session:
            tenant = await lock_tenant(session, tenant_id)
            row = await get_execution(session, execution_id, lock=True)
            _refuse_ended(row)
            if row.pause_requested_at is not None:
                return
            row.pause_requested_at, row.pause_reason = datetime.now(UTC), reason
            if _is_unclaimed(row):
                await pause_unclaimed(session, row, self._queue)
                await admit_waiting(session, self._queue, tenant)
            else:
                await session.flush()
                await wake_readers(session, execution_id)

    async def request_resume(self, tenant_id: TenantId, execution_id: ExecutionId) -> None:
        """Let a paused execution have a worker again, or tell the one that has kept it. Again is fine.

        Raises:
            ApiError: NOT_FOUND; CONFLICT when it has ended.
        """
        async with self._db.write(tenant_id) as session:
            tenant = await lock_tenant(session, tenant_id)
            row = await get_execution(session, execution_id, lock=True)
            _refuse_ended(row)
            row.pause_requested_at = row.pause_reason = None
            row.ready = True
            await session.flush()
            await admit_waiting(session, self._queue, tenant)
            await wake_readers(session, execution_id)

    async def cancel_if_running(self, tenant_id: TenantId, execution_id: ExecutionId, reason: str) -> None:
        """As `request_cancel`, but one that has ended meanwhile is fine, too."""
        try:
            await self.request_cancel(tenant_id, execution_id, reason)
        except ApiError as error:
            if error.code not in (Code.CONFLICT, Code.NOT_FOUND):
                raise

    async def _insert(self, session: TenantSession, new: NewExecution, cancelled: str | None = None) -> None:
        events: list[Event] = [_accepted(new)]
        values = _values(session.tenant_id, new)
        if new.failure is not None:
            events += end_events(new.execution_id, ExecutionStatus.FAILED, new.failure, progress=0, current_node=None)
            values |= _ended(ExecutionStatus.FAILED) | {"error": new.failure.model_dump(mode="json")}
        elif cancelled is not None:
            events += end_events(
                new.execution_id, ExecutionStatus.CANCELLED, None, progress=0, current_node=None, reason=cancelled
            )
            values |= _ended(ExecutionStatus.CANCELLED)
            values |= {"cancel_requested_at": values["finished_at"], "cancel_reason": cancelled}
        values["head_seq"] = len(events)
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


def _is_unclaimed(row: ExecutionRow) -> bool:
    """Whether no worker has it. The row is locked, so that none can take it meanwhile."""
    return row.epoch == 0 or row.admitted_at is None


def _refuse_ended(row: ExecutionRow) -> None:
    if row.status.final:
        raise ApiError(Code.CONFLICT, f"This execution is {row.status.value} already.", "Retry it, if it is to go on.")


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
        "priority": RANKS[new.priority],
        "timeout_s": new.timeout_s,
        "trace_parent": new.trace_parent,
        "status": ExecutionStatus.PENDING,
        "log_id": uuid7(),
        "created_at": new.submitted_at,
        "retry_of": new.retry_of,
        "retry": new.retry,
    }


def _ended(status: ExecutionStatus) -> dict[str, Any]:
    """Of an execution that has ended before it could begin."""
    return {"status": status, "finished_at": datetime.now(UTC)}


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
    if wanted.asks is not None:
        asking = col(ExecutionRow.question).is_not(None)
        conditions.append(asking if wanted.asks else ~asking)
    return conditions
