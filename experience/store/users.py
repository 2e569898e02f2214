"""People. Across tenants, so the system role only."""

from datetime import datetime
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select, update
from uuid_utils.compat import uuid7

from contracts.identity import User
from contracts.model import UserId
from experience.store.db import SystemSession
from experience.store.tables import UserRow


async def find_by_email(session: SystemSession, email: str) -> UserRow | None:
    """The user with this address (lower case), with the password's hash."""
    return (await session.exec(select(UserRow).where(UserRow.email == email))).one_or_none()


async def find_user(session: SystemSession, user_id: UserId) -> UserRow | None:
    """A user by id, with the password's hash."""
    return await session.get(UserRow, user_id)


async def insert_user(
    session: SystemSession, *, email: str, display_name: str, password_hash: str, operator: bool, now: datetime
) -> UserRow | None:
    """A new user, or None when the address is taken (also by somebody at this very moment)."""
    row = UserRow(
        user_id=uuid7(),
        email=email,
        display_name=display_name,
        password_hash=password_hash,
        operator=operator,
        created_at=now,
    )
    statement = insert(UserRow).values(row.model_dump()).on_conflict_do_nothing().returning(col(UserRow.user_id))
    return row if (await session.exec(statement)).scalar_one_or_none() else None


async def set_password_hash(session: SystemSession, user_id: UserId, password_hash: str) -> None:
    """Replace the stored hash."""
    await session.exec(update(UserRow).where(col(UserRow.user_id) == user_id).values(password_hash=password_hash))


async def has_operator(session: SystemSession) -> bool:
    """Whether anybody runs this installation yet."""
    return (await session.exec(select(UserRow.user_id).where(col(UserRow.operator)).limit(1))).first() is not None


async def make_operator(session: SystemSession, user_id: UUID) -> None:
    """Let a user run the installation."""
    await session.exec(update(UserRow).where(col(UserRow.user_id) == user_id).values(operator=True))


def show_user(row: UserRow) -> User:
    """A user as the wire shows them."""
    return User(
        user_id=UserId(row.user_id),
        email=row.email,
        display_name=row.display_name,
        operator=row.operator,
        created_at=row.created_at,
    )
