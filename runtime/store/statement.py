"""Statements that every step of every execution sends: given to asyncpg as they are.

SQLAlchemy would build, compile, adapt and wrap each of them anew, which costs several times what PostgreSQL takes for
it (`make bench`, B3). They run inside a transaction of SQLAlchemy's or a plain one, see db.py.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import asyncpg

Record = asyncpg.Record
_NAME = re.compile(r"(?<![:\w]):([a-z_][a-z0-9_]*)")


class HasConnection(Protocol):
    """A session whose transaction has begun."""

    raw: "asyncpg.Connection[asyncpg.Record]"


class Statement:
    """SQL with parameters by name, `:like_this`; casts are written out (`cast(:ids AS uuid[])`)."""

    def __init__(self, sql: str) -> None:
        self.names = tuple(dict.fromkeys(_NAME.findall(sql)))
        places = {name: f"${place}" for place, name in enumerate(self.names, 1)}
        self.sql = _NAME.sub(lambda found: places[found[1]], sql)

    async def fetch(self, session: HasConnection, values: Mapping[str, Any]) -> list[Record]:
        """All rows."""
        return await session.raw.fetch(self.sql, *self._order(values))

    async def fetch_one(self, session: HasConnection, values: Mapping[str, Any]) -> Record | None:
        """The first row, if there is one."""
        return await session.raw.fetchrow(self.sql, *self._order(values))

    async def run_many(self, session: HasConnection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Once for each of the rows; none is fine."""
        if rows:
            await session.raw.executemany(self.sql, [self._order(row) for row in rows])

    def _order(self, values: Mapping[str, Any]) -> list[Any]:
        return [values[name] for name in self.names]
