"""Tenants' lists of what their executions may reach, and the refusals, which are written once and stay."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from uuid_utils.compat import uuid7

from contracts.egress import EgressLists, EgressRefusal, EgressSettings, ListRefusals
from contracts.model import ExecutionId, TenantId, UserId
from runtime.store.admission import lock_tenant
from runtime.store.cursors import cut_page, select_page
from runtime.store.db import Database, OfTenant
from runtime.store.statement import Statement
from runtime.store.tables import SCHEMA, EgressListsRow, EgressRefusalRow

UNSET = EgressSettings(updated_at=None, updated_by=None)


@dataclass(frozen=True, slots=True)
class RefusedHost:
    """What a run was refused to reach."""

    host: str
    port: int | None
    rule: str
    at: datetime


async def put_refusals(session: OfTenant, execution_id: ExecutionId, refused: Sequence[RefusedHost]) -> None:
    """Write refusals down in the transaction of the events that tell of them."""
    owner: dict[str, Any] = {"execution_id": execution_id, "tenant_id": session.tenant_id}
    rows = [
        owner | {"refusal_id": uuid7(), "host": one.host, "port": one.port, "rule": one.rule, "at": one.at}
        for one in refused
    ]
    await _REFUSE.run_many(session, rows)


_REFUSE = Statement(f"""
    INSERT INTO {SCHEMA}.egress_refusals (refusal_id, tenant_id, execution_id, host, port, rule, at)
    VALUES (:refusal_id, :tenant_id, :execution_id, :host, :port, :rule, :at)
""")  # noqa: S608 — constants


class EgressRecords:
    """Every row is the caller's tenant's."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def get(self, tenant_id: TenantId) -> EgressSettings:
        """The lists as they stand, empty ones where nobody has set them."""
        query = select(EgressListsRow).where(col(EgressListsRow.tenant_id) == tenant_id)
        async with self._db.read(tenant_id) as session:
            row = (await session.exec(query)).one_or_none()
        return UNSET if row is None else _describe(row)

    async def put(self, tenant_id: TenantId, lists: EgressLists, by: UserId | None) -> EgressSettings:
        """Replace both."""
        values = {"allow": lists.allow, "deny": lists.deny, "updated_at": datetime.now(UTC), "updated_by": by}
        put = insert(EgressListsRow).values(tenant_id=tenant_id, **values)
        async with self._db.write(tenant_id) as session:
            await lock_tenant(session, tenant_id)
            await session.exec(put.on_conflict_do_update(index_elements=["tenant_id"], set_=values))
        return EgressSettings.model_validate(values)

    async def list_refusals(
        self, tenant_id: TenantId, wanted: ListRefusals
    ) -> tuple[Sequence[EgressRefusal], str | None]:
        """One page, newest first, and the cursor of the next. Raises ApiError (INVALID) for a cursor of ours not."""
        query = select(EgressRefusalRow).where(col(EgressRefusalRow.tenant_id) == tenant_id)
        keys = (col(EgressRefusalRow.at), col(EgressRefusalRow.refusal_id))
        if wanted.execution_id is not None:
            query = query.where(col(EgressRefusalRow.execution_id) == wanted.execution_id)
        query = select_page(query, *keys, wanted.cursor, wanted.limit)
        async with self._db.read(tenant_id) as session:
            found = [
                EgressRefusal.model_validate({name: getattr(row, name) for name in EgressRefusal.model_fields})
                for row in await session.exec(query)
            ]
        return cut_page(found, wanted.limit, lambda last: (last.at, last.refusal_id))


def _describe(row: EgressListsRow) -> EgressSettings:
    return EgressSettings.model_validate({name: getattr(row, name) for name in EgressSettings.model_fields})
