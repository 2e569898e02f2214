"""How a run begins: it raises the epoch, and counts the runs before it that nobody closed.

A claim is one transaction, a pause in its place another. When its connection breaks, nobody knows whether it was
committed; so it leaves its id on the execution's row, as each write of a run does, and whoever claims again looks for
it first: a run that this worker has opened is not a loss.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from uuid_utils.compat import uuid7

from contracts.events import Event, LogEntry, Logged, StatusChanged, StatusData
from contracts.execution import ExecutionStatus
from contracts.model import ExecutionId
from contracts.workflow import JsonObject
from runtime.store.admission import TURNS, admit_waiting, lock_tenant, pass_turn
from runtime.store.changes import Lease
from runtime.store.checkpoints import SealedCheckpoint
from runtime.store.db import OfTenant, PlainSession, TenantSession
from runtime.store.events import CHANNEL, split
from runtime.store.moves import pause_unclaimed
from runtime.store.queue import Queue
from runtime.store.records import find_execution
from runtime.store.statement import Record, Statement
from runtime.store.states import check_execution_move
from runtime.store.tables import SCHEMA, StepRow

MAX_LOSSES = 3
"""Leases that may be lost to vanished workers; with the next one the execution fails (spec E10)."""


SUSPECT_LOSSES = 2
"""Lost leases after which an execution may be what its workers die of: when the last one was lost just now, it begins
alone."""


class Suspected(Exception):  # noqa: N818 — not an error
    """It has lost so many workers that it must begin alone; nothing was changed."""


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
    moved_bytes: int
    """What they sent and received; what one that was killed moved after its last write is not in it."""
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
    """One worker's wish for one execution. Whatever of it breaks off may be done again."""

    def __init__(
        self, queue: Queue, execution_id: ExecutionId, worker: str, turn: int | None, *, alone: bool = False
    ) -> None:
        """`alone`: whether the worker has nothing else in its hands, as it must for a suspect."""
        self._queue = queue
        self._alone = alone
        self._execution_id = execution_id
        self._worker = worker
        self._turn = turn
        self._id = uuid7()
        self._newly_lost = 0
        self._epoch: int | None = None
        """That it found when it first looked."""
        self.meets_pause = False
        """Whether it found that the execution is to be paused instead: `pause` does it."""

    async def open(self, session: PlainSession) -> Claimed | None:
        """Open the next run; None when there is nothing to do any more. Its steps and checkpoints are left out.

        Raises:
            Suspected: not alone, and it should be.
        """
        self.meets_pause = False  # else what an earlier look found would count, and may be over
        row = await _LOCK.fetch_one(session, self._key(session))
        if row is None:
            return None
        if row["last_write"] == self._id:  # it was opened, and nobody heard of it
            return self._describe(session, row, row["epoch"], row["losses"])
        if not self._is_due(row) or self._epoch not in (None, row["epoch"]):
            return None  # where the epoch is another one: another worker was faster, and the entry is its
        self._epoch = row["epoch"]
        self.meets_pause = row["pause_requested_at"] is not None and row["cancel_requested_at"] is None
        if self.meets_pause:
            return None
        if row["epoch"] > 0:  # else nothing can have been lost or done before
            self._newly_lost = await _close_lost(session, self._execution_id)
        status = ExecutionStatus(row["status"])
        if status is not ExecutionStatus.RUNNING:
            check_execution_move(status, ExecutionStatus.RUNNING)
        epoch, losses = row["epoch"] + 1, row["losses"] + self._newly_lost
        suspected = self._newly_lost > 0 and SUSPECT_LOSSES <= losses <= MAX_LOSSES
        if suspected and not self._alone and row["cancel_requested_at"] is None:
            raise Suspected
        before, after = split(_tell_opening(self._execution_id, row, epoch, suspected=suspected))
        moved = {
            "epoch": epoch,
            "losses": losses,
            "last_write": self._id,
            "worker": self._worker,
            "type": "log" if status is ExecutionStatus.RUNNING else "status",
            "head": before,
            "tail": after,
            "notifies": session.woken is None,
        }
        await _OPEN.fetch(session, self._key(session) | moved)
        session.events_appended += 1
        if session.woken is not None:
            session.woken.add(self._execution_id)
        return self._describe(session, row, epoch, losses)

    async def pause(self, session: TenantSession) -> bool:
        """Pause what was to be paused when its worker was lost, and admit what waited for its place.

        False when it is wanted after all.
        """
        tenant = await lock_tenant(session, session.tenant_id)  # before the execution's row, see admission.py
        row = await find_execution(session, self._execution_id, lock=True)
        if row is None or row.epoch != self._epoch or row.status.final or row.admitted_at is None:
            return True  # nothing is to do any more
        if row.pause_requested_at is None or row.cancel_requested_at is not None:
            return False
        await pass_turn(session, row.turn)
        row.losses += await _close_lost(session, self._execution_id)
        await pause_unclaimed(session, row, self._queue)
        await admit_waiting(session, self._queue, tenant)
        return True

    def _is_due(self, row: Record) -> bool:
        ended = ExecutionStatus(row["status"]).final
        return not ended and row["admitted_at"] is not None and self._turn in (None, row["turn"])

    def _key(self, session: PlainSession) -> dict[str, Any]:
        return {"execution_id": self._execution_id, "tenant_id": session.tenant_id}

    def _describe(self, session: PlainSession, row: Record, epoch: int, losses: int) -> Claimed:
        return Claimed(
            lease=Lease(session.tenant_id, self._execution_id, epoch),
            name=row["name"],
            plan=row["plan"],
            trigger=row["trigger"],
            timeout_s=row["timeout_s"],
            trace_parent=row["trace_parent"],
            started_at=row["started_at"] or datetime.now(UTC),
            spent_s=row["spent_s"],
            moved_bytes=row["moved_bytes"],
            steps=(),
            checkpoints=(),
            retry_of=ExecutionId(row["retry_of"]) if row["retry_of"] is not None else None,
            retry=row["retry"],
            progress=row["progress"],
            credits=row["credits"],
            losses=losses,
            newly_lost=self._newly_lost,
            cancel_reason=(row["cancel_reason"] or "") if row["cancel_requested_at"] is not None else None,
        )


async def _close_lost(session: OfTenant, execution_id: ExecutionId) -> int:
    """Close runs that were never closed; how many."""
    values = {"execution_id": execution_id, "tenant_id": session.tenant_id, "ended_at": datetime.now(UTC)}
    return len(await _CLOSE_LOST.fetch(session, values))


def _tell_opening(execution_id: ExecutionId, row: Record, epoch: int, *, suspected: bool) -> Event:
    now = datetime.now(UTC)
    if row["status"] != ExecutionStatus.RUNNING:
        data = StatusData(progress=row["progress"], current_node=row["current_node"])
        return StatusChanged(execution_id=execution_id, seq=0, timestamp=now, status=ExecutionStatus.RUNNING, data=data)
    alone = " It begins alone, since it has lost workers before." if suspected else ""
    message = f"Run {epoch} goes on from the last finished step.{alone}"
    entry = LogEntry(level="warning", message=message, node_id=None, timestamp=now)
    return Logged(execution_id=execution_id, seq=0, timestamp=now, log=entry)


# With what it runs: its own one-off plan, or that of its workflow's version.
_LOCK = Statement(f"""
    SELECT e.status, e.admitted_at, e.turn, e.epoch, e.losses, e.last_write, e.pause_requested_at,
        e.cancel_requested_at, e.cancel_reason, e.name, e.trigger, e.timeout_s, e.trace_parent, e.started_at,
        e.spent_s, e.moved_bytes, e.retry_of, e.retry, e.progress, e.credits, e.current_node,
        coalesce(e.plan, v.plan) AS plan
    FROM {SCHEMA}.executions AS e
    LEFT JOIN {SCHEMA}.workflow_versions AS v
        ON v.workflow_id = e.workflow_id AND v.version = e.workflow_version AND v.tenant_id = :tenant_id
    WHERE e.execution_id = :execution_id AND e.tenant_id = :tenant_id
    FOR NO KEY UPDATE OF e
""")  # noqa: S608 — constants
_OPEN = Statement(f"""
    WITH opened AS (
        UPDATE {SCHEMA}.executions SET status = 'running', epoch = cast(:epoch AS integer), losses = :losses,
            head_seq = head_seq + 1, started_at = coalesce(started_at, now()), last_write = :last_write
        WHERE execution_id = :execution_id AND tenant_id = :tenant_id
        RETURNING execution_id, tenant_id, epoch, head_seq, turn
    ), run AS (
        INSERT INTO {SCHEMA}.runs (execution_id, epoch, tenant_id, worker)
        SELECT execution_id, epoch, tenant_id, :worker FROM opened
    ), told AS (
        INSERT INTO {SCHEMA}.events (execution_id, seq, tenant_id, type, body)
        SELECT execution_id, head_seq, tenant_id, :type, cast(:head AS text) || head_seq || cast(:tail AS text)
        FROM opened
    ), passed AS (
        SELECT setval('{TURNS}', opened.turn) FROM opened, {TURNS} AS turns WHERE turns.last_value < opened.turn
    ), rung AS (
        SELECT pg_notify('{CHANNEL}', cast(execution_id AS text)) FROM opened WHERE cast(:notifies AS boolean)
    )
    SELECT (SELECT count(*) FROM passed) AS passed, (SELECT count(*) FROM rung) AS rung
""")  # noqa: S608
_CLOSE_LOST = Statement(f"""
    UPDATE {SCHEMA}.runs SET ended_at = :ended_at, outcome = 'lost'
    WHERE execution_id = :execution_id AND tenant_id = :tenant_id AND ended_at IS NULL
    RETURNING epoch
""")  # noqa: S608
