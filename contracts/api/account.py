"""Auth, sessions and administration: what Experience owns of identity."""

from contracts.declare import Endpoint
from contracts.errors import Code
from contracts.identity import (
    ApiKey,
    AuditEntry,
    ChangePassword,
    ChangeRole,
    CreateApiKey,
    CreatedTenant,
    CreateSession,
    CreateSignInLink,
    CreateTenant,
    Grant,
    Invitation,
    Invite,
    KeyRef,
    LogIn,
    LogOut,
    Me,
    Member,
    MemberRef,
    NewApiKey,
    NewSession,
    ReadAudit,
    RedeemSignInLink,
    Refresh,
    Register,
    Scope,
    Session,
    SessionRef,
    SignInLink,
    Tenant,
    TenantExport,
    TenantRef,
    Ticket,
    UpdateTenant,
    UpgradeSession,
)
from contracts.model import Contract, Cursor, Limit, Nothing, Page
from contracts.shortcoming import Shortcomings


class ListPage(Contract):
    """A page of a list without filters."""

    cursor: Cursor | None = None
    limit: Limit = 50


class AuthApi:
    """`/api/auth`: who you are."""

    register = Endpoint(
        method="POST",
        path="/api/auth/register",
        request=Register,
        result=Grant,
        status=201,
        summary="Create a user, with a tenant of its own or by invitation.",
        scope=None,
        tag="auth",
        errors=(Code.CONFLICT, Code.FORBIDDEN, Code.NOT_FOUND, Code.RATE_LIMITED),
    )
    log_in = Endpoint(
        method="POST",
        path="/api/auth/login",
        request=LogIn,
        result=Grant,
        summary="Sign in with address and password.",
        scope=None,
        tag="auth",
        errors=(Code.UNAUTHENTICATED, Code.FORBIDDEN, Code.RATE_LIMITED),
    )
    refresh = Endpoint(
        method="POST",
        path="/api/auth/refresh",
        request=Refresh,
        result=Grant,
        summary="Exchange a refresh token for fresh tokens. Using one twice ends its whole family.",
        scope=None,
        tag="auth",
        errors=(Code.UNAUTHENTICATED, Code.RATE_LIMITED),
    )
    log_out = Endpoint(
        method="POST",
        path="/api/auth/logout",
        request=LogOut,
        result=Nothing,
        status=204,
        summary="End this login, or the refresh token's family.",
        scope=None,
        tag="auth",
    )
    me = Endpoint(
        method="GET",
        path="/api/auth/me",
        request=Nothing,
        result=Me,
        summary="Who the server takes you for.",
        scope=Scope.SESSION,
        tag="auth",
    )
    change_password = Endpoint(
        method="POST",
        path="/api/auth/password",
        request=ChangePassword,
        result=Nothing,
        status=204,
        summary="Change your password; every other login and token of yours ends.",
        scope=Scope.PROFILE,
        tag="auth",
        errors=(Code.FORBIDDEN, Code.RATE_LIMITED),
    )
    list_keys = Endpoint(
        method="GET",
        path="/api/auth/keys",
        request=ListPage,
        result=Page[ApiKey],
        summary="Your API keys.",
        scope=Scope.KEYS,
        tag="auth",
    )
    create_key = Endpoint(
        method="POST",
        path="/api/auth/keys",
        request=CreateApiKey,
        result=NewApiKey,
        status=201,
        summary="Create an API key; its secret is shown this once.",
        scope=Scope.KEYS,
        tag="auth",
        errors=(Code.FORBIDDEN, Code.LIMIT_REACHED),
    )
    revoke_key = Endpoint(
        method="DELETE",
        path="/api/auth/keys/{key_id}",
        request=KeyRef,
        result=Nothing,
        status=204,
        summary="Revoke an API key at once.",
        scope=Scope.KEYS,
        tag="auth",
        errors=(Code.NOT_FOUND,),
    )
    create_ticket = Endpoint(
        method="POST",
        path="/api/auth/ticket",
        request=Nothing,
        result=Ticket,
        status=201,
        summary="A single-use, 30-second pass to open one WebSocket.",
        scope=Scope.SESSION,
        tag="auth",
    )
    create_link = Endpoint(
        method="POST",
        path="/api/auth/link",
        request=CreateSignInLink,
        result=SignInLink,
        status=201,
        summary="A single-use link that signs you in on another browser.",
        scope=Scope.PROFILE,
        tag="auth",
        errors=(Code.FORBIDDEN,),
    )
    redeem_link = Endpoint(
        method="POST",
        path="/api/auth/link/redeem",
        request=RedeemSignInLink,
        result=Grant,
        summary="Sign in with a link's code.",
        scope=None,
        tag="auth",
        errors=(Code.UNAUTHENTICATED, Code.RATE_LIMITED),
    )


class SessionApi:
    """`/api/session`: one visit's history, permissions and executions; anonymous or signed in."""

    create_session = Endpoint(
        method="POST",
        path="/api/session",
        request=CreateSession,
        result=NewSession,
        status=201,
        summary="Start a session. Without credentials it is an anonymous one, if this installation welcomes guests.",
        scope=None,
        tag="session",
        errors=(Code.UNAUTHENTICATED, Code.FORBIDDEN, Code.RATE_LIMITED),
    )
    get_session = Endpoint(
        method="GET",
        path="/api/session/{session_id}",
        request=SessionRef,
        result=Session,
        summary="Read a session.",
        scope=Scope.SESSION,
        tag="session",
        errors=(Code.NOT_FOUND,),
    )
    upgrade_session = Endpoint(
        method="POST",
        path="/api/session/{session_id}/upgrade",
        request=UpgradeSession,
        result=Session,
        summary="Make an anonymous session yours: its history and executions move to your tenant.",
        scope=Scope.PROFILE,
        tag="session",
        errors=(Code.NOT_FOUND, Code.CONFLICT, Code.FORBIDDEN),
    )
    delete_session = Endpoint(
        method="DELETE",
        path="/api/session/{session_id}",
        request=SessionRef,
        result=Nothing,
        status=204,
        summary="Forget a session's history and permissions; its executions stay.",
        scope=Scope.SESSION,
        tag="session",
        errors=(Code.NOT_FOUND,),
    )


class AdminApi:
    """`/api/admin`: members, audit, and the installation's tenants."""

    list_members = Endpoint(
        method="GET",
        path="/api/admin/members",
        request=ListPage,
        result=Page[Member],
        summary="Members of your tenant.",
        scope=Scope.MEMBERS,
        tag="admin",
    )
    invite_member = Endpoint(
        method="POST",
        path="/api/admin/members",
        request=Invite,
        result=Invitation,
        status=201,
        summary="Invite somebody into your tenant; the invitation is shown this once.",
        scope=Scope.MEMBERS,
        tag="admin",
        errors=(Code.CONFLICT, Code.FORBIDDEN),
    )
    change_role = Endpoint(
        method="PATCH",
        path="/api/admin/members/{user_id}",
        request=ChangeRole,
        result=Member,
        summary="Give a member another role; the last owner can't be demoted.",
        scope=Scope.MEMBERS,
        tag="admin",
        errors=(Code.NOT_FOUND, Code.CONFLICT, Code.FORBIDDEN),
    )
    remove_member = Endpoint(
        method="DELETE",
        path="/api/admin/members/{user_id}",
        request=MemberRef,
        result=Nothing,
        status=204,
        summary="Remove a member; their logins, tokens and keys for this tenant end at once.",
        scope=Scope.MEMBERS,
        tag="admin",
        errors=(Code.NOT_FOUND, Code.CONFLICT, Code.FORBIDDEN),
    )
    read_audit = Endpoint(
        method="GET",
        path="/api/admin/audit",
        request=ReadAudit,
        result=Page[AuditEntry],
        summary="What was done in your tenant, newest first.",
        scope=Scope.AUDIT,
        tag="admin",
    )
    list_tenants = Endpoint(
        method="GET",
        path="/api/admin/tenants",
        request=ListPage,
        result=Page[Tenant],
        summary="Tenants of this installation.",
        scope=Scope.INSTALLATION,
        tag="admin",
        errors=(Code.FORBIDDEN,),
    )
    list_shortcomings = Endpoint(
        method="GET",
        path="/api/admin/shortcomings",
        request=Nothing,
        result=Shortcomings,
        summary="What protects less on this installation's workers than it could, and what to do about it.",
        scope=Scope.INSTALLATION,
        tag="admin",
        errors=(Code.FORBIDDEN,),
    )
    create_tenant = Endpoint(
        method="POST",
        path="/api/admin/tenants",
        request=CreateTenant,
        result=CreatedTenant,
        status=201,
        summary="Create a tenant for an owner.",
        scope=Scope.INSTALLATION,
        tag="admin",
        errors=(Code.FORBIDDEN,),
    )
    update_tenant = Endpoint(
        method="PATCH",
        path="/api/admin/tenants/{tenant_id}",
        request=UpdateTenant,
        result=Tenant,
        summary="Rename, limit or suspend a tenant. A suspended one can sign in and read, and start nothing.",
        scope=Scope.INSTALLATION,
        tag="admin",
        errors=(Code.FORBIDDEN, Code.NOT_FOUND),
    )
    export_tenant = Endpoint(
        method="GET",
        path="/api/admin/tenants/{tenant_id}/export",
        request=TenantRef,
        result=TenantExport,
        summary="Everything a tenant owns, without secrets.",
        scope=Scope.INSTALLATION,
        tag="admin",
        errors=(Code.FORBIDDEN, Code.NOT_FOUND),
        deadline_s=300,
    )
    delete_tenant = Endpoint(
        method="DELETE",
        path="/api/admin/tenants/{tenant_id}",
        request=TenantRef,
        result=Nothing,
        status=204,
        summary="Delete a suspended tenant with all it owns.",
        scope=Scope.INSTALLATION,
        tag="admin",
        errors=(Code.FORBIDDEN, Code.NOT_FOUND, Code.CONFLICT),
        deadline_s=300,
    )
