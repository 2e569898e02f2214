"""Migrations on a real PostgreSQL: once, in parallel, and the same as tables.py."""

import asyncio
from collections.abc import Callable

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection

from experience.store.db import SystemDatabase, open_engine
from experience.store.migrate import migrate, open_scripts
from experience.store.readiness import is_behind
from experience.store.revision import SCHEMA, newest_revision, read_revision
from experience.store.tables import Row
from tests.support.postgres import Database


async def test_processes_that_start_together_migrate_once(make_database: Callable[[], Database]) -> None:
    database = make_database()
    owner = database.dsn("experience_owner")
    assert await read_revision(owner) is None
    async with asyncio.TaskGroup() as group:
        runs = [group.create_task(migrate(owner)) for _ in range(4)]
    assert {run.result() for run in runs} == {await read_revision(owner)}
    assert await migrate(owner) == await read_revision(owner)


def test_the_newest_revision_is_the_one_that_alembic_calls_head() -> None:
    assert newest_revision() == open_scripts().get_current_head()


async def test_a_schema_with_missing_steps_is_noticed_and_a_newer_one_let_be(
    make_database: Callable[[], Database],
) -> None:
    database = make_database()
    await migrate(database.dsn("experience_owner"))
    door = SystemDatabase(database.dsn("experience_system"))
    for revision, behind in ((newest_revision(), False), ("0000", True), ("9999", False)):
        database.cluster.run_sql(f"UPDATE experience.alembic_version SET version_num = '{revision}'", database.name)
        async with door.transaction() as session:
            assert await is_behind(session) is behind
    await door.close()


async def test_the_schema_is_the_sum_of_the_migrations(make_database: Callable[[], Database]) -> None:
    database = make_database()
    await migrate(database.dsn("experience_owner"))
    # not as the owner: its search_path makes the schema the default one, which reflection then leaves unnamed
    engine = open_engine(database.superuser_dsn, pool_size=1)
    async with engine.connect() as connection:
        differences = await connection.run_sync(_compare)
    await engine.dispose()
    assert differences == []


def _compare(connection: Connection) -> list[object]:
    def is_ours(name: str | None, kind: str, _: object) -> bool:
        return name == SCHEMA if kind == "schema" else name != "alembic_version"

    options = {"include_schemas": True, "include_name": is_ours, "compare_type": True}
    found: list[object] = compare_metadata(MigrationContext.configure(connection, opts=options), Row.metadata)
    return found
