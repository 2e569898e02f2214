"""Whether the database is as this code needs it."""

from sqlalchemy import Text, column, table
from sqlmodel import select

from experience.store.db import SystemSession
from experience.store.revision import SCHEMA, newest_revision


async def is_behind(session: SystemSession) -> bool:
    """Whether migrations are missing. A higher number is no harm: a newer version is being rolled out beside us."""
    version = select(column("version_num", Text)).select_from(table("alembic_version", schema=SCHEMA))
    return (await session.exec(version)).one() < newest_revision()
