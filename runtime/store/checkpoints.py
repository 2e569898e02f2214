"""Where pages were, sealed: written with the step that left them, read by the run that has to bring them back."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select

from runtime.store.db import TenantSession
from runtime.store.tables import CheckpointRow


@dataclass(frozen=True)
class SealedCheckpoint:
    """One page after one node."""

    node_id: str
    page: str
    sealed: bytes


async def put_checkpoints(session: TenantSession, execution_id: UUID, kept: Sequence[SealedCheckpoint]) -> None:
    """Keep them; a node that ran again replaces its own."""
    if not kept:
        return
    added = insert(CheckpointRow)
    put = added.on_conflict_do_update(
        index_elements=["execution_id", "node_id", "page"],
        set_={"sealed": added.excluded.sealed, "created_at": added.excluded.created_at},
        where=col(CheckpointRow.tenant_id) == session.tenant_id,
    )
    rows = [
        {
            "execution_id": execution_id,
            "tenant_id": session.tenant_id,
            "node_id": one.node_id,
            "page": one.page,
            "sealed": one.sealed,
        }
        for one in kept
    ]
    await (await session.connection()).execute(put, rows)


async def read_checkpoints(session: TenantSession, execution_id: UUID) -> list[SealedCheckpoint]:
    """All that an execution has kept."""
    query = select(CheckpointRow).where(
        col(CheckpointRow.execution_id) == execution_id, col(CheckpointRow.tenant_id) == session.tenant_id
    )
    return [SealedCheckpoint(row.node_id, row.page, row.sealed) for row in await session.exec(query)]
