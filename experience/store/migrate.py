"""Brings the schema up to date; several processes may try at once."""

from importlib.resources import files

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from experience.store.db import open_engine
from experience.store.revision import SCHEMA, newest_revision, read_revision
from experience.store.tables import Row

LOCK = 0x5D_0E_C5_01
"""Advisory lock of Experience's migrations."""


async def migrate(dsn: str) -> str:
    """Run what is missing as the schema's owner and answer the revision that is in force now."""
    if await read_revision(dsn) == newest_revision():
        return newest_revision()
    engine = open_engine(dsn, pool_size=1)
    try:
        async with engine.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
            await connection.run_sync(_upgrade, open_scripts())
    finally:
        await engine.dispose()
    return newest_revision()


def open_scripts() -> ScriptDirectory:
    """The history of the schema."""
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
