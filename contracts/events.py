"""Every event an execution can emit. Shapes of the first six are the API guide's, plus `seq`.

Invariants: `seq` runs 1, 2, 3 … without gaps per execution; 1 is `accepted`; exactly one terminal event
(`completion`, `error` or `cancelled`), and it is the last. State, step and event are written in one transaction.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from contracts.execution import Artifact, ExecutionStatus, StepStatus
from contracts.model import Contract, ExecutionId, LogId, Seq, StepId, UnixInstant, WorkflowId
from contracts.workflow import JsonObject


class _Event(Contract):
    execution_id: ExecutionId
    seq: Seq
    timestamp: UnixInstant


class ExecutionAccepted(_Event):
    """The execution exists."""

    type: Literal["accepted"] = "accepted"
    name: str
    realm: str
    intent: str
    workflow_id: WorkflowId | None
    workflow_version: int | None


class StatusData(Contract):
    progress: float
    current_node: str | None
    reason: str | None = None


class StatusChanged(_Event):
    type: Literal["status"] = "status"
    status: ExecutionStatus
    data: StatusData


class NodeStateData(Contract):
    status: StepStatus
    output: JsonObject | None
    error: str | None
    started_at: UnixInstant | None
    completed_at: UnixInstant | None


class NodeUpdated(_Event):
    type: Literal["node_update"] = "node_update"
    node_id: str
    node_state: NodeStateData


class LogEntry(Contract):
    level: Literal["debug", "info", "warning", "error"]
    message: str
    node_id: str | None
    timestamp: UnixInstant


class Logged(_Event):
    type: Literal["log"] = "log"
    log: LogEntry


class CompletionResult(Contract):
    status: Literal[ExecutionStatus.COMPLETED] = ExecutionStatus.COMPLETED
    output: JsonObject
    nodes_completed: int
    nodes_failed: int
    duration: float
    """Seconds from the first start to the end."""


class Completed(_Event):
    type: Literal["completion"] = "completion"
    result: CompletionResult


class Failed(_Event):
    """The end of a failed or budget_exceeded execution; the `status` event before it says which."""

    type: Literal["error"] = "error"
    error: str


class StepData(Contract):
    step_id: StepId
    node_id: str
    node_type: str
    phase: int
    attempt: int
    epoch: int
    status: StepStatus
    code: str | None
    """Failure code of a failed or retrying attempt."""
    duration_ms: int | None


class StepUpdated(_Event):
    type: Literal["step_update"] = "step_update"
    step: StepData


class Screenshot(_Event):
    type: Literal["screenshot"] = "screenshot"
    node_id: str | None
    artifact: Artifact


class ArtifactStored(_Event):
    type: Literal["artifact"] = "artifact"
    artifact: Artifact


class Output(_Event):
    """A value the workflow hands out before its end."""

    type: Literal["output"] = "output"
    node_id: str
    name: str
    value: Any


class Usage(_Event):
    """What the execution has cost so far."""

    type: Literal["usage"] = "usage"
    credits: int
    usd: str


class Approval(_Event):
    type: Literal["approval"] = "approval"
    node_id: str
    state: Literal["asked", "granted", "refused"]
    question: str


class Takeover(_Event):
    type: Literal["takeover"] = "takeover"
    state: Literal["taken", "handed_back"]
    by: str


class Cancelled(_Event):
    type: Literal["cancelled"] = "cancelled"
    reason: str


Event = Annotated[
    ExecutionAccepted
    | StatusChanged
    | NodeUpdated
    | Logged
    | Completed
    | Failed
    | StepUpdated
    | Screenshot
    | ArtifactStored
    | Output
    | Usage
    | Approval
    | Takeover
    | Cancelled,
    Field(discriminator="type"),
]
EVENT: TypeAdapter[Event] = TypeAdapter(Event)
TERMINAL = frozenset({"completion", "error", "cancelled"})
"""Types of the events that end a log."""


class EventPage(Contract):
    """Part of a log. `head_seq` is the last number written so far; `terminal` says that nothing will follow it."""

    execution_id: ExecutionId
    log_id: LogId | None = None
    """Identity of this log, as in the stream's hello; null while Runtime has not heard of the execution."""
    events: list[Event]
    head_seq: Seq
    terminal: bool
