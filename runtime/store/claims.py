"""How a run begins: it raises the epoch, and counts the runs before it that nobody closed.

A claim is one transaction. When its connection breaks, nobody knows whether it was committed; so it leaves its id on
the execution's row, as each write of a run does, and whoever claims again looks for it first: a run that this worker
has opened is not a loss.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from uuid_utils.compat import uuid7

from contracts.events import Event, LogEntry, Logged, StatusChanged, StatusData
from contracts.execution import ExecutionStatus
from contracts.model import ExecutionId, TenantId
from contracts.workflow import JsonObject
from runtime.store.admission import pass_turn
from runtime.store.checkpoints import SealedCheckpoint, read_checkpoints
from runtime.store.db import TenantSession
from runtime.store.events import append
from runtime.store.moves import pause_unclaimed
from runtime.store.queue import Queue
from runtime.store.records import find_execution, read_plan, read_steps
from runtime.store.statement import Statement
from runtime.store.states import check_execution_move
from runtime.store.tables import SCHEMA, ExecutionRow, StepRow

MAX_LOSSES = 3
"""Leases that may be lost to vanished workers; with the next one the execution fails (spec E10)."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write to an execution, as long as nobody has claimed it again."""

    tenant_id: TenantId
    execution_id: ExecutionId
    epoch: int


@dataclass(frozen=True, kw_only=True)
class Claimed:
    """An execution as its new run finds it."""

    lease: Lease
    name: str
    plan: JsonObject | None
    trigger: JsonObject
    timeout_s: float
    trace_parent: str | None
    started_at: datetime
    """Of the first run."""
    spent_s: float
    """What earlier runs took together, waits not counted."""
    steps: Sequence[StepRow]
    """Every attempt recorded so far, in the order they began."""
    checkpoints: Sequence[SealedCheckpoint]
    retry_of: ExecutionId | None
    retry: JsonObject | None
    """How it goes on from `retry_of`; see contracts.recovery.Retry."""
    progress: float
    credits: int
    losses: int
    newly_lost: int
    """Runs that this claim found without their worker."""
    cancel_reason: str | None
    """Set when somebody has asked for the end."""

    @property
    def lost_too_often(self) -> bool:
        """Whether the execution takes its workers down with it."""
        return self.losses > MAX_LOSSES


class Claim:
    """One worker's wish for one execution."""

    def __init__(self, queue: Queue, execution_id: ExecutionId, worker: str, turn: int | None) -> None:
        self._queue = queue
        self._execution_id = execution_id
        self._worker = worker
        self._turn = turn
        self._id = uuid7()
        self._newly_lost = 0
        self._epoch: int | None = None
        """That it found when it first looked."""

    async def open(self, session: TenantSession) -> Claimed | None:
        """Open the next run; None when there is nothing to do any more."""
        row = await find_execution(session, self._execution_id, lock=True)
        if row is None or row.status.final or row.admitted_at is None or self._turn not in (None, row.turn):
            return None
        self._epoch = row.epoch
        await pass_turn(session, row.turn)
        is_first = row.epoch == 0  # nothing can have been lost or done before
        self._newly_lost = 0 if is_first else await _close_lost(session, self._execution_id)
        row.losses += self._newly_lost
        if row.pause_requested_at is not None and row.cancel_requested_at is None:
            await pause_unclaimed(session, row, self._queue)
            return None
        session.expunge(row)  # what follows is written by hand
        row.epoch += 1
        events = _opening_events(row)
        if row.status is not ExecutionStatus.RUNNING:
            check_execution_move(row.status, ExecutionStatus.RUNNING)
            row.status = ExecutionStatus.RUNNING
            row.started_at = row.started_at or datetime.now(UTC)
        row.head_seq += len(events)
        moved = {name: getattr(row, name) for name in ("epoch", "losses", "head_seq", "started_at")}
        run = {
            "execution_id": self._execution_id,
            "tenant_id": session.tenant_id,
            "worker": self._worker,
            "status": row.status.value,
            "last_write": self._id,
        }
        await _OPEN.fetch(session, run | moved)
        await append(session, events, row.head_seq)
        steps = [] if is_first else await read_steps(session, self._execution_id)
        return await _describe(session, row, self._newly_lost, steps)

    async def open_again(self, session: TenantSession) -> Claimed | None:
        """As `open`, after a connection that broke: the run that was opened then, if it was."""
        row = await find_execution(session, self._execution_id, lock=True)
        if row is None or self._epoch is None or row.epoch == self._epoch:
            return await self.open(session)
        if row.last_write != self._id:
            return None  # another worker was faster, and the entry is its
        return await _describe(session, row, self._newly_lost, await read_steps(session, self._execution_id))


async def _close_lost(session: TenantSession, execution_id: ExecutionId) -> int:
    """Close runs that were never closed; how many."""
    values = {"execution_id": execution_id, "tenant_id": session.tenant_id, "ended_at": datetime.now(UTC)}
    return len(await _CLOSE_LOST.fetch(session, values))


def _opening_events(row: ExecutionRow) -> list[Event]:
    execution_id, now = ExecutionId(row.execution_id), datetime.now(UTC)
    if row.status is not ExecutionStatus.RUNNING:
        data = StatusData(progress=row.progress, current_node=row.current_node)
        return [
            StatusChanged(execution_id=execution_id, seq=0, timestamp=now, status=ExecutionStatus.RUNNING, data=data)
        ]
    message = f"Run {row.epoch} goes on from the last finished step."
    entry = LogEntry(level="warning", message=message, node_id=None, timestamp=now)
    return [Logged(execution_id=execution_id, seq=0, timestamp=now, log=entry)]


async def _describe(session: TenantSession, row: ExecutionRow, newly_lost: int, steps: Sequence[StepRow]) -> Claimed:
    return Claimed(
        lease=Lease(TenantId(row.tenant_id), ExecutionId(row.execution_id), row.epoch),
        name=row.name,
        plan=await read_plan(session, row),
        trigger=row.trigger,
        timeout_s=row.timeout_s,
        trace_parent=row.trace_parent,
        started_at=row.started_at or datetime.now(UTC),
        spent_s=row.spent_s,
        steps=steps,
        checkpoints=await read_checkpoints(session, row.execution_id) if row.epoch > 1 else [],
        retry_of=ExecutionId(row.retry_of) if row.retry_of is not None else None,
        retry=row.retry,
        progress=row.progress,
        credits=row.credits,
        losses=row.losses,
        newly_lost=newly_lost,
        cancel_reason=(row.cancel_reason or "") if row.cancel_requested_at is not None else None,
    )


_OPEN = Statement(f"""
    WITH claimed AS (
        UPDATE {SCHEMA}.executions SET status = :status, epoch = cast(:epoch AS integer), losses = :losses,
            head_seq = :head_seq, started_at = :started_at, last_write = :last_write
        WHERE execution_id = :execution_id AND tenant_id = :tenant_id
        RETURNING execution_id, tenant_id
    )
    INSERT INTO {SCHEMA}.runs (execution_id, epoch, tenant_id, worker)
    SELECT execution_id, cast(:epoch AS integer), tenant_id, :worker FROM claimed
""")  # noqa: S608
_CLOSE_LOST = Statement(f"""
    UPDATE {SCHEMA}.runs SET ended_at = :ended_at, outcome = 'lost'
    WHERE execution_id = :execution_id AND tenant_id = :tenant_id AND ended_at IS NULL
    RETURNING epoch
""")  # noqa: S608
