"""Wake-ups: one LISTEN connection per process tells waiting readers that a log has grown.

A wake-up may be lost (a restart of PostgreSQL, a black hole), so no reader waits for one alone: `wait` also returns
when it is time to look anyway, soon while the connection is down and later while it is up.
"""

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from uuid import UUID

import asyncpg
import structlog

from contracts.model import ExecutionId
from runtime.store.db import DatabaseAway, connect, is_away
from runtime.store.events import CHANNEL

log = structlog.get_logger()

POLL_S = 5.0
"""Looking anyway while LISTEN works."""
BLIND_POLL_S = 0.5
"""Looking while it does not."""
CHECK_S = 10.0
"""Between proofs that the connection is alive: a black hole says nothing by itself."""
_CHECK_TIMEOUT_S = 5.0
_RECONNECT_S = (0.1, 2.0)


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
            poll_s: look at least this often, in seconds; by default as often as the state of LISTEN asks for.
        """
        limit = self._owner.poll_s if poll_s is None else min(poll_s, self._owner.poll_s)
        with suppress(TimeoutError):
            async with asyncio.timeout(limit):
                await self._rung.wait()
        self._rung.clear()


class Wakeups:
    """The bells of this process. `run` must be running for them to ring before it is time to look anyway."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._bells: dict[UUID, set[Wakeup]] = {}
        self._listening = False

    @property
    def listening(self) -> bool:
        """Whether wake-ups come; while they don't, readers look by themselves."""
        return self._listening

    @property
    def poll_s(self) -> float:
        """How long a reader may sleep without a wake-up; jittered, so that readers don't look all at once."""
        return (POLL_S if self._listening else BLIND_POLL_S) * random.uniform(0.8, 1.2)  # noqa: S311 — jitter

    @contextmanager
    def subscribe(self, execution_id: ExecutionId) -> Iterator[Wakeup]:
        """A bell for one execution while the block runs. Subscribe first, then read, then wait."""
        bell = Wakeup(self)
        self._bells.setdefault(execution_id, set()).add(bell)
        try:
            yield bell
        finally:
            bells = self._bells[execution_id]
            bells.discard(bell)
            if not bells:
                del self._bells[execution_id]

    async def run(self) -> None:
        """Listen until cancelled, over as many connections as it takes."""
        failures = 0
        while True:
            try:
                await self._listen()
            except (DatabaseAway, OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                if not isinstance(error, DatabaseAway) and not is_away(error):
                    raise
                log.warning("wake-ups lost their connection; readers look by themselves", reason=str(error))
            failures = 0 if self._listening else failures + 1
            self._listening = False
            low, high = _RECONNECT_S
            await asyncio.sleep(min(high, low * 2 ** min(failures, 6)) * random.uniform(0.5, 1.0))  # noqa: S311 — jitter

    async def _listen(self) -> None:
        connection = await connect(self._dsn, "stagedoor-wakeups")
        closed = asyncio.Event()
        connection.add_termination_listener(lambda _: closed.set())
        try:
            await connection.add_listener(CHANNEL, self._hear)
            self._listening = True
            self._ring_all()  # what was said meanwhile went unheard
            while not closed.is_set():
                await connection.execute("SELECT 1", timeout=_CHECK_TIMEOUT_S)
                with suppress(TimeoutError):
                    async with asyncio.timeout(CHECK_S):
                        await closed.wait()
        finally:
            connection.terminate()

    def _hear(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        try:
            execution_id = UUID(str(payload))
        except ValueError:
            return
        for bell in self._bells.get(execution_id, ()):
            bell.ring()

    def _ring_all(self) -> None:
        for bells in self._bells.values():
            for bell in bells:
                bell.ring()
