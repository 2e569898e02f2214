"""The ways in which wake-ups travel, for tests that have to hold with each of them."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import asyncpg
import pytest

from runtime.store.db import Database as TenantDatabase
from runtime.store.wakeups import Wakeups
from runtime.store.wakeups_nats import NatsCarrier
from runtime.store.wakeups_notify import NotifyCarrier
from tests.support.nats import NatsServer, run_nats
from tests.support.postgres import Database

both_ways = pytest.mark.parametrize("way", ["notify", "nats"], indirect=True)
any_way = pytest.mark.parametrize("way", ["notify", "nats", "nats that is not there"], indirect=True)


@dataclass(frozen=True)
class Way:
    """How wake-ups travel in a test: by NOTIFY, where there is no `nats`."""

    nats: NatsServer | None = None

    def connect(self, database: Database) -> tuple[TenantDatabase, Wakeups]:
        """What one Runtime process has of it."""
        dsn = database.dsn("runtime_app")
        if self.nats is None:
            return TenantDatabase(dsn), Wakeups(NotifyCarrier(dsn))
        carrier = NatsCarrier([self.nats.url])
        return TenantDatabase(dsn, ring=carrier.ring), Wakeups(carrier)

    async def cut(self, database: Database) -> None:
        """What a restart of the server in the middle does; `mend` ends it."""
        if self.nats is not None:
            self.nats.kill()
            return
        connection = await asyncpg.connect(database.superuser_dsn)
        try:
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'stagedoor-wakeups' AND datname = current_database()"
            )
        finally:
            await connection.close()

    def mend(self) -> None:
        """Let it be there again."""
        if self.nats is not None:
            self.nats.start()  # from this thread: the kernel ends it with the one that forked


@contextmanager
def open_way(name: str) -> Iterator[Way]:
    """The way of that name, while the block runs."""
    if name == "notify":
        yield Way()
        return
    with run_nats() as server:
        if name == "nats that is not there":
            server.kill()
        yield Way(server)


@asynccontextmanager
async def listening(wakeups: Wakeups) -> AsyncIterator[None]:
    """Let it run while the block does."""
    task = asyncio.create_task(wakeups.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled(), task.exception()


async def until_listening(wakeups: Wakeups, *, wanted: bool = True) -> None:
    """Until wake-ups come, or don't."""
    async with asyncio.timeout(60):
        while wakeups.listening is not wanted:  # noqa: ASYNC110 — no event says so outside
            await asyncio.sleep(0.01)
