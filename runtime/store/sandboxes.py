"""Which sandbox each worker found at its last look: written by workers, read by whoever serves the catalogue."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import delete
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select

from contracts.model import TenantId
from runtime.store.db import Database, SystemDatabase
from runtime.store.tables import SandboxRow

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
        async with self._db.read(tenant_id) as session:
            rows = (await session.exec(select(SandboxRow).where(SandboxRow.seen_at > datetime.now(UTC) - FRESH))).all()
        if any(row.backend != NONE for row in rows):
            return None
        return next((row.reason for row in rows), None)


class SandboxReports:
    """What a worker tells of itself."""

    def __init__(self, system: SystemDatabase, worker: str) -> None:
        self._system = system
        self._worker = worker

    async def tell(self, backend: str, reason: str) -> None:
        """Note what was found now, and forget workers that have been gone for a day.

        Raises:
            DatabaseAway: the connection failed.
        """
        now = datetime.now(UTC)
        put = insert(SandboxRow).values(worker=self._worker, backend=backend, reason=reason[:2_000], seen_at=now)
        changed = {"backend": put.excluded.backend, "reason": put.excluded.reason, "seen_at": put.excluded.seen_at}
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
