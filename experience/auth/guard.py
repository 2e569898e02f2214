"""The one way into every endpoint and socket: credential, same-site rule, scope.

Order of credentials: `Authorization: Bearer` (access token, API key `sd_…`, guest's session token `ss_…`), then the
login cookie. Sockets also take a ticket as the subprotocol `stagedoor.ticket.<ticket>` before a cookie, and those that
declare a `token` (the API guide's, whose clients know no other way) `?token=`.
"""

from collections.abc import Mapping
from typing import Any

from contracts.api.account import AuthApi
from contracts.declare import Channel, Endpoint, endpoints
from contracts.errors import ApiError, Code
from contracts.identity import AuditAct, Scope
from contracts.wiring.channel import Opening
from contracts.wiring.logging import bind_caller
from contracts.wiring.server import Envelope
from experience.audit import Actor, Audit, Clock
from experience.auth.cookies import LoginCookie
from experience.auth.identities import Credential, Identities
from experience.auth.opaque import digest
from experience.auth.origin import Origins
from experience.auth.principal import STARTS_WORK, Principal, Via
from experience.store.db import SystemDatabase, TenantDatabase
from experience.store.tokens import take_ticket

TICKET_SUBPROTOCOL = "stagedoor.ticket."
"""What a ticket is offered behind; offer `stagedoor` too, which is what the server then names."""

# Here a stale credential is the very reason for the call; everywhere else it is better refused than overlooked.
_ENTRANCES = frozenset(endpoint.path for _, endpoint in endpoints(AuthApi) if endpoint.scope is None)


class Guard:
    """Lets requests and sockets in, or says why not."""

    def __init__(
        self,
        *,
        identities: Identities,
        origins: Origins,
        cookie: LoginCookie,
        tenants: TenantDatabase,
        system: SystemDatabase,
        audit: Audit,
        clock: Clock,
    ) -> None:
        self._identities = identities
        self._origins = origins
        self._cookie = cookie
        self._tenants = tenants
        self._system = system
        self._audit = audit
        self._clock = clock

    async def __call__(self, envelope: Envelope, endpoint: Endpoint[Any, Any]) -> Principal | None:
        """Who calls an endpoint; None where anybody may and nobody said who they are.

        Raises:
            ApiError: UNAUTHENTICATED, FORBIDDEN, or CROSS_SITE for a write that another site's page has sent.
        """
        credential = self._read(envelope.headers, envelope.cookies)
        principal = await self._identify(envelope, endpoint, credential)
        if credential is None or credential.kind == "cookie":
            await self._refuse_cross_site(envelope, principal)
        if endpoint.scope is not None:
            if principal is None:
                raise ApiError(Code.UNAUTHENTICATED, "This needs a login, a token or an API key.")
            require(principal, endpoint.scope)
        return principal

    async def admit(self, opening: Opening, channel: Channel[Any, Any, Any]) -> Principal:
        """Who opens a WebSocket.

        Raises:
            ApiError: CROSS_SITE for a page of another origin (the handshake is refused with 403, before accept);
                UNAUTHENTICATED, FORBIDDEN otherwise (told by a close code, which a browser can read).
        """
        ticket = next((offer for offer in opening.subprotocols if offer.startswith(TICKET_SUBPROTOCOL)), None)
        token = opening.token if "token" in channel.open.model_fields else None
        credential = self._read(opening.headers, opening.cookies)
        if credential is None or (credential.kind == "cookie" and (ticket or token)):
            credential = Credential("bearer", token) if token and not ticket else None
        with_cookie = credential is not None and credential.kind == "cookie"
        if not self._origins.allow_socket(opening.headers, with_cookie=with_cookie):
            raise _cross_site(opening.headers)
        if credential is not None:
            principal = await self._identities.identify(
                credential, address=opening.address, request_id=opening.request_id
            )
        elif ticket is not None:
            principal = await self._redeem_ticket(ticket.removeprefix(TICKET_SUBPROTOCOL))
        else:
            detail = "This socket needs a login cookie, an Authorization header or a ticket."
            raise ApiError(Code.UNAUTHENTICATED, detail)
        bind_caller(principal.tenant_id, principal.user_id)
        if channel.scope is not None:
            require(principal, channel.scope)
        return principal

    async def renew(self, principal: Principal) -> Principal:
        """Ask again whether a socket's principal may stay; raises ApiError(UNAUTHENTICATED) when not."""
        return await self._identities.renew(principal)

    async def _identify(
        self, envelope: Envelope, endpoint: Endpoint[Any, Any], credential: Credential | None
    ) -> Principal | None:
        if credential is None:
            return None
        try:
            principal = await self._identities.identify(
                credential, address=envelope.address, request_id=envelope.request_id
            )
        except ApiError as error:
            stale = error.code is Code.UNAUTHENTICATED and endpoint.scope is None
            # a browser sends its cookie with everything: where no login is needed, an ended one is no reason to refuse
            if stale and (credential.kind == "cookie" or endpoint.path in _ENTRANCES):
                return None
            raise
        bind_caller(principal.tenant_id, principal.user_id)
        return principal

    async def _refuse_cross_site(self, envelope: Envelope, principal: Principal | None) -> None:
        if self._origins.allow_write(envelope.method, envelope.headers):
            return
        if principal is not None:
            by = Actor(principal.user_id, envelope.address, envelope.request_id)
            async with self._tenants.transaction(principal.tenant_id) as session:
                subject = f"path:{envelope.path[:200]}"
                origin = envelope.headers.get("origin", "")[:200]
                await self._audit.record(session, AuditAct.CROSS_SITE_REFUSED, subject, by, origin=origin)
        raise _cross_site(envelope.headers)

    async def _redeem_ticket(self, ticket: str) -> Principal:
        now = self._clock()
        principal = None
        async with self._system.transaction() as session:
            row = await take_ticket(session, digest(ticket), now)
            if row is not None:
                via: Via = row.via  # type: ignore[assignment]  # written from a Principal's
                principal = await self._identities.find_by_id(session, via, row.credential_id, now)
        if principal is None:
            detail = "The ticket is unknown, used or older than 30 seconds."
            raise ApiError(Code.UNAUTHENTICATED, detail, "Get a new one from POST /api/auth/ticket for each socket.")
        return principal

    def _read(self, headers: Mapping[str, str], cookies: Mapping[str, str]) -> Credential | None:
        bearer = _read_bearer(headers)
        if bearer is not None:
            return Credential("bearer", bearer)
        cookie = cookies.get(self._cookie.name)
        return Credential("cookie", cookie) if cookie else None


def require(principal: Principal, scope: Scope) -> None:
    """Raise ApiError(FORBIDDEN) unless the principal may do this."""
    if scope in principal.scopes:
        return
    if principal.suspended and scope in STARTS_WORK:
        detail = "This tenant is suspended: it can read and cancel what is there, and start nothing."
        raise ApiError(Code.FORBIDDEN, detail, "Ask who runs this installation.")
    if scope is Scope.INSTALLATION:
        hint = "Only those who run this installation may do this."
        raise ApiError(Code.FORBIDDEN, f"This needs the scope {scope.value}.", hint)
    if principal.via == "key":
        hint = f"Create a key with the scope {scope.value}."
        raise ApiError(Code.FORBIDDEN, f"This API key lacks the scope {scope.value}.", hint)
    if principal.user_id is None:
        detail = f"Guests may not do this: it needs the scope {scope.value}."
        raise ApiError(Code.FORBIDDEN, detail, "Register or sign in.")
    raise ApiError(Code.FORBIDDEN, f"Your role {principal.role.value} lacks the scope {scope.value}.")


def _read_bearer(headers: Mapping[str, str]) -> str | None:
    header = headers.get("authorization")
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        hint = "Send `Authorization: Bearer <access token or API key>`."
        raise ApiError(Code.UNAUTHENTICATED, "The Authorization header is not a Bearer credential.", hint)
    return token.strip()


def _cross_site(headers: Mapping[str, str]) -> ApiError:
    origin = headers.get("origin", "")
    detail = f"This came from a page of {origin[:200] or 'another site'}, which is not this installation."
    hint = (
        "Open the page at the address that STAGEDOOR_PUBLIC_URL names (behind a proxy that setting must be the address "
        "in the browser), or use a token instead of the cookie."
    )
    return ApiError(Code.CROSS_SITE, detail, hint)
