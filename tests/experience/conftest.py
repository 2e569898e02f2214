"""A migrated database for Experience's tests; each test keeps apart by tenants and users of its own."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from functools import partialmethod
from pathlib import Path

import pytest

from experience import intents
from experience.outbox import Outbox
from experience.store.db import SystemDatabase, TenantDatabase
from experience.store.migrate import migrate
from tests.support.front import Front, TurnableClock, make_settings, open_front
from tests.support.house import House, Visitor, register, run_house
from tests.support.postgres import Database, Postgres


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests hand over their intents themselves, and the outbox stays away meanwhile, also where the machine pauses.

    A test of what comes after the product's own times takes them back with `monkeypatch.undo()`.
    """
    monkeypatch.setattr(Outbox, "hand_over", partialmethod(Outbox.hand_over, timeout_s=30.0))
    monkeypatch.setattr(intents, "INLINE_LEASE", timedelta(seconds=60))


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


@pytest.fixture
def clock() -> TurnableClock:
    """A clock that a test may turn on."""
    return TurnableClock()


@pytest.fixture
async def front(experience_database: Database, tmp_path: Path, clock: TurnableClock) -> AsyncIterator[Front]:
    """One process of Experience with its identity endpoints."""
    async with open_front(make_settings(experience_database, tmp_path), clock) as opened:
        yield opened


@pytest.fixture(scope="session")
def standing_house(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Experience as a whole on a socket, with a fake Runtime, on a database of its own: one for all tests."""
    database = postgres.create_database()
    asyncio.run(migrate(database.dsn("experience_owner")))
    with run_house(database, tmp_path_factory.mktemp("house")) as opened:
        yield opened


@pytest.fixture
def house(standing_house: House) -> Iterator[House]:
    """The same, with a Runtime that behaves and the right time."""
    yield standing_house
    standing_house.runtime.behave()
    standing_house.clock.ahead = timedelta()


@pytest.fixture
async def ada(house: House) -> AsyncIterator[Visitor]:
    """Somebody with a tenant."""
    visitor = await register(house)
    yield visitor
    await visitor.http.aclose()


@pytest.fixture
async def bob(house: House) -> AsyncIterator[Visitor]:
    """Somebody else, with another tenant."""
    visitor = await register(house)
    yield visitor
    await visitor.http.aclose()
