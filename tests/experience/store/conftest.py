"""A database that a file of tests has to itself: for what looks at the rows of all tenants."""

import asyncio

import pytest

from experience.store.migrate import migrate
from tests.support.postgres import Database, Postgres


@pytest.fixture(scope="module")
def database(postgres: Postgres) -> Database:
    """With Experience's tables."""
    made = postgres.create_database()
    asyncio.run(migrate(made.dsn("experience_owner")))
    return made
