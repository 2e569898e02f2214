"""PgQueuer's way to PostgreSQL, made to survive a restart of it: one connection that comes back with its listeners.

Leases are renewed over it, so a line that has gone dead without a word must be given up well before they expire: what
is not answered within the driver's deadline is said again on a new connection.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Self, TypeVar

import asyncpg
from pgqueuer.adapters.drivers.asyncpg import Relay
from pgqueuer.core.tm import TaskManager
from pgqueuer.ports.driver import Driver, NotifyCallback
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_random_exponential

from runtime.store.db import DatabaseAway, connect, is_away

ResultT = TypeVar("ResultT")
MAX_PAUSE_S = 1.0
"""Between attempts to get the connection back."""
_CLOSE_S = 2.0


class ReconnectingDriver(Driver):
    """Repeats whatever a lost connection interrupted, until it works; once, when `stopped` is set.

    Everything PgQueuer sends through here may happen twice: ending, renewing and putting back are for the holder only,
    and a lease whose answer got lost simply expires.

    Args:
        dsn: where to.
        name: of the connection, for people to read.
        stopped: nothing is waited for any more once it is set.
        deadline_s: of each command and of opening; the connection that misses it is thrown away.
    """

    def __init__(self, dsn: str, name: str, stopped: asyncio.Event, *, deadline_s: float) -> None:
        self._dsn = dsn
        self._name = name
        self._stopped = stopped
        self._deadline_s = deadline_s
        self._lock = asyncio.Lock()
        self._entered = 0
        self._listeners: list[tuple[str, NotifyCallback]] = []
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None

    async def fetch(self, query: str, *args: object) -> list[dict[str, object]]:
        """Rows as dictionaries."""

        async def run(connection: "asyncpg.Connection[asyncpg.Record]") -> list[dict[str, object]]:
            return [dict(row) for row in await connection.fetch(query, *args)]

        return await self._repeat(run)

    async def execute(self, query: str, *args: object) -> str:
        """The command's tag."""

        async def run(connection: "asyncpg.Connection[asyncpg.Record]") -> str:
            return await connection.execute(query, *args)

        return await self._repeat(run)

    async def notify(self, channel: str, payload: str) -> None:
        """Send a NOTIFY."""
        await self.execute("SELECT pg_notify($1, $2)", channel, payload)

    async def add_listener(self, channel: str, callback: NotifyCallback) -> None:
        """Call `callback` for each NOTIFY on `channel`, also after a reconnect."""
        self._listeners.append((channel, callback))

        async def run(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
            await connection.add_listener(channel, Relay(callback))  # asyncpg keeps equal ones once

        await self._repeat(run)

    @property
    def shutdown(self) -> asyncio.Event:
        """Set when no new work is wanted."""
        return self._stopped

    @property
    def tm(self) -> TaskManager:
        """PgQueuer's, unused here: there are no background tasks."""
        return TaskManager()

    async def __aenter__(self) -> Self:
        """PgQueuer enters the driver too; connecting happens with the first query."""
        self._entered += 1
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close when the last one leaves: PgQueuer writes its last lines after it has left."""
        self._entered -= 1
        if self._entered > 0:
            return
        async with self._lock:
            connection, self._connection = self._connection, None
            if connection is None:
                return
            try:
                await connection.close(timeout=_CLOSE_S)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                connection.terminate()

    async def _repeat(self, run: Callable[["asyncpg.Connection[asyncpg.Record]"], Awaitable[ResultT]]) -> ResultT:
        async for attempt in AsyncRetrying(
            retry=retry_if_exception(_is_lost),
            wait=wait_random_exponential(multiplier=0.05, max=MAX_PAUSE_S),
            stop=self._is_stopped,
            reraise=True,
        ):
            with attempt:
                async with self._lock:
                    return await self._run_once(run)
        raise AssertionError("tenacity returns or raises")

    async def _run_once(self, run: Callable[["asyncpg.Connection[asyncpg.Record]"], Awaitable[ResultT]]) -> ResultT:
        connection = await self._connected()
        try:
            return await run(connection)
        except Exception as error:
            # Not only what is closed: a backend that was terminated in the middle of an answer leaves asyncpg's
            # protocol stuck, and on a line that has missed a deadline the next command would wait for it, too.
            if _is_lost(error):
                connection.terminate()
                self._connection = None
            raise

    async def _connected(self) -> "asyncpg.Connection[asyncpg.Record]":
        if self._connection is None or self._connection.is_closed():
            connection = await connect(self._dsn, self._name, command_timeout_s=self._deadline_s)
            try:
                for channel, callback in self._listeners:
                    await connection.add_listener(channel, Relay(callback))
            except BaseException:
                connection.terminate()
                raise
            self._connection = connection
        return self._connection

    def _is_stopped(self, state: RetryCallState) -> bool:
        return self._stopped.is_set() and state.attempt_number > 1  # a dead line is no reason not to say goodbye


def _is_lost(error: BaseException) -> bool:
    return isinstance(error, (DatabaseAway, asyncpg.InternalClientError)) or is_away(error)
