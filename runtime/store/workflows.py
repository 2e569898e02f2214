"""Workflows and their versions. A version never changes; a save adds one, under the workflow's row lock."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, or_
from sqlalchemy.orm import defer
from sqlmodel import col, select
from uuid_utils.compat import uuid7

from contracts.errors import ApiError, Code
from contracts.execution import ExecutionStatus
from contracts.model import ExecutionId, TenantId, UserId, WorkflowId
from contracts.workflow import JsonObject, ListWorkflows, WorkflowStatus
from runtime.store.admission import lock_tenant
from runtime.store.cursors import cut_page, select_page
from runtime.store.db import Database, TenantSession
from runtime.store.tables import ExecutionRow, WorkflowRow, WorkflowVersionRow

_UNLISTED = [
    defer(column, raiseload=True)  # type: ignore[arg-type]  # SQLModel's fields are columns
    for column in (WorkflowVersionRow.document, WorkflowVersionRow.plan)
]
"""What a list does without: each may be large."""
UNFINISHED = [status for status in ExecutionStatus if not status.final]


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A document as it is stored, with what the server worked out about it."""

    name: str
    description: str
    document: JsonObject
    nodes: int
    faults: list[JsonObject]
    plan: JsonObject | None
    content_hash: str


@dataclass(frozen=True)
class Stored:
    """A workflow with one of its versions."""

    workflow: WorkflowRow
    version: WorkflowVersionRow


class Workflows:
    """Every row is the caller's tenant's."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def create(self, tenant_id: TenantId, user_id: UserId | None, draft: Draft) -> Stored:
        """Store a new workflow with version 1. Raises ApiError (LIMIT_REACHED)."""
        async with self._db.write(tenant_id) as session:
            tenant = await lock_tenant(session, tenant_id)
            if tenant.max_workflows is not None and await _count(session) >= tenant.max_workflows:
                raise ApiError(Code.LIMIT_REACHED, f"This tenant may keep {tenant.max_workflows} workflows.")
            workflow = WorkflowRow(
                workflow_id=uuid7(),
                tenant_id=tenant_id,
                name=draft.name,
                description=draft.description,
                status=WorkflowStatus.DRAFT,
                version=1,
                created_by=user_id,
                created_at=datetime.now(UTC),
                updated_at=datetime.now(UTC),
            )
            session.add(workflow)
            await session.flush()
            return Stored(workflow, await _add_version(session, workflow, user_id, draft))

    async def save(
        self, tenant_id: TenantId, workflow_id: WorkflowId, user_id: UserId | None, draft: Draft, if_match: str | None
    ) -> Stored:
        """Store the next version; the workflow becomes a draft again.

        Args:
            if_match: etag of the version that the change was made on; None saves on top of whatever is there.

        Raises:
            ApiError: NOT_FOUND; VERSION_CONFLICT naming both versions when somebody saved in between.
        """
        async with self._db.write(tenant_id) as session:
            workflow = await _find(session, workflow_id, lock=True)
            if if_match is not None:
                await _check_unchanged(session, workflow, if_match)
            workflow.version += 1
            workflow.name, workflow.description = draft.name, draft.description
            workflow.status = WorkflowStatus.DRAFT
            workflow.updated_at = datetime.now(UTC)
            await session.flush()
            return Stored(workflow, await _add_version(session, workflow, user_id, draft))

    async def get(self, tenant_id: TenantId, workflow_id: WorkflowId, version: int | None = None) -> Stored:
        """The workflow with its latest version, or with the one asked for. Raises ApiError (NOT_FOUND)."""
        async with self._db.read(tenant_id) as session:
            workflow = await _find(session, workflow_id)
            wanted = workflow.version if version is None else version
            row = await _find_version(session, workflow_id, wanted)
            if row is None:
                raise ApiError(Code.NOT_FOUND, f"This workflow has no version {wanted}.")
            return Stored(workflow, row)

    async def find_plan(self, tenant_id: TenantId, workflow_id: WorkflowId, version: int) -> JsonObject | None:
        """The plan of a version, also after its workflow was deleted."""
        async with self._db.read(tenant_id) as session:
            row = await _find_version(session, workflow_id, version)
            return row.plan if row is not None else None

    async def list_versions(self, tenant_id: TenantId, workflow_id: WorkflowId) -> Sequence[WorkflowVersionRow]:
        """Versions, newest first. Raises ApiError (NOT_FOUND)."""
        async with self._db.read(tenant_id) as session:
            await _find(session, workflow_id)
            query = select(WorkflowVersionRow).where(
                col(WorkflowVersionRow.workflow_id) == workflow_id, col(WorkflowVersionRow.tenant_id) == tenant_id
            )
            query = query.options(*_UNLISTED).order_by(col(WorkflowVersionRow.version).desc())
            return (await session.exec(query)).all()

    async def list_page(self, tenant_id: TenantId, wanted: ListWorkflows) -> tuple[Sequence[Stored], str | None]:
        """One page, last changed first, and the cursor of the next. Raises ApiError (INVALID) for a bad cursor."""
        query = (
            select(WorkflowRow, WorkflowVersionRow)
            .where(
                col(WorkflowRow.tenant_id) == tenant_id,
                col(WorkflowVersionRow.tenant_id) == tenant_id,
                col(WorkflowRow.workflow_id) == col(WorkflowVersionRow.workflow_id),
                col(WorkflowRow.version) == col(WorkflowVersionRow.version),
                *_conditions(wanted),
            )
            .options(*_UNLISTED)
        )
        keys = (col(WorkflowRow.updated_at), col(WorkflowRow.workflow_id))
        query = select_page(query, *keys, wanted.cursor, wanted.limit)
        async with self._db.read(tenant_id) as session:
            rows = [Stored(*row) for row in await session.exec(query)]
        return cut_page(rows, wanted.limit, lambda last: (last.workflow.updated_at, last.workflow.workflow_id))

    async def delete(self, tenant_id: TenantId, workflow_id: WorkflowId, *, force: bool) -> list[ExecutionId]:
        """Delete the workflow and answer which of its executions have not ended; with those only by `force`.

        Finished executions keep showing the version they ran.

        Raises:
            ApiError: NOT_FOUND; CONFLICT while executions run and `force` is not given.
        """
        async with self._db.write(tenant_id) as session:
            workflow = await _find(session, workflow_id, lock=True)
            query = select(ExecutionRow.execution_id).where(
                col(ExecutionRow.tenant_id) == tenant_id,
                col(ExecutionRow.workflow_id) == workflow_id,
                col(ExecutionRow.status).in_(UNFINISHED),
            )
            unfinished = [ExecutionId(found) for found in await session.exec(query)]
            if unfinished and not force:
                detail = f"{len(unfinished)} executions of this workflow have not ended."
                raise ApiError(Code.CONFLICT, detail, "Wait for them, or delete with force to cancel them too.")
            workflow.deleted_at = datetime.now(UTC)
            return unfinished


async def _find(session: TenantSession, workflow_id: WorkflowId, *, lock: bool = False) -> WorkflowRow:
    query = select(WorkflowRow).where(
        col(WorkflowRow.workflow_id) == workflow_id,
        col(WorkflowRow.tenant_id) == session.tenant_id,
        col(WorkflowRow.deleted_at).is_(None),
    )
    row = (await session.exec(query.with_for_update(key_share=True) if lock else query)).one_or_none()
    if row is None:
        raise ApiError(Code.NOT_FOUND, "No such workflow.")
    return row


async def _find_version(session: TenantSession, workflow_id: UUID, version: int) -> WorkflowVersionRow | None:
    query = select(WorkflowVersionRow).where(
        col(WorkflowVersionRow.workflow_id) == workflow_id,
        col(WorkflowVersionRow.version) == version,
        col(WorkflowVersionRow.tenant_id) == session.tenant_id,
    )
    return (await session.exec(query)).one_or_none()


async def _count(session: TenantSession) -> int:
    query = select(func.count()).where(
        col(WorkflowRow.tenant_id) == session.tenant_id, col(WorkflowRow.deleted_at).is_(None)
    )
    return (await session.exec(query)).one()


async def _check_unchanged(session: TenantSession, workflow: WorkflowRow, if_match: str) -> None:
    given = if_match.removeprefix("W/").strip('"')
    query = select(WorkflowVersionRow.version, WorkflowVersionRow.etag).where(
        col(WorkflowVersionRow.workflow_id) == workflow.workflow_id,
        col(WorkflowVersionRow.tenant_id) == session.tenant_id,
        or_(col(WorkflowVersionRow.version) == workflow.version, col(WorkflowVersionRow.etag) == given),
    )
    numbers = {etag: version for version, etag in await session.exec(query)}
    latest = next(etag for etag, version in numbers.items() if version == workflow.version)
    if given in ("*", latest):
        return
    number = numbers.get(given)
    changed = f"version {number}" if number is not None else "a version that this workflow never had"
    raise ApiError(
        Code.VERSION_CONFLICT, f"You changed {changed}; the latest is version {workflow.version} (etag {latest})."
    )


async def _add_version(
    session: TenantSession, workflow: WorkflowRow, user_id: UserId | None, draft: Draft
) -> WorkflowVersionRow:
    version = WorkflowVersionRow(
        workflow_id=workflow.workflow_id,
        version=workflow.version,
        tenant_id=workflow.tenant_id,
        etag=f"{workflow.version}-{draft.content_hash[:16]}",
        content_hash=draft.content_hash,
        document=draft.document,
        nodes=draft.nodes,
        faults=draft.faults,
        plan=draft.plan,
        created_by=user_id,
        created_at=datetime.now(UTC),
    )
    session.add(version)
    await session.flush()
    return version


def _conditions(wanted: ListWorkflows) -> list[Any]:
    conditions: list[Any] = [col(WorkflowRow.deleted_at).is_(None)]
    if wanted.status is not None:
        conditions.append(col(WorkflowRow.status) == wanted.status)
    if wanted.text:
        conditions.append(col(WorkflowRow.name).icontains(wanted.text, autoescape=True))
    return conditions
