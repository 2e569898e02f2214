"""A migrated database for Experience's tests; each test keeps apart by tenants and users of its own."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from experience.store.db import SystemDatabase, TenantDatabase
from experience.store.migrate import migrate
from tests.support.postgres import Database, Postgres


@pytest.fixture(scope="session")
def experience_database(postgres: Postgres) -> Database:
    """One database for all tests of a process, with Experience's tables."""
    database = postgres.create_database()
    asyncio.run(migrate(database.dsn("experience_owner")))
    return database


@pytest.fixture
async def tenant_database(experience_database: Database) -> AsyncIterator[TenantDatabase]:
    """The door for one tenant's work, as experience_app."""
    door = TenantDatabase(experience_database.dsn("experience_app"), pool_size=4)
    yield door
    await door.close()


@pytest.fixture
async def system_database(experience_database: Database) -> AsyncIterator[SystemDatabase]:
    """The door for work across tenants, as experience_system."""
    door = SystemDatabase(experience_database.dsn("experience_system"), pool_size=4)
    yield door
    await door.close()
