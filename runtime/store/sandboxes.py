"""What each worker found of its walls at its last look: written by workers, read by whoever serves the catalogue."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, exists
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select

from contracts.model import TenantId
from contracts.shortcoming import FoundShortcoming, Shortcoming
from runtime.store.db import Database, SystemDatabase
from runtime.store.tables import ExecutionRow, SandboxRow, TenantRow

FRESH = timedelta(minutes=11)
"""Workers look every five minutes; what has been silent for longer than two looks is gone."""
NONE = "none"


class Sandboxes:
    """What every process may ask."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def find_reason(self, tenant_id: TenantId) -> str | None:
        """Why no worker can run code; None where one can, or where no worker has said anything lately.

        Args:
            tenant_id: the caller's, since every transaction has one; the answer is the same for all.

        Raises:
            DatabaseAway: the connection failed.
        """
        rows = await self._list_fresh(tenant_id)
        if any(row.backend != NONE for row in rows):
            return None
        return next((row.reason for row in rows), None)

    async def list_shortcomings(self, tenant_id: TenantId) -> list[FoundShortcoming]:
        """What workers say is weaker with them than it should be, each in their words, with how many say so.

        Args:
            tenant_id: as above.

        Raises:
            DatabaseAway: the connection failed.
        """
        rows = await self._list_fresh(tenant_id)
        said = Counter((Shortcoming.BROWSERS_EXPOSED, row.browsers) for row in rows if row.browsers)
        said.update((Shortcoming.TENANTS_TOGETHER, row.tenants) for row in rows if row.tenants)
        said.update((Shortcoming.CODE_REFUSED, row.reason) for row in rows if row.backend == NONE)
        return [
            FoundShortcoming(shortcoming=what, detail=detail, workers=count)
            for (what, detail), count in sorted(said.items())
        ]

    async def _list_fresh(self, tenant_id: TenantId) -> Sequence[SandboxRow]:
        async with self._db.read(tenant_id) as session:
            fresh = select(SandboxRow).where(SandboxRow.seen_at > datetime.now(UTC) - FRESH)
            return (await session.exec(fresh)).all()


class SandboxReports:
    """What a worker tells of itself."""

    def __init__(self, system: SystemDatabase, worker: str) -> None:
        self._system = system
        self._worker = worker

    async def find_tenants(self) -> bool:
        """Whether users of more than one tenant have executions here, whatever became of them.

        Each guest is a tenant, too; those have no users, and don't count.

        Raises:
            DatabaseAway: the connection failed.
        """
        of_a_user = col(ExecutionRow.user_id).is_not(None)
        theirs = exists().where(col(ExecutionRow.tenant_id) == col(TenantRow.tenant_id), of_a_user)
        async with self._system.write() as session:
            return len((await session.exec(select(TenantRow.tenant_id).where(theirs).limit(2))).all()) > 1

    async def tell(self, backend: str, reason: str, browsers: str = "", tenants: str = "") -> None:
        """Note what was found now, and forget workers that have been gone for a day.

        Args:
            backend: what shuts code in.
            reason: why it is that one, and what to do for a stronger one.
            browsers: what is wrong with how browsers are shut in; empty where nothing is, or none has started yet.
            tenants: what is wrong with how tenants are kept apart; empty where nothing is.

        Raises:
            DatabaseAway: the connection failed.
        """
        now = datetime.now(UTC)
        found: dict[str, str | datetime] = {"backend": backend, "reason": reason[:2_000], "browsers": browsers[:2_000]}
        found |= {"tenants": tenants[:2_000], "seen_at": now}
        put = insert(SandboxRow).values(worker=self._worker, **found)
        changed = {name: put.excluded[name] for name in found}
        async with self._system.write() as session:
            await session.exec(put.on_conflict_do_update(index_elements=["worker"], set_=changed))
            await session.exec(delete(SandboxRow).where(col(SandboxRow.seen_at) < now - timedelta(days=1)))

    async def leave(self) -> None:
        """This worker is gone.

        Raises:
            DatabaseAway: the connection failed.
        """
        async with self._system.write() as session:
            await session.exec(delete(SandboxRow).where(col(SandboxRow.worker) == self._worker))
