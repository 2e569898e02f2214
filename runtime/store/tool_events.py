"""Calls of tools, one row each, written once; and what else executions did that an audit asks about."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Text, cast, func, literal, select, union_all
from sqlmodel import col
from sqlmodel import select as select_rows
from uuid_utils.compat import uuid7

from contracts.execution import FailureCode
from contracts.identity import AuditAct
from contracts.model import ExecutionId, TenantId
from contracts.tool import Act, ListToolEvents, ReadActs, ToolEvent
from runtime.store.cursors import Position, cut_page, select_page, write_cursor
from runtime.store.db import Database, OfTenant
from runtime.store.statement import Statement
from runtime.store.tables import SCHEMA, CredentialUseRow, EgressRefusalRow, ExecutionRow, ToolEventRow


@dataclass(frozen=True, slots=True)
class ToolUse:
    """One call of a tool; the fields are ToolEvent's."""

    node_id: str
    tool: str
    what: str
    outcome: str
    sent: int
    received: int
    seconds: float
    at: datetime


async def put_tool_uses(session: OfTenant, execution_id: ExecutionId, uses: Sequence[ToolUse]) -> None:
    """Write calls down in the transaction of what came of them."""
    owner: dict[str, Any] = {"execution_id": execution_id, "tenant_id": session.tenant_id}
    await _PUT.run_many(session, [owner | {"event_id": uuid7()} | asdict(use) for use in uses])


_PUT = Statement(f"""
    INSERT INTO {SCHEMA}.tool_events
        (event_id, tenant_id, execution_id, node_id, user_id, tool, what, outcome, sent, received, seconds, at)
    VALUES (:event_id, :tenant_id, :execution_id, :node_id,
        (SELECT e.user_id FROM {SCHEMA}.executions e
         WHERE e.execution_id = :execution_id AND e.tenant_id = :tenant_id),
        :tool, :what, :outcome, :sent, :received, :seconds, :at)
""")  # noqa: S608 — constants


class ToolEvents:
    """Every row is the caller's tenant's."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def list_events(self, tenant_id: TenantId, wanted: ListToolEvents) -> tuple[Sequence[ToolEvent], str | None]:
        """One page, newest first, and the cursor of the next. Raises ApiError (INVALID) for a cursor of ours not."""
        query = select_rows(ToolEventRow).where(col(ToolEventRow.tenant_id) == tenant_id)
        keys = (col(ToolEventRow.at), col(ToolEventRow.event_id))
        if wanted.execution_id is not None:
            query = query.where(col(ToolEventRow.execution_id) == wanted.execution_id)
        query = select_page(query, *keys, wanted.cursor, wanted.limit)
        async with self._db.read(tenant_id) as session:
            found = [
                ToolEvent.model_validate({name: getattr(row, name) for name in ToolEvent.model_fields})
                for row in await session.exec(query)
            ]
        return cut_page(found, wanted.limit, lambda last: (last.at, last.event_id))

    async def list_acts(self, tenant_id: TenantId, wanted: ReadActs) -> list[Act]:
        """Newest first; one more than the limit when there are. Raises ApiError (INVALID) as above."""
        every = _select_acts(tenant_id)
        executions = ExecutionRow.__table__  # type: ignore[attr-defined]  # SQLModel's tables have one
        ours = (executions.c.execution_id == every.c.execution_id) & (executions.c.tenant_id == tenant_id)
        query = select(every, executions.c.user_id).select_from(every.outerjoin(executions, ours))
        if wanted.act is not None:
            query = query.where(every.c.act == wanted.act.value)
        if wanted.user_id is not None:
            query = query.where(executions.c.user_id == wanted.user_id)
        if wanted.since is not None:
            query = query.where(every.c.at >= wanted.since)
        if wanted.until is not None:
            query = query.where(every.c.at < wanted.until)
        query = select_page(query, every.c.at, every.c.act_id, wanted.cursor, wanted.limit)
        async with self._db.read(tenant_id) as session:
            rows = (await (await session.connection()).execute(query)).all()
        return [
            Act(
                act_id=row.act_id,
                cursor=write_cursor(Position(row.at, row.act_id)),
                at=row.at,
                act=AuditAct(row.act),
                user_id=row.user_id,
                subject=row.subject,
                detail=row.detail | {"execution_id": str(row.execution_id)},
            )
            for row in rows
        ]


def _select_acts(tenant_id: TenantId):  # type: ignore[no-untyped-def]  # noqa: ANN202 — a subquery of SQLAlchemy's
    """The three that spec I7 names: a use of a credential, a refusal by egress, one by the sandbox."""
    used, refused, called = CredentialUseRow, EgressRefusalRow, ToolEventRow
    return union_all(
        select(
            col(used.use_id).label("act_id"),
            col(used.at).label("at"),
            literal(AuditAct.CREDENTIAL_USED.value).label("act"),
            col(used.execution_id).label("execution_id"),
            (literal("credential:") + cast(col(used.credential_id), Text)).label("subject"),
            func.jsonb_build_object(
                "name", used.name, "fields", used.fields, "host", used.host, "node_id", used.node_id
            ).label("detail"),
        ).where(col(used.tenant_id) == tenant_id),
        select(
            col(refused.refusal_id),
            col(refused.at),
            literal(AuditAct.EGRESS_REFUSED.value),
            col(refused.execution_id),
            literal("execution:") + cast(col(refused.execution_id), Text),
            func.jsonb_build_object("host", refused.host, "port", refused.port, "rule", refused.rule),
        ).where(col(refused.tenant_id) == tenant_id),
        select(
            col(called.event_id),
            col(called.at),
            literal(AuditAct.SANDBOX_REFUSED.value),
            col(called.execution_id),
            literal("execution:") + cast(col(called.execution_id), Text),
            func.jsonb_build_object("node_id", called.node_id, "what", called.what),
        ).where(col(called.tenant_id) == tenant_id, col(called.outcome) == FailureCode.SANDBOX_UNAVAILABLE.value),
    ).subquery("acts")
