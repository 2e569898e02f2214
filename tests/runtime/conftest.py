"""A migrated database per test process, and doors into it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg
import pytest
from uuid_utils.compat import uuid7

from contracts.model import TenantId
from runtime.store.db import Database as TenantDatabase
from runtime.store.db import SystemDatabase
from runtime.store.schema import migrate
from tests.chaos.proxy import FaultProxy
from tests.support.postgres import Database, Postgres
from tests.support.wakeups import Way, open_way


@pytest.fixture(scope="session")
def migrated(database: Database) -> Database:
    """The session's database with schema `runtime` in place."""
    asyncio.run(migrate(database.dsn("runtime_owner")))
    return database


@pytest.fixture(scope="session")
def blueprint(postgres: Postgres) -> Database:
    """A migrated database that nobody connects to: tests that need a queue of their own copy it."""
    made = postgres.create_database()
    asyncio.run(migrate(made.dsn("runtime_owner")))
    return made


@pytest.fixture
def own_database(make_database: Callable[..., Database], blueprint: Database) -> Database:
    """A migrated database of this test alone."""
    return make_database(blueprint)


@pytest.fixture
async def db(migrated: Database) -> AsyncIterator[TenantDatabase]:
    """Role runtime_app."""
    door = TenantDatabase(migrated.dsn("runtime_app"))
    yield door
    await door.close()


@pytest.fixture
async def system(migrated: Database) -> AsyncIterator[SystemDatabase]:
    """Role runtime_system."""
    door = SystemDatabase(migrated.dsn("runtime_system"))
    yield door
    await door.close()


@pytest.fixture
def tenant_id() -> TenantId:
    """A tenant of this test alone."""
    return TenantId(uuid7())


@pytest.fixture
async def migrated_app(migrated: Database) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A bare connection of role runtime_app, with no tenant set."""
    connection = await asyncpg.connect(migrated.dsn("runtime_app"))
    yield connection
    await connection.close()


@pytest.fixture
def way(request: pytest.FixtureRequest) -> Iterator[Way]:
    """How wake-ups travel: by NOTIFY, unless a test asks for several ways (tests/support/wakeups.py)."""
    with open_way(getattr(request, "param", "notify")) as opened:
        yield opened


@asynccontextmanager
async def open_line(database: Database) -> AsyncIterator[tuple[FaultProxy, Database]]:
    """A way to the server that may be spoiled, and the database as it is found over it."""
    name = ".s.PGSQL.5432"  # asyncpg takes a folder for a host, and looks for this in it
    with TemporaryDirectory(prefix="line-") as folder:
        async with FaultProxy(Path(folder) / name, database.cluster.sockets / name).run() as line:
            yield line, replace(database, cluster=replace(database.cluster, sockets=Path(folder)))


class Killer:
    """Does to connections what a failing network or an administrator does."""

    def __init__(self, database: Database) -> None:
        self._dsn = database.superuser_dsn

    async def terminate_backends(self, role: str) -> int:
        """Terminate every connection of a role to this database."""
        connection = await asyncpg.connect(self._dsn)
        try:
            rows = await connection.fetch(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE usename = $1 AND datname = current_database()",
                role,
            )
        finally:
            await connection.close()
        return len(rows)


@pytest.fixture
def superuser(migrated: Database) -> Killer:
    """Power over the session's database."""
    return Killer(migrated)
