"""How one log reads on each endpoint: the native frames, and the API guide's five messages."""

from abc import ABC, abstractmethod
from typing import Any, assert_never

from contracts.events import (
    Approval,
    ArtifactStored,
    Cancelled,
    Completed,
    Event,
    ExecutionAccepted,
    Failed,
    Logged,
    NodeUpdated,
    Output,
    Screenshot,
    StatusChanged,
    StepUpdated,
    Takeover,
    Usage,
)
from contracts.execution import ExecutionStatus, StepStatus
from contracts.frames import (
    AuthExpiring,
    GuideCompletion,
    GuideError,
    GuideLog,
    GuideNodeState,
    GuideNodeUpdate,
    GuideState,
    GuideStatus,
    Hello,
    Ping,
    Pong,
    Reset,
    StreamFault,
)
from contracts.workflow import JsonObject

Control = Hello | Ping | Reset | AuthExpiring | StreamFault


class Dialect(ABC):
    """Renders events and control frames as the texts of one endpoint; None where it has no word for something."""

    name: str
    can_reset: bool
    """Whether its clients can be told to forget; if not, they are given the log from its beginning."""
    can_warn: bool
    """Whether its clients can be told that their token ends; if not, they stay for as long as the login behind it."""
    pong = Pong().model_dump_json()

    @abstractmethod
    def render(self, event: Event) -> str | None:
        """An event's text."""

    @abstractmethod
    def say(self, frame: Control) -> str | None:
        """A control frame's text."""


class Native(Dialect):
    """`/api/execution/{id}/stream`: every event as it is recorded."""

    name = "native"
    can_reset = True
    can_warn = True

    def render(self, event: Event) -> str | None:
        """The event as it stands in the log."""
        return event.model_dump_json()

    def say(self, frame: Control) -> str | None:
        """The frame as declared."""
        return frame.model_dump_json()


class Guide(Dialect):
    """`/api/ws/executions/{id}`: the API guide's five messages and pong, exactly as the guide has them."""

    name = "guide"
    can_reset = False
    can_warn = False

    def render(self, event: Event) -> str | None:
        """One of the five messages, or None for what the guide does not know."""
        message = _translate(event)
        return None if message is None else message.model_dump_json()

    def say(self, frame: Control) -> str | None:
        """Nothing: this dialect has no control frames but pong."""
        return None


GuideMessage = GuideStatus | GuideNodeUpdate | GuideLog | GuideCompletion | GuideError


def _translate(event: Event) -> GuideMessage | None:
    about: dict[str, Any] = {"execution_id": event.execution_id, "timestamp": event.timestamp}
    message: GuideMessage | None
    match event:
        case StatusChanged():
            message = GuideStatus(**about, status=_of_execution(event.status), data=_data(event))
        case NodeUpdated():
            message = GuideNodeUpdate(**about, node_id=event.node_id, node_state=_node_state(event))
        case Logged():
            message = GuideLog(**about, log=event.log)
        case Completed():
            message = GuideCompletion(**about, result=event.result)
        case Failed():
            message = GuideError(**about, error=event.error)
        case Cancelled():
            message = GuideError(**about, error=f"Cancelled: {event.reason}" if event.reason else "Cancelled")
        case (
            ExecutionAccepted()
            | StepUpdated()
            | Screenshot()
            | ArtifactStored()
            | Output()
            | Usage()
            | Approval()
            | Takeover()
        ):
            message = None
        case _:
            assert_never(event)
    return message


def _of_execution(status: ExecutionStatus) -> GuideState:
    match status:
        case ExecutionStatus.PENDING:
            return "pending"
        case ExecutionStatus.RUNNING | ExecutionStatus.PAUSED | ExecutionStatus.WAITING:
            return "running"
        case ExecutionStatus.COMPLETED:
            return "completed"
        case ExecutionStatus.FAILED | ExecutionStatus.CANCELLED | ExecutionStatus.BUDGET_EXCEEDED:
            return "failed"
        case _:
            assert_never(status)


def _of_node(status: StepStatus) -> GuideState:
    match status:
        case StepStatus.QUEUED:
            return "pending"
        case StepStatus.RUNNING | StepStatus.RETRYING:
            return "running"
        case StepStatus.SUCCESS | StepStatus.SKIPPED:
            return "completed"
        case StepStatus.FAILED:
            return "failed"
        case _:
            assert_never(status)


def _data(event: StatusChanged) -> JsonObject:
    data: JsonObject = {"progress": event.data.progress, "current_node": event.data.current_node}
    if event.status.value != _of_execution(event.status):
        data["state"] = event.status.value  # what the four states of this dialect can't say
    if event.data.reason is not None:
        data["reason"] = event.data.reason
    return data


def _node_state(event: NodeUpdated) -> GuideNodeState:
    state = event.node_state
    return GuideNodeState(
        status=_of_node(state.status),
        output=None if state.status is StepStatus.SKIPPED else state.output,
        error=state.error,
        started_at=state.started_at,
        completed_at=state.completed_at,
    )


NATIVE = Native()
GUIDE = Guide()
