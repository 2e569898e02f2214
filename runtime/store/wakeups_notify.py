"""Wake-ups by LISTEN and NOTIFY: nothing to run beside PostgreSQL, and they commit with what they are about.

The sending half is `wake_readers` in events.py, inside the transaction that has something to say.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from uuid import UUID

import asyncpg

from runtime.store.db import DatabaseAway, connect, is_away
from runtime.store.events import CHANNEL
from runtime.store.wakeups import CarrierAway

CHECK_S = 10.0
"""Between proofs that the connection is alive: a black hole says nothing by itself."""
_CHECK_TIMEOUT_S = 5.0


class NotifyCarrier:
    """LISTEN over a connection of its own.

    Args:
        dsn: of role runtime_app.
    """

    name = "LISTEN"

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    async def listen(self, begin: Callable[[], None], hear: Callable[[UUID], None]) -> None:
        """As the port says."""
        try:
            await self._listen(begin, hear)
        except (DatabaseAway, OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            if not isinstance(error, DatabaseAway) and not is_away(error):
                raise
            raise CarrierAway(str(error)) from error

    async def _listen(self, begin: Callable[[], None], hear: Callable[[UUID], None]) -> None:
        def take(_connection: object, _pid: int, _channel: str, payload: object) -> None:
            with suppress(ValueError):
                hear(UUID(str(payload)))

        connection = await connect(self._dsn, "stagedoor-wakeups")
        closed = asyncio.Event()
        connection.add_termination_listener(lambda _: closed.set())
        try:
            await connection.add_listener(CHANNEL, take)
            begin()
            while not closed.is_set():
                await connection.execute("SELECT 1", timeout=_CHECK_TIMEOUT_S)
                with suppress(TimeoutError):
                    async with asyncio.timeout(CHECK_S):
                        await closed.wait()
        finally:
            connection.terminate()
        raise CarrierAway("the connection was closed")
