"""Members of the caller's tenant, and invitations into it."""

from datetime import datetime
from uuid import UUID

from sqlmodel import col, delete, select, update
from uuid_utils.compat import uuid7

from contracts.identity import Member, Role
from contracts.model import TenantId, UserId
from experience.store.db import SystemSession, TenantSession
from experience.store.tables import InvitationRow, MembershipRow, TenantRow, UserRow


async def list_members(session: TenantSession, after: UUID | None, limit: int) -> list[Member]:
    """Members, one more than `limit` when there are."""
    statement = (
        select(MembershipRow, UserRow.email, UserRow.display_name)
        .join(UserRow, col(UserRow.user_id) == MembershipRow.user_id)
        .where(MembershipRow.tenant_id == session.tenant_id)
    )
    if after is not None:
        statement = statement.where(col(MembershipRow.user_id) > after)
    rows = await session.exec(statement.order_by(col(MembershipRow.user_id)).limit(limit + 1))
    return [_show(*row) for row in rows]


async def find_member(session: TenantSession, user_id: UserId) -> Member | None:
    """A member of the tenant."""
    statement = (
        select(MembershipRow, UserRow.email, UserRow.display_name)
        .join(UserRow, col(UserRow.user_id) == MembershipRow.user_id)
        .where(MembershipRow.tenant_id == session.tenant_id, MembershipRow.user_id == user_id)
    )
    row = (await session.exec(statement)).one_or_none()
    return None if row is None else _show(*row)


async def is_member(session: TenantSession, email: str) -> bool:
    """Whether somebody with this address is in the tenant already."""
    statement = (
        select(MembershipRow.user_id)
        .join(UserRow, col(UserRow.user_id) == MembershipRow.user_id)
        .where(MembershipRow.tenant_id == session.tenant_id, UserRow.email == email)
    )
    return (await session.exec(statement)).first() is not None


async def lock_owners(session: TenantSession) -> set[UserId]:
    """The tenant's owners, locked until the end: two owners who demote each other come one after the other."""
    statement = (
        select(MembershipRow.user_id)
        .where(MembershipRow.tenant_id == session.tenant_id, MembershipRow.role == Role.OWNER)
        .order_by(col(MembershipRow.user_id))
        .with_for_update()
    )
    return {UserId(user_id) for user_id in await session.exec(statement)}


async def set_role(session: TenantSession, user_id: UserId, role: Role) -> None:
    """Give a member another role."""
    statement = update(MembershipRow).where(
        col(MembershipRow.tenant_id) == session.tenant_id, col(MembershipRow.user_id) == user_id
    )
    await session.exec(statement.values(role=role.value))


async def delete_member(session: TenantSession, user_id: UserId) -> None:
    """Remove a member; logins, tokens, keys and links of this membership go with it, by the foreign keys."""
    statement = delete(MembershipRow).where(
        col(MembershipRow.tenant_id) == session.tenant_id, col(MembershipRow.user_id) == user_id
    )
    await session.exec(statement)


async def replace_invitation(session: TenantSession, row: InvitationRow) -> None:
    """Store an invitation; an earlier one for the same address is void."""
    earlier = delete(InvitationRow).where(
        col(InvitationRow.tenant_id) == session.tenant_id, col(InvitationRow.email) == row.email
    )
    await session.exec(earlier)
    row.tenant_id = session.tenant_id
    session.add(row)
    await session.flush()


async def insert_invitation_for(session: SystemSession, row: InvitationRow) -> None:
    """Store an operator's invitation into a tenant that nobody is in yet."""
    session.add(row)
    await session.flush()


async def lock_invitation(session: SystemSession, token_hash: bytes, now: datetime) -> InvitationRow | None:
    """A live invitation, locked: of two people with the same one, the second finds nothing."""
    statement = select(InvitationRow).where(InvitationRow.token_hash == token_hash, col(InvitationRow.expires_at) > now)
    return (await session.exec(statement.with_for_update())).one_or_none()


async def delete_invitation(session: SystemSession, invitation_id: UUID) -> None:
    """An invitation has been taken."""
    await session.exec(delete(InvitationRow).where(col(InvitationRow.invitation_id) == invitation_id))


async def insert_membership(
    session: SystemSession, tenant_id: TenantId, user_id: UserId, role: Role, now: datetime
) -> None:
    """Let a user into a tenant."""
    session.add(MembershipRow(tenant_id=tenant_id, user_id=user_id, role=role.value, joined_at=now))
    await session.flush()


async def find_membership(
    session: SystemSession, user_id: UserId, tenant_id: TenantId | None
) -> tuple[TenantRow, Role] | None:
    """A user's place in a tenant; without a tenant the oldest place the user has."""
    statement = (
        select(TenantRow, MembershipRow.role)
        .join(MembershipRow, col(MembershipRow.tenant_id) == TenantRow.tenant_id)
        .where(MembershipRow.user_id == user_id)
        .order_by(col(MembershipRow.joined_at), col(MembershipRow.tenant_id))
    )
    if tenant_id is not None:
        statement = statement.where(MembershipRow.tenant_id == tenant_id)
    found = (await session.exec(statement.limit(1))).first()
    return None if found is None else (found[0], Role(found[1]))


def make_invitation(
    *,
    tenant_id: TenantId,
    email: str,
    role: Role,
    token_hash: bytes,
    invited_by: UserId | None,
    now: datetime,
    until: datetime,
) -> InvitationRow:
    """An invitation, not stored yet."""
    return InvitationRow(
        invitation_id=uuid7(),
        tenant_id=tenant_id,
        email=email,
        role=role.value,
        token_hash=token_hash,
        invited_by=invited_by,
        created_at=now,
        expires_at=until,
    )


def _show(row: MembershipRow, email: str, display_name: str) -> Member:
    return Member(
        user_id=UserId(row.user_id),
        email=email,
        display_name=display_name,
        role=Role(row.role),
        joined_at=row.joined_at,
    )
