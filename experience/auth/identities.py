"""From a credential to a principal.

Roles, suspensions and ends are read from the database and not from the token, so a change of them counts at once:
in the process that made it with the next request (`forget`), in every other one after REMEMBER_S at the latest.
"""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import assert_never
from uuid import UUID

from contracts.errors import ApiError, Code
from contracts.identity import AuditAct, Role, Scope
from contracts.model import TenantId, UserId
from contracts.wiring.shared import SharedCalls
from experience.audit import Actor, Audit, Clock
from experience.auth.access import ACCESS_AUDIENCE
from experience.auth.keyring import Keyring
from experience.auth.opaque import GUEST, KEY, digest, read_key, same
from experience.auth.principal import Principal, Via, grant_scopes
from experience.store.db import SystemDatabase, SystemSession
from experience.store.guests import FoundGuest, find_guest, find_guest_session
from experience.store.keys import FoundKey, find_key, note_use
from experience.store.logins import FoundLogin, find_cookie, find_login, slide

REMEMBER_S = 2.0
"""How long a process believes what it has read of a credential."""
REMEMBER_AT_MOST = 10_000
LOGIN_IDLE = timedelta(days=14)
"""A login that is not used for so long is over."""
LOGIN_SLIDE_AFTER = timedelta(minutes=5)
KEY_NOTE_AFTER = timedelta(minutes=1)
KEY_AUDIT_AFTER = timedelta(hours=1)
"""A key's use is audited when its address changes, and otherwise once in this time."""


@dataclass(frozen=True, slots=True)
class Credential:
    """What a request showed."""

    kind: str
    """cookie or bearer."""
    text: str


class Identities:
    """Knows whom credentials belong to."""

    def __init__(self, system: SystemDatabase, keyring: Keyring, audit: Audit, clock: Clock) -> None:
        self._system = system
        self._keyring = keyring
        self._audit = audit
        self._clock = clock
        self._recent: OrderedDict[bytes, tuple[datetime, Principal]] = OrderedDict()
        self._forgotten = 0
        self._looking = SharedCalls()

    def forget(self) -> None:
        """Something was revoked or changed here: read everything anew."""
        self._forgotten += 1
        self._recent.clear()

    async def identify(self, credential: Credential, *, address: str, request_id: str) -> Principal:
        """Whom a credential belongs to; raises ApiError(UNAUTHENTICATED) when to nobody (any more)."""
        now = self._clock()
        name = hashlib.sha256(f"{credential.kind} {credential.text}".encode()).digest()
        principal = self._recall(name, now)
        if principal is None:
            by = Actor(None, address, request_id)
            # many requests at once find it forgotten at once: one of them reads, and notes where a key was used from
            key = (name, self._forgotten, address if credential.text.startswith(KEY) else None)
            principal = await self._looking.share(key, lambda: self._look_up(name, credential, by, now))
        return principal

    async def _look_up(self, name: bytes, credential: Credential, by: Actor, now: datetime) -> Principal:
        forgotten = self._forgotten
        async with self._system.transaction() as session:
            principal = await self._find(session, credential, by, now)
        if principal is None:
            if self._keyring.has_expired(ACCESS_AUDIENCE, credential.text, now=now):
                hint = "Get a new one from POST /api/auth/refresh, or sign in again."
                raise ApiError(Code.UNAUTHENTICATED, "This access token has expired.", hint, renewable=True)
            raise _unknown(credential)
        if forgotten == self._forgotten:
            # otherwise it may have been read just before what was revoked meanwhile
            self._remember(name, now, principal)
        return principal

    async def renew(self, principal: Principal) -> Principal:
        """The same principal as things stand now, for connections that live long.

        Raises:
            ApiError: UNAUTHENTICATED when the credential has ended or was revoked.
        """
        now = self._clock()
        if principal.expires_at is not None and principal.expires_at <= now:
            raise ApiError(Code.UNAUTHENTICATED, "This credential has expired.", renewable=True)
        async with self._system.transaction() as session:
            found = await self.find_by_id(session, principal.via, principal.credential_id, now)
        if found is None:
            raise ApiError(Code.UNAUTHENTICATED, "This credential has been revoked.")
        # an access token keeps its own end, which is earlier than its login's
        return replace(found, expires_at=principal.expires_at) if principal.via == "token" else found

    async def find_by_id(
        self, session: SystemSession, via: Via, credential_id: UUID, now: datetime
    ) -> Principal | None:
        """The principal behind a login, key or session that was shown before."""
        match via:
            case "login" | "token":
                login = await find_login(session, credential_id, now)
                return None if login is None else _of_login(login, via, login.expires_at)
            case "key":
                key = await find_key(session, credential_id)
                return None if key is None else _of_key(key, now)
            case "session":
                guest = await find_guest_session(session, credential_id, now)
                return None if guest is None else _of_guest(guest)
            case _:
                assert_never(via)

    async def _find(self, session: SystemSession, credential: Credential, by: Actor, now: datetime) -> Principal | None:
        if credential.kind == "cookie":
            return await self._find_cookie(session, credential.text, now)
        if credential.text.startswith(KEY):
            return await self._find_key(session, credential.text, by, now)
        if credential.text.startswith(GUEST):
            guest = await find_guest(session, digest(credential.text), now)
            return None if guest is None else _of_guest(guest)
        return await self._find_token(session, credential.text, now)

    async def _find_cookie(self, session: SystemSession, cookie: str, now: datetime) -> Principal | None:
        login = await find_cookie(session, digest(cookie), now)
        if login is None:
            return None
        ends = await _keep_alive(session, login, now)
        return _of_login(login, "login", ends)

    async def _find_token(self, session: SystemSession, token: str, now: datetime) -> Principal | None:
        claims = self._keyring.verify(ACCESS_AUDIENCE, token, now=now)
        if claims is None:
            return None
        login = await find_login(session, UUID(claims["sid"]), now)
        if login is None:
            return None
        await _keep_alive(session, login, now)
        return _of_login(login, "token", datetime.fromtimestamp(claims["exp"], now.tzinfo))

    async def _find_key(self, session: SystemSession, text: str, by: Actor, now: datetime) -> Principal | None:
        parts = read_key(text)
        found = None if parts is None else await find_key(session, parts[0])
        if parts is None or found is None or not same(found.key.secret_hash, parts[1]):
            return None
        principal = _of_key(found, now)
        if principal is not None:
            await self._note_key_use(session, found, by, now)
        return principal

    async def _note_key_use(self, session: SystemSession, found: FoundKey, by: Actor, now: datetime) -> None:
        key = found.key
        moved = key.last_used_from != by.address
        audited = moved or key.audited_at is None or now - key.audited_at >= KEY_AUDIT_AFTER
        if not audited and key.last_used_at is not None and now - key.last_used_at < KEY_NOTE_AFTER:
            return
        await note_use(session, key.key_id, now=now, address=by.address, audited=audited)
        if audited:
            actor = replace(by, user_id=UserId(key.user_id))
            subject = f"key:{key.key_id}"
            await self._audit.record_for(session, TenantId(key.tenant_id), AuditAct.KEY_USED, subject, actor)

    def _recall(self, name: bytes, now: datetime) -> Principal | None:
        read_at, principal = self._recent.get(name, (None, None))
        if read_at is None or principal is None or not timedelta() <= now - read_at < timedelta(seconds=REMEMBER_S):
            return None
        return principal if principal.expires_at is None or principal.expires_at > now else None

    def _remember(self, name: bytes, now: datetime, principal: Principal) -> None:
        self._recent[name] = (now, principal)
        self._recent.move_to_end(name)
        if len(self._recent) > REMEMBER_AT_MOST:
            self._recent.popitem(last=False)


async def _keep_alive(session: SystemSession, login: FoundLogin, now: datetime) -> datetime:
    if now - login.last_seen_at < LOGIN_SLIDE_AFTER:
        return login.expires_at
    ends = min(now + LOGIN_IDLE, login.ends_at)
    await slide(session, login.login_id, seen_at=now, expires_at=ends)
    return ends


def _of_login(login: FoundLogin, via: Via, expires_at: datetime) -> Principal:
    return Principal(
        tenant_id=TenantId(login.tenant_id),
        user_id=UserId(login.user_id),
        role=login.role,
        scopes=grant_scopes(login.role, operator=login.operator, suspended=login.suspended),
        via=via,
        credential_id=login.login_id,
        expires_at=expires_at,
        suspended=login.suspended,
    )


def _of_key(found: FoundKey, now: datetime) -> Principal | None:
    key = found.key
    if key.expires_at is not None and key.expires_at <= now:
        return None
    allowed = grant_scopes(found.role, operator=found.operator, suspended=found.suspended)
    return Principal(
        tenant_id=TenantId(key.tenant_id),
        user_id=UserId(key.user_id),
        role=found.role,
        scopes=allowed & {Scope(scope) for scope in key.scopes},
        via="key",
        credential_id=key.key_id,
        expires_at=key.expires_at,
        suspended=found.suspended,
    )


def _of_guest(guest: FoundGuest) -> Principal:
    return Principal(
        tenant_id=TenantId(guest.tenant_id),
        user_id=None,
        role=Role.GUEST,
        scopes=grant_scopes(Role.GUEST, operator=False, suspended=guest.suspended),
        via="session",
        credential_id=guest.session_id,
        expires_at=guest.expires_at,
        suspended=guest.suspended,
    )


def _unknown(credential: Credential) -> ApiError:
    if credential.kind == "cookie":
        return ApiError(Code.UNAUTHENTICATED, "This login has ended.", "Sign in again.")
    detail = "The Authorization header holds no live access token, API key or session token."
    return ApiError(Code.UNAUTHENTICATED, detail)
