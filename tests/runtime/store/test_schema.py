"""Migrations: complete, repeatable, safe to start together, and the same as the tables that the code believes in."""

import asyncio
from collections.abc import Callable
from typing import Any

import asyncpg
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from runtime.store.schema import migrate
from runtime.store.tables import SCHEMA, metadata
from tests.support.postgres import Database


async def test_four_at_once_leave_one_schema(make_database: Callable[..., Database]) -> None:
    fresh = make_database()
    dsn = fresh.dsn("runtime_owner")
    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(migrate(dsn))
    await migrate(dsn)
    connection = await asyncpg.connect(fresh.superuser_dsn)
    try:
        rows = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = $1", SCHEMA)
    finally:
        await connection.close()
    assert {row["tablename"] for row in rows} >= {"executions", "events", "pgqueuer", "alembic_version"}


async def test_the_migrations_add_up_to_the_tables(migrated: Database) -> None:
    def compare(connection: Connection) -> Any:
        options = {"include_schemas": True, "include_object": _is_ours, "compare_server_default": False}
        return compare_metadata(MigrationContext.configure(connection, opts=options), metadata)

    async def connect(*_: Any, **__: Any) -> Any:
        return await asyncpg.connect(migrated.superuser_dsn)

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect)
    async with engine.connect() as connection:
        differences = await connection.run_sync(compare)
    await engine.dispose()
    assert differences == []


def _is_ours(item: Any, name: str | None, kind: str, *_: Any) -> bool:
    if kind == "index":
        return False  # they stand in the migrations only
    table = item if kind == "table" else item.table
    return table.schema == SCHEMA and not table.name.startswith(("pgqueuer", "alembic"))


async def test_every_table_with_a_tenant_is_closed(migrated: Database) -> None:
    connection = await asyncpg.connect(migrated.superuser_dsn)
    try:
        rows = await connection.fetch(
            """
            SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
            WHERE n.nspname = $1 AND c.relkind = 'r' AND NOT (c.relrowsecurity AND c.relforcerowsecurity)
            """,
            SCHEMA,
        )
    finally:
        await connection.close()
    assert rows == []
