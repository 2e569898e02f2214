"""Wake-ups: whoever waits for a log to grow is told that it has, over one connection per process.

What carries them is a `Carrier`: PostgreSQL's NOTIFY (wakeups_notify.py) or core NATS (wakeups_nats.py). A wake-up
names an execution and says nothing else, and it may be lost: with its connection, or with the process that wanted to
send it. So no reader waits for one alone: `wait` also returns when it is time to look anyway, soon while the connection
is down and later while it is up.
"""

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol
from uuid import UUID

import structlog

from contracts.errors import ApiError, Code
from contracts.model import ExecutionId

log = structlog.get_logger()

POLL_S = 5.0
"""Looking anyway while wake-ups come."""
BLIND_POLL_S = 0.5
"""Looking while they don't."""
BLIND_LOOKS_PER_S = 200
"""The most that all readers of a process look while wake-ups don't come: the database has writers, too."""
_RECONNECT_S = (0.1, 2.0)


class CarrierAway(Exception):  # noqa: N818 — what it is called in the sentence that catches it
    """Nothing brings wake-ups now; the message says why, without credentials."""


class Carrier(Protocol):
    """Brings wake-ups from those who commit."""

    name: str
    """What people call it."""

    async def listen(self, begin: Callable[[], None], hear: Callable[[UUID], None]) -> None:
        """Over one connection, as long as it lasts.

        Args:
            begin: called once, when from now on everything that is said is heard.
            hear: called with the execution's id for each wake-up.

        Raises:
            CarrierAway: the connection could not be had, or has ended.
        """


class Wakeup:
    """One reader's bell."""

    def __init__(self, owner: "Wakeups") -> None:
        self._owner = owner
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Let the next or current `wait` return."""
        self._rung.set()

    async def wait(self, poll_s: float | None = None) -> None:
        """Return when the log may have grown since the last return, or when it is time to look anyway.

        Args:
            poll_s: look at least this often, in seconds; by default as often as the state of the carrier asks for.
        """
        limit = self._owner.poll_s if poll_s is None else min(poll_s, self._owner.poll_s)
        with suppress(TimeoutError):
            async with asyncio.timeout(limit):
                await self._rung.wait()
        self._rung.clear()


class Wakeups:
    """The bells of this process. `run` must be running for them to ring before it is time to look anyway."""

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier
        self._bells: dict[UUID, set[Wakeup]] = {}
        self._readers = 0
        self._listening = False

    @property
    def listening(self) -> bool:
        """Whether wake-ups come; while they don't, readers look by themselves."""
        return self._listening

    @property
    def poll_s(self) -> float:
        """How long a reader may sleep without a wake-up; jittered, so that readers don't look all at once."""
        blind_s = min(POLL_S, max(BLIND_POLL_S, self._readers / BLIND_LOOKS_PER_S))
        return (POLL_S if self._listening else blind_s) * random.uniform(0.8, 1.2)  # noqa: S311 — jitter

    @contextmanager
    def subscribe(self, execution_id: ExecutionId) -> Iterator[Wakeup]:
        """A bell for one execution while the block runs. Subscribe first, then read, then wait."""
        bell = Wakeup(self)
        self._bells.setdefault(execution_id, set()).add(bell)
        self._readers += 1
        try:
            yield bell
        finally:
            self._readers -= 1
            bells = self._bells[execution_id]
            bells.discard(bell)
            if not bells:
                del self._bells[execution_id]

    async def check(self) -> None:
        """Return when wake-ups come.

        Raises:
            ApiError: UNAVAILABLE while they don't. Everything works then, later.
        """
        if not self._listening:
            raise ApiError(Code.UNAVAILABLE, f"{self._carrier.name} can't be reached; readers look by themselves.")

    async def run(self) -> None:
        """Listen until cancelled, over as many connections as it takes."""
        failures = 0
        while True:
            try:
                await self._carrier.listen(self._begin, self._ring)
            except CarrierAway as away:
                if failures == 0 or self._listening:  # once per absence: it may last for hours
                    reason = str(away)
                    log.warning(
                        "wake-ups don't come; readers look by themselves", carrier=self._carrier.name, why=reason
                    )
            failures = 1 if self._listening else failures + 1
            self._listening = False
            low, high = _RECONNECT_S
            await asyncio.sleep(min(high, low * 2 ** min(failures, 6)) * random.uniform(0.5, 1.0))  # noqa: S311 — jitter

    def _begin(self) -> None:
        log.info("wake-ups come", carrier=self._carrier.name)
        self._listening = True
        for execution_id in self._bells:
            self._ring(execution_id)  # what was said meanwhile went unheard

    def _ring(self, execution_id: UUID) -> None:
        for bell in self._bells.get(execution_id, ()):
            bell.ring()
