"""What a worker writes. A run is one lease of an execution; its number, the epoch, fences every write.

Whoever claims an execution next raises the epoch, and from then on nothing that an earlier holder sends changes a row:
not after a freeze, not after a network that came back. Each write moves the log's counter on the execution's row, and
puts steps, events and artifacts beside it in the same transaction.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from pydantic_core import to_json
from sqlalchemy import update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_random_exponential
from uuid_utils.compat import uuid7

from contracts.events import Event
from contracts.execution import ExecutionStatus, Failure, Question, StepStatus
from contracts.model import ExecutionId, StepId, TenantId
from contracts.workflow import JsonObject
from runtime.store.admission import admit_waiting, lock_tenant
from runtime.store.checkpoints import SealedCheckpoint, put_checkpoints
from runtime.store.claims import Claim, Claimed, Lease
from runtime.store.db import Database, DatabaseAway, TenantSession
from runtime.store.dead_letters import add_dead_letter
from runtime.store.egress import RefusedHost, put_refusals
from runtime.store.events import append
from runtime.store.moves import move_execution, pause_unclaimed
from runtime.store.queue import Queue
from runtime.store.records import StoredBlob, find_execution
from runtime.store.statement import Statement
from runtime.store.states import IllegalMove, check_execution_move, check_step_move
from runtime.store.tables import SCHEMA, ArtifactRow, ExecutionRow

PATIENCE_S = 60.0
"""How long a write waits for a database that went away before the run gives up."""


class Fenced(Exception):  # noqa: N818 — what happened to the writer
    """Another run has claimed the execution, or it has ended: this run may not write any more."""


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """An attempt at a node as it stands."""

    step_id: StepId
    node_id: str
    node_type: str
    phase: int
    attempt: int
    epoch: int
    """Of the run that made the attempt; the run that ends it may be a later one."""
    status: StepStatus
    path: str = ""
    outputs: JsonObject | None = None
    error: Failure | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    duration_ms: int | None = None
    credits: int = 0
    reused: bool = False


@dataclass(frozen=True, kw_only=True)
class Change:
    """What one transaction records; the events in order, their `seq` given on writing."""

    events: Sequence[Event] = ()
    steps: Sequence[StepRecord] = ()
    blobs: Sequence[StoredBlob] = ()
    checkpoints: Sequence[SealedCheckpoint] = ()
    refused: Sequence[RefusedHost] = ()
    progress: float | None = None
    """Written with `current_node` and `spent_s`, or none of them."""
    current_node: str | None = None
    spent_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class End:
    """How an execution ends."""

    status: ExecutionStatus
    result: JsonObject | None = None
    failure: Failure | None = None
    question: Question | None = None
    """What a person has to answer before it can go on."""
    dead_letter: Sequence[str] | None = None
    """Nodes that were at work when it took its last worker down; set, it is not tried again by itself."""
    losses: int = 0


@dataclass(frozen=True)
class Signal:
    """What a run should know between its writes."""

    held: bool
    """False: another run has taken over."""
    cancel_reason: str | None
    pause_asked_at: datetime | None
    """Set while somebody wants it paused; another instant is another wish."""


class Runs:
    """Claims executions and records what their runs do."""

    def __init__(self, db: Database, queue: Queue, *, patience_s: float = PATIENCE_S) -> None:
        self._db = db
        self._queue = queue
        self._patience_s = patience_s

    async def claim(
        self, tenant_id: TenantId, execution_id: ExecutionId, worker: str, turn: int | None = None
    ) -> Claimed | None:
        """Open the next run and fence all earlier ones; None when there is nothing to do any more.

        Args:
            tenant_id: whose it is.
            execution_id: which.
            worker: who takes it, for people to read.
            turn: of the queue's entry; with another one than the execution has now, the entry is of before a pause.

        An earlier run that was never closed counts as a loss. What was to be paused when its worker was lost is paused.
        """
        claim = Claim(self._queue, execution_id, worker, turn)
        try:
            async with self._db.write(tenant_id) as session:
                return await claim.open(session)
        except DatabaseAway:
            async for attempt in self._attempts():
                with attempt:
                    async with self._db.write(tenant_id) as session:
                        return await claim.open_again(session)
            raise AssertionError("the last attempt raises") from None

    async def record(self, lease: Lease, change: Change) -> None:
        """Write steps, events and artifacts together, once, however often the connection breaks.

        Raises:
            Fenced: another run has taken over.
            IllegalMove: a step was to go where it can't.
            DatabaseAway: the database stayed away longer than the run's patience.
        """

        async def write(session: TenantSession, write_id: UUID) -> None:
            await self._apply(session, lease, change, {"last_write": write_id})

        await self._persist(lease, write)

    async def finish(self, lease: Lease, change: Change, end: End) -> None:
        """Write the last change with the end itself, close the run, and admit what waited for its place.

        Raises: as `record`.
        """
        check_execution_move(ExecutionStatus.RUNNING, end.status)
        values = {
            "status": end.status.value,
            "result": _to_text(end.result),
            "error": _to_text(end.failure),
            "question": _to_text(end.question),
            "finished_at": datetime.now(UTC),
        }

        async def write(session: TenantSession, write_id: UUID) -> None:
            tenant = await lock_tenant(session, lease.tenant_id)  # before the execution's row, see admission.py
            await self._apply(session, lease, change, {"last_write": write_id, **values})
            await _close(session, lease, "finished")
            if end.dead_letter is not None and end.failure is not None:
                await add_dead_letter(session, lease.execution_id, end.failure, end.losses, end.dead_letter)
            await admit_waiting(session, self._queue, tenant)

        await self._persist(lease, write)

    async def park(self, lease: Lease, spent_s: float, change: Change) -> bool:
        """Pause the execution and let its worker go, with the last change.

        False, and nothing is written, when it was resumed or is to end by now. Raises: as `record`.
        """
        parked = True

        async def write(session: TenantSession, write_id: UUID) -> None:
            nonlocal parked
            tenant = await lock_tenant(session, lease.tenant_id)
            row = await _hold(session, lease)
            parked = row.pause_requested_at is not None and row.cancel_requested_at is None
            if not parked:
                return
            await self._apply(session, lease, change, {"last_write": write_id, "spent_s": spent_s})
            row = await _hold(session, lease)  # again: what was just applied is not in the row that was read before
            await pause_unclaimed(session, row, self._queue)
            await _close(session, lease, "paused")
            await admit_waiting(session, self._queue, tenant)

        await self._persist(lease, write)
        return parked

    async def set_paused(self, lease: Lease, *, paused: bool) -> None:
        """Say that the execution is paused, or goes on, while its worker keeps it. Raises: as `record`."""
        target = ExecutionStatus.PAUSED if paused else ExecutionStatus.RUNNING

        async def write(session: TenantSession, write_id: UUID) -> None:
            row = await _hold(session, lease)
            if row.status is not target:
                await move_execution(session, row, target, (row.pause_reason or "") if paused else None)
            row.last_write = write_id
            await session.flush()

        await self._persist(lease, write)

    async def hand_back(self, lease: Lease, spent_s: float) -> None:
        """Close the run without an end: the next one goes on from the last finished step, and nothing was lost.

        Raises:
            Fenced: another run has taken over; there is nothing to hand back.
        """

        async def write(session: TenantSession, write_id: UUID) -> None:
            spent = (
                update(ExecutionRow)
                .where(
                    col(ExecutionRow.execution_id) == lease.execution_id,
                    col(ExecutionRow.tenant_id) == session.tenant_id,
                    col(ExecutionRow.epoch) == lease.epoch,
                )
                .values(spent_s=spent_s, last_write=write_id)
            )
            if (await session.exec(spent)).rowcount == 0:
                raise Fenced(f"run {lease.epoch} of {lease.execution_id} has lost its lease")
            await _close(session, lease, "handed_back")

        await self._persist(lease, write)

    async def check(self, lease: Lease) -> Signal:
        """Whether the lease still holds, and whether the end was asked for."""
        values = {"id": lease.execution_id, "tenant_id": lease.tenant_id}
        async with self._db.read(lease.tenant_id) as session:
            row = await _CHECK.fetch_one(session, values)
        if row is None or row["epoch"] != lease.epoch or row["status"] not in _HELD:
            return Signal(held=False, cancel_reason=None, pause_asked_at=None)
        return Signal(
            held=True,
            cancel_reason=(row["cancel_reason"] or "") if row["cancel_requested_at"] is not None else None,
            pause_asked_at=row["pause_requested_at"],
        )

    def _attempts(self) -> AsyncRetrying:
        return AsyncRetrying(
            retry=retry_if_exception_type(DatabaseAway),
            wait=wait_random_exponential(multiplier=0.05, max=1.0),
            stop=stop_after_delay(self._patience_s),
            reraise=True,
        )

    async def _persist(self, lease: Lease, write: Callable[[TenantSession, UUID], Awaitable[None]]) -> None:
        """Run one transaction to its commit, once.

        After a broken connection nobody knows whether the commit happened, so each write leaves its id on the
        execution's row, and a repetition looks for it first.
        """
        write_id = uuid7()
        try:
            async with self._db.write(lease.tenant_id) as session:
                await write(session, write_id)
        except DatabaseAway:
            await self._persist_again(lease, write, write_id)

    async def _persist_again(
        self, lease: Lease, write: Callable[[TenantSession, UUID], Awaitable[None]], write_id: UUID
    ) -> None:
        async for attempt in self._attempts():
            with attempt:
                # In a transaction of its own, and waiting for the row: the first commit may still be under way.
                async with self._db.write(lease.tenant_id) as session:
                    if await _is_written(session, lease, write_id):
                        return
                async with self._db.write(lease.tenant_id) as session:
                    await write(session, write_id)

    async def _apply(self, session: TenantSession, lease: Lease, change: Change, values: dict[str, Any]) -> None:
        head_seq = await _advance(session, lease, change, values)
        for step in change.steps:
            await _put_step(session, lease, step, head_seq)
        if change.blobs:
            await session.exec(insert(ArtifactRow), params=[_blob_values(lease, blob) for blob in change.blobs])
        await put_checkpoints(session, lease.execution_id, change.checkpoints)
        await put_refusals(session, lease.execution_id, change.refused)
        await append(session, change.events, head_seq)


_CHECK = Statement(f"""
    SELECT epoch, status, cancel_requested_at, cancel_reason, pause_requested_at
    FROM {SCHEMA}.executions WHERE execution_id = :id AND tenant_id = :tenant_id
""")  # noqa: S608 — constants
_HELD = (ExecutionStatus.RUNNING, ExecutionStatus.PAUSED)
"""A run may keep its execution while it is paused, and then writes as before."""


async def _hold(session: TenantSession, lease: Lease) -> ExecutionRow:
    """The execution as nobody else can change it until commit. Raises Fenced."""
    row = await find_execution(session, lease.execution_id, lock=True)
    if row is None or row.epoch != lease.epoch or row.status not in _HELD:
        raise Fenced(f"run {lease.epoch} of {lease.execution_id} has lost its lease")
    return row


async def _is_written(session: TenantSession, lease: Lease, write_id: UUID) -> bool:
    query = select(ExecutionRow.last_write).where(
        col(ExecutionRow.execution_id) == lease.execution_id,
        col(ExecutionRow.tenant_id) == session.tenant_id,
        col(ExecutionRow.epoch) == lease.epoch,
    )
    return (await session.exec(query.with_for_update(key_share=True))).one_or_none() == write_id


async def _advance(session: TenantSession, lease: Lease, change: Change, values: dict[str, Any]) -> int:
    """Take the event numbers, under the fence; returns the last of them."""
    moved = {
        "execution_id": lease.execution_id,
        "tenant_id": session.tenant_id,
        "epoch": lease.epoch,
        "held": [status.value for status in _HELD],
        "events": len(change.events),
        "credits": sum(step.credits for step in change.steps),
        "progress": change.progress,
        "current_node": change.current_node,
        "spent_s": None if change.progress is None else change.spent_s or 0,
    }
    statement = _END if "status" in values else _ADVANCE
    row = await statement.fetch_one(session, moved | values)
    if row is None:
        raise Fenced(f"run {lease.epoch} of {lease.execution_id} has lost its lease")
    return int(row["head_seq"])


async def _put_step(session: TenantSession, lease: Lease, step: StepRecord, head_seq: int) -> None:
    unfinished = [status.value for status in StepStatus if _may_follow(status, step.status)]
    values = _step_values(lease, step) | {"ordinal": head_seq, "unfinished": unfinished}
    if await _PUT_STEP.fetch_one(session, values) is None:
        raise IllegalMove(f"attempt {step.attempt} at {step.node_id}", "its recorded end", step.status)


# Every node passes here several times.
_ADVANCE = Statement(f"""
    UPDATE {SCHEMA}.executions SET
        head_seq = head_seq + cast(:events AS bigint),
        credits = credits + cast(:credits AS integer),
        progress = coalesce(cast(:progress AS double precision), progress),
        current_node = CASE WHEN cast(:progress AS double precision) IS NULL THEN current_node
                            ELSE cast(:current_node AS text) END,
        spent_s = coalesce(cast(:spent_s AS double precision), spent_s),
        last_write = :last_write
    WHERE execution_id = :execution_id AND tenant_id = :tenant_id AND epoch = :epoch
      AND status = ANY(cast(:held AS text[]))
    RETURNING head_seq
""")  # noqa: S608 — constants
_END = Statement(f"""
    UPDATE {SCHEMA}.executions SET
        head_seq = head_seq + cast(:events AS bigint),
        credits = credits + cast(:credits AS integer),
        progress = coalesce(cast(:progress AS double precision), progress),
        current_node = CASE WHEN cast(:progress AS double precision) IS NULL THEN current_node
                            ELSE cast(:current_node AS text) END,
        spent_s = coalesce(cast(:spent_s AS double precision), spent_s),
        last_write = :last_write,
        status = :status,
        result = cast(:result AS json),
        error = cast(:error AS json),
        question = cast(:question AS json),
        finished_at = :finished_at
    WHERE execution_id = :execution_id AND tenant_id = :tenant_id AND epoch = :epoch
      AND status = ANY(cast(:held AS text[]))
    RETURNING head_seq
""")  # noqa: S608
_PUT_STEP = Statement(f"""
    INSERT INTO {SCHEMA}.steps AS s (step_id, execution_id, tenant_id, node_id, path, attempt, epoch, node_type, phase,
        status, outputs, error, started_at, finished_at, duration_ms, credits, reused, ordinal)
    VALUES (:step_id, :execution_id, :tenant_id, :node_id, :path, :attempt, :epoch, :node_type, :phase, :status,
        cast(:outputs AS json), cast(:error AS json), :started_at, :finished_at, :duration_ms, :credits, :reused,
        :ordinal)
    ON CONFLICT (execution_id, node_id, path, attempt) DO UPDATE SET
        epoch = excluded.epoch, node_type = excluded.node_type, phase = excluded.phase,
        status = excluded.status, outputs = excluded.outputs, error = excluded.error,
        started_at = excluded.started_at, finished_at = excluded.finished_at, duration_ms = excluded.duration_ms,
        credits = excluded.credits, reused = excluded.reused
    WHERE s.tenant_id = :tenant_id AND s.status = ANY(cast(:unfinished AS text[]))
    RETURNING s.step_id
""")  # noqa: S608


_CLOSE = Statement(f"""
    UPDATE {SCHEMA}.runs SET ended_at = :ended_at, outcome = :outcome
    WHERE execution_id = :execution_id AND tenant_id = :tenant_id AND epoch = :epoch AND ended_at IS NULL
""")  # noqa: S608


def _may_follow(before: StepStatus, after: StepStatus) -> bool:
    try:
        check_step_move(before, after)
    except IllegalMove:
        return False
    return True


def _step_values(lease: Lease, step: StepRecord) -> dict[str, Any]:
    return {
        "step_id": step.step_id,
        "execution_id": lease.execution_id,
        "tenant_id": lease.tenant_id,
        "node_id": step.node_id,
        "path": step.path,
        "attempt": step.attempt,
        "epoch": step.epoch,
        "node_type": step.node_type,
        "phase": step.phase,
        "status": step.status.value,
        "outputs": _to_text(step.outputs),
        "error": _to_text(step.error),
        "started_at": step.started_at,
        "finished_at": step.finished_at,
        "duration_ms": step.duration_ms,
        "credits": step.credits,
        "reused": step.reused,
    }


def _to_text(value: Any) -> str | None:
    """As the columns of type json hold it, which keeps the text as it is."""
    return None if value is None else to_json(value).decode()


def _blob_values(lease: Lease, blob: StoredBlob) -> dict[str, Any]:
    return {**blob.artifact.model_dump(), "tenant_id": lease.tenant_id, "path": blob.path}


async def _close(session: TenantSession, lease: Lease, outcome: str) -> None:
    values = {
        "execution_id": lease.execution_id,
        "tenant_id": session.tenant_id,
        "epoch": lease.epoch,
        "ended_at": datetime.now(UTC),
        "outcome": outcome,
    }
    await _CLOSE.fetch(session, values)
