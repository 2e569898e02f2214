"""Who calls: users, tenants, roles, scopes, logins, keys, sessions, and the audit trail."""

from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field, StringConstraints

from contracts.model import Contract, Cursor, Instant, KeyId, Limit, Name, SessionId, TenantId, UserId, Words

Email = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True, to_lower=True, max_length=254, pattern=r"^[^@\s\x00-\x1f]+@[^@\s\x00-\x1f]+$"
    ),
    Words("An address looks like name@example.org"),
]
Password = Annotated[
    str,
    StringConstraints(min_length=10, max_length=200),
    Field(description="At least ten characters; length is what counts, so nothing else is asked."),
]
Secret = Annotated[str, StringConstraints(min_length=1, max_length=2_000)]


class Role(StrEnum):
    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"
    VIEWER = "viewer"
    GUEST = "guest"
    """An anonymous session: may start what guests may start and watch it; never a member of a tenant."""


class Scope(StrEnum):
    """What an endpoint asks for, and what an API key may be narrowed to."""

    PROFILE = "profile"
    SESSION = "session"
    EXECUTION_READ = "execution:read"
    EXECUTION_WRITE = "execution:write"
    EXECUTION_CANCEL = "execution:cancel"
    """Apart from starting: a suspended tenant may still stop what runs."""
    WORKFLOW_READ = "workflow:read"
    WORKFLOW_WRITE = "workflow:write"
    CREDENTIAL_READ = "credential:read"
    """Names, kinds and domains, for who draws workflows; values are shown to nobody."""
    CREDENTIAL_WRITE = "credential:write"
    BROWSER_PROFILE_READ = "browser-profile:read"
    """Names and hosts of saved logins, for who draws workflows; what is in one is shown to nobody."""
    BROWSER_PROFILE_WRITE = "browser-profile:write"
    KEYS = "keys"
    MEMBERS = "members"
    AUDIT = "audit"
    DEAD_LETTERS = "dead-letters"
    EGRESS = "egress"
    """Where executions may go."""
    INSTALLATION = "installation"
    """Tenants of the whole installation: its operators only."""


_GUEST = frozenset(
    {Scope.SESSION, Scope.EXECUTION_READ, Scope.EXECUTION_WRITE, Scope.EXECUTION_CANCEL, Scope.WORKFLOW_READ}
)
_VIEWER = frozenset({Scope.PROFILE, Scope.SESSION, Scope.EXECUTION_READ, Scope.WORKFLOW_READ, Scope.KEYS})
_MEMBER = _VIEWER | {
    Scope.EXECUTION_WRITE,
    Scope.EXECUTION_CANCEL,
    Scope.WORKFLOW_WRITE,
    Scope.CREDENTIAL_READ,
    Scope.BROWSER_PROFILE_READ,
}
# who may say where a credential goes could send it to themselves, so that is for admins
_ADMIN = _MEMBER | {
    Scope.MEMBERS,
    Scope.AUDIT,
    Scope.DEAD_LETTERS,
    Scope.CREDENTIAL_WRITE,
    Scope.BROWSER_PROFILE_WRITE,
    Scope.EGRESS,
}
ROLE_SCOPES: dict[Role, frozenset[Scope]] = {
    Role.GUEST: _GUEST,
    Role.VIEWER: _VIEWER,
    Role.MEMBER: _MEMBER,
    Role.ADMIN: _ADMIN,
    Role.OWNER: _ADMIN,
}
"""What each role may do. INSTALLATION comes on top for operators, whatever their role."""

MemberRole = Literal[Role.OWNER, Role.ADMIN, Role.MEMBER, Role.VIEWER]


class User(Contract):
    user_id: UserId
    email: str
    display_name: str
    operator: bool
    """Whether this user runs the installation (may create, limit and suspend tenants)."""
    created_at: Instant


class TenantLimits(Contract):
    """What a tenant may use at once; null falls back to the installation's default."""

    max_concurrent_executions: Annotated[int, Field(ge=0, le=10_000)] | None = None
    max_workflows: Annotated[int, Field(ge=0, le=100_000)] | None = None
    retention_days: Annotated[int, Field(ge=1, le=3_650)] | None = None


class Tenant(Contract):
    tenant_id: TenantId
    name: str
    suspended: bool
    limits: TenantLimits
    created_at: Instant


class Me(Contract):
    """The caller as the server sees it."""

    user: User | None
    """Null for a guest."""
    tenant: Tenant
    role: Role
    scopes: list[Scope]
    via: Literal["login", "token", "key", "session"]
    insecure: bool
    """True when this installation runs on plain http beyond localhost: the page shows it in red."""


class Register(Contract):
    email: Email
    password: Password
    display_name: Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)] = ""
    tenant_name: Name | None = None
    """Name of the tenant that comes with the user; by default made from the address."""
    invitation: Secret | None = None
    """Join the tenant that sent this invitation instead of getting one of one's own."""
    transport: Literal["token", "cookie"] = "token"


class LogIn(Contract):
    email: Email
    password: Annotated[str, StringConstraints(max_length=200)]
    tenant_id: TenantId | None = None
    """Which membership to use; by default the oldest."""
    transport: Literal["token", "cookie"] = "token"
    """`cookie` for pages: the answer sets the login cookie and holds no token."""


class Grant(Contract):
    """The outcome of a register, login, refresh or link: who you are, and the tokens when you asked for them."""

    user: User
    tenant: Tenant
    role: Role
    access_token: str | None
    """EdDSA JWT for `Authorization: Bearer`; valid for `expires_in` seconds."""
    refresh_token: str | None
    """Opaque, single use: each refresh answers a new one."""
    token_type: Literal["Bearer"] = "Bearer"
    expires_in: int | None


class Refresh(Contract):
    refresh_token: Secret


class LogOut(Contract):
    refresh_token: Secret | None = None
    """Also ends the token family this token belongs to."""


class ChangePassword(Contract):
    current_password: Annotated[str, StringConstraints(max_length=200)]
    new_password: Password


class Ticket(Contract):
    """A single-use pass to open one WebSocket: offered as the subprotocol `stagedoor.ticket.<ticket>`."""

    ticket: str
    expires_in: int


class SignInLink(Contract):
    """A single-use link that signs in the user who asked for it."""

    code: str
    url: str
    expires_in: int


class CreateSignInLink(Contract):
    next: Annotated[
        str,
        StringConstraints(max_length=500, pattern=r"^/([^/\\\x00-\x1f][^\\\x00-\x1f]*)?$"),
        Words("Name a path of this installation: / and what follows it"),
    ] = "/"
    """Path on this origin to go to after signing in."""


class RedeemSignInLink(Contract):
    code: Secret
    transport: Literal["token", "cookie"] = "cookie"


class ApiKey(Contract):
    key_id: KeyId
    name: str
    prefix: str
    """The visible beginning of the key, to recognise it by."""
    scopes: list[Scope]
    created_at: Instant
    last_used_at: Instant | None
    expires_at: Instant | None


class NewApiKey(Contract):
    key: ApiKey
    secret: str
    """The whole key, shown this once."""


class CreateApiKey(Contract):
    name: Name
    scopes: Annotated[list[Scope], Field(max_length=20)] | None = None
    """By default everything the caller's role allows; never more than that."""
    expires_in_days: Annotated[int, Field(ge=1, le=3_650)] | None = None


class KeyRef(Contract):
    key_id: KeyId


class Member(Contract):
    user_id: UserId
    email: str
    display_name: str
    role: Role
    joined_at: Instant


class Invite(Contract):
    email: Email
    role: MemberRole = Role.MEMBER


class Invitation(Contract):
    email: str
    role: Role
    token: str
    """Shown this once; hand it to the person, who registers with it."""
    url: str
    expires_at: Instant


class MemberRef(Contract):
    user_id: UserId


class ChangeRole(Contract):
    user_id: UserId
    role: MemberRole


class TenantRef(Contract):
    tenant_id: TenantId


class CreateTenant(Contract):
    name: Name
    owner_email: Email
    """Who is invited as owner. Addresses are not verified, so somebody registered joins by the invitation too."""
    limits: TenantLimits = TenantLimits()


class CreatedTenant(Contract):
    tenant: Tenant
    invitation: Invitation
    """Give its token to the owner, who registers with it, or joins with the password they have."""


class UpdateTenant(Contract):
    tenant_id: TenantId
    name: Name | None = None
    suspended: bool | None = None
    limits: TenantLimits | None = None


class TenantExport(Contract):
    """Everything a tenant owns, without secrets; files travel as artifact ids."""

    tenant: Tenant
    members: list[Member]
    sessions: list[dict[str, Any]]
    intents: list[dict[str, Any]]
    audit: list[dict[str, Any]]
    workflows: list[dict[str, Any]]
    executions: list[dict[str, Any]]
    artifacts: list[dict[str, Any]]
    browser_profiles: list[dict[str, Any]] = []
    """What may be known of saved logins; what is in one stays where it is."""
    credentials: list[dict[str, Any]] = []
    """What may be known of them: all but their values."""
    credential_uses: list[dict[str, Any]] = []
    egress_lists: list[dict[str, Any]] = []
    """One, where the tenant has any."""
    egress_refusals: list[dict[str, Any]] = []
    tool_events: list[dict[str, Any]] = []


class AuditAct(StrEnum):
    """What the audit trail records."""

    REGISTERED = "registered"
    LOGGED_IN = "logged_in"
    LOGIN_REFUSED = "login_refused"
    LOGGED_OUT = "logged_out"
    TOKEN_REUSED = "token_reused"
    PASSWORD_CHANGED = "password_changed"
    KEY_CREATED = "key_created"
    KEY_USED = "key_used"
    KEY_REVOKED = "key_revoked"
    LINK_CREATED = "link_created"
    MEMBER_INVITED = "member_invited"
    MEMBER_JOINED = "member_joined"
    MEMBER_CHANGED = "member_changed"
    MEMBER_REMOVED = "member_removed"
    TENANT_CREATED = "tenant_created"
    TENANT_CHANGED = "tenant_changed"
    TENANT_EXPORTED = "tenant_exported"
    TENANT_DELETED = "tenant_deleted"
    SESSION_UPGRADED = "session_upgraded"
    WORKFLOW_SAVED = "workflow_saved"
    WORKFLOW_ACTIVATED = "workflow_activated"
    WORKFLOW_PAUSED = "workflow_paused"
    WORKFLOW_DELETED = "workflow_deleted"
    EXECUTION_CANCELLED = "execution_cancelled"
    EXECUTION_PAUSED = "execution_paused"
    EXECUTION_RESUMED = "execution_resumed"
    EXECUTION_RETRIED = "execution_retried"
    EXECUTION_ANSWERED = "execution_answered"
    DEAD_LETTER_RETRIED = "dead_letter_retried"
    DEAD_LETTER_DISCARDED = "dead_letter_discarded"
    CREDENTIAL_CREATED = "credential_created"
    CREDENTIAL_CHANGED = "credential_changed"
    CREDENTIAL_REPLACED = "credential_replaced"
    CREDENTIAL_DELETED = "credential_deleted"
    BROWSER_PROFILE_DELETED = "browser_profile_deleted"
    EGRESS_CHANGED = "egress_changed"
    CREDENTIAL_USED = "credential_used"
    EGRESS_REFUSED = "egress_refused"
    SANDBOX_REFUSED = "sandbox_refused"
    HOST_REFUSED = "host_refused"
    CROSS_SITE_REFUSED = "cross_site_refused"


RUNTIME_ACTS = frozenset({AuditAct.CREDENTIAL_USED, AuditAct.EGRESS_REFUSED, AuditAct.SANDBOX_REFUSED})
"""What executions do, or are refused: Runtime writes these down where they happen."""


class AuditEntry(Contract):
    id: int | UUID
    """A number; of what executions did, a UUID."""
    at: Instant
    act: AuditAct
    user_id: UserId | None
    subject: str
    """What was acted on, as `kind:id`."""
    address: str
    request_id: str
    detail: dict[str, Any]


class ReadAudit(Contract):
    act: AuditAct | None = None
    user_id: UserId | None = None
    since: Instant | None = None
    until: Instant | None = None
    cursor: Cursor | None = None
    limit: Limit = 50


class CreateSession(Contract):
    """Starts a session; without a login it is an anonymous one."""

    label: Annotated[str, StringConstraints(max_length=200)] = ""


class ChatTurn(Contract):
    role: Literal["user", "assistant"]
    text: str
    at: Instant


class Session(Contract):
    session_id: SessionId
    tenant_id: TenantId
    anonymous: bool
    label: str
    history: list[ChatTurn]
    permissions: list[str]
    """Intents this session may start without asking again."""
    executions: list[str]
    """Ids of the executions started from here, newest first (the latest 200)."""
    created_at: Instant
    expires_at: Instant | None


class NewSession(Contract):
    session: Session
    session_token: str | None
    """The guest's credential (`Authorization: Bearer`), shown this once; null for a signed-in caller."""


class SessionRef(Contract):
    session_id: SessionId


class UpgradeSession(Contract):
    session_id: SessionId
    session_token: Secret
    """Proof that the caller owns the anonymous session."""
