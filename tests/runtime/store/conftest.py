"""The store's classes over the migrated database."""

import pytest

from runtime.store.db import Database, SystemDatabase
from runtime.store.events import EventLog
from runtime.store.executions import Executions
from runtime.store.queue import PgQueue
from runtime.store.runs import Runs
from runtime.store.tenants import Tenants
from runtime.store.workflows import Workflows


@pytest.fixture
def queue() -> PgQueue:
    """For enqueueing; nothing is leased here."""
    return PgQueue("", concurrency=1, heartbeat_s=15)


@pytest.fixture
def executions(db: Database, queue: PgQueue) -> Executions:
    return Executions(db, queue)


@pytest.fixture
def runs(db: Database, queue: PgQueue) -> Runs:
    return Runs(db, queue, patience_s=60)


@pytest.fixture
def events(db: Database) -> EventLog:
    return EventLog(db)


@pytest.fixture
def workflows(db: Database) -> Workflows:
    return Workflows(db)


@pytest.fixture
def tenants(db: Database, system: SystemDatabase, queue: PgQueue) -> Tenants:
    return Tenants(db, system, queue)
