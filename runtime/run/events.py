"""What happened, in the two forms it is recorded in: the step's row and the events that tell of it. Pure."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import assert_never

from contracts.events import (
    ArtifactStored,
    Cancelled,
    Completed,
    CompletionResult,
    Event,
    Failed,
    LogEntry,
    Logged,
    NodeStateData,
    NodeUpdated,
    Screenshot,
    StatusChanged,
    StatusData,
    StepData,
    StepUpdated,
    Usage,
)
from contracts.execution import Artifact, ArtifactKind, ExecutionStatus, Failure, StepStatus
from contracts.model import ExecutionId, StepId
from contracts.workflow import JsonObject
from runtime.engine.commands import Finish
from runtime.engine.plan import PlannedNode
from runtime.node import Level
from runtime.store.changes import StepRecord

_MILLISECOND = timedelta(milliseconds=1)
PICTURES = frozenset({ArtifactKind.SCREENSHOT, ArtifactKind.FAILURE_SCREENSHOT})


def begin_step(step_id: StepId, node: PlannedNode, attempt: int, epoch: int, now: datetime) -> StepRecord:
    """An attempt that begins now."""
    return StepRecord(
        step_id=step_id,
        node_id=node.id,
        node_type=node.type,
        phase=node.phase,
        attempt=attempt,
        epoch=epoch,
        status=StepStatus.RUNNING,
        started_at=now,
    )


def unbegun_step(step_id: StepId, node: PlannedNode, attempt: int, epoch: int) -> StepRecord:
    """An attempt that ends before it began: skipped, or stopped while it waited for its turn."""
    return StepRecord(
        step_id=step_id,
        node_id=node.id,
        node_type=node.type,
        phase=node.phase,
        attempt=attempt,
        epoch=epoch,
        status=StepStatus.QUEUED,
    )


def end_step(
    step: StepRecord,
    status: StepStatus,
    now: datetime,
    *,
    outputs: JsonObject | None = None,
    failure: Failure | None = None,
    spent: int = 0,
) -> StepRecord:
    """The attempt as it ended; `spent` in credits."""
    duration_ms = (now - step.started_at) // _MILLISECOND if step.started_at else None
    return replace(
        step,
        status=status,
        outputs=outputs,
        error=failure,
        finished_at=now,
        duration_ms=duration_ms,
        credits=spent,
    )


def tell_step(execution_id: ExecutionId, step: StepRecord, now: datetime) -> list[Event]:
    """The events of a step's new state: the API guide's shape, and ours with more in it."""
    state = NodeStateData(
        status=step.status,
        output=step.outputs,
        error=step.error.message if step.error else None,
        started_at=step.started_at,
        completed_at=step.finished_at,
    )
    data = StepData(
        step_id=step.step_id,
        node_id=step.node_id,
        node_type=step.node_type,
        phase=step.phase,
        attempt=step.attempt,
        epoch=step.epoch,
        status=step.status,
        code=step.error.code.value if step.error else None,
        duration_ms=step.duration_ms,
    )
    return [
        NodeUpdated(execution_id=execution_id, seq=0, timestamp=now, node_id=step.node_id, node_state=state),
        StepUpdated(execution_id=execution_id, seq=0, timestamp=now, step=data),
    ]


def tell_line(execution_id: ExecutionId, level: Level, message: str, node_id: str | None, now: datetime) -> Event:
    """A line of the log."""
    entry = LogEntry(level=level, message=message, node_id=node_id, timestamp=now)
    return Logged(execution_id=execution_id, seq=0, timestamp=now, log=entry)


def tell_artifact(execution_id: ExecutionId, artifact: Artifact, now: datetime) -> Event:
    """Something was stored."""
    if artifact.kind in PICTURES:
        return Screenshot(execution_id=execution_id, seq=0, timestamp=now, node_id=artifact.node_id, artifact=artifact)
    return ArtifactStored(execution_id=execution_id, seq=0, timestamp=now, artifact=artifact)


def tell_progress(execution_id: ExecutionId, progress: float, current_node: str | None, now: datetime) -> Event:
    """How far it has come."""
    data = StatusData(progress=progress, current_node=current_node)
    return StatusChanged(execution_id=execution_id, seq=0, timestamp=now, status=ExecutionStatus.RUNNING, data=data)


def tell_end(
    execution_id: ExecutionId,
    finish: Finish,
    result: JsonObject,
    *,
    progress: float,
    spent: int,
    duration_s: float,
    now: datetime,
) -> list[Event]:
    """The last events: what it cost, the final status, and the one terminal event that nothing follows."""
    said = finish.failure.message if finish.failure else finish.reason
    data = StatusData(progress=progress, current_node=None, reason=said or None)
    return [
        Usage(execution_id=execution_id, seq=0, timestamp=now, credits=spent, usd="0"),
        StatusChanged(execution_id=execution_id, seq=0, timestamp=now, status=finish.status, data=data),
        _tell_terminal(execution_id, finish, result, duration_s, now),
    ]


def _tell_terminal(
    execution_id: ExecutionId, finish: Finish, result: JsonObject, duration_s: float, now: datetime
) -> Event:
    match finish.status:
        case ExecutionStatus.COMPLETED:
            outcome = CompletionResult(
                output=result,
                nodes_completed=finish.nodes_completed,
                nodes_failed=finish.nodes_failed,
                duration=round(duration_s, 3),
            )
            return Completed(execution_id=execution_id, seq=0, timestamp=now, result=outcome)
        case ExecutionStatus.FAILED:
            error = finish.failure.message if finish.failure else "It failed."
            return Failed(execution_id=execution_id, seq=0, timestamp=now, error=error)
        case ExecutionStatus.CANCELLED:
            return Cancelled(execution_id=execution_id, seq=0, timestamp=now, reason=finish.reason)
        case _:
            assert_never(finish.status)
