"""Brings schema `runtime` up to this release: our tables by Alembic, the queue's by PgQueuer's own planner."""

from pathlib import Path
from typing import Any

import asyncpg
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from runtime.store.db import connect
from runtime.store.queue import PgQueue

_LOCK = 0x57A6ED00
"""Advisory lock of migrations; any number that nobody else in this database uses."""
MIGRATIONS = Path(__file__).parents[1] / "migrations"


async def migrate(dsn: str) -> None:
    """Apply what is missing; nothing when nothing is. Any number of processes may call it at once: one works.

    Args:
        dsn: of role runtime_owner.

    Raises:
        DatabaseAway: the database can't be reached.
    """

    async def open_connection(*_: Any, **__: Any) -> "asyncpg.Connection[asyncpg.Record]":
        # no deadline: a migration may rewrite a table, and the others wait for it
        return await connect(dsn, "stagedoor-migrate", command_timeout_s=None)

    engine = create_async_engine("postgresql+asyncpg://", async_creator=open_connection)
    try:
        await _migrate(engine)
    finally:
        await engine.dispose()


async def _migrate(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        # of the session, not of a transaction: PgQueuer's statements can't all share one
        await connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _LOCK})
        await connection.commit()
        try:
            await connection.run_sync(_upgrade)
            await connection.commit()
            await PgQueue.install(await _raw(connection))
        finally:
            await connection.rollback()
            await connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _LOCK})
            await connection.commit()


def make_config(connection: Connection) -> Config:
    """Alembic's configuration for a connection that is open already."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    return config


def _upgrade(connection: Connection) -> None:
    command.upgrade(make_config(connection), "head")


async def _raw(connection: AsyncConnection) -> "asyncpg.Connection[asyncpg.Record]":
    raw: Any = (await connection.get_raw_connection()).driver_connection
    return raw  # type: ignore[no-any-return]  # the driver is asyncpg
