"""Sessions: one visit's history, permissions and executions; a guest's is its credential, too.

A guest gets a tenant of its own with the session, and both end together. An upgrade moves the session and what hangs on
it to a user's tenant, in Runtime and here: Runtime first, inside the transaction that moves it here, so that a crash
in between leaves an upgrade that can be asked for again.
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

import structlog
from uuid_utils.compat import uuid7

from contracts.api.account import SessionApi
from contracts.declare import NOTHING
from contracts.errors import ApiError, Code
from contracts.execution import AdoptTenant
from contracts.identity import (
    AuditAct,
    ChatTurn,
    CreateSession,
    NewSession,
    Scope,
    Session,
    SessionRef,
    TenantLimits,
    UpgradeSession,
)
from contracts.model import Nothing, SessionId, TenantId, UserId
from contracts.wiring.server import Call, Server
from experience.audit import Audit, Clock
from experience.auth.guard import require
from experience.auth.identities import Identities
from experience.auth.opaque import GUEST, digest, mint
from experience.auth.principal import Principal, actor_of, caller_of
from experience.auth.throttle import Throttle
from experience.outbox import Outbox
from experience.runtime_calls import AWAY, RuntimeCalls
from experience.store.db import SystemDatabase, TenantDatabase, TenantSession
from experience.store.intents import hurry, list_started
from experience.store.sessions import (
    add_guest,
    add_session,
    delete_session,
    find_session,
    list_left_tenants,
    list_turns,
    lock_guest,
    move_session,
)
from experience.store.tables import SessionRow, SessionTurnRow
from experience.store.tenants import delete_tenant, insert_tenant

GUEST_LIFE = timedelta(hours=24)
"""A guest's session ends then, with its tenant and all that it holds."""
GUEST_LIMITS = TenantLimits(max_concurrent_executions=2, max_workflows=0)
SHOWN_EXECUTIONS = 200
SHOWN_TURNS = 500
SWEEP_S = 300.0
_SWEEP_BATCH = 100
_ADOPT_S = 8.0
_FORGET_S = 60.0

log = structlog.get_logger()

Caller = Principal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sessions:
    """Handlers of `/api/session`, and the sweep that ends what guests have left."""

    guests_welcome: bool
    tenants: TenantDatabase
    system: SystemDatabase
    runtime: RuntimeCalls
    outbox: Outbox
    identities: Identities
    throttle: Throttle
    audit: Audit
    clock: Clock

    def serve(self, server: Server[Caller]) -> None:
        """Bind the handlers."""
        server.on(SessionApi.create_session, self.create_session)
        server.on(SessionApi.get_session, self.get_session)
        server.on(SessionApi.upgrade_session, self.upgrade_session)
        server.on(SessionApi.delete_session, self.delete_session)

    async def create_session(self, call: Call[Caller], request: CreateSession) -> NewSession:
        """`POST /api/session`."""
        if call.caller is None or call.caller.via == "session":
            return await self._welcome_guest(call, request)
        require(call.caller, Scope.SESSION)
        row = self._draft(call.caller.tenant_id, request.label, user_id=call.caller.user_id)
        async with self.tenants.transaction(call.caller.tenant_id) as session:
            await add_session(session, row)
        return NewSession(session=_show(row, [], []), session_token=None)

    async def get_session(self, call: Call[Caller], request: SessionRef) -> Session:
        """`GET /api/session/{id}`."""
        caller = caller_of(call)
        async with self.tenants.transaction(caller.tenant_id) as session:
            return await _read(session, await _find_own(session, caller, request.session_id))

    async def delete_session(self, call: Call[Caller], request: SessionRef) -> Nothing:
        """`DELETE /api/session/{id}`."""
        caller = caller_of(call)
        async with self.tenants.transaction(caller.tenant_id) as session:
            await _find_own(session, caller, request.session_id)
            await delete_session(session, request.session_id)
        self.identities.forget()  # a guest's token was this session
        return NOTHING

    async def upgrade_session(self, call: Call[Caller], request: UpgradeSession) -> Session:
        """`POST /api/session/{id}/upgrade`; asking again after it was done answers the session as it is."""
        caller = caller_of(call)
        if not await self._owns_already(caller, request.session_id):
            await self._move(call, caller, request)
            self.identities.forget()
        async with self.tenants.transaction(caller.tenant_id) as session:
            return await _read(session, await _find_own(session, caller, request.session_id))

    async def run(self) -> None:
        """Sweep, for ever; several processes may, at the same time."""
        while True:
            try:
                await self.sweep()
            except ApiError as error:
                log.warning("sweep put off", code=error.code, detail=error.detail)
            await asyncio.sleep(SWEEP_S)

    async def sweep(self) -> None:
        """End the tenants of guests who are gone, Runtime's part first.

        Raises:
            ApiError: UNAVAILABLE or TIMEOUT when Runtime or the database is away; the rest is left for the next time.
        """
        async with self.system.transaction() as session:
            left = await list_left_tenants(session, _SWEEP_BATCH, now=self.clock())
        for tenant_id in left:
            client = self.runtime.speak_for(tenant_id, None, f"sweep-{tenant_id}", timeout_s=_FORGET_S)
            try:
                await client.delete_tenant(NOTHING)
            except ApiError as error:
                if error.code in AWAY:
                    raise
                # mostly that something still runs there: next time, and meanwhile the others' turn
                log.info("guest not ended yet", tenant_id=str(tenant_id), code=error.code, detail=error.detail)
                continue
            async with self.system.transaction() as session:
                await delete_tenant(session, tenant_id)

    async def _welcome_guest(self, call: Call[Caller], request: CreateSession) -> NewSession:
        if not self.guests_welcome:
            detail = "This installation does not take guests."
            raise ApiError(Code.FORBIDDEN, detail, "Register or sign in, then start a session.")
        await self.throttle.count_guest(call.address)
        token = mint(GUEST)
        now = self.clock()
        async with self.system.transaction() as session:
            tenant = await insert_tenant(session, name="Guest", kind="guest", limits=GUEST_LIMITS, now=now)
            row = self._draft(TenantId(tenant.tenant_id), request.label, token=token)
            await add_guest(session, row)
        return NewSession(session=_show(row, [], []), session_token=token)

    def _draft(
        self, tenant_id: TenantId, label: str, *, user_id: UserId | None = None, token: str | None = None
    ) -> SessionRow:
        now = self.clock()
        return SessionRow(
            session_id=uuid7(),
            tenant_id=tenant_id,
            user_id=user_id,
            token_hash=None if token is None else digest(token),
            label=label,
            permissions=[],
            created_at=now,
            last_seen_at=now,
            expires_at=None if token is None else now + GUEST_LIFE,
        )

    async def _owns_already(self, caller: Principal, session_id: SessionId) -> bool:
        async with self.tenants.transaction(caller.tenant_id) as session:
            row = await find_session(session, session_id)
            return row is not None and owns_session(caller, row)

    async def _move(self, call: Call[Caller], caller: Principal, request: UpgradeSession) -> None:
        if caller.user_id is None:
            raise ApiError(Code.FORBIDDEN, "A session is upgraded by the user who is to have it.", "Sign in first.")
        now = self.clock()
        client = self.runtime.speak_for(caller.tenant_id, caller.user_id, call.request_id, timeout_s=_ADOPT_S)
        async with self.system.transaction() as session:
            guest = await lock_guest(session, request.session_id, digest(request.session_token), now=now)
            if guest is None:
                detail = f"There is no anonymous session {request.session_id} with this token."
                raise ApiError(Code.NOT_FOUND, detail, "It may have ended: guests' sessions live for a day.")
            guest_tenant = TenantId(guest.tenant_id)
            # what is on its way to Runtime arrives as the guest's: it must be there before the guest's things move
            on_the_way = await hurry(session, guest_tenant)
            if not on_the_way:
                await move_session(session, request.session_id, caller.tenant_id, caller.user_id)
                await client.adopt_tenant(AdoptTenant(guest_tenant_id=guest_tenant))
                subject = f"session:{request.session_id}"
                by = actor_of(call, caller)
                await self.audit.record_for(session, caller.tenant_id, AuditAct.SESSION_UPGRADED, subject, by)
        if on_the_way:
            self.outbox.wake()
            detail = "Something that this session asked for has not reached the part that runs it yet."
            raise ApiError(Code.CONFLICT, detail, "Ask again in a moment: it is being delivered now.", retry_after=1)


def owns_session(caller: Principal, row: SessionRow) -> bool:
    """Whether a session of the caller's tenant is the caller's own."""
    if caller.via == "session":
        return row.session_id == caller.credential_id
    return row.user_id is not None and row.user_id == caller.user_id


async def _find_own(session: TenantSession, caller: Principal, session_id: SessionId) -> SessionRow:
    row = await find_session(session, session_id)
    if row is None or not owns_session(caller, row):
        raise ApiError(Code.NOT_FOUND, f"There is no session {session_id}.")
    return row


async def _read(session: TenantSession, row: SessionRow) -> Session:
    session_id = SessionId(row.session_id)
    turns = await list_turns(session, session_id, SHOWN_TURNS)
    executions = await list_started(session, session_id, SHOWN_EXECUTIONS)
    return _show(row, list(turns), [str(execution_id) for execution_id in executions])


def _show(row: SessionRow, turns: list[SessionTurnRow], executions: list[str]) -> Session:
    return Session(
        session_id=SessionId(row.session_id),
        tenant_id=TenantId(row.tenant_id),
        anonymous=row.user_id is None,
        label=row.label,
        history=[ChatTurn.model_validate(turn.model_dump(include={"role", "text", "at"})) for turn in turns],
        permissions=row.permissions,
        executions=executions,
        created_at=row.created_at,
        expires_at=row.expires_at,
    )
