"""Where pages were, sealed: written with the step that left them, read by the run that has to bring them back."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlmodel import col, select

from runtime.store.db import OfTenant, TenantSession
from runtime.store.statement import Statement
from runtime.store.tables import SCHEMA, CheckpointRow


@dataclass(frozen=True)
class SealedCheckpoint:
    """One page after one node."""

    node_id: str
    page: str
    sealed: bytes


async def put_checkpoints(session: OfTenant, execution_id: UUID, kept: Sequence[SealedCheckpoint]) -> None:
    """Keep them; a node that ran again replaces its own."""
    owner = {"execution_id": execution_id, "tenant_id": session.tenant_id}
    rows = [owner | {"node_id": one.node_id, "page": one.page, "sealed": one.sealed} for one in kept]
    await _PUT.run_many(session, rows)


async def read_checkpoints(session: TenantSession, execution_id: UUID) -> list[SealedCheckpoint]:
    """All that an execution has kept."""
    query = select(CheckpointRow).where(
        col(CheckpointRow.execution_id) == execution_id, col(CheckpointRow.tenant_id) == session.tenant_id
    )
    return [SealedCheckpoint(row.node_id, row.page, row.sealed) for row in await session.exec(query)]


_PUT = Statement(f"""
    INSERT INTO {SCHEMA}.checkpoints AS c (execution_id, node_id, page, tenant_id, sealed)
    VALUES (:execution_id, :node_id, :page, :tenant_id, :sealed)
    ON CONFLICT (execution_id, node_id, page) DO UPDATE SET sealed = excluded.sealed, created_at = excluded.created_at
    WHERE c.tenant_id = :tenant_id
""")  # noqa: S608 — constants
