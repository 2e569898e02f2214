"""Credentials as they are stored, sealed; runtime/vault.py seals and opens them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import func, update
from sqlmodel import col, select
from uuid_utils.compat import uuid7

from contracts.credential import ChangeCredential, Credential, CredentialUse, ListCredentials, ListUses
from contracts.errors import ApiError, Code
from contracts.model import CredentialId, ExecutionId, TenantId
from runtime.engine.references import Known
from runtime.store.admission import lock_tenant
from runtime.store.cursors import cut_page, select_page
from runtime.store.db import Database, TenantSession
from runtime.store.tables import CredentialRow, CredentialUseRow

MAX_CREDENTIALS: Final = 1_000
"""Of one tenant."""


@dataclass(frozen=True)
class Sealed:
    """One version of a credential's values, and the key that opens it, wrapped."""

    data_key: bytes
    content: bytes


@dataclass(frozen=True)
class Use:
    """Where values of a credential are about to go."""

    fields: Sequence[str]
    host: str
    execution_id: ExecutionId
    node_id: str


class Credentials:
    """Every row is the caller's tenant's; another tenant's is unknown."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def create(self, tenant_id: TenantId, row: CredentialRow) -> Credential:
        """Store a new one. Raises ApiError (CONFLICT, LIMIT_REACHED)."""
        counted = select(func.count()).where(col(CredentialRow.tenant_id) == tenant_id)
        async with self._db.write(tenant_id) as session:
            await lock_tenant(session, tenant_id)
            await _refuse_taken(session, row.name)
            if (await session.exec(counted)).one() >= MAX_CREDENTIALS:
                raise ApiError(Code.LIMIT_REACHED, f"A tenant may keep {MAX_CREDENTIALS} credentials.")
            session.add(row)
            await session.flush()
            return _describe(row)

    async def list_page(self, tenant_id: TenantId, wanted: ListCredentials) -> tuple[Sequence[Credential], str | None]:
        """One page, newest first, and the cursor of the next. Raises ApiError (INVALID) for a bad cursor."""
        query = select(CredentialRow).where(col(CredentialRow.tenant_id) == tenant_id)
        keys = (col(CredentialRow.created_at), col(CredentialRow.credential_id))
        query = select_page(query, *keys, wanted.cursor, wanted.limit)
        async with self._db.read(tenant_id) as session:
            found = [_describe(row) for row in await session.exec(query)]
        return cut_page(found, wanted.limit, lambda last: (last.created_at, last.credential_id))

    async def get(self, tenant_id: TenantId, credential_id: CredentialId) -> Credential:
        """One of them. Raises ApiError (NOT_FOUND)."""
        async with self._db.read(tenant_id) as session:
            return _describe(await _find(session, credential_id))

    async def change(self, tenant_id: TenantId, asked: ChangeCredential) -> Credential:
        """Rename it, or bind it to other hosts. Raises ApiError (NOT_FOUND, CONFLICT)."""
        async with self._db.write(tenant_id) as session:
            await lock_tenant(session, tenant_id)
            row = await _find(session, asked.credential_id, lock=True)
            if asked.name is not None and asked.name != row.name:
                await _refuse_taken(session, asked.name)
                row.name = asked.name
            if asked.domains is not None:
                row.domains = list(asked.domains)
            row.updated_at = datetime.now(UTC)
            await session.flush()
            return _describe(row)

    async def replace(
        self, tenant_id: TenantId, credential_id: CredentialId, version: int, fields: list[str], sealed: Sealed
    ) -> Credential:
        """Put version `version` in the place of the one before it.

        Raises:
            ApiError: NOT_FOUND; CONFLICT when somebody else has made that version.
        """
        async with self._db.write(tenant_id) as session:
            row = await _find(session, credential_id, lock=True)
            if row.version != version - 1:
                raise ApiError(Code.CONFLICT, "Somebody replaced its values at the same moment.", "Try again.")
            row.version, row.fields = version, fields
            row.data_key, row.sealed = sealed.data_key, sealed.content
            row.updated_at = datetime.now(UTC)
            await session.flush()
            return _describe(row)

    async def delete(self, tenant_id: TenantId, credential_id: CredentialId) -> Credential:
        """Delete it with its values, and answer what it was; its uses stay on record. Raises ApiError (NOT_FOUND)."""
        async with self._db.write(tenant_id) as session:
            row = await _find(session, credential_id, lock=True)
            await session.delete(row)
            return _describe(row)

    async def find_named(self, tenant_id: TenantId, names: Collection[str]) -> dict[str, CredentialRow]:
        """Those of the names that there are, sealed as they are."""
        if not names:
            return {}
        query = select(CredentialRow).where(
            col(CredentialRow.tenant_id) == tenant_id, col(CredentialRow.name).in_(names)
        )
        async with self._db.read(tenant_id) as session:
            return {row.name: row for row in await session.exec(query)}

    async def find_known(self, tenant_id: TenantId, names: Collection[str]) -> dict[str, Known]:
        """What a document can be checked against, of those of the names that there are."""
        if not names:
            return {}
        query = select(CredentialRow.name, CredentialRow.fields, CredentialRow.domains).where(
            col(CredentialRow.tenant_id) == tenant_id, col(CredentialRow.name).in_(names)
        )
        async with self._db.read(tenant_id) as session:
            return {
                name: Known(frozenset(fields), bool(domains)) for name, fields, domains in await session.exec(query)
            }

    async def record_use(self, tenant_id: TenantId, row: CredentialRow, use: Use) -> None:
        """Note that values are about to go somewhere: before they do, so that no use is without its entry."""
        now = datetime.now(UTC)
        used = (
            update(CredentialRow)
            .where(col(CredentialRow.credential_id) == row.credential_id, col(CredentialRow.tenant_id) == tenant_id)
            .values(last_used_at=now)
        )
        async with self._db.write(tenant_id) as session:
            session.add(
                CredentialUseRow(
                    use_id=uuid7(),
                    tenant_id=tenant_id,
                    credential_id=row.credential_id,
                    name=row.name,
                    version=row.version,
                    fields=sorted(use.fields),
                    host=use.host,
                    execution_id=use.execution_id,
                    node_id=use.node_id,
                    at=now,
                )
            )
            await session.exec(used)

    async def list_uses(self, tenant_id: TenantId, wanted: ListUses) -> tuple[Sequence[CredentialUse], str | None]:
        """One page of a credential's uses, newest first, also of one that is gone.

        Raises:
            ApiError: NOT_FOUND for one that never was or was never used and is gone; INVALID for a bad cursor.
        """
        query = select(CredentialUseRow).where(
            col(CredentialUseRow.credential_id) == wanted.credential_id, col(CredentialUseRow.tenant_id) == tenant_id
        )
        keys = (col(CredentialUseRow.at), col(CredentialUseRow.use_id))
        query = select_page(query, *keys, wanted.cursor, wanted.limit)
        async with self._db.read(tenant_id) as session:
            rows: Sequence[CredentialUseRow] = list(await session.exec(query))
            if not rows:
                await _find(session, wanted.credential_id)
        rows, further = cut_page(rows, wanted.limit, lambda last: (last.at, last.use_id))
        fields = CredentialUse.model_fields
        return [CredentialUse.model_validate({name: getattr(row, name) for name in fields}) for row in rows], further


async def _find(session: TenantSession, credential_id: CredentialId, *, lock: bool = False) -> CredentialRow:
    query = select(CredentialRow).where(
        col(CredentialRow.credential_id) == credential_id, col(CredentialRow.tenant_id) == session.tenant_id
    )
    row = (await session.exec(query.with_for_update() if lock else query)).one_or_none()
    if row is None:
        raise ApiError(Code.NOT_FOUND, "No such credential.")
    return row


async def _refuse_taken(session: TenantSession, name: str) -> None:
    query: Any = select(CredentialRow.credential_id).where(
        col(CredentialRow.tenant_id) == session.tenant_id, col(CredentialRow.name) == name
    )
    if (await session.exec(query)).one_or_none() is not None:
        raise ApiError(
            Code.CONFLICT, f"There is a credential “{name}” already.", "Choose another name, or replace its values."
        )


def _describe(row: CredentialRow) -> Credential:
    return Credential.model_validate({name: getattr(row, name) for name in Credential.model_fields})
