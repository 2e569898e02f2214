"""Fixtures that every part may use."""

from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, settings

from experience.cli import ports
from tests.support.postgres import Database, Postgres, run_postgres

# how long an example takes says something of the machine, and nothing of what is tested
settings.register_profile("stagedoor", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("stagedoor")


def pytest_configure(config: pytest.Config) -> None:
    """Give each xdist worker ports of its own: seconds can pass until a server listens on one that was found free."""
    worker = getattr(config, "workerinput", None)
    if worker is not None:
        number = int(worker["workerid"].removeprefix("gw"))
        ports.QUIET_PORTS = ports.QUIET_PORTS[number :: worker["workercount"]]


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
