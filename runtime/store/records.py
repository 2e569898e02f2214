"""What is known of executions, steps and artifacts, for reading. A worker writes them, in runs.py."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlmodel import col, select

from contracts.errors import ApiError, Code
from contracts.execution import Artifact, StepStatus
from contracts.model import ArtifactId, ExecutionId, TenantId
from contracts.workflow import JsonObject
from runtime.store.checkpoints import SealedCheckpoint, read_checkpoints
from runtime.store.db import Database, OfTenant, TenantSession
from runtime.store.events import unknown_execution
from runtime.store.statement import Statement
from runtime.store.tables import SCHEMA, ArtifactRow, ExecutionRow, StepRow, WorkflowVersionRow


@dataclass(frozen=True)
class StoredBlob:
    """An artifact and where its bytes lie in the artifact folder."""

    artifact: Artifact
    path: str


@dataclass(frozen=True)
class Snapshot:
    """An execution with all that its status shows, as of one instant."""

    execution: ExecutionRow
    plan: JsonObject | None
    steps: Sequence[StepRow]
    artifacts: Sequence[Artifact] | None
    """None when they were not asked for."""


@dataclass(frozen=True)
class Source:
    """An execution as a retry of it finds it."""

    execution: ExecutionRow
    plan: JsonObject | None
    steps: Sequence[StepRow]
    checkpoints: Sequence[SealedCheckpoint]


class Records:
    """Steps and artifacts of the caller's tenant."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def read_snapshot(self, tenant_id: TenantId, execution_id: ExecutionId, *, artifacts: bool) -> Snapshot:
        """Where an execution stands. Raises ApiError (NOT_FOUND)."""
        async with self._db.read(tenant_id) as session:
            row = await get_execution(session, execution_id)
            return Snapshot(
                execution=row,
                plan=await read_plan(session, row),
                steps=await read_steps(session, execution_id),
                artifacts=await _read_artifacts(session, execution_id) if artifacts else None,
            )

    async def read_source(self, tenant_id: TenantId, execution_id: ExecutionId) -> Source:
        """An execution with all that a retry may take over. Raises ApiError (NOT_FOUND)."""
        async with self._db.read(tenant_id) as session:
            row = await get_execution(session, execution_id)
            return Source(
                execution=row,
                plan=await read_plan(session, row),
                steps=await read_steps(session, execution_id),
                checkpoints=await read_checkpoints(session, execution_id),
            )

    async def list_steps(self, tenant_id: TenantId, execution_id: ExecutionId) -> Sequence[StepRow]:
        """Every attempt, in the order they began. Raises ApiError (NOT_FOUND)."""
        async with self._db.read(tenant_id) as session:
            await get_execution(session, execution_id)
            return await read_steps(session, execution_id)

    async def list_artifacts(self, tenant_id: TenantId, execution_id: ExecutionId) -> list[Artifact]:
        """Everything an execution has stored, oldest first. Raises ApiError (NOT_FOUND)."""
        async with self._db.read(tenant_id) as session:
            await get_execution(session, execution_id)
            return await _read_artifacts(session, execution_id)

    async def get_blob(self, tenant_id: TenantId, artifact_id: ArtifactId) -> StoredBlob:
        """An artifact and where its bytes lie. Raises ApiError (NOT_FOUND)."""
        query = select(ArtifactRow).where(
            col(ArtifactRow.artifact_id) == artifact_id, col(ArtifactRow.tenant_id) == tenant_id
        )
        async with self._db.read(tenant_id) as session:
            row = (await session.exec(query)).one_or_none()
        if row is None:
            raise ApiError(Code.NOT_FOUND, "No such artifact.")
        return StoredBlob(describe(row), row.path)

    async def find_artifacts(self, tenant_id: TenantId, artifact_ids: Sequence[UUID]) -> list[Artifact]:
        """Those of the ids that exist, in the order asked for."""
        query = select(ArtifactRow).where(
            col(ArtifactRow.artifact_id).in_(artifact_ids), col(ArtifactRow.tenant_id) == tenant_id
        )
        async with self._db.read(tenant_id) as session:
            found = {row.artifact_id: describe(row) for row in await session.exec(query)}
        return [found[wanted] for wanted in dict.fromkeys(artifact_ids) if wanted in found]


async def put_blobs(session: OfTenant, blobs: Sequence[StoredBlob]) -> None:
    """Note what was put away, in the transaction of the events that tell of it."""
    rows = [{**blob.artifact.model_dump(), "tenant_id": session.tenant_id, "path": blob.path} for blob in blobs]
    await _PUT_BLOB.run_many(session, rows)


_PUT_BLOB = Statement(f"""
    INSERT INTO {SCHEMA}.artifacts (artifact_id, execution_id, tenant_id, node_id, kind, name, media_type, size, sha256,
        width, height, page_url, path, created_at)
    VALUES (:artifact_id, :execution_id, :tenant_id, :node_id, :kind, :name, :media_type, :size, :sha256,
        :width, :height, :page_url, :path, :created_at)
""")  # noqa: S608 — constants


def describe(row: ArtifactRow) -> Artifact:
    """A row as the wire shows it."""
    return Artifact.model_validate({name: getattr(row, name) for name in Artifact.model_fields})


async def find_execution(session: TenantSession, execution_id: UUID, *, lock: bool = False) -> ExecutionRow | None:
    """The execution, or None when the tenant has no such one.

    Args:
        lock: hold the row until commit, as it is by now; rows that refer to it may be written meanwhile.
    """
    query = select(ExecutionRow).where(
        col(ExecutionRow.execution_id) == execution_id, col(ExecutionRow.tenant_id) == session.tenant_id
    )
    if lock:
        query = query.with_for_update(key_share=True).execution_options(populate_existing=True)
    return (await session.exec(query)).one_or_none()


async def get_execution(session: TenantSession, execution_id: UUID, *, lock: bool = False) -> ExecutionRow:
    """As `find_execution`. Raises ApiError (NOT_FOUND)."""
    row = await find_execution(session, execution_id, lock=lock)
    if row is None:
        raise unknown_execution()
    return row


async def read_steps(session: TenantSession, execution_id: UUID, *, in_flight: bool = False) -> Sequence[StepRow]:
    """Every attempt, in the order they began; or only those `in_flight`, of which nothing is recorded yet."""
    query = select(StepRow).where(
        col(StepRow.execution_id) == execution_id, col(StepRow.tenant_id) == session.tenant_id
    )
    if in_flight:
        query = query.where(col(StepRow.status) == StepStatus.RUNNING)
    return (await session.exec(query.order_by(col(StepRow.ordinal), col(StepRow.step_id)))).all()


async def read_plan(session: TenantSession, row: ExecutionRow) -> JsonObject | None:
    """What an execution runs: its own one-off plan, or that of its workflow's version."""
    if row.plan is not None or row.workflow_id is None:
        return row.plan
    query = select(WorkflowVersionRow).where(
        col(WorkflowVersionRow.workflow_id) == row.workflow_id,
        col(WorkflowVersionRow.version) == row.workflow_version,
        col(WorkflowVersionRow.tenant_id) == session.tenant_id,
    )
    version = (await session.exec(query)).one_or_none()
    return version.plan if version is not None else None


async def _read_artifacts(session: TenantSession, execution_id: UUID) -> list[Artifact]:
    query = select(ArtifactRow).where(
        col(ArtifactRow.execution_id) == execution_id, col(ArtifactRow.tenant_id) == session.tenant_id
    )
    rows = await session.exec(query.order_by(col(ArtifactRow.created_at), col(ArtifactRow.artifact_id)))
    return [describe(row) for row in rows]
