"""How far one node of one execution has come: a small state machine that names the illegal move."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from contracts.execution import Failure
from contracts.workflow import JsonObject
from runtime.engine.plan import PlannedNode


class State(StrEnum):
    """Of a node: pending → running → success | failed, or pending → skipped; back to pending for another attempt."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(slots=True)
class Progress:
    """What is known of a node."""

    node: PlannedNode
    state: State = State.PENDING
    attempt: int = 0
    """Number of the latest attempt; 0 before the first."""
    failures: int = 0
    """Attempts that failed by themselves; attempts lost with their worker don't count."""
    delay_s: float = 0.0
    """Before the next attempt."""
    inputs: JsonObject = field(default_factory=dict)
    outputs: JsonObject = field(default_factory=dict)
    """Live outputs; a handle that is not here is dead."""
    pages: frozenset[str] = frozenset()
    """Pages the node was given or has opened."""
    failure: Failure | None = None
    given_up: bool = False
    """Ended only because the execution does: it failed for good, was stopped, or never had its turn."""
    replaying: bool = False
    """Has succeeded before, and runs again only for its effect on a page that was lost."""

    @property
    def has_ended(self) -> bool:
        """Whether the node's outcome stands; a replay doesn't change it."""
        return self.replaying or self.state in (State.SUCCESS, State.FAILED, State.SKIPPED)

    @property
    def is_done(self) -> bool:
        """Whether the execution has come past the node."""
        return self.has_ended and not self.given_up

    @property
    def is_settled(self) -> bool:
        """Whether the node has ended and isn't running again for its page's sake."""
        return self.has_ended and not self.replaying

    def begin(self, inputs: JsonObject, pages: Iterable[str]) -> None:
        """Start the next attempt."""
        self._move(State.PENDING, State.RUNNING)
        self.attempt += 1
        self.inputs, self.pages, self.delay_s = inputs, self.pages | frozenset(pages), 0.0

    def succeed(self, outputs: JsonObject, pages: Iterable[str]) -> None:
        """End well. The outputs of a replay are dropped: others may have used the first ones."""
        self._move(State.RUNNING, State.SUCCESS)
        self.pages |= frozenset(pages)
        if not self.replaying:
            self.outputs = outputs
        self.replaying = False

    def fail(self, failure: Failure, outputs: JsonObject, *, given_up: bool) -> None:
        """End badly; `outputs` is what its error policy lets live on, and `given_up` whether nothing does."""
        self._move(State.RUNNING, State.FAILED)
        self.failure, self.outputs, self.replaying, self.given_up = failure, outputs, False, given_up

    def await_retry(self, delay_s: float) -> None:
        """Go back to wait for another attempt."""
        self._move(State.RUNNING, State.PENDING)
        self.delay_s = delay_s

    def skip(self, *, given_up: bool = False) -> None:
        """End without having run; `given_up`, because the execution ends first."""
        self._move(State.PENDING, State.SKIPPED)
        self.given_up = given_up

    def replay(self) -> None:
        """Run once more for the page's sake."""
        self._move(State.SUCCESS, State.PENDING)
        self.replaying = True

    def drop_replay(self) -> None:
        """The execution ends before the replay began: the first outcome stands."""
        self._move(State.PENDING, State.SUCCESS)
        self.replaying = False

    def _move(self, source: State, target: State) -> None:
        if self.state is not source:
            raise ValueError(f"node {self.node.id} can't become {target}: it is {self.state}, not {source}")
        self.state = target
