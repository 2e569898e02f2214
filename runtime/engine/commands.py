"""What the machine is told of the past, and what it tells the worker to do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from contracts.execution import ExecutionStatus, Failure, FailureCode, StepStatus
from contracts.workflow import JsonObject

GRACE_S = 30.0
"""Time that running nodes get when another node's failure ends the execution (spec W6)."""


FinalStatus = Literal[ExecutionStatus.COMPLETED, ExecutionStatus.FAILED, ExecutionStatus.CANCELLED]


class SkipReason(StrEnum):
    """Why a node ended without having run."""

    NOT_REACHED = "not_reached"
    """Everything that could have led here, or something it needs, was not taken or failed before."""
    STOPPED = "stopped"
    """The execution ended first: a failure, a cancel, or its time limit."""


@dataclass(frozen=True)
class StartNode:
    """Begin an attempt, `delay_s` from now. The node counts as running from this command on."""

    node_id: str
    attempt: int
    phase: int
    inputs: JsonObject
    """Resolved values by display name; handles that have none are absent."""
    delay_s: float
    replay: bool = False
    """The node has succeeded before and runs only to bring its lost page back; its recorded outputs stand."""
    restore: Mapping[str, str] = field(default_factory=dict)
    """Pages to open from their checkpoints before the node itself runs, each with the node that left the checkpoint."""


@dataclass(frozen=True)
class EndAttempt:
    """Record how a failed attempt ended: `retrying` when another follows, else `failed`.

    Also comes, from `start`, for attempts that were in flight when their worker was lost.
    """

    node_id: str
    attempt: int
    phase: int
    status: Literal[StepStatus.RETRYING, StepStatus.FAILED]
    failure: Failure


@dataclass(frozen=True)
class SkipNode:
    """Record that a node ends without running."""

    node_id: str
    phase: int
    reason: SkipReason


@dataclass(frozen=True)
class StopRunning:
    """Let running nodes go on for `grace_s`, then stop them; report each, as ever, by the outcome it had."""

    grace_s: float


@dataclass(frozen=True)
class Finish:
    """The end. Nothing follows it."""

    status: FinalStatus
    output: JsonObject
    """By node and handle: the data outputs that no edge takes up. What the workflow came to, even in part."""
    failure: Failure | None
    nodes_completed: int
    nodes_failed: int
    reason: str = ""
    """Who or what cancelled it."""


Command = StartNode | EndAttempt | SkipNode | StopRunning | Finish


CUT_SHORT = frozenset({FailureCode.WORKER_LOST, FailureCode.STOPPED})
"""Why an attempt ended that another one goes on for: not by a failure of its own."""


@dataclass(frozen=True)
class Recorded:
    """An attempt at a node as the store has it. A new run goes on from all rows of its execution."""

    node_id: str
    attempt: int
    status: StepStatus
    outputs: dict[str, Any] | None = None
    """Live outputs of a success; None where only a person knows that it happened."""
    failure: Failure | None = None
    """Of a failed or retrying attempt."""
    reused: bool = False
    """Taken over from the execution that this one is a retry of: nothing of it has run here."""
