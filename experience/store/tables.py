"""Experience's tables. Every row that belongs to somebody carries tenant_id; grants and policies are in migrations/.

What a credential may do dies with what it stands on: logins, keys, tickets and links reference the membership and are
deleted with it, and a tenant takes everything of its own along.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    LargeBinary,
    MetaData,
    SmallInteger,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from experience.store.revision import SCHEMA

_NAMES = {
    "ix": "%(table_name)s_%(column_0_N_name)s_idx",
    "uq": "%(table_name)s_%(column_0_N_name)s_key",
    "ck": "%(table_name)s_%(constraint_name)s_check",
    "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
    "pk": "%(table_name)s_pkey",
}


class Moment(TypeDecorator[datetime]):
    """An instant; naive datetimes never get in."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:  # SQLAlchemy's signature
        """Refuse a time that nobody could place."""
        if value is not None and value.tzinfo is None:
            raise ValueError("a time without zone")
        return value


class Row(SQLModel, registry=registry(metadata=MetaData(schema=SCHEMA, naming_convention=_NAMES))):
    """A row of schema `experience`."""


def _tenant() -> Any:
    return Column(ForeignKey(f"{SCHEMA}.tenants.tenant_id", ondelete="CASCADE"), nullable=False)


def _membership() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        ["tenant_id", "user_id"],
        [f"{SCHEMA}.memberships.tenant_id", f"{SCHEMA}.memberships.user_id"],
        ondelete="CASCADE",
    )


class UserRow(Row, table=True):
    """A person; not a tenant's, so the app role sees members of its tenant and never the password's hash."""

    __tablename__ = "users"

    user_id: UUID = Field(primary_key=True)
    email: str = Field(sa_type=Text, unique=True)
    """Lower case."""
    display_name: str = Field(sa_type=Text)
    password_hash: str = Field(sa_type=Text)
    operator: bool
    created_at: datetime = Field(sa_type=Moment)


class TenantRow(Row, table=True):
    """A tenant; a guest's session has one of its own."""

    __tablename__ = "tenants"
    __table_args__ = (CheckConstraint("kind IN ('team', 'guest')", name="kind"),)

    tenant_id: UUID = Field(primary_key=True)
    kind: str = Field(sa_type=Text)
    name: str = Field(sa_type=Text)
    suspended: bool
    max_concurrent_executions: int | None
    max_workflows: int | None
    retention_days: int | None
    runtime_behind: bool
    """Runtime has not confirmed this state yet."""
    created_at: datetime = Field(sa_type=Moment)


class MembershipRow(Row, table=True):
    """A user's place in a tenant."""

    __tablename__ = "memberships"
    __table_args__ = (
        CheckConstraint("role IN ('owner', 'admin', 'member', 'viewer')", name="role"),
        Index(None, "user_id"),
    )

    tenant_id: UUID = Field(
        sa_column=Column(ForeignKey(f"{SCHEMA}.tenants.tenant_id", ondelete="CASCADE"), primary_key=True)
    )
    user_id: UUID = Field(sa_column=Column(ForeignKey(f"{SCHEMA}.users.user_id", ondelete="CASCADE"), primary_key=True))
    role: str = Field(sa_type=Text)
    joined_at: datetime = Field(sa_type=Moment)


class InvitationRow(Row, table=True):
    """A place that waits for somebody; deleted when taken."""

    __tablename__ = "invitations"
    __table_args__ = (
        UniqueConstraint("tenant_id", "email"),
        CheckConstraint("role IN ('owner', 'admin', 'member', 'viewer')", name="role"),
    )

    invitation_id: UUID = Field(primary_key=True)
    tenant_id: UUID = Field(sa_column=_tenant())
    email: str = Field(sa_type=Text)
    role: str = Field(sa_type=Text)
    token_hash: bytes = Field(sa_type=LargeBinary, unique=True)
    invited_by: UUID | None
    created_at: datetime = Field(sa_type=Moment)
    expires_at: datetime = Field(sa_type=Moment)


class LoginRow(Row, table=True):
    """An authentication session: a cookie, or a family of refresh tokens. Deleted when it ends."""

    __tablename__ = "logins"
    __table_args__ = (
        _membership(),
        CheckConstraint("(kind = 'cookie') = (cookie_hash IS NOT NULL) AND kind IN ('cookie', 'token')", name="kind"),
        Index(None, "tenant_id", "user_id"),
        Index(None, "user_id"),
        Index(None, "expires_at"),
    )

    login_id: UUID = Field(primary_key=True)
    tenant_id: UUID
    user_id: UUID
    kind: str = Field(sa_type=Text)
    cookie_hash: bytes | None = Field(sa_type=LargeBinary, unique=True)
    created_at: datetime = Field(sa_type=Moment)
    last_seen_at: datetime = Field(sa_type=Moment)
    expires_at: datetime = Field(sa_type=Moment)
    """Slides with use, up to ends_at."""
    ends_at: datetime = Field(sa_type=Moment)
    address: str = Field(sa_type=Text)
    user_agent: str = Field(sa_type=Text)


class RefreshTokenRow(Row, table=True):
    """Every token a family has had: the one not spent is its present, the others show a thief."""

    __tablename__ = "refresh_tokens"
    __table_args__ = (Index(None, "login_id"),)

    token_hash: bytes = Field(sa_type=LargeBinary, primary_key=True)
    tenant_id: UUID = Field(sa_column=_tenant())
    login_id: UUID = Field(
        sa_column=Column(ForeignKey(f"{SCHEMA}.logins.login_id", ondelete="CASCADE"), nullable=False)
    )
    issued_at: datetime = Field(sa_type=Moment)
    spent_at: datetime | None = Field(sa_type=Moment)
    successor_salt: bytes | None = Field(sa_type=LargeBinary)
    """Makes the successor out of the token itself, so that only its holder can ask for it again."""


class ApiKeyRow(Row, table=True):
    """A key for programs; deleted when revoked."""

    __tablename__ = "api_keys"
    __table_args__ = (_membership(), Index(None, "tenant_id", "user_id"))

    key_id: UUID = Field(primary_key=True)
    tenant_id: UUID
    user_id: UUID
    name: str = Field(sa_type=Text)
    prefix: str = Field(sa_type=Text)
    secret_hash: bytes = Field(sa_type=LargeBinary)
    scopes: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False))
    created_at: datetime = Field(sa_type=Moment)
    expires_at: datetime | None = Field(sa_type=Moment)
    last_used_at: datetime | None = Field(sa_type=Moment)
    last_used_from: str | None = Field(sa_type=Text)
    audited_at: datetime | None = Field(sa_type=Moment)
    """When its use last went into the audit trail."""


class TicketRow(Row, table=True):
    """A pass for one WebSocket; deleted when used."""

    __tablename__ = "tickets"
    __table_args__ = (Index(None, "expires_at"),)

    ticket_hash: bytes = Field(sa_type=LargeBinary, primary_key=True)
    tenant_id: UUID = Field(sa_column=_tenant())
    via: str = Field(sa_type=Text)
    credential_id: UUID
    """The login, key or session it was made with: the ticket is worth no more than that is at the time of use."""
    expires_at: datetime = Field(sa_type=Moment)


class LinkRow(Row, table=True):
    """A sign-in link; deleted when used."""

    __tablename__ = "links"
    __table_args__ = (_membership(), Index(None, "expires_at"), Index(None, "tenant_id", "user_id"))

    code_hash: bytes = Field(sa_type=LargeBinary, primary_key=True)
    tenant_id: UUID
    user_id: UUID
    expires_at: datetime = Field(sa_type=Moment)


class ThrottleRow(Row, table=True):
    """Failures under one name (an account, an address); of no tenant."""

    __tablename__ = "throttle"
    __table_args__ = (Index(None, "forget_at"),)

    name: str = Field(sa_type=Text, primary_key=True)
    failures: int
    blocked_until: datetime = Field(sa_type=Moment)
    forget_at: datetime = Field(sa_type=Moment)


class AuditRow(Row, table=True):
    """What was done; nobody may change or delete a row, it goes only with its tenant."""

    __tablename__ = "audit_entries"
    __table_args__ = (Index(None, "tenant_id", "id"),)

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    tenant_id: UUID = Field(sa_column=_tenant())
    at: datetime = Field(sa_type=Moment)
    act: str = Field(sa_type=Text)
    user_id: UUID | None
    subject: str = Field(sa_type=Text)
    address: str = Field(sa_type=Text)
    request_id: str = Field(sa_type=Text)
    detail: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))


class SessionRow(Row, table=True):
    """One visit: history, permissions, what was started. A guest's has a token, a member's has a user."""

    __tablename__ = "sessions"
    __table_args__ = (
        UniqueConstraint("tenant_id", "session_id"),
        CheckConstraint("(token_hash IS NULL) = (user_id IS NOT NULL)", name="owner"),
        Index(None, "expires_at"),
    )

    session_id: UUID = Field(primary_key=True)
    tenant_id: UUID = Field(sa_column=_tenant())
    user_id: UUID | None
    token_hash: bytes | None = Field(sa_type=LargeBinary, unique=True)
    label: str = Field(sa_type=Text)
    permissions: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False))
    created_at: datetime = Field(sa_type=Moment)
    last_seen_at: datetime = Field(sa_type=Moment)
    expires_at: datetime | None = Field(sa_type=Moment)


def _session(*, on_delete: str) -> ForeignKeyConstraint:
    # ON UPDATE CASCADE: an upgrade moves a guest's session to another tenant, and what hangs on it goes along
    return ForeignKeyConstraint(
        ["tenant_id", "session_id"],
        [f"{SCHEMA}.sessions.tenant_id", f"{SCHEMA}.sessions.session_id"],
        onupdate="CASCADE",
        ondelete=on_delete,
    )


class SessionTurnRow(Row, table=True):
    """One line of a session's chat history."""

    __tablename__ = "session_turns"
    __table_args__ = (
        _session(on_delete="CASCADE"),
        CheckConstraint("role IN ('user', 'assistant')", name="role"),
        Index(None, "tenant_id", "session_id", "id"),
    )

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    tenant_id: UUID
    session_id: UUID
    role: str = Field(sa_type=Text)
    text: str = Field(sa_type=Text)
    at: datetime = Field(sa_type=Moment)


class IntentRow(Row, table=True):
    """What somebody asked for, and how far its delivery to Runtime is: the rows with next_attempt_at are the outbox."""

    __tablename__ = "intents"
    __table_args__ = (
        _session(on_delete="SET NULL (session_id)"),
        CheckConstraint("status IN ('pending', 'delivered', 'refused')", name="status"),
        CheckConstraint("priority IN ('low', 'normal', 'high')", name="priority"),
        Index(None, "tenant_id", "intent_id"),
        Index(None, "tenant_id", "session_id", "intent_id"),
        Index("intents_outbox_idx", "next_attempt_at", postgresql_where=text("next_attempt_at IS NOT NULL")),
    )

    intent_id: UUID = Field(primary_key=True)
    """UUIDv7: newest first is descending order of the id."""
    tenant_id: UUID = Field(sa_column=_tenant())
    execution_id: UUID = Field(unique=True)
    session_id: UUID | None
    user_id: UUID | None
    realm: str = Field(sa_type=Text)
    intent: str = Field(sa_type=Text)
    parameters: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    priority: str = Field(default="normal", sa_column=Column(Text, nullable=False, server_default="normal"))
    """By default in the table, too: a process of the release before it stores intents without one."""
    status: str = Field(sa_type=Text)
    error: str | None = Field(sa_type=Text)
    """Why Runtime refused it."""
    deferred: bool
    """The caller has been told 202: from now on Runtime may not refuse."""
    attempts: int
    next_attempt_at: datetime | None = Field(sa_type=Moment)
    """When the outbox tries next; null when nothing is left to deliver. Moved ahead while somebody is at it."""
    last_error: str | None = Field(sa_type=Text)
    cancel_requested: bool
    cancel_reason: str = Field(sa_type=Text)
    cancel_delivered_at: datetime | None = Field(sa_type=Moment)
    created_at: datetime = Field(sa_type=Moment)
    delivered_at: datetime | None = Field(sa_type=Moment)
    trace_parent: str | None = Field(default=None, sa_type=Text)
    """W3C `traceparent` of the request that brought it."""


class IdempotencyRow(Row, table=True):
    """The answer to a request with an Idempotency-Key, written in the transaction of what it answers."""

    __tablename__ = "idempotency_records"
    __table_args__ = (Index(None, "expires_at"),)

    tenant_id: UUID = Field(
        sa_column=Column(ForeignKey(f"{SCHEMA}.tenants.tenant_id", ondelete="CASCADE"), primary_key=True)
    )
    endpoint: str = Field(sa_type=Text, primary_key=True)
    key: str = Field(sa_type=Text, primary_key=True)
    request_hash: bytes = Field(sa_type=LargeBinary)
    status: int | None
    """Null while the answer is not known."""
    body: dict[str, Any] | None = Field(sa_column=Column(JSONB(none_as_null=True), nullable=True))
    intent_id: UUID | None
    created_at: datetime = Field(sa_type=Moment)
    expires_at: datetime = Field(sa_type=Moment)


class RealmCatalogueRow(Row, table=True):
    """The last catalogue Runtime gave, so that intents can be checked while it is away; one row, of no tenant."""

    __tablename__ = "realm_catalogue"
    __table_args__ = (CheckConstraint("id = 1", name="single"),)

    id: int = Field(default=1, sa_column=Column(SmallInteger, primary_key=True, autoincrement=False))
    catalogue: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    fetched_at: datetime = Field(sa_type=Moment)
