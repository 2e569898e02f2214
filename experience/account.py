"""What people do about themselves: me, password, API keys, WebSocket tickets, sign-in links."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import quote

from uuid_utils.compat import uuid7

from contracts.api.account import AuthApi, ListPage
from contracts.declare import NOTHING
from contracts.errors import ApiError, Code
from contracts.identity import (
    ApiKey,
    AuditAct,
    ChangePassword,
    CreateApiKey,
    CreateSignInLink,
    KeyRef,
    Me,
    NewApiKey,
    SignInLink,
    Ticket,
)
from contracts.model import Nothing, Page, UserId
from contracts.wiring.server import Call, Server
from experience.audit import Audit, Clock
from experience.auth.identities import Identities
from experience.auth.opaque import LINK, TICKET, digest, mint, write_key
from experience.auth.passwords import PasswordHasher
from experience.auth.principal import Principal, actor_of, caller_of
from experience.auth.throttle import Throttle
from experience.settings import Settings
from experience.store.db import SystemDatabase, TenantDatabase
from experience.store.keys import count_keys, delete_key, insert_key, list_keys, show_key
from experience.store.logins import delete_other_logins
from experience.store.paging import cut, read_uuid_cursor
from experience.store.tables import ApiKeyRow, UserRow
from experience.store.tenants import read_own_tenant, show_tenant
from experience.store.tokens import delete_links, insert_link, insert_ticket
from experience.store.users import find_user, set_password_hash, show_user

Caller = Principal | None
TICKET_LIFETIME = timedelta(seconds=30)
MOST_KEYS = 50
"""Per user and tenant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Handlers of a signed-in caller's own things."""

    settings: Settings
    tenants: TenantDatabase
    system: SystemDatabase
    hasher: PasswordHasher
    throttle: Throttle
    identities: Identities
    audit: Audit
    clock: Clock

    def serve(self, server: Server[Caller]) -> None:
        """Bind the handlers."""
        server.on(AuthApi.me, self.me)
        server.on(AuthApi.change_password, self.change_password)
        server.on(AuthApi.list_keys, self.list_keys)
        server.on(AuthApi.create_key, self.create_key)
        server.on(AuthApi.revoke_key, self.revoke_key)
        server.on(AuthApi.create_ticket, self.create_ticket)
        server.on(AuthApi.create_link, self.create_link)

    async def me(self, call: Call[Caller], _request: Nothing) -> Me:
        """Whom the server takes the caller for."""
        caller = caller_of(call)
        user = None if caller.user_id is None else await self._find_user(caller.user_id)
        async with self.tenants.transaction(caller.tenant_id) as session:
            tenant = await read_own_tenant(session)
        if tenant is None:
            raise ApiError(Code.UNAUTHENTICATED, "Your tenant has been deleted.")
        return Me(
            user=None if user is None else show_user(user),
            tenant=show_tenant(tenant),
            role=caller.role,
            scopes=sorted(caller.scopes),
            via=caller.via,
            insecure=self.settings.is_exposed,
        )

    async def change_password(self, call: Call[Caller], request: ChangePassword) -> Nothing:
        """Set a new password; every other login, token and sign-in link of the user ends, in all tenants."""
        caller = caller_of(call)
        user = await self._find_user(person_of(caller))
        attempt = await self.throttle.begin_sign_in(user.email, call.address)
        if not await self.hasher.verify(user.password_hash, request.current_password):
            raise ApiError(Code.FORBIDDEN, "That is not your current password.", "Send the password you have now.")
        password_hash = await self.hasher.hash(request.new_password)
        kept = caller.credential_id if caller.via in ("login", "token") else None
        user_id = UserId(user.user_id)
        async with self.system.transaction() as session:
            await self.throttle.end_sign_in(session, attempt)
            await set_password_hash(session, user_id, password_hash)
            await delete_other_logins(session, user_id, kept)
            await delete_links(session, user_id)
            subject = f"user:{user_id}"
            by = actor_of(call, caller)
            await self.audit.record_for(session, caller.tenant_id, AuditAct.PASSWORD_CHANGED, subject, by)
        self.identities.forget()
        return NOTHING

    async def list_keys(self, call: Call[Caller], request: ListPage) -> Page[ApiKey]:
        """The caller's keys in this tenant."""
        caller = caller_of(call)
        async with self.tenants.transaction(caller.tenant_id) as session:
            rows = await list_keys(session, person_of(caller), read_uuid_cursor(request.cursor), request.limit)
        page, more = cut(rows, request.limit)
        return Page[ApiKey](items=[show_key(row) for row in page], next_cursor=str(page[-1].key_id) if more else None)

    async def create_key(self, call: Call[Caller], request: CreateApiKey) -> NewApiKey:
        """A key that may do at most what its maker may, and lives no longer than a key that makes it."""
        caller = caller_of(call)
        user_id = person_of(caller)
        scopes = caller.scopes if request.scopes is None else frozenset(request.scopes)
        if too_much := sorted(scopes - caller.scopes):
            detail = f"You may not hand on what you may not do yourself: {', '.join(too_much)}."
            raise ApiError(Code.FORBIDDEN, detail, "Leave these scopes out.")
        now = self.clock()
        key_id, secret = uuid7(), mint()
        text = write_key(key_id, secret)
        row = ApiKeyRow(
            key_id=key_id,
            tenant_id=caller.tenant_id,
            user_id=user_id,
            name=request.name,
            prefix=text.partition(".")[0],
            secret_hash=digest(secret),
            scopes=sorted(scope.value for scope in scopes),
            created_at=now,
            expires_at=_end_of_key(caller, request, now),
            last_used_at=None,
            last_used_from=None,
            audited_at=None,
        )
        async with self.tenants.transaction(caller.tenant_id) as session:
            if await count_keys(session, user_id) >= MOST_KEYS:
                raise ApiError(Code.LIMIT_REACHED, f"You have {MOST_KEYS} keys.", "Revoke one that is not used.")
            await insert_key(session, row)
            by = actor_of(call, caller)
            await self.audit.record(
                session, AuditAct.KEY_CREATED, f"key:{key_id}", by, name=row.name, scopes=row.scopes
            )
        return NewApiKey(key=show_key(row), secret=text)

    async def revoke_key(self, call: Call[Caller], request: KeyRef) -> Nothing:
        """Revoke one of the caller's keys."""
        caller = caller_of(call)
        async with self.tenants.transaction(caller.tenant_id) as session:
            if not await delete_key(session, person_of(caller), request.key_id):
                raise ApiError(Code.NOT_FOUND, "You have no such key.")
            subject = f"key:{request.key_id}"
            await self.audit.record(session, AuditAct.KEY_REVOKED, subject, actor_of(call, caller))
        self.identities.forget()
        return NOTHING

    async def create_ticket(self, call: Call[Caller], _request: Nothing) -> Ticket:
        """A pass for one WebSocket, worth what the caller's credential is worth when it is used."""
        caller = caller_of(call)
        ticket = mint(TICKET)
        async with self.tenants.transaction(caller.tenant_id) as session:
            until = self.clock() + TICKET_LIFETIME
            await insert_ticket(
                session, ticket_hash=digest(ticket), via=caller.via, credential_id=caller.credential_id, until=until
            )
        return Ticket(ticket=ticket, expires_in=int(TICKET_LIFETIME.total_seconds()))

    async def create_link(self, call: Call[Caller], request: CreateSignInLink) -> SignInLink:
        """A link that signs the caller in elsewhere. A key can't make one: it would become more than it is."""
        caller = caller_of(call)
        if caller.via == "key":
            detail = "An API key can't make sign-in links: a login may do more than a key."
            raise ApiError(Code.FORBIDDEN, detail, "Sign in with a password and make the link then.")
        code = mint(LINK)
        lifetime = self.settings.link_ttl_s
        async with self.tenants.transaction(caller.tenant_id) as session:
            until = self.clock() + timedelta(seconds=lifetime)
            await insert_link(session, code_hash=digest(code), user_id=person_of(caller), until=until)
            await self.audit.record(session, AuditAct.LINK_CREATED, f"user:{caller.user_id}", actor_of(call, caller))
        # the code stands behind the #, which browsers keep to themselves: it is in no log and no Referer
        onward = "" if request.next == "/" else f"?next={quote(request.next, safe='/')}"
        url = f"{self.settings.public_url}/enter{onward}#{code}"
        return SignInLink(code=code, url=url, expires_in=lifetime)

    async def _find_user(self, user_id: UserId) -> UserRow:
        async with self.system.transaction() as session:
            user = await find_user(session, user_id)
        if user is None:
            raise ApiError(Code.UNAUTHENTICATED, "This user has been deleted.")
        return user


def person_of(caller: Principal) -> UserId:
    """The user behind a principal; raises ApiError(FORBIDDEN) for a guest."""
    if caller.user_id is None:
        raise ApiError(Code.FORBIDDEN, "Guests have no account.", "Register or sign in.")
    return caller.user_id


def _end_of_key(caller: Principal, request: CreateApiKey, now: datetime) -> datetime | None:
    wanted = None if request.expires_in_days is None else now + timedelta(days=request.expires_in_days)
    longest = caller.expires_at if caller.via == "key" else None
    return min(filter(None, (wanted, longest)), default=None)
