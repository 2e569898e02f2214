"""What the outside knows: which submits were acknowledged, and what every client that watched has seen."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass
class Sighting:
    """One client's whole view of one log, over all of its connections."""

    execution_id: str
    seqs: list[int] = field(default_factory=list)
    """In the order of arrival."""
    bodies: list[Mapping[str, Any]] = field(default_factory=list)
    arrived: list[float] = field(default_factory=list)
    """When each event came, in seconds since 1970, as events themselves tell when they happened."""
    closes: list[int] = field(default_factory=list)
    """Close codes; 1006 for a line that was cut."""
    opened: list[float] = field(default_factory=list)
    """When each connection got its hello, by the monotonic clock."""
    resets: int = 0
    """Times the server could not show continuity; without a restored backup there is no reason to."""
    done: bool = False
    """The server said that nothing will follow (1000)."""

    @property
    def latest_s(self) -> float:
        """How long after it had happened an event came, at most."""
        told = zip(self.bodies, self.arrived, strict=True)
        return max((arrived - float(body["timestamp"]) for body, arrived in told), default=0.0)

    @property
    def head(self) -> int:
        """The last number seen."""
        return self.seqs[-1] if self.seqs else 0


@dataclass
class Ledger:
    """Everything that was promised to clients of one stack."""

    accepted: dict[str, str] = field(default_factory=dict)
    """Tenant by execution, as 202 answers named them."""
    sightings: list[Sighting] = field(default_factory=list)
    orders: Mapping[str, int] = field(default_factory=dict)
    """The shop's own book: orders that landed, by customer."""
    person_said_again: set[str] = field(default_factory=set)
    """Executions of which a person said that their unsafe step may run again."""

    def copy(self) -> "Ledger":
        """As it stands now: taken before the database is read, nothing in it can be news to the database."""
        sightings = [replace(one, seqs=list(one.seqs), bodies=list(one.bodies)) for one in self.sightings]
        return replace(self, accepted=dict(self.accepted), sightings=sightings, orders=dict(self.orders))
