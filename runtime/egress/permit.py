"""What one run may reach and has used: its identity at the doors, its limits, and what was refused to it."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from contracts.model import ExecutionId, TenantId
from runtime.egress.hosts import NotAHost, Target, read_host
from runtime.egress.policy import Policy, Refusal, Refused, Rule

GIBIBYTE: Final = 1_073_741_824
MAX_NOTED: Final = 200
"""Refusals that are told one by one; a page may try as many hosts as it likes."""
_LOOKUPS: Final = 8
"""Names of one run that are resolved at once: slow ones must not hold up everybody's."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run may use, and of bytes all runs of an execution."""

    max_bytes: int = 2 * GIBIBYTE
    """In both directions together."""
    max_connections: int = 256
    """Open at once."""


@dataclass(slots=True)
class Tally:
    """What went through the doors of one process so far."""

    refused: Counter[Rule] = field(default_factory=Counter)
    """Connections that were refused, each of them counted."""
    sent: int = 0
    """Bytes."""
    received: int = 0
    opened: int = 0
    """Connections."""
    open: int = 0
    unreachable: int = 0
    """Connections that the policy let through and nobody answered."""


@dataclass(frozen=True, slots=True)
class _Trouble:
    """Why nobody was reached somewhere, as a clause, and the name that nobody has, if that is why."""

    reason: str
    missing: str | None


class Permit:
    """One run at the doors. Made when the run begins; `close` cuts off all that it has open."""

    def __init__(
        self,
        tenant_id: TenantId,
        execution_id: ExecutionId,
        policy: Policy,
        limits: Limits | None = None,
        tally: Tally | None = None,
        used: int = 0,
    ) -> None:
        """`used`: bytes that earlier runs of the execution have moved; the limit is that of all of them."""
        self.tenant_id = tenant_id
        self.execution_id = execution_id
        self.policy = policy
        self.sent = 0
        """Bytes."""
        self.received = 0
        self._used = used
        self._limits = limits or Limits()
        self._tally = tally or Tally()
        self._closers: set[Callable[[], None]] = set()
        self._refused: dict[tuple[str, int | None], Refusal] = {}
        self._unreachable: dict[Target, _Trouble] = {}
        self._listen: Callable[[Refusal], None] | None = None
        self._told = 0
        self._attempts = 0
        self.closed = False
        self.lookups = asyncio.Semaphore(_LOOKUPS)
        """To be held while a name of this run is resolved."""

    @contextmanager
    def trying(self, target: Target) -> Iterator[None]:
        """Count an attempt to connect while it lasts: as many at once as connections. Raises Refused beyond that."""
        if self._attempts >= self._limits.max_connections:
            raise self.refuse(Refusal(str(target.host), target.port, Rule.CONNECTIONS))
        self._attempts += 1
        try:
            yield
        finally:
            self._attempts -= 1

    @property
    def moved(self) -> int:
        """Bytes in both directions, of this run and of those before it."""
        return self._used + self.sent + self.received

    @property
    def open(self) -> int:
        """Connections that are open now."""
        return len(self._closers)

    def tell(self, listen: Callable[[Refusal], None]) -> None:
        """Have every refusal told once per host, port and rule, those with it that were there before."""
        self._listen = listen
        for refusal in list(self._refused.values()):
            self._pass_on(refusal)

    def refuse(self, refusal: Refusal) -> Refused:
        """Note a refusal; answers what is to be raised."""
        self._tally.refused[refusal.rule] += 1
        key = (refusal.host, refusal.port)
        known = self._refused.get(key)
        if (known is None and len(self._refused) < MAX_NOTED) or (known is not None and known.rule != refusal.rule):
            self._refused[key] = refusal
            self._pass_on(refusal)
        return Refused(refusal)

    def note_unreachable(self, target: Target, reason: str, missing: str | None = None) -> None:
        """Remember why somebody whom the policy lets through was not reached; `missing` names who does not exist."""
        self._tally.unreachable += 1
        if len(self._unreachable) < MAX_NOTED:
            self._unreachable[target] = _Trouble(reason, missing)

    def note_reached(self, target: Target) -> None:
        """It was reached after all, by way of somebody else."""
        self._unreachable.pop(target, None)

    def find_refusal(self, host: str, port: int | None) -> Refusal | None:
        """What was refused there, if it was."""
        try:
            name = str(read_host(host))
        except NotAHost:
            name = host[:100]
        return self._refused.get((name, port)) or self._refused.get((name, None))

    def find_trouble(self, host: str, port: int) -> str | None:
        """Why nobody was reached there, as a clause; None when somebody was, or nobody tried."""
        found = self._find_trouble(host, port)
        return found.reason if found is not None else None

    def find_missing(self, host: str, port: int) -> str | None:
        """The name that nobody has, where that is why nobody was reached there; None for every other reason."""
        found = self._find_trouble(host, port)
        return found.missing if found is not None else None

    def _find_trouble(self, host: str, port: int) -> "_Trouble | None":
        try:
            return self._unreachable.get(Target(read_host(host), port))
        except NotAHost:
            return None

    @contextmanager
    def hold(self, target: Target, close: Callable[[], None]) -> Iterator[None]:
        """Count a connection while it is open; `close` cuts it off. Raises Refused beyond the limits."""
        self.check(target)
        self._closers.add(close)
        self._tally.opened += 1
        self._tally.open += 1
        self._unreachable.pop(target, None)
        try:
            yield
        finally:
            self._closers.discard(close)
            self._tally.open -= 1

    def check(self, target: Target) -> None:
        """Raise Refused when nothing more may be opened."""
        if self.closed:
            raise Refused(Refusal(str(target.host), target.port, Rule.OVER))
        if self.moved >= self._limits.max_bytes:
            raise self.refuse(Refusal(str(target.host), target.port, Rule.BYTES))
        if self.open >= self._limits.max_connections:
            raise self.refuse(Refusal(str(target.host), target.port, Rule.CONNECTIONS))

    def count(self, target: Target, *, sent: int = 0, received: int = 0) -> None:
        """Count bytes that went there and came from there. Raises Refused when that is more than the run may move."""
        self.sent += sent
        self.received += received
        self._tally.sent += sent
        self._tally.received += received
        if self.moved > self._limits.max_bytes:
            raise self.refuse(Refusal(str(target.host), target.port, Rule.BYTES))

    def close(self) -> None:
        """The run is over: cut off what it has open, and let nothing more be opened."""
        self.closed = True
        for close in list(self._closers):
            close()

    def _pass_on(self, refusal: Refusal) -> None:
        if self._listen is not None and self._told < MAX_NOTED:
            self._told += 1
            self._listen(refusal)
