"""All that is sealed, of all tenants, in batches: for `python -m runtime reseal`, when a key is changed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import text

from runtime.store.db import SystemDatabase
from runtime.store.tables import SCHEMA

BATCH: Final = 100
"""Rows that one transaction holds: each is locked until its new seal is there."""

Reseal = Callable[[Any], bytes | None]
"""From a row to what is to stand in it now; None leaves it as it is."""


@dataclass(frozen=True)
class Kind:
    """A table with something sealed in it."""

    name: str
    select: str
    """Answers rows in the order of their key, `key` among the columns, after `:after`."""
    update: str


CREDENTIALS: Final = Kind(
    "credentials",
    f"""SELECT credential_id::text AS key, tenant_id, credential_id, version, data_key AS sealed
        FROM {SCHEMA}.credentials WHERE credential_id::text > :after
        ORDER BY credential_id::text LIMIT :batch FOR UPDATE""",  # noqa: S608 — constants, as below
    f"UPDATE {SCHEMA}.credentials SET data_key = :sealed WHERE credential_id::text = :key",  # noqa: S608
)
CHECKPOINTS: Final = Kind(
    "checkpoints",
    f"""SELECT concat_ws(chr(31), execution_id, node_id, page) AS key, execution_id, node_id, page, sealed
        FROM {SCHEMA}.checkpoints WHERE concat_ws(chr(31), execution_id, node_id, page) > :after
        ORDER BY concat_ws(chr(31), execution_id, node_id, page) LIMIT :batch FOR UPDATE""",  # noqa: S608
    f"""UPDATE {SCHEMA}.checkpoints SET sealed = :sealed
        WHERE concat_ws(chr(31), execution_id, node_id, page) = :key""",  # noqa: S608
)
BROWSER_PROFILES: Final = Kind(
    "browser_profiles",
    f"""SELECT browser_profile_id::text AS key, tenant_id, name, state_id, data_key AS sealed
        FROM {SCHEMA}.browser_profiles WHERE browser_profile_id::text > :after
        ORDER BY browser_profile_id::text LIMIT :batch FOR UPDATE""",  # noqa: S608
    f"UPDATE {SCHEMA}.browser_profiles SET data_key = :sealed WHERE browser_profile_id::text = :key",  # noqa: S608
)


class SealedRows:
    """Rows as they are sealed, whosever they are."""

    def __init__(self, system: SystemDatabase) -> None:
        self._system = system

    async def reseal(self, kind: Kind, reseal: Reseal) -> int:
        """Pass every row of a kind through `reseal`; returns how many have changed. May be broken off and repeated."""
        after, changed = "", 0
        while True:
            async with self._system.write() as session:
                connection = await session.connection()
                rows = (await connection.execute(text(kind.select), {"after": after, "batch": BATCH})).all()
                for row in rows:
                    if (sealed := reseal(row)) is not None:
                        await connection.execute(text(kind.update), {"key": row.key, "sealed": sealed})
                        changed += 1
            if len(rows) < BATCH:
                return changed
            after = rows[-1].key
