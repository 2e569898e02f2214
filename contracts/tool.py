"""What executions used tools for, and what else they did that an audit asks about."""

from typing import Any
from uuid import UUID

from contracts.identity import AuditAct
from contracts.model import Contract, Cursor, ExecutionId, Instant, Limit, NodeId, UserId


class ListToolEvents(Contract):
    execution_id: ExecutionId | None = None
    cursor: Cursor | None = None
    limit: Limit = 50


class ToolEvent(Contract):
    """One call of a tool by a node."""

    event_id: UUID
    execution_id: ExecutionId
    node_id: NodeId
    user_id: UserId | None
    """Who started the execution."""
    tool: str
    """`http_request`, `run_code`, or `download_file` where that fetches an address."""
    what: str
    """The method and the address without its query, or the language."""
    outcome: str
    """`ok`, the failure's code, or `cancelled`."""
    sent: int
    """Bytes that were handed to it: the request's body; the code and its inputs."""
    received: int
    """Bytes that came back: the answer's body, decompressed; the result and what was printed."""
    seconds: float
    at: Instant
    """When it was called."""


class ReadActs(Contract):
    """For Experience, which puts them into the audit trail."""

    act: AuditAct | None = None
    user_id: UserId | None = None
    since: Instant | None = None
    until: Instant | None = None
    cursor: Cursor | None = None
    limit: Limit = 50


class Act(Contract):
    """Something that an execution did or was refused: a use of a credential, a host, code without a sandbox."""

    act_id: UUID
    cursor: Cursor
    """What comes after this one in the list."""
    at: Instant
    act: AuditAct
    user_id: UserId | None
    """Who started the execution; null too where it is gone."""
    subject: str
    detail: dict[str, Any]


class Acts(Contract):
    items: list[Act]
