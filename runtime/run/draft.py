"""What a run will record together, gathered while the machine's answer is read."""

from collections.abc import Iterable
from datetime import UTC, datetime

from contracts.events import Event
from runtime.engine.commands import Finish, StartNode, StopRunning
from runtime.run.events import tell_artifact, tell_progress, tell_step
from runtime.store.changes import Change, Lease, StepRecord
from runtime.store.checkpoints import SealedCheckpoint
from runtime.store.records import StoredBlob


class Draft:
    """Facts in the order they happened; what is to be done once they are recorded stands beside them."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._events: list[Event] = []
        self._steps: list[StepRecord] = []
        self._blobs: list[StoredBlob] = []
        self._checkpoints: list[SealedCheckpoint] = []
        self.now = datetime.now(UTC)
        self.starts: list[StartNode] = []
        """Attempts to begin with this, or once it is recorded."""
        self.stop: StopRunning | None = None
        self.finish: Finish | None = None

    @property
    def blank(self) -> bool:
        """Whether there is nothing to record."""
        return not (self._events or self._steps or self._blobs or self._checkpoints)

    @property
    def credits(self) -> int:
        """What the steps of this draft cost."""
        return sum(step.credits for step in self._steps)

    @property
    def touched(self) -> set[str]:
        """Nodes of which something is on the draft, or that begin once it is recorded."""
        return {step.node_id for step in self._steps} | {start.node_id for start in self.starts}

    def note_step(self, step: StepRecord) -> None:
        """A step has a new state."""
        self._steps.append(step)
        self._events += tell_step(self._lease.execution_id, step, self.now)

    def note_blobs(self, blobs: Iterable[StoredBlob]) -> None:
        """Something was stored."""
        for blob in blobs:
            self._blobs.append(blob)
            self._events.append(tell_artifact(self._lease.execution_id, blob.artifact, self.now))

    def note_checkpoints(self, kept: Iterable[SealedCheckpoint]) -> None:
        """Pages were left somewhere; nobody is told."""
        self._checkpoints += kept

    def note_progress(self, progress: float, current_node: str | None) -> None:
        """It has come further."""
        self._events.append(tell_progress(self._lease.execution_id, progress, current_node, self.now))

    def close(self, progress: float, current_node: str | None, spent_s: float, last: Iterable[Event] = ()) -> Change:
        """The transaction, with `last` after everything else."""
        return Change(
            events=[*self._events, *last],
            steps=self._steps,
            blobs=self._blobs,
            checkpoints=self._checkpoints,
            progress=progress,
            current_node=current_node,
            spent_s=spent_s,
        )
