"""Which revision of the schema is in force, and which one this code was written for.

Apart from migrate.py, so that a start that finds nothing to do does not wait for Alembic to load.
"""

from importlib.resources import files

import asyncpg

from contracts.errors import ApiError, Code

SCHEMA = "experience"
CONNECT_TIMEOUT_S = 10


def newest_revision() -> str:
    """The revision this code was written for: the number that the last migration's name begins with."""
    names = (entry.name for entry in files("experience.migrations.versions").iterdir())
    return max(name.partition("_")[0] for name in names if name[0].isdigit())


async def read_revision(dsn: str) -> str | None:
    """The revision in force, or None where nothing has run yet; raises ApiError(UNAVAILABLE) without a database."""
    try:
        connection = await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT_S, command_timeout=CONNECT_TIMEOUT_S)
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        raise ApiError(Code.UNAVAILABLE, f"The database can't be reached: {error}") from error
    try:
        if await connection.fetchval("SELECT to_regclass($1)", f"{SCHEMA}.alembic_version") is None:
            return None
        revision: str | None = await connection.fetchval(f"SELECT version_num FROM {SCHEMA}.alembic_version")  # noqa: S608
        return revision
    finally:
        await connection.close()
