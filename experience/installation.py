"""The installation's tenants and shortcomings, for its operators; and the first operator."""

import asyncio
from dataclasses import dataclass
from typing import Any

import structlog

from contracts.api.account import AdminApi, ListPage
from contracts.declare import NOTHING
from contracts.errors import ApiError, Code
from contracts.execution import RuntimeExport
from contracts.identity import (
    AuditAct,
    CreatedTenant,
    CreateTenant,
    Invitation,
    Member,
    Role,
    Tenant,
    TenantExport,
    TenantLimits,
    TenantRef,
    UpdateTenant,
)
from contracts.model import Nothing, Page, TenantId, UserId
from contracts.shortcoming import ListShortcomings, Shortcoming, Shortcomings
from contracts.wiring.server import Call, Server
from experience.admin import INVITATION_LIFETIME, show_invitation
from experience.audit import Actor, Audit, Clock
from experience.auth.identities import Identities
from experience.auth.opaque import INVITATION, digest, mint
from experience.auth.passwords import PasswordHasher
from experience.auth.principal import Principal, actor_of, caller_of
from experience.runtime_calls import RuntimeCalls
from experience.settings import Settings
from experience.store.db import SystemDatabase, SystemSession, TenantDatabase
from experience.store.members import insert_invitation_for, insert_membership, list_members, make_invitation
from experience.store.paging import cut, read_uuid_cursor
from experience.store.tables import AuditRow, IntentRow, SessionRow, SessionTurnRow, TenantRow, UserRow
from experience.store.tenants import (
    confirm_state,
    delete_tenant,
    insert_tenant,
    list_behind,
    list_tenants,
    lock_tenant,
    read_everything,
    save_tenant,
    show_tenant,
    state_of,
)
from experience.store.users import find_by_email, has_operator, insert_user, make_operator

Caller = Principal | None
TELL_TIMEOUT_S = 2.0
TELL_EVERY_S = 5.0
"""How often Runtime is told again what it has not heard while it was away."""
LONG_TIMEOUT_S = 280.0
"""Exports and deletions; below the deadline of their endpoints."""
_MEMBERS_AT_ONCE = 200

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """Handlers for operators."""

    settings: Settings
    tenants: TenantDatabase
    system: SystemDatabase
    runtime: RuntimeCalls
    identities: Identities
    audit: Audit
    clock: Clock

    def serve(self, server: Server[Caller]) -> None:
        """Bind the handlers."""
        server.on(AdminApi.list_tenants, self.list_tenants)
        server.on(AdminApi.list_shortcomings, self.list_shortcomings)
        server.on(AdminApi.create_tenant, self.create_tenant)
        server.on(AdminApi.update_tenant, self.update_tenant)
        server.on(AdminApi.export_tenant, self.export_tenant)
        server.on(AdminApi.delete_tenant, self.delete_tenant)

    async def list_tenants(self, _call: Call[Caller], request: ListPage) -> Page[Tenant]:
        """All tenants of people."""
        async with self.system.transaction() as session:
            rows = await list_tenants(session, read_uuid_cursor(request.cursor), request.limit)
        page, more = cut(rows, request.limit)
        return Page[Tenant](
            items=[show_tenant(row) for row in page], next_cursor=str(page[-1].tenant_id) if more else None
        )

    async def list_shortcomings(self, call: Call[Caller], _request: Nothing) -> Shortcomings:
        """What Runtime's workers say of their machines: for who can mend it, and not for who could make use of it."""
        caller = caller_of(call)
        runtime = self.runtime.speak_for(caller.tenant_id, caller.user_id, call.request_id)
        return await runtime.list_shortcomings(ListShortcomings(known=",".join(Shortcoming)))

    async def create_tenant(self, call: Call[Caller], request: CreateTenant) -> CreatedTenant:
        """A tenant, and the invitation its owner joins by."""
        async with self.system.transaction() as session:
            row = await insert_tenant(session, name=request.name, kind="team", limits=request.limits, now=self.clock())
            invitation = await self._invite_owner(session, call, row, request.owner_email)
            await self._record(session, call, row, AuditAct.TENANT_CREATED, name=row.name)
        await self._tell_runtime(row)
        return CreatedTenant(tenant=show_tenant(row), invitation=invitation)

    async def update_tenant(self, call: Call[Caller], request: UpdateTenant) -> Tenant:
        """Rename, limit or suspend; Runtime hears of it now or, when it is away, as soon as it is back."""
        changes = request.model_dump(mode="json", exclude_none=True, exclude={"tenant_id"})
        async with self.system.transaction() as session:
            row = await self._lock(session, request.tenant_id)
            if request.name is not None:
                row.name = request.name
            if request.suspended is not None:
                row.suspended = request.suspended
            if request.limits is not None:
                for name, value in request.limits.model_dump().items():
                    setattr(row, name, value)
            row.runtime_behind = row.runtime_behind or request.suspended is not None or request.limits is not None
            await save_tenant(session, row)
            await self._record(session, call, row, AuditAct.TENANT_CHANGED, **changes)
        self.identities.forget()
        await self._tell_runtime(row)
        return show_tenant(row)

    async def export_tenant(self, call: Call[Caller], request: TenantRef) -> TenantExport:
        """Everything of one tenant from both tiers."""
        async with self.system.transaction() as session:
            row = await self._lock(session, request.tenant_id)
            await self._record(session, call, row, AuditAct.TENANT_EXPORTED)
        client = self.runtime.speak_for(request.tenant_id, None, call.request_id, timeout_s=LONG_TIMEOUT_S)
        theirs = await client.export_tenant(NOTHING)
        return await self._collect(row, theirs)

    async def delete_tenant(self, call: Call[Caller], request: TenantRef) -> Nothing:
        """Delete a suspended tenant: first what Runtime has of it, so that nothing is left that nobody owns."""
        if request.tenant_id == caller_of(call).tenant_id:
            raise ApiError(Code.CONFLICT, "This is the tenant you are acting in.", "Use a login in another tenant.")
        async with self.system.transaction() as session:
            row = await self._lock(session, request.tenant_id)
        if not row.suspended:
            raise ApiError(Code.CONFLICT, "Only a suspended tenant can be deleted.", "Suspend it first.")
        client = self.runtime.speak_for(request.tenant_id, None, call.request_id, timeout_s=LONG_TIMEOUT_S)
        await client.delete_tenant(NOTHING)
        async with self.system.transaction() as session:
            row = await self._lock(session, request.tenant_id)
            if not row.suspended:
                raise ApiError(Code.CONFLICT, "Somebody has taken the suspension away meanwhile.")
            await delete_tenant(session, request.tenant_id)
            caller = caller_of(call)
            subject = f"tenant:{request.tenant_id}"
            by = actor_of(call, caller)
            await self.audit.record_for(session, caller.tenant_id, AuditAct.TENANT_DELETED, subject, by, name=row.name)
        self.identities.forget()
        return NOTHING

    async def keep_runtime_told(self) -> None:
        """Tell Runtime, for ever, what it has not confirmed; for the lifespan's task group."""
        while True:
            await asyncio.sleep(TELL_EVERY_S)
            try:
                async with self.system.transaction() as session:
                    behind = await list_behind(session, limit=50)
                for row in behind:
                    await self._tell_runtime(row)
            except ApiError as error:
                log.warning("tenants not told to Runtime", reason=error.detail)

    async def _tell_runtime(self, row: TenantRow) -> None:
        if not row.runtime_behind:
            return
        state = state_of(row)
        client = self.runtime.speak_for(state.tenant_id, None, "tenant-state", timeout_s=TELL_TIMEOUT_S)
        try:
            await client.set_tenant(state)
        except ApiError as error:
            log.warning("Runtime has not heard of a tenant's state yet", tenant=str(row.tenant_id), reason=error.detail)
            return
        async with self.system.transaction() as session:
            await confirm_state(session, state)

    async def _invite_owner(self, session: SystemSession, call: Call[Caller], row: TenantRow, email: str) -> Invitation:
        # also somebody registered: addresses are not verified, so whoever came first with this one may be a stranger
        now = self.clock()
        token = mint(INVITATION)
        invitation = make_invitation(
            tenant_id=TenantId(row.tenant_id),
            email=email,
            role=Role.OWNER,
            token_hash=digest(token),
            invited_by=caller_of(call).user_id,
            now=now,
            until=now + INVITATION_LIFETIME,
        )
        await insert_invitation_for(session, invitation)
        return show_invitation(self.settings, invitation, token)

    async def _lock(self, session: SystemSession, tenant_id: TenantId) -> TenantRow:
        row = await lock_tenant(session, tenant_id)
        if row is None or row.kind != "team":
            raise ApiError(Code.NOT_FOUND, "There is no such tenant.", "GET /api/admin/tenants lists them.")
        return row

    async def _record(
        self, session: SystemSession, call: Call[Caller], row: TenantRow, act: AuditAct, **detail: Any
    ) -> None:
        # in both trails: the operator's own, and that of the tenant it was done to
        caller = caller_of(call)
        for tenant_id in {caller.tenant_id, TenantId(row.tenant_id)}:
            subject = f"tenant:{row.tenant_id}"
            await self.audit.record_for(session, tenant_id, act, subject, actor_of(call, caller), **detail)

    async def _collect(self, row: TenantRow, theirs: RuntimeExport) -> TenantExport:
        members: list[Member] = []
        async with self.tenants.transaction(TenantId(row.tenant_id)) as session:
            more = True
            while more:
                after = members[-1].user_id if members else None
                page, more = cut(await list_members(session, after, _MEMBERS_AT_ONCE), _MEMBERS_AT_ONCE)
                members += page
            turns = await read_everything(session, SessionTurnRow, set())
            sessions = await read_everything(session, SessionRow, {"token_hash"})
            intents = await read_everything(session, IntentRow, set())
            audit = await read_everything(session, AuditRow, set())
        for one in sessions:
            one["history"] = [turn for turn in turns if turn["session_id"] == one["session_id"]]
        return TenantExport(
            tenant=show_tenant(row),
            members=members,
            sessions=sessions,
            intents=intents,
            audit=audit,
            workflows=theirs.workflows,
            executions=theirs.executions,
            artifacts=theirs.artifacts,
            browser_profiles=theirs.browser_profiles,
            credentials=theirs.credentials,
            credential_uses=theirs.credential_uses,
            egress_lists=theirs.egress_lists,
            egress_refusals=theirs.egress_refusals,
            tool_events=theirs.tool_events,
        )


async def ensure_operator(
    settings: Settings, system: SystemDatabase, hasher: PasswordHasher, audit: Audit, clock: Clock
) -> None:
    """Make the operator that the settings name, when this installation has none yet; several replicas may try.

    Raises:
        ValueError: the address is registered already, with another password: whoever did that is not made operator.
    """
    if settings.admin_email is None or settings.admin_password is None:
        return
    email = settings.admin_email
    password = settings.admin_password.get_secret_value()
    async with system.transaction() as session:
        if await has_operator(session):
            return
    password_hash = await hasher.hash(password)
    async with system.transaction() as session:
        user = await insert_user(
            session, email=email, display_name="", password_hash=password_hash, operator=True, now=clock()
        )
        if user is not None:
            await _give_tenant(session, user, audit, clock)
            log.info("first operator created", email=email)
            return
    async with system.transaction() as session:
        known = await find_by_email(session, email)
        if known is None or not await hasher.verify(known.password_hash, password):
            raise ValueError(
                f"{email} is registered with another password than STAGEDOOR_ADMIN_PASSWORD; registering with somebody "
                "else's address is easy, so give the right password or another address"
            )
        await make_operator(session, known.user_id)


async def _give_tenant(session: SystemSession, user: UserRow, audit: Audit, clock: Clock) -> None:
    now = clock()
    name = user.email.partition("@")[0]
    tenant = await insert_tenant(session, name=name, kind="team", limits=TenantLimits(), now=now)
    tenant_id, user_id = TenantId(tenant.tenant_id), UserId(user.user_id)
    await insert_membership(session, tenant_id, user_id, Role.OWNER, now)
    by = Actor(user_id, "", "start")
    await audit.record_for(session, tenant_id, AuditAct.REGISTERED, f"user:{user_id}", by, operator=True)
