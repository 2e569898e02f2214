"""What a run may be told while it goes on; each reaches its inbox and is taken in turn."""

from collections.abc import Sequence
from dataclasses import dataclass

from contracts.execution import Failure
from contracts.workflow import JsonObject
from runtime.engine.commands import StartNode
from runtime.store.checkpoints import SealedCheckpoint
from runtime.store.records import StoredBlob


@dataclass(frozen=True)
class Due:
    """The delay before an attempt is over."""

    start: StartNode


@dataclass(frozen=True)
class Succeeded:
    """An attempt at a node ended well."""

    start: StartNode
    outputs: JsonObject
    checkpoints: Sequence[SealedCheckpoint] = ()
    """Where it has left its pages."""


@dataclass(frozen=True)
class Failed:
    """An attempt at a node ended badly."""

    start: StartNode
    failure: Failure
    retryable: bool = False
    begun: bool = True
    """False: a page could not be brought back, so that nothing of the node itself has run."""
    evidence: Sequence[StoredBlob] = ()


@dataclass(frozen=True)
class Waiting:
    """An attempt only lets time pass from now on, so that its worker may leave it."""


@dataclass(frozen=True)
class CancelAsked:
    """Somebody wants the end."""

    reason: str


@dataclass(frozen=True)
class PauseAsked:
    """Somebody wants it to stand still."""


@dataclass(frozen=True)
class ResumeAsked:
    """Somebody wants it to go on."""


@dataclass(frozen=True)
class RecordingsKept:
    """What was recorded is stored, so that the worker may go."""


@dataclass(frozen=True)
class TimeIsUp:
    """The execution has taken as long as it may."""


@dataclass(frozen=True)
class LeaseLost:
    """Another run has taken over; nothing more may be written."""


@dataclass(frozen=True)
class Stalled:
    """This worker stood still for longer than a lease: what it holds may be another's by now."""


@dataclass(frozen=True)
class DrainBegun:
    """This worker is leaving: start nothing, let what runs come to its end."""


@dataclass(frozen=True)
class DrainNearlyOver:
    """What was recorded has to be stored from now on, if there is to be time for it; steps still have theirs."""


@dataclass(frozen=True)
class DrainOver:
    """What still runs has to stop."""


Signal = (
    Due
    | Succeeded
    | Failed
    | Waiting
    | CancelAsked
    | RecordingsKept
    | PauseAsked
    | ResumeAsked
    | TimeIsUp
    | LeaseLost
    | Stalled
    | DrainBegun
    | DrainNearlyOver
    | DrainOver
)
