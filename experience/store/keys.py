"""API keys: managed within a tenant, looked up across tenants."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlmodel import col, delete, func, select, update

from contracts.identity import ApiKey, Role, Scope
from contracts.model import KeyId, UserId
from experience.store.db import SystemSession, TenantSession
from experience.store.tables import ApiKeyRow, MembershipRow, TenantRow, UserRow


@dataclass(frozen=True, slots=True)
class FoundKey:
    """A key with what its user is in its tenant at this moment."""

    key: ApiKeyRow
    role: Role
    operator: bool
    suspended: bool


async def list_keys(session: TenantSession, user_id: UserId, after: UUID | None, limit: int) -> list[ApiKeyRow]:
    """A user's keys in the order they were made, one more than `limit` when there are."""
    statement = select(ApiKeyRow).where(ApiKeyRow.tenant_id == session.tenant_id, ApiKeyRow.user_id == user_id)
    if after is not None:
        statement = statement.where(col(ApiKeyRow.key_id) > after)
    return list(await session.exec(statement.order_by(col(ApiKeyRow.key_id)).limit(limit + 1)))


async def count_keys(session: TenantSession, user_id: UserId) -> int:
    """How many keys a user has in this tenant."""
    statement = select(func.count()).select_from(ApiKeyRow)
    statement = statement.where(ApiKeyRow.tenant_id == session.tenant_id, ApiKeyRow.user_id == user_id)
    return (await session.exec(statement)).one()


async def insert_key(session: TenantSession, row: ApiKeyRow) -> None:
    """Store a key of the caller's tenant."""
    row.tenant_id = session.tenant_id
    session.add(row)
    await session.flush()


async def delete_key(session: TenantSession, user_id: UserId, key_id: KeyId) -> bool:
    """Revoke a user's key; False when there is none."""
    statement = delete(ApiKeyRow).where(
        col(ApiKeyRow.tenant_id) == session.tenant_id,
        col(ApiKeyRow.user_id) == user_id,
        col(ApiKeyRow.key_id) == key_id,
    )
    return (await session.exec(statement.returning(col(ApiKeyRow.key_id)))).scalar_one_or_none() is not None


async def find_key(session: SystemSession, key_id: UUID) -> FoundKey | None:
    """A key by its id; the caller compares the secret and the end."""
    statement = (
        select(ApiKeyRow, MembershipRow.role, UserRow.operator, TenantRow.suspended)
        .join(
            MembershipRow,
            (col(MembershipRow.tenant_id) == ApiKeyRow.tenant_id) & (col(MembershipRow.user_id) == ApiKeyRow.user_id),
        )
        .join(UserRow, col(UserRow.user_id) == ApiKeyRow.user_id)
        .join(TenantRow, col(TenantRow.tenant_id) == ApiKeyRow.tenant_id)
        .where(ApiKeyRow.key_id == key_id)
    )
    found = (await session.exec(statement)).one_or_none()
    if found is None:
        return None
    key, role, operator, suspended = found
    return FoundKey(key, Role(role), operator, suspended)


async def note_use(session: SystemSession, key_id: UUID, *, now: datetime, address: str, audited: bool) -> None:
    """Remember when and from where a key was used last."""
    values = {"last_used_at": now, "last_used_from": address} | ({"audited_at": now} if audited else {})
    await session.exec(update(ApiKeyRow).where(col(ApiKeyRow.key_id) == key_id).values(values))


def show_key(row: ApiKeyRow) -> ApiKey:
    """A key as the wire shows it: never its secret."""
    return ApiKey(
        key_id=KeyId(row.key_id),
        name=row.name,
        prefix=row.prefix,
        scopes=[Scope(scope) for scope in row.scopes],
        created_at=row.created_at,
        last_used_at=row.last_used_at,
        expires_at=row.expires_at,
    )
