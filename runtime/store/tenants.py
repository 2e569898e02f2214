"""Tenants as Runtime knows them: limits, moving a guest's work to the user it became, export, deletion."""

from typing import Any

from sqlalchemy import delete, func, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from contracts.errors import ApiError, Code
from contracts.execution import RuntimeExport, TenantState
from contracts.model import TenantId
from contracts.workflow import JsonObject
from runtime.store.admission import admit_waiting, lock_tenant
from runtime.store.db import Database, SystemDatabase, TenantSession
from runtime.store.queue import Queue
from runtime.store.tables import (
    SCHEMA,
    ArtifactRow,
    CheckpointRow,
    DeadLetterRow,
    EgressRefusalRow,
    EventRow,
    ExecutionRow,
    Row,
    RunRow,
    StepRow,
    TenantRow,
    ToolEventRow,
    WorkflowRow,
    WorkflowVersionRow,
)
from runtime.store.workflows import UNFINISHED

_MOVED: tuple[type[Row], ...] = (
    WorkflowRow,
    WorkflowVersionRow,
    RunRow,
    StepRow,
    EventRow,
    ArtifactRow,
    CheckpointRow,
    DeadLetterRow,
    EgressRefusalRow,
    ToolEventRow,
)


class Tenants:
    """Adopting is the only work here across two tenants, hence the second door."""

    def __init__(self, db: Database, system: SystemDatabase, queue: Queue) -> None:
        self._db = db
        self._system = system
        self._queue = queue

    async def put(self, state: TenantState) -> None:
        """Make a tenant known or change what it may do; raised limits let waiting executions in at once."""
        values = state.model_dump(exclude={"tenant_id"})
        async with self._db.write(state.tenant_id) as session:
            put = insert(TenantRow).values(tenant_id=state.tenant_id, **values)
            put = put.on_conflict_do_update(index_elements=["tenant_id"], set_={**values, "updated_at": func.now()})
            await session.exec(put)
            await admit_waiting(session, self._queue, await lock_tenant(session, state.tenant_id))

    async def adopt(self, tenant_id: TenantId, guest_id: TenantId) -> int:
        """Give all that a guest's tenant owns to `tenant_id`; returns how many executions. Again moves nothing more.

        Raises:
            ApiError: CONFLICT while an execution of the guest has not ended: its worker writes as the guest.
        """
        if guest_id == tenant_id:
            return 0
        async with self._system.write() as session:
            for one in sorted((tenant_id, guest_id)):  # two that adopt each other must not wait for each other
                await lock_tenant(session, one)
            await _refuse_unfinished(session, guest_id)
            for table in _MOVED:
                await session.exec(_move(table, guest_id, tenant_id))
            moved = int((await session.exec(_move(ExecutionRow, guest_id, tenant_id))).rowcount)
            await session.exec(delete(TenantRow).where(col(TenantRow.tenant_id) == guest_id))
            return moved

    async def export(self, tenant_id: TenantId) -> RuntimeExport:
        """Rows and what hangs on them; values of credentials and saved logins, files and logs stay where they are."""
        async with self._db.read(tenant_id) as session:
            return RuntimeExport(
                workflows=await _select_json(session, _WORKFLOWS),
                executions=await _select_json(session, _EXECUTIONS),
                artifacts=await _select_json(session, _ARTIFACTS),
                browser_profiles=await _select_json(session, _BROWSER_PROFILES),
                credentials=await _select_json(session, _CREDENTIALS),
                credential_uses=await _select_json(session, _CREDENTIAL_USES),
                egress_lists=await _select_json(session, _EGRESS_LISTS),
                egress_refusals=await _select_json(session, _EGRESS_REFUSALS),
                tool_events=await _select_json(session, _TOOL_EVENTS),
            )

    async def delete(self, tenant_id: TenantId) -> list[str]:
        """Delete every row of the tenant; returns the artifact folders that nothing refers to any more.

        Raises:
            ApiError: CONFLICT while an execution has not ended.
        """
        async with self._db.write(tenant_id) as session:
            await lock_tenant(session, tenant_id)
            await _refuse_unfinished(session, tenant_id)
            connection = await session.connection()
            folders = [row.folder for row in await connection.execute(_FOLDERS, {"tenant_id": tenant_id})]
            for table in (ExecutionRow, WorkflowRow, TenantRow):  # the rest hangs on them
                await session.exec(delete(table).where(col(table.tenant_id) == tenant_id))
            return folders


def _move(table: type[Row], guest_id: TenantId, tenant_id: TenantId) -> Any:
    moved = update(table).where(col(table.tenant_id) == guest_id)  # type: ignore[attr-defined]  # each in _MOVED has one
    return moved.values(tenant_id=tenant_id)


async def _refuse_unfinished(session: AsyncSession, tenant_id: TenantId) -> None:
    query = select(func.count()).where(
        col(ExecutionRow.tenant_id) == tenant_id, col(ExecutionRow.status).in_(UNFINISHED)
    )
    unfinished = (await session.exec(query)).one()
    if unfinished:
        detail = f"{unfinished} executions have not ended."
        raise ApiError(Code.CONFLICT, detail, "Wait for them or cancel them, then try again.")


async def _select_json(session: TenantSession, query: Any) -> list[JsonObject]:
    connection = await session.connection()
    return [row.item for row in await connection.execute(query, {"tenant_id": session.tenant_id})]


# By name too: a worker that died between a file and its row has left what no row tells of.
_FOLDERS = text(f"""
    SELECT regexp_replace(path, '/[^/]*$', '') AS folder FROM {SCHEMA}.artifacts WHERE tenant_id = :tenant_id
    UNION SELECT concat(tenant_id, '/', execution_id) FROM {SCHEMA}.executions WHERE tenant_id = :tenant_id
""")  # noqa: S608 — constants, as below
_WORKFLOWS = text(f"""
    SELECT to_jsonb(w) || jsonb_build_object('versions', (
        SELECT jsonb_agg(to_jsonb(v) - 'plan' ORDER BY v.version) FROM {SCHEMA}.workflow_versions v
        WHERE v.workflow_id = w.workflow_id AND v.tenant_id = w.tenant_id)) AS item
    FROM {SCHEMA}.workflows w WHERE w.tenant_id = :tenant_id ORDER BY w.created_at
""")  # noqa: S608
_EXECUTIONS = text(f"""
    SELECT to_jsonb(e) - 'plan' - 'last_write' || jsonb_build_object('steps', (
        SELECT coalesce(jsonb_agg(to_jsonb(s) ORDER BY s.ordinal, s.attempt), '[]') FROM {SCHEMA}.steps s
        WHERE s.execution_id = e.execution_id AND s.tenant_id = e.tenant_id)) AS item
    FROM {SCHEMA}.executions e WHERE e.tenant_id = :tenant_id ORDER BY e.created_at
""")  # noqa: S608
_ARTIFACTS = text(f"""
    SELECT to_jsonb(a) AS item FROM {SCHEMA}.artifacts a WHERE a.tenant_id = :tenant_id ORDER BY a.created_at
""")  # noqa: S608
_BROWSER_PROFILES = text(f"""
    SELECT to_jsonb(p) - 'data_key' - 'sealed' - 'state_id' AS item
    FROM {SCHEMA}.browser_profiles p WHERE p.tenant_id = :tenant_id ORDER BY p.created_at
""")  # noqa: S608
_CREDENTIALS = text(f"""
    SELECT to_jsonb(c) - 'data_key' - 'sealed' AS item
    FROM {SCHEMA}.credentials c WHERE c.tenant_id = :tenant_id ORDER BY c.created_at
""")  # noqa: S608
_CREDENTIAL_USES = text(f"""
    SELECT to_jsonb(u) AS item FROM {SCHEMA}.credential_uses u WHERE u.tenant_id = :tenant_id ORDER BY u.at
""")  # noqa: S608
_EGRESS_LISTS = text(f"SELECT to_jsonb(l) AS item FROM {SCHEMA}.egress_lists l WHERE l.tenant_id = :tenant_id")  # noqa: S608
_EGRESS_REFUSALS = text(f"""
    SELECT to_jsonb(r) AS item FROM {SCHEMA}.egress_refusals r WHERE r.tenant_id = :tenant_id ORDER BY r.at
""")  # noqa: S608
_TOOL_EVENTS = text(f"""
    SELECT to_jsonb(t) AS item FROM {SCHEMA}.tool_events t WHERE t.tenant_id = :tenant_id ORDER BY t.at
""")  # noqa: S608
