"""Why and how far a run is leaving its execution: a worker that drains, or a person's pause."""

from dataclasses import dataclass, field, replace

from runtime.engine.commands import StartNode


@dataclass
class Departure:
    """What is wanted, and the attempts that do not begin because of it."""

    draining: bool = False
    """The worker leaves: whatever can go on elsewhere does."""
    over: bool = False
    """Its grace time is up, or it stood still for too long: nothing more is waited for."""
    pausing: bool = False
    """A person wants it to stand still, in whatever worker."""
    paused: bool = False
    """It stands still in this worker, because its page could not be brought back elsewhere."""
    held: list[StartNode] = field(default_factory=list)
    """In the order in which they were to begin."""

    @property
    def wanted(self) -> bool:
        """Whether the run should leave as soon as it may."""
        return self.draining or self.pausing or self.over

    def holds(self, *, can_be_left: bool) -> bool:
        """Whether nothing may begin. A worker that drains goes on to where another can take over without a person."""
        return self.pausing or self.over or (self.draining and can_be_left)

    def hold(self, start: StartNode) -> None:
        """Keep an attempt back; a delay before it counts as over when it is released."""
        self.held.append(replace(start, delay_s=0.0))

    def release(self) -> list[StartNode]:
        """Hand out what was kept back."""
        held, self.held = self.held, []
        return held
