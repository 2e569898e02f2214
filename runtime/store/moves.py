"""Moves of an execution that need no run: each with its event, on a row that the transaction has locked."""

from datetime import UTC, datetime

from contracts.events import Cancelled, Event, Failed, StatusChanged, StatusData
from contracts.execution import ExecutionStatus, Failure
from contracts.model import ExecutionId
from runtime.store.db import TenantSession
from runtime.store.events import append
from runtime.store.queue import Queue
from runtime.store.states import check_execution_move
from runtime.store.tables import ExecutionRow


async def move_execution(
    session: TenantSession, row: ExecutionRow, target: ExecutionStatus, reason: str | None
) -> None:
    """Go to another state that is no end, and say so in the log."""
    check_execution_move(row.status, target)
    row.status = target
    data = StatusData(progress=row.progress, current_node=row.current_node, reason=reason or None)
    told = StatusChanged(
        execution_id=ExecutionId(row.execution_id), seq=0, timestamp=datetime.now(UTC), status=target, data=data
    )
    await _tell(session, row, [told])


async def pause_unclaimed(session: TenantSession, row: ExecutionRow, queue: Queue) -> None:
    """Pause what no worker holds: it gives up its place, and wants no other until it is resumed."""
    if row.admitted_at is not None:
        await queue.let_go(session, row.execution_id)
    row.ready, row.admitted_at, row.current_node = False, None, None
    if row.status is not ExecutionStatus.PAUSED:
        await move_execution(session, row, ExecutionStatus.PAUSED, row.pause_reason)
    await session.flush()


async def cancel_unclaimed(session: TenantSession, row: ExecutionRow) -> None:
    """Cancel what no worker holds, and, as the row is locked, none can take: a queue entry finds it ended."""
    check_execution_move(row.status, ExecutionStatus.CANCELLED)
    row.status = ExecutionStatus.CANCELLED
    row.finished_at = datetime.now(UTC)
    events = end_events(
        ExecutionId(row.execution_id),
        ExecutionStatus.CANCELLED,
        None,
        progress=row.progress,
        current_node=None,
        reason=row.cancel_reason or "",
    )
    await _tell(session, row, events)


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


async def _tell(session: TenantSession, row: ExecutionRow, events: list[Event]) -> None:
    row.head_seq += len(events)
    await session.flush()
    await append(session, events, row.head_seq)
