"""Tables of schema `runtime`. What they promise beyond their columns (policies, grants) stands in the migrations.

    tenants ─┬─ workflows ── workflow_versions      versions never change
             └─ executions ─┬─ runs                 one per lease; its number is the fence
                            ├─ steps                one per attempt at a node
                            ├─ events               seq 1, 2, 3 … without gaps
                            ├─ artifacts            metadata; bytes lie in the artifact folder
                            ├─ checkpoints          where a page was, sealed; one per node that went somewhere
                            └─ dead_letters         at most one: it took its workers down and waits for an admin
    tenants ─── credentials, credential_uses         sealed values; where each of them went, for good
    tenants ─── browser_profiles, browser_profile_uses  sealed states of browsers; who saved and loaded them, for good
    tenants ─── egress_lists, egress_refusals        what executions may reach; what they were refused, for good
    tenants ─── tool_events                          one per call of a tool, kept for as long as audits ask

PgQueuer's own tables lie in the same schema; store/queue.py is the only module that knows them.
"""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    SmallInteger,
    Text,
    TypeDecorator,
    UniqueConstraint,
    Uuid,
)
from sqlalchemy.dialects.postgresql import JSON, JSONB
from sqlmodel import Field, SQLModel

from contracts.credential import CredentialKind
from contracts.execution import ArtifactKind, ExecutionStatus, StepStatus
from contracts.workflow import WorkflowStatus

SCHEMA = "runtime"
metadata = MetaData(schema=SCHEMA)


class _OneOf(TypeDecorator[StrEnum]):
    """A member of an enum, stored as its text; the migrations hold the column to the same list."""

    impl = Text
    cache_ok = True

    def __init__(self, kind: type[StrEnum]) -> None:
        super().__init__()
        self.kind = kind

    def process_result_value(self, value: str | None, _dialect: Dialect) -> StrEnum | None:
        """The member, so that `is` and `match` work on rows."""
        return None if value is None else self.kind(value)


class Row(SQLModel):
    """A row of schema `runtime`."""

    metadata = metadata


def _required(kind: Any, default: str | None = None) -> Any:
    return Field(sa_column=Column(kind, nullable=False, server_default=default))


def _optional(kind: Any) -> Any:
    return Field(default=None, sa_column=Column(kind, nullable=True))


def _key(kind: Any, *references: Any) -> Any:
    return Field(sa_column=Column(kind, *references, primary_key=True))


def _owner() -> Any:
    return Field(sa_column=Column(Uuid, ForeignKey(f"{SCHEMA}.tenants.tenant_id"), nullable=False))


def _in_tenant() -> Any:
    """As `_owner`, for what goes with its tenant."""
    parent = ForeignKey(f"{SCHEMA}.tenants.tenant_id", ondelete="CASCADE")
    return Field(sa_column=Column(Uuid, parent, nullable=False))


def _of_execution(*, key: bool = False) -> Any:
    parent = ForeignKey(f"{SCHEMA}.executions.execution_id", ondelete="CASCADE")
    return Field(sa_column=Column(Uuid, parent, primary_key=key, nullable=False))


_INSTANT = DateTime(timezone=True)
_JSON = JSON(none_as_null=True)
"""For what pages and nodes said: keeps what jsonb refuses, and nobody searches in it."""
_JSONB = JSONB(none_as_null=True)


class TenantRow(Row, table=True):
    """A tenant as far as Runtime must know it; the row is also the lock under which executions are admitted."""

    __tablename__ = "tenants"

    tenant_id: UUID = _key(Uuid)
    suspended: bool = _required(Boolean, "false")
    max_concurrent_executions: int | None = _optional(Integer)
    max_workflows: int | None = _optional(Integer)
    retention_days: int | None = _optional(Integer)
    next_turn: int = _required(BigInteger, "0")
    """The turn that its next execution gets; see admission.py."""
    created_at: datetime = _required(_INSTANT, "now()")
    updated_at: datetime = _required(_INSTANT, "now()")


class WorkflowRow(Row, table=True):
    """A workflow; what it does stands in its versions."""

    __tablename__ = "workflows"

    workflow_id: UUID = _key(Uuid)
    tenant_id: UUID = _owner()
    name: str = _required(Text)
    description: str = _required(Text)
    status: WorkflowStatus = _required(_OneOf(WorkflowStatus))
    version: int = _required(Integer)
    """The latest version."""
    created_by: UUID | None = _optional(Uuid)
    created_at: datetime = _required(_INSTANT, "now()")
    updated_at: datetime = _required(_INSTANT, "now()")
    deleted_at: datetime | None = _optional(_INSTANT)
    """Deleted ones keep their versions as long as executions show them."""


class WorkflowVersionRow(Row, table=True):
    """An immutable version: document, what is wrong with it, and the plan when nothing is."""

    __tablename__ = "workflow_versions"

    workflow_id: UUID = _key(Uuid, ForeignKey(f"{SCHEMA}.workflows.workflow_id", ondelete="CASCADE"))
    version: int = _key(Integer)
    tenant_id: UUID = _owner()
    etag: str = _required(Text)
    content_hash: str = _required(Text)
    document: dict[str, Any] = _required(_JSONB)
    nodes: int = _required(Integer)
    faults: list[Any] = _required(_JSONB)
    plan: dict[str, Any] | None = _optional(_JSONB)
    """Null while the document has faults."""
    created_by: UUID | None = _optional(Uuid)
    created_at: datetime = _required(_INSTANT, "now()")


class ExecutionRow(Row, table=True):
    """One execution: what was asked for, where it stands, who may write to it."""

    __tablename__ = "executions"

    execution_id: UUID = _key(Uuid)
    tenant_id: UUID = _owner()
    intent_id: UUID = _required(Uuid)
    session_id: UUID | None = _optional(Uuid)
    user_id: UUID | None = _optional(Uuid)
    realm: str = _required(Text)
    intent: str = _required(Text)
    name: str = _required(Text)
    parameters: dict[str, Any] = _required(_JSONB)
    workflow_id: UUID | None = _optional(Uuid)
    workflow_version: int | None = _optional(Integer)
    document: dict[str, Any] | None = _optional(_JSONB)
    """One-off workflows only: they have no version elsewhere."""
    plan: dict[str, Any] | None = _optional(_JSONB)
    trigger: dict[str, Any] = _required(_JSONB)
    workflow_concurrency: int | None = _optional(Integer)
    timeout_s: float = _required(Double)
    spent_s: float = _required(Double, "0")
    """What its runs took together, waits not counted."""
    moved_bytes: int = _required(BigInteger, "0")
    """Sent and received by all its runs, as far as they could write it down."""
    trace_parent: str | None = _optional(Text)
    """W3C `traceparent` of the request that submitted it."""

    status: ExecutionStatus = _required(_OneOf(ExecutionStatus))
    ready: bool = _required(Boolean, "true")
    """Whether it wants a worker; a paused or waiting one doesn't."""
    admitted_at: datetime | None = _optional(_INSTANT)
    """When the tenant's limit let it into the queue; null while it holds no place there."""
    priority: int = _required(SmallInteger, "0")
    turn: int = _required(BigInteger, "0")
    """Its place in the tenants' round; see admission.py."""
    epoch: int = _required(Integer, "0")
    """Number of the last run: the fence of every write by a worker."""
    losses: int = _required(Integer, "0")
    """Runs whose worker vanished; handed back ones don't count."""
    head_seq: int = _required(BigInteger, "0")
    log_id: UUID = _required(Uuid)
    last_write: UUID | None = _optional(Uuid)
    """The worker's last transaction: tells a lost commit from a lost answer."""

    progress: float = _required(Double, "0")
    current_node: str | None = _optional(Text)
    result: dict[str, Any] | None = _optional(_JSON)
    error: dict[str, Any] | None = _optional(_JSON)
    credits: int = _required(Integer, "0")
    usd: Decimal = _required(Numeric, "0")
    cancel_requested_at: datetime | None = _optional(_INSTANT)
    cancel_reason: str | None = _optional(Text)
    pause_requested_at: datetime | None = _optional(_INSTANT)
    """Set by a pause, cleared by a resume."""
    pause_reason: str | None = _optional(Text)
    retry_of: UUID | None = _optional(Uuid)
    """May be gone: a retry outlives what it was made from."""
    retry: dict[str, Any] | None = _optional(_JSON)
    """How it goes on from there; see contracts.recovery.Retry."""
    question: dict[str, Any] | None = _optional(_JSON)
    """What only a person can answer; null once answered."""
    answered: dict[str, str] = _required(_JSON, "'{}'")
    """Nodes of which a person has said whether they happened, each with the retry that came of it."""
    created_at: datetime = _required(_INSTANT)
    started_at: datetime | None = _optional(_INSTANT)
    finished_at: datetime | None = _optional(_INSTANT)


class RunRow(Row, table=True):
    """One leased attempt at an execution."""

    __tablename__ = "runs"

    execution_id: UUID = _of_execution(key=True)
    epoch: int = _key(Integer)
    tenant_id: UUID = _owner()
    worker: str = _required(Text)
    started_at: datetime = _required(_INSTANT, "now()")
    ended_at: datetime | None = _optional(_INSTANT)
    """Null: going on, or its worker vanished."""
    outcome: str | None = _optional(Text)
    """finished | handed_back | paused | lost"""


class StepRow(Row, table=True):
    """One attempt at a node, unique by (execution, node, path, attempt)."""

    __tablename__ = "steps"

    step_id: UUID = _key(Uuid)
    execution_id: UUID = _of_execution()
    tenant_id: UUID = _owner()
    node_id: str = _required(Text)
    path: str = _required(Text, "")
    """Iteration path inside loops; empty outside."""
    attempt: int = _required(Integer)
    epoch: int = _required(Integer)
    node_type: str = _required(Text)
    phase: int = _required(Integer)
    status: StepStatus = _required(_OneOf(StepStatus))
    outputs: dict[str, Any] | None = _optional(_JSON)
    error: dict[str, Any] | None = _optional(_JSON)
    started_at: datetime | None = _optional(_INSTANT)
    finished_at: datetime | None = _optional(_INSTANT)
    duration_ms: int | None = _optional(Integer)
    credits: int = _required(Integer, "0")
    reused: bool = _required(Boolean, "false")
    """Taken over from the execution that this one is a retry of."""
    ordinal: int = Field(sa_column=Column(BigInteger, nullable=False))
    """The execution's head when it was first recorded: the order in which attempts began."""


class EventRow(Row, table=True):
    """One event; `body` is the very JSON that readers get."""

    __tablename__ = "events"

    execution_id: UUID = _of_execution(key=True)
    seq: int = _key(BigInteger)
    tenant_id: UUID = _required(Uuid)
    type: str = _required(Text)
    body: str = _required(Text)
    recorded_at: datetime = _required(_INSTANT, "now()")


class ArtifactRow(Row, table=True):
    """What is known of a stored blob."""

    __tablename__ = "artifacts"

    artifact_id: UUID = _key(Uuid)
    execution_id: UUID = _of_execution()
    tenant_id: UUID = _owner()
    node_id: str | None = _optional(Text)
    kind: ArtifactKind = _required(_OneOf(ArtifactKind))
    name: str = _required(Text)
    media_type: str = _required(Text)
    size: int = _required(BigInteger)
    sha256: str = _required(Text)
    width: int | None = _optional(Integer)
    height: int | None = _optional(Integer)
    page_url: str | None = _optional(Text)
    path: str = _required(Text)
    """Relative to the artifact folder."""
    created_at: datetime = _required(_INSTANT)


class CheckpointRow(Row, table=True):
    """Where a page was once a node had gone there; sealed, because it holds the page's session."""

    __tablename__ = "checkpoints"

    execution_id: UUID = _of_execution(key=True)
    node_id: str = _key(Text)
    page: str = _key(Text)
    """The page's handle: id of the node that opened it."""
    tenant_id: UUID = _owner()
    sealed: bytes = _required(LargeBinary)
    created_at: datetime = _required(_INSTANT, "now()")


class DeadLetterRow(Row, table=True):
    """An execution that took its workers down with it."""

    __tablename__ = "dead_letters"

    execution_id: UUID = _of_execution(key=True)
    tenant_id: UUID = _owner()
    failure: dict[str, Any] = _required(_JSON)
    losses: int = _required(Integer)
    in_flight: list[Any] = _required(_JSON)
    """Nodes that were at work when the last worker was lost."""
    died_at: datetime = _required(_INSTANT, "now()")
    resolution: str | None = _optional(Text)
    """retried | discarded"""
    resolved_at: datetime | None = _optional(_INSTANT)
    resolved_by: UUID | None = _optional(Uuid)
    reason: str | None = _optional(Text)
    retried_as: UUID | None = _optional(Uuid)


class CredentialRow(Row, table=True):
    """A credential. What opens it is not here: `data_key` is wrapped by a key that only Runtime's processes have."""

    __tablename__ = "credentials"
    __table_args__ = (UniqueConstraint("tenant_id", "name"),)

    credential_id: UUID = _key(Uuid)
    tenant_id: UUID = _in_tenant()
    name: str = _required(Text)
    kind: CredentialKind = _required(_OneOf(CredentialKind))
    fields: list[str] = _required(_JSONB)
    """Names only."""
    domains: list[str] = _required(_JSONB)
    version: int = _required(Integer)
    data_key: bytes = _required(LargeBinary)
    sealed: bytes = _required(LargeBinary)
    created_by: UUID | None = _optional(Uuid)
    created_at: datetime = _required(_INSTANT)
    updated_at: datetime = _required(_INSTANT)
    last_used_at: datetime | None = _optional(_INSTANT)


class SandboxRow(Row, table=True):
    """What a worker found of its sandbox, and of its browsers', when it last looked. No tenant's."""

    __tablename__ = "sandboxes"

    worker: str = _key(Text)
    backend: str = _required(Text)
    reason: str = _required(Text)
    seen_at: datetime = _required(_INSTANT)
    browsers: str = _required(Text)
    """What is wrong with how its browsers are shut in; empty where nothing is."""
    tenants: str = _required(Text)
    """What is wrong with how tenants are kept apart; empty where nothing is."""


class CredentialUseRow(Row, table=True):
    """One use of a credential. It outlives the credential and the execution."""

    __tablename__ = "credential_uses"

    use_id: UUID = _key(Uuid)
    tenant_id: UUID = _in_tenant()
    credential_id: UUID = _required(Uuid)
    name: str = _required(Text)
    version: int = _required(Integer)
    fields: list[str] = _required(_JSONB)
    host: str = _required(Text)
    execution_id: UUID = _required(Uuid)
    node_id: str = _required(Text)
    at: datetime = _required(_INSTANT)


class BrowserProfileRow(Row, table=True):
    """A saved login. What opens it is not here, as with credentials."""

    __tablename__ = "browser_profiles"
    __table_args__ = (UniqueConstraint("tenant_id", "name"),)

    browser_profile_id: UUID = _key(Uuid)
    tenant_id: UUID = _in_tenant()
    name: str = _required(Text)
    hosts: list[str] = _required(_JSONB)
    size: int = _required(BigInteger)
    """Bytes of the state before it was packed and sealed."""
    version: int = _required(Integer)
    state_id: UUID = _required(Uuid)
    """Of this save alone."""
    data_key: bytes = _required(LargeBinary)
    sealed: bytes = _required(LargeBinary)
    saved_by: UUID = _required(Uuid)
    """The execution that saved this version; it may be gone."""
    created_at: datetime = _required(_INSTANT)
    updated_at: datetime = _required(_INSTANT)
    last_used_at: datetime | None = _optional(_INSTANT)


class BrowserProfileUseRow(Row, table=True):
    """One save or load of a browser profile. It outlives the profile and the execution."""

    __tablename__ = "browser_profile_uses"

    use_id: UUID = _key(Uuid)
    tenant_id: UUID = _in_tenant()
    browser_profile_id: UUID = _required(Uuid)
    name: str = _required(Text)
    version: int = _required(Integer)
    act: str = _required(Text)
    execution_id: UUID = _required(Uuid)
    node_id: str = _required(Text)
    at: datetime = _required(_INSTANT)


class ToolEventRow(Row, table=True):
    """One call of a tool. It outlives the execution."""

    __tablename__ = "tool_events"

    event_id: UUID = _key(Uuid)
    tenant_id: UUID = _in_tenant()
    execution_id: UUID = _required(Uuid)
    node_id: str = _required(Text)
    user_id: UUID | None = _optional(Uuid)
    tool: str = _required(Text)
    what: str = _required(Text)
    outcome: str = _required(Text)
    sent: int = _required(BigInteger)
    received: int = _required(BigInteger)
    seconds: float = _required(Double)
    at: datetime = _required(_INSTANT)


class EgressListsRow(Row, table=True):
    """What a tenant allows and denies its executions to reach."""

    __tablename__ = "egress_lists"

    tenant_id: UUID = _key(Uuid, ForeignKey(f"{SCHEMA}.tenants.tenant_id", ondelete="CASCADE"))
    allow: list[str] = _required(_JSONB)
    deny: list[str] = _required(_JSONB)
    updated_at: datetime = _required(_INSTANT)
    updated_by: UUID | None = _optional(Uuid)


class EgressRefusalRow(Row, table=True):
    """A host that a run was refused. It outlives the execution."""

    __tablename__ = "egress_refusals"

    refusal_id: UUID = _key(Uuid)
    tenant_id: UUID = _in_tenant()
    execution_id: UUID = _required(Uuid)
    host: str = _required(Text)
    port: int | None = _optional(Integer)
    rule: str = _required(Text)
    at: datetime = _required(_INSTANT)
