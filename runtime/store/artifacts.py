"""What is known of artifacts and steps. They are written with the step that made them, in runs.py."""

from collections.abc import Sequence
from uuid import UUID

from sqlmodel import col, select

from contracts.errors import ApiError, Code
from contracts.execution import Artifact, ArtifactKind
from contracts.model import ArtifactId, ExecutionId, TenantId
from runtime.store.db import Database
from runtime.store.events import unknown_execution
from runtime.store.runs import StoredBlob
from runtime.store.tables import ArtifactRow, ExecutionRow, StepRow

PICTURES = (ArtifactKind.SCREENSHOT, ArtifactKind.FAILURE_SCREENSHOT)


class Records:
    """Steps and artifacts of the caller's tenant."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def list_steps(self, tenant_id: TenantId, execution_id: ExecutionId) -> Sequence[StepRow]:
        """Every attempt, in the order they began. Raises ApiError (NOT_FOUND)."""
        query = select(StepRow).where(col(StepRow.execution_id) == execution_id)
        async with self._db.read(tenant_id) as session:
            if await session.get(ExecutionRow, execution_id) is None:
                raise unknown_execution()
            return (await session.exec(query.order_by(col(StepRow.ordinal), col(StepRow.attempt)))).all()

    async def list_artifacts(self, tenant_id: TenantId, execution_id: ExecutionId) -> list[Artifact]:
        """Everything an execution has stored, oldest first. Raises ApiError (NOT_FOUND)."""
        query = select(ArtifactRow).where(col(ArtifactRow.execution_id) == execution_id)
        async with self._db.read(tenant_id) as session:
            if await session.get(ExecutionRow, execution_id) is None:
                raise unknown_execution()
            rows = await session.exec(query.order_by(col(ArtifactRow.created_at), col(ArtifactRow.artifact_id)))
            return [describe(row) for row in rows]

    async def get_blob(self, tenant_id: TenantId, artifact_id: ArtifactId) -> StoredBlob:
        """An artifact and where its bytes lie. Raises ApiError (NOT_FOUND)."""
        async with self._db.read(tenant_id) as session:
            row = await session.get(ArtifactRow, artifact_id)
        if row is None:
            raise ApiError(Code.NOT_FOUND, "No such artifact.")
        return StoredBlob(describe(row), row.path)

    async def find_artifacts(self, tenant_id: TenantId, artifact_ids: Sequence[UUID]) -> list[Artifact]:
        """Those of the ids that exist, in the order asked for."""
        query = select(ArtifactRow).where(col(ArtifactRow.artifact_id).in_(artifact_ids))
        async with self._db.read(tenant_id) as session:
            found = {row.artifact_id: describe(row) for row in await session.exec(query)}
        return [found[wanted] for wanted in dict.fromkeys(artifact_ids) if wanted in found]


def describe(row: ArtifactRow) -> Artifact:
    """A row as the wire shows it."""
    return Artifact.model_validate({name: getattr(row, name) for name in Artifact.model_fields})
