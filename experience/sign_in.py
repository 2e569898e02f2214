"""Ways in and out: register, log in, refresh, log out, redeem a sign-in link.

Each ends in a login: a cookie for a page, or a family of tokens for a program.
"""

from dataclasses import dataclass, replace
from datetime import timedelta

from uuid_utils.compat import uuid7

from contracts.api.account import AuthApi
from contracts.declare import NOTHING
from contracts.errors import ApiError, Code
from contracts.identity import (
    AuditAct,
    Grant,
    LogIn,
    LogOut,
    RedeemSignInLink,
    Refresh,
    Register,
    Role,
    TenantLimits,
)
from contracts.model import LoginId, Nothing, TenantId, UserId
from contracts.wiring.logging import bind_caller
from contracts.wiring.server import Call, Server
from experience.audit import Actor, Audit, Clock
from experience.auth.access import ACCESS_LIFETIME, Stolen, rotate, sign_access_token
from experience.auth.cookies import LOGIN_LONGEST, LoginCookie
from experience.auth.identities import LOGIN_IDLE, Identities
from experience.auth.keyring import Keyring
from experience.auth.opaque import REFRESH, digest, mint
from experience.auth.passwords import PasswordHasher
from experience.auth.principal import Principal, actor_of
from experience.auth.throttle import Attempt, Throttle
from experience.settings import Settings
from experience.store.db import SystemDatabase, SystemSession
from experience.store.logins import delete_login, insert_login, slide
from experience.store.members import delete_invitation, find_membership, insert_membership, lock_invitation
from experience.store.tables import InvitationRow, LoginRow, TenantRow, UserRow
from experience.store.tenants import insert_tenant, show_tenant
from experience.store.tokens import find_family, insert_refresh_token, take_link
from experience.store.users import find_by_email, find_user, insert_user, set_password_hash, show_user

Caller = Principal | None
_LONGEST_AGENT = 200


@dataclass(frozen=True, slots=True)
class _Place:
    """A user in a tenant."""

    user: UserRow
    tenant: TenantRow
    role: Role


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn:
    """Handlers of the entrances."""

    settings: Settings
    system: SystemDatabase
    hasher: PasswordHasher
    keyring: Keyring
    throttle: Throttle
    identities: Identities
    cookie: LoginCookie
    audit: Audit
    clock: Clock

    def serve(self, server: Server[Caller]) -> None:
        """Bind the handlers."""
        server.on(AuthApi.register, self.register)
        server.on(AuthApi.log_in, self.log_in)
        server.on(AuthApi.refresh, self.refresh)
        server.on(AuthApi.log_out, self.log_out)
        server.on(AuthApi.redeem_link, self.redeem_link)

    async def register(self, call: Call[Caller], request: Register) -> Grant:
        """Create a user with a tenant, or join by invitation; somebody known joins with the password they have."""
        if request.invitation is None and self.settings.registration == "invite":
            detail = "Registration here is by invitation."
            raise ApiError(Code.FORBIDDEN, detail, "Ask an owner or admin of a tenant to invite you.")
        await self.throttle.count_registration(call.address)
        async with self.system.transaction() as session:
            known = await find_by_email(session, request.email)
        if known is not None and request.invitation is not None:
            attempt = await self.throttle.begin_sign_in(request.email, call.address)
            if not await self.hasher.verify(known.password_hash, request.password):
                self.throttle.note_failure()
                detail = "This address is registered already, and the password is not its password."
                raise ApiError(Code.FORBIDDEN, detail, "Join with the password you have.")
            return await self._join(call, request, known, attempt)
        password_hash = await self.hasher.hash(request.password)
        if known is not None:
            raise _taken()
        return await self._create(call, request, password_hash)

    async def _create(self, call: Call[Caller], request: Register, password_hash: str) -> Grant:
        async with self.system.transaction() as session:
            user = await insert_user(
                session,
                email=request.email,
                display_name=request.display_name,
                password_hash=password_hash,
                operator=False,
                now=self.clock(),
            )
            if user is None:
                raise _taken()
            if request.invitation is None:
                place = await self._found_tenant(session, user, request.tenant_name)
            else:
                place = await self._accept(session, call, user, request.invitation)
            await self._note(session, call, place, AuditAct.REGISTERED)
            return await self._grant(session, call, place, request.transport)

    async def _join(self, call: Call[Caller], request: Register, user: UserRow, attempt: Attempt) -> Grant:
        async with self.system.transaction() as session:
            await self.throttle.end_sign_in(session, attempt)
            place = await self._accept(session, call, user, request.invitation or "")
            return await self._grant(session, call, place, request.transport)

    async def _found_tenant(self, session: SystemSession, user: UserRow, name: str | None) -> _Place:
        now = self.clock()
        wanted = name or user.email.partition("@")[0]
        tenant = await insert_tenant(session, name=wanted, kind="team", limits=TenantLimits(), now=now)
        await insert_membership(session, TenantId(tenant.tenant_id), UserId(user.user_id), Role.OWNER, now)
        return _Place(user, tenant, Role.OWNER)

    async def _accept(self, session: SystemSession, call: Call[Caller], user: UserRow, token: str) -> _Place:
        now = self.clock()
        invitation = await lock_invitation(session, digest(token), now)
        if invitation is None:
            detail = "This invitation is unknown, used, replaced or older than a week."
            raise ApiError(Code.NOT_FOUND, detail, "Ask for a new invitation.")
        if invitation.email != user.email:
            detail = "This invitation is for another address."
            raise ApiError(Code.FORBIDDEN, detail, "Register with the address it was made for, or ask for your own.")
        return await self._enter(session, call, user, invitation)

    async def _enter(
        self, session: SystemSession, call: Call[Caller], user: UserRow, invitation: InvitationRow
    ) -> _Place:
        user_id, tenant_id = UserId(user.user_id), TenantId(invitation.tenant_id)
        await delete_invitation(session, invitation.invitation_id)
        if await find_membership(session, user_id, tenant_id) is not None:
            raise ApiError(Code.CONFLICT, "You are a member of this tenant already.", "Sign in.")
        await insert_membership(session, tenant_id, user_id, Role(invitation.role), self.clock())
        found = await find_membership(session, user_id, tenant_id)
        if found is None:
            raise AssertionError("a membership vanished in its own transaction")
        place = _Place(user, *found)
        await self._note(session, call, place, AuditAct.MEMBER_JOINED, role=invitation.role)
        return place

    async def log_in(self, call: Call[Caller], request: LogIn) -> Grant:
        """Check the password, the same work for everybody, and open a login."""
        attempt = await self.throttle.begin_sign_in(request.email, call.address)
        async with self.system.transaction() as session:
            user = await find_by_email(session, request.email)
        fits = await self.hasher.verify(None if user is None else user.password_hash, request.password)
        if user is None or not fits:
            self.throttle.note_failure()
            await self._note_refusal(call, user)
            hint = "Check both; after a few wrong attempts each next one has to wait a little."
            raise ApiError(Code.UNAUTHENTICATED, "Address and password don't fit together.", hint)
        outdated = self.hasher.is_outdated(user.password_hash)
        password_hash = await self.hasher.hash(request.password) if outdated else None
        async with self.system.transaction() as session:
            await self.throttle.end_sign_in(session, attempt)
            if password_hash is not None:
                await set_password_hash(session, UserId(user.user_id), password_hash)
            place = await self._find_place(session, user, request.tenant_id)
            if place is not None:
                await self._note(session, call, place, AuditAct.LOGGED_IN, transport=request.transport)
                return await self._grant(session, call, place, request.transport)
        detail = "You are a member of no tenant." if request.tenant_id is None else "You are no member of this tenant."
        raise ApiError(Code.FORBIDDEN, detail, "Ask an owner or admin of the tenant for an invitation.")

    async def refresh(self, call: Call[Caller], request: Refresh) -> Grant:
        """Exchange a refresh token; one that comes again after its successor was used ends the family."""
        now = self.clock()
        async with self.system.transaction() as session:
            outcome = await rotate(session, request.refresh_token, now)
            if outcome is None or isinstance(outcome, Stolen):
                place = None
            else:
                ends = min(now + LOGIN_IDLE, outcome.login.ends_at)
                await slide(session, outcome.login.login_id, seen_at=now, expires_at=ends)
                place = await self._place_of(session, outcome.login)
            if isinstance(outcome, Stolen):
                by = replace(self._actor(call), user_id=UserId(outcome.login.user_id))
                subject = f"login:{outcome.login.login_id}"
                tenant_id = TenantId(outcome.login.tenant_id)
                await self.audit.record_for(session, tenant_id, AuditAct.TOKEN_REUSED, subject, by)
        if isinstance(outcome, Stolen):
            self.identities.forget()
            detail = "This refresh token was used before, so its whole family has been ended."
            raise ApiError(Code.UNAUTHENTICATED, detail, "Sign in again; if that was not you, change your password.")
        if outcome is None or place is None:
            await self.throttle.count_failure(call.address)
            raise ApiError(
                Code.UNAUTHENTICATED, "The refresh token is unknown or its login has ended.", "Sign in again."
            )
        return self._show(place, outcome.login, outcome.refresh_token)

    async def log_out(self, call: Call[Caller], request: LogOut) -> Nothing:
        """End the caller's login and the refresh token's family; saying it twice does no harm."""
        ended: list[LoginId] = []
        async with self.system.transaction() as session:
            if call.caller is not None and call.caller.via in ("login", "token"):
                ended.append(LoginId(call.caller.credential_id))
                await self._end(session, call, LoginId(call.caller.credential_id), call.caller.tenant_id)
            if request.refresh_token is not None:
                family = await find_family(session, digest(request.refresh_token))
                if family is not None and LoginId(family.login_id) not in ended:
                    await self._end(session, call, LoginId(family.login_id), TenantId(family.tenant_id))
        self.identities.forget()
        if self.cookie.name in call.cookies:
            self.cookie.delete(call)
        return NOTHING

    async def redeem_link(self, call: Call[Caller], request: RedeemSignInLink) -> Grant:
        """Sign in with a link's code, once."""
        async with self.system.transaction() as session:
            link = await take_link(session, digest(request.code), self.clock())
            user = None if link is None else await find_user(session, UserId(link.user_id))
            place = (
                None
                if link is None or user is None
                else await self._find_place(session, user, TenantId(link.tenant_id))
            )
            if place is not None:
                await self._note(session, call, place, AuditAct.LOGGED_IN, transport=request.transport, proof="link")
                return await self._grant(session, call, place, request.transport)
        await self.throttle.count_failure(call.address)
        detail = "This sign-in link is unknown, used or too old."
        raise ApiError(Code.UNAUTHENTICATED, detail, "`make run` prints a new one; or sign in with your password.")

    async def _grant(self, session: SystemSession, call: Call[Caller], place: _Place, transport: str) -> Grant:
        bind_caller(place.tenant.tenant_id, place.user.user_id)
        now = self.clock()
        secret = mint() if transport == "cookie" else mint(REFRESH)
        login = LoginRow(
            login_id=uuid7(),
            tenant_id=place.tenant.tenant_id,
            user_id=place.user.user_id,
            kind=transport,
            cookie_hash=digest(secret) if transport == "cookie" else None,
            created_at=now,
            last_seen_at=now,
            expires_at=now + min(LOGIN_IDLE, LOGIN_LONGEST),
            ends_at=now + LOGIN_LONGEST,
            address=call.address,
            user_agent=call.headers.get("user-agent", "")[:_LONGEST_AGENT],
        )
        await insert_login(session, login)
        if transport == "cookie":
            if call.caller is not None and call.caller.via == "login":
                # the browser forgets its old cookie now, so nobody could ever log that login out
                await self._end(session, call, LoginId(call.caller.credential_id), call.caller.tenant_id)
                self.identities.forget()
            self.cookie.set(call, secret)
            return self._show(place, login, None)
        await insert_refresh_token(session, digest(secret), login, now)
        return self._show(place, login, secret)

    def _show(self, place: _Place, login: LoginRow, refresh_token: str | None) -> Grant:
        token = None if refresh_token is None else sign_access_token(self.keyring, login, place.role, self.clock())
        return Grant(
            user=show_user(place.user),
            tenant=show_tenant(place.tenant),
            role=place.role,
            access_token=token,
            refresh_token=refresh_token,
            expires_in=None if token is None else int(ACCESS_LIFETIME / timedelta(seconds=1)),
        )

    async def _find_place(self, session: SystemSession, user: UserRow, tenant_id: TenantId | None) -> _Place | None:
        found = await find_membership(session, UserId(user.user_id), tenant_id)
        return None if found is None else _Place(user, *found)

    async def _place_of(self, session: SystemSession, login: LoginRow) -> _Place | None:
        user = await find_user(session, UserId(login.user_id))
        return None if user is None else await self._find_place(session, user, TenantId(login.tenant_id))

    async def _end(self, session: SystemSession, call: Call[Caller], login_id: LoginId, tenant_id: TenantId) -> None:
        if await delete_login(session, login_id):
            subject = f"login:{login_id}"
            await self.audit.record_for(session, tenant_id, AuditAct.LOGGED_OUT, subject, self._actor(call))

    async def _note(
        self, session: SystemSession, call: Call[Caller], place: _Place, act: AuditAct, **detail: str
    ) -> None:
        by = replace(self._actor(call), user_id=UserId(place.user.user_id))
        subject = f"user:{place.user.user_id}"
        await self.audit.record_for(session, TenantId(place.tenant.tenant_id), act, subject, by, **detail)

    async def _note_refusal(self, call: Call[Caller], user: UserRow | None) -> None:
        # an address nobody has belongs to no tenant: there is no trail to write to
        if user is None:
            return
        async with self.system.transaction() as session:
            place = await self._find_place(session, user, None)
            if place is not None:
                subject = f"user:{user.user_id}"
                by = Actor(None, call.address, call.request_id)
                tenant_id = TenantId(place.tenant.tenant_id)
                await self.audit.record_for(session, tenant_id, AuditAct.LOGIN_REFUSED, subject, by)

    def _actor(self, call: Call[Caller]) -> Actor:
        return actor_of(call, call.caller)


def _taken() -> ApiError:
    return ApiError(Code.CONFLICT, "Somebody is registered with this address.", "Sign in instead.")
