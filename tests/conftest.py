"""Fixtures that every part may use."""

from collections.abc import Callable, Iterator

import pytest

from tests.support.postgres import Database, Postgres, run_postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real PostgreSQL of this test process (each xdist worker has its own)."""
    with run_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def database(postgres: Postgres) -> Database:
    """One database for the whole session, with roles and schemas; its users migrate it and keep apart by tenant."""
    return postgres.create_database()


@pytest.fixture
def make_database(postgres: Postgres) -> Iterator[Callable[..., Database]]:
    """Make databases that live as long as one test: `make_database()`, or `make_database(template)` for a copy."""
    made: list[Database] = []

    def make(template: Database | None = None) -> Database:
        made.append(postgres.create_database(template))
        return made[-1]

    yield make
    for one in made:
        one.drop()
