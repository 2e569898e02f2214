"""Whom a request is taken for, once its credential has been checked."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal
from uuid import UUID

from contracts.errors import ApiError, Code
from contracts.identity import ROLE_SCOPES, Role, Scope
from contracts.model import TenantId, UserId
from contracts.wiring.server import Call, Envelope
from experience.audit import Actor

Via = Literal["login", "token", "key", "session"]
"""Which credential spoke: login cookie, access token, API key, a guest's session token."""

STARTS_WORK = frozenset({Scope.EXECUTION_WRITE, Scope.WORKFLOW_WRITE})
"""What a suspended tenant may not do."""


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller. Valid at the moment it was made; long-lived sockets ask again (Guard.renew)."""

    tenant_id: TenantId
    user_id: UserId | None
    """None for a guest."""
    role: Role
    scopes: frozenset[Scope]
    via: Via
    credential_id: UUID
    """Id of the login (also for access tokens), the key or the session."""
    expires_at: datetime | None
    """When this credential ends by itself; None for a key without an end."""
    suspended: bool = False
    """Whether the tenant is suspended: it may read and cancel, and start nothing."""

    def outlive_token(self) -> "Principal":
        """The same caller for as long as the login stands that its access token came from.

        For sockets whose clients can't be told to renew a token. When that login ends, Guard.renew knows.
        """
        return replace(self, via="login", expires_at=None) if self.via == "token" else self


def grant_scopes(role: Role, *, operator: bool, suspended: bool) -> frozenset[Scope]:
    """What a role may do here and now."""
    scopes = ROLE_SCOPES[role] | ({Scope.INSTALLATION} if operator else frozenset())
    return scopes - STARTS_WORK if suspended else scopes


def actor_of(envelope: Envelope, caller: Principal | None) -> Actor:
    """Who goes into the audit trail for a call."""
    return Actor(None if caller is None else caller.user_id, envelope.address, envelope.request_id)


def caller_of(call: Call[Principal | None]) -> Principal:
    """The caller of an endpoint that the guard lets nobody into without credentials."""
    if call.caller is None:
        raise ApiError(Code.UNAUTHENTICATED, "This needs a login, a token or an API key.")
    return call.caller
