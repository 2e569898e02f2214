"""What a tenant lets its executions reach, and what they were refused."""

from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints

from contracts.model import Contract, Cursor, ExecutionId, Instant, Limit, UserId

MAX_ENTRIES = 500

EgressEntry = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=300)]
"""`example.org`, `*.example.org` (all hosts below it, itself not), an address, each with `:port` or without; or a
network such as `203.0.113.0/24`."""
EgressEntries = Annotated[list[EgressEntry], Field(max_length=MAX_ENTRIES)]


class EgressLists(Contract):
    """Both lists narrow what the installation lets through; neither opens what is private."""

    allow: EgressEntries = []
    """Where there is an entry, nothing else is reached. Empty: the whole public internet."""
    deny: EgressEntries = []
    """Goes before `allow`."""


class SetEgress(EgressLists):
    """Replaces both lists, for executions that begin from now on."""


class EgressSettings(EgressLists):
    """The lists as they stand."""

    updated_at: Instant | None
    """Null while nobody has set them."""
    updated_by: UserId | None


class ListRefusals(Contract):
    execution_id: ExecutionId | None = None
    cursor: Cursor | None = None
    limit: Limit = 50


class EgressRefusal(Contract):
    """A host that an execution was refused; once for each host, port and rule of a run."""

    refusal_id: UUID
    execution_id: ExecutionId
    host: str
    port: int | None
    rule: str
    """`loopback`, `private`, `link_local`, `metadata`, `multicast`, `reserved`, `not_a_host`, `denied`, `closed`,
    `not_allowed`, `bytes` or `connections`."""
    at: Instant
