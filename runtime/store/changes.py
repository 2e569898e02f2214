"""What a run writes in one transaction: steps, events, artifacts and the log's counter, in one statement.

The counter on the execution's row is the fence: a run that has lost its lease moves nothing, and so writes nothing.
One statement, because every node of every execution passes here several times, and a round trip costs more than the
rows (`make bench`, B3).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from pydantic_core import to_json

from contracts.events import Event
from contracts.execution import ExecutionStatus, Failure, Question, StepStatus
from contracts.model import ExecutionId, StepId, TenantId
from contracts.workflow import JsonObject
from runtime.store.checkpoints import SealedCheckpoint, put_checkpoints
from runtime.store.db import OfTenant
from runtime.store.egress import RefusedHost, put_refusals
from runtime.store.events import CHANNEL, split
from runtime.store.records import StoredBlob, put_blobs
from runtime.store.statement import Statement
from runtime.store.states import IllegalMove, check_step_move, step_moves
from runtime.store.tables import SCHEMA
from runtime.store.tool_events import ToolUse, put_tool_uses

HELD: Final = (ExecutionStatus.RUNNING, ExecutionStatus.PAUSED)
"""A run may keep its execution while it is paused, and then writes as before."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write to an execution, as long as nobody has claimed it again."""

    tenant_id: TenantId
    execution_id: ExecutionId
    epoch: int


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
    tools: Sequence[ToolUse] = ()
    progress: float | None = None
    """Written with `current_node` and `spent_s`, or none of them."""
    current_node: str | None = None
    spent_s: float | None = None
    moved_bytes: int = 0
    """Sent and received by this run and those before it."""


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


async def write_change(session: OfTenant, lease: Lease, change: Change, write_id: UUID, end: End | None = None) -> None:
    """Write a change, and with `end` the end of the execution and of its run.

    Args:
        session: of the transaction.
        lease: under which it is written.
        change: what has happened.
        write_id: left on the execution's row, for whoever has to find out whether this was committed.
        end: nothing follows it.

    Raises:
        Fenced: another run has taken over, or it has ended.
        IllegalMove: a step was to go where it can't.
    """
    steps = _take_latest(change.steps)
    values = _frame(session, lease, change, write_id) | _columns(list(steps.values()))
    if end is None:
        row = await _WRITE.fetch_one(session, values)
    else:
        row = await _WRITE_END.fetch_one(session, values | _describe_end(end))
    if row is None:
        raise Fenced(f"run {lease.epoch} of {lease.execution_id} has lost its lease")
    if row["put"] < len(steps):
        told = ", ".join(f"attempt {attempt} at {node_id}" for node_id, _, attempt in steps)
        raise IllegalMove(told, "its recorded end", ", ".join(step.status for step in steps.values()))
    session.events_appended += len(change.events)
    if session.woken is not None and change.events:
        session.woken.add(lease.execution_id)
    await put_blobs(session, change.blobs)
    await put_checkpoints(session, lease.execution_id, change.checkpoints)
    await put_refusals(session, lease.execution_id, change.refused)
    await put_tool_uses(session, lease.execution_id, change.tools)


def _take_latest(steps: Sequence[StepRecord]) -> dict[tuple[str, str, int], StepRecord]:
    """Of two states of one attempt the later one. Raises IllegalMove."""
    latest: dict[tuple[str, str, int], StepRecord] = {}
    for step in steps:
        key = step.node_id, step.path, step.attempt
        if key in latest:
            check_step_move(latest[key].status, step.status)
        latest[key] = step
    return latest


def _frame(session: OfTenant, lease: Lease, change: Change, write_id: UUID) -> dict[str, Any]:
    parts = [split(event) for event in change.events]
    return {
        "execution_id": lease.execution_id,
        "tenant_id": session.tenant_id,
        "epoch": lease.epoch,
        "held": _HELD_VALUES,
        "last_write": write_id,
        "spent": sum(step.credits for step in change.steps),
        "progress": change.progress,
        "current_node": change.current_node,
        "moved_bytes": change.moved_bytes,
        "spent_s": None if change.progress is None else change.spent_s or 0,
        "types": [event.type for event in change.events],
        "heads": [before for before, _ in parts],
        "tails": [after for _, after in parts],
        "notifies": session.woken is None and bool(change.events),
    }


def _columns(steps: Sequence[StepRecord]) -> dict[str, Any]:
    return {
        "step_ids": [step.step_id for step in steps],
        "node_ids": [step.node_id for step in steps],
        "paths": [step.path for step in steps],
        "attempts": [step.attempt for step in steps],
        "epochs": [step.epoch for step in steps],
        "node_types": [step.node_type for step in steps],
        "phases": [step.phase for step in steps],
        "statuses": [step.status.value for step in steps],
        "outputs": [to_text(step.outputs) for step in steps],
        "errors": [to_text(step.error) for step in steps],
        "starts": [step.started_at for step in steps],
        "finishes": [step.finished_at for step in steps],
        "durations": [step.duration_ms for step in steps],
        "credits": [step.credits for step in steps],
        "reused": [step.reused for step in steps],
    }


def _describe_end(end: End) -> dict[str, Any]:
    return {
        "status": end.status.value,
        "result": to_text(end.result),
        "error": to_text(end.failure),
        "question": to_text(end.question),
        "finished_at": datetime.now(UTC),
    }


def to_text(value: Any) -> str | None:
    """As the columns of type json hold it, which keeps the text as it is."""
    return None if value is None else to_json(value).decode()


_HELD_VALUES = [status.value for status in HELD]
_MOVES = ", ".join(f"('{before}', '{after}')" for before, after in step_moves())


def _compose(and_set: str = "", and_then: str = "") -> Statement:
    return Statement(f"""
    WITH moved AS (
        UPDATE {SCHEMA}.executions SET
            head_seq = head_seq + cardinality(cast(:types AS text[])),
            credits = credits + cast(:spent AS integer),
            progress = coalesce(cast(:progress AS double precision), progress),
            current_node = CASE WHEN cast(:progress AS double precision) IS NULL THEN current_node
                                ELSE cast(:current_node AS text) END,
            spent_s = coalesce(cast(:spent_s AS double precision), spent_s),
            moved_bytes = greatest(moved_bytes, cast(:moved_bytes AS bigint)),
            last_write = :last_write {and_set}
        WHERE execution_id = :execution_id AND tenant_id = :tenant_id AND epoch = :epoch
          AND status = ANY(cast(:held AS text[]))
        RETURNING execution_id, tenant_id, epoch, head_seq
    ), put AS (
        INSERT INTO {SCHEMA}.steps AS s (execution_id, tenant_id, ordinal, step_id, node_id, path, attempt, epoch,
            node_type, phase, status, outputs, error, started_at, finished_at, duration_ms, credits, reused)
        SELECT moved.execution_id, moved.tenant_id, moved.head_seq, one.step_id, one.node_id, one.path, one.attempt,
            one.epoch, one.node_type, one.phase, one.status, cast(one.outputs AS json), cast(one.error AS json),
            one.started_at, one.finished_at, one.duration_ms, one.credits, one.reused
        FROM moved, unnest(cast(:step_ids AS uuid[]), cast(:node_ids AS text[]), cast(:paths AS text[]),
            cast(:attempts AS integer[]), cast(:epochs AS integer[]), cast(:node_types AS text[]),
            cast(:phases AS integer[]), cast(:statuses AS text[]), cast(:outputs AS text[]), cast(:errors AS text[]),
            cast(:starts AS timestamptz[]), cast(:finishes AS timestamptz[]), cast(:durations AS integer[]),
            cast(:credits AS integer[]), cast(:reused AS boolean[])) AS one (step_id, node_id, path, attempt, epoch,
            node_type, phase, status, outputs, error, started_at, finished_at, duration_ms, credits, reused)
        ON CONFLICT (execution_id, node_id, path, attempt) DO UPDATE SET
            epoch = excluded.epoch, node_type = excluded.node_type, phase = excluded.phase,
            status = excluded.status, outputs = excluded.outputs, error = excluded.error,
            started_at = excluded.started_at, finished_at = excluded.finished_at,
            duration_ms = excluded.duration_ms, credits = excluded.credits, reused = excluded.reused
        WHERE s.tenant_id = excluded.tenant_id AND (s.status, excluded.status) IN ({_MOVES})
        RETURNING s.step_id
    ), told AS (
        INSERT INTO {SCHEMA}.events (execution_id, seq, tenant_id, type, body)
        SELECT moved.execution_id, moved.head_seq - cardinality(cast(:types AS text[])) + draft.place, moved.tenant_id,
            draft.type, draft.head || (moved.head_seq - cardinality(cast(:types AS text[])) + draft.place) || draft.tail
        FROM moved, unnest(cast(:types AS text[]), cast(:heads AS text[]), cast(:tails AS text[]))
            WITH ORDINALITY AS draft (type, head, tail, place)
    ), rung AS (
        SELECT pg_notify('{CHANNEL}', cast(execution_id AS text)) FROM moved WHERE cast(:notifies AS boolean)
    ){and_then}
    SELECT moved.head_seq, (SELECT count(*) FROM put) AS put, (SELECT count(*) FROM rung) AS rung FROM moved
""")  # noqa: S608 — constants


_WRITE = _compose()
_WRITE_END = _compose(
    """,
            status = :status,
            result = cast(:result AS json),
            error = cast(:error AS json),
            question = cast(:question AS json),
            finished_at = :finished_at""",
    f""", closed AS (
        UPDATE {SCHEMA}.runs AS r SET ended_at = :finished_at, outcome = 'finished' FROM moved
        WHERE r.execution_id = moved.execution_id AND r.tenant_id = moved.tenant_id AND r.epoch = moved.epoch
          AND r.ended_at IS NULL
    )""",  # noqa: S608
)
