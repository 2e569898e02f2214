"""Brings the schema up to date; several processes may try at once, and one that finds nothing to do is quick."""

from importlib.resources import files

import asyncpg
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.engine import make_url

from experience.store.db import open_engine
from experience.store.tables import SCHEMA, Row

LOCK = 0x5D_0E_C5_01
"""Advisory lock of Experience's migrations."""
CONNECT_TIMEOUT_S = 10


async def migrate(dsn: str) -> str:
    """Run what is missing as the schema's owner and answer the revision that is in force now."""
    scripts = _open_scripts()
    head = scripts.get_current_head()
    if head is None:
        raise RuntimeError("no migrations in this installation")
    if await read_revision(dsn) == head:
        return head
    engine = open_engine(dsn, pool_size=1)
    try:
        async with engine.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
            await connection.run_sync(_upgrade, scripts)
    finally:
        await engine.dispose()
    return head


async def read_revision(dsn: str) -> str | None:
    """The revision in force, or None where nothing has run yet."""
    plain = make_url(dsn).set(drivername="postgresql").render_as_string(hide_password=False)
    connection = await asyncpg.connect(plain, timeout=CONNECT_TIMEOUT_S, command_timeout=CONNECT_TIMEOUT_S)
    try:
        if await connection.fetchval("SELECT to_regclass($1)", f"{SCHEMA}.alembic_version") is None:
            return None
        revision: str | None = await connection.fetchval(f"SELECT version_num FROM {SCHEMA}.alembic_version")  # noqa: S608
        return revision
    finally:
        await connection.close()


def _open_scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(files("experience.migrations")))
    config.set_main_option("path_separator", "os")
    return ScriptDirectory.from_config(config)


def _upgrade(connection: Connection, scripts: ScriptDirectory) -> None:
    def missing(revision: object, _: object) -> object:
        return scripts._upgrade_revs("head", revision)  # type: ignore[arg-type]  # noqa: SLF001  # alembic's own recipe

    with EnvironmentContext(Config(), scripts, fn=missing) as environment:
        environment.configure(connection, target_metadata=Row.metadata, version_table_schema=SCHEMA)
        with environment.begin_transaction():
            environment.run_migrations()
