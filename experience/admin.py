"""Members of a tenant, its audit trail, and the installation's tenants."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from contracts.api.account import AdminApi, ListPage
from contracts.declare import NOTHING
from contracts.errors import ApiError, Code
from contracts.identity import (
    RUNTIME_ACTS,
    AuditAct,
    AuditEntry,
    ChangeRole,
    Invitation,
    Invite,
    Member,
    MemberRef,
    ReadAudit,
    Role,
)
from contracts.model import Nothing, Page, UserId
from contracts.tool import Act, ReadActs
from contracts.wiring.server import Call, Server
from experience.audit import Audit, Clock
from experience.auth.identities import Identities
from experience.auth.opaque import INVITATION, digest, mint
from experience.auth.principal import Principal, actor_of, caller_of
from experience.runtime_calls import RuntimeCalls
from experience.settings import Settings
from experience.store.audit import list_entries
from experience.store.db import TenantDatabase, TenantSession
from experience.store.members import (
    delete_member,
    find_member,
    is_member,
    list_members,
    lock_owners,
    make_invitation,
    replace_invitation,
    set_role,
)
from experience.store.paging import cut, read_pair_cursor, read_uuid_cursor, write_pair_cursor
from experience.store.tables import InvitationRow

Caller = Principal | None
INVITATION_LIFETIME = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Admin:
    """Handlers for owners and admins of a tenant."""

    settings: Settings
    tenants: TenantDatabase
    runtime: RuntimeCalls
    identities: Identities
    audit: Audit
    clock: Clock

    def serve(self, server: Server[Caller]) -> None:
        """Bind the handlers."""
        server.on(AdminApi.list_members, self.list_members)
        server.on(AdminApi.invite_member, self.invite_member)
        server.on(AdminApi.change_role, self.change_role)
        server.on(AdminApi.remove_member, self.remove_member)
        server.on(AdminApi.read_audit, self.read_audit)

    async def list_members(self, call: Call[Caller], request: ListPage) -> Page[Member]:
        """Who belongs to the caller's tenant."""
        async with self.tenants.transaction(caller_of(call).tenant_id) as session:
            members = await list_members(session, read_uuid_cursor(request.cursor), request.limit)
        page, more = cut(members, request.limit)
        return Page[Member](items=list(page), next_cursor=str(page[-1].user_id) if more else None)

    async def invite_member(self, call: Call[Caller], request: Invite) -> Invitation:
        """Invite an address; an earlier invitation of the same address is void."""
        caller = caller_of(call)
        if request.role is Role.OWNER and caller.role is not Role.OWNER:
            raise ApiError(Code.FORBIDDEN, "Only an owner can invite an owner.", "Invite with another role.")
        token = mint(INVITATION)
        now = self.clock()
        invitation = make_invitation(
            tenant_id=caller.tenant_id,
            email=request.email,
            role=request.role,
            token_hash=digest(token),
            invited_by=caller.user_id,
            now=now,
            until=now + INVITATION_LIFETIME,
        )
        async with self.tenants.transaction(caller.tenant_id) as session:
            if await is_member(session, request.email):
                raise ApiError(Code.CONFLICT, "This address belongs to a member already.", "Change their role instead.")
            await replace_invitation(session, invitation)
            by = actor_of(call, caller)
            subject = f"invitation:{invitation.invitation_id}"
            await self.audit.record(
                session, AuditAct.MEMBER_INVITED, subject, by, email=request.email, role=request.role.value
            )
        return show_invitation(self.settings, invitation, token)

    async def change_role(self, call: Call[Caller], request: ChangeRole) -> Member:
        """Give a member another role, which counts with the member's next request."""
        caller = caller_of(call)
        async with self.tenants.transaction(caller.tenant_id) as session:
            member = await self._lock_member(session, caller, request.user_id, request.role)
            await set_role(session, request.user_id, request.role)
            by = actor_of(call, caller)
            detail = {"before": member.role.value, "after": request.role.value}
            await self.audit.record(session, AuditAct.MEMBER_CHANGED, f"user:{request.user_id}", by, **detail)
        self.identities.forget()
        return member.model_copy(update={"role": request.role})

    async def remove_member(self, call: Call[Caller], request: MemberRef) -> Nothing:
        """Remove a member with all credentials for this tenant."""
        caller = caller_of(call)
        async with self.tenants.transaction(caller.tenant_id) as session:
            member = await self._lock_member(session, caller, request.user_id, None)
            await delete_member(session, request.user_id)
            by = actor_of(call, caller)
            subject = f"user:{request.user_id}"
            await self.audit.record(session, AuditAct.MEMBER_REMOVED, subject, by, role=member.role.value)
        self.identities.forget()
        return NOTHING

    async def read_audit(self, call: Call[Caller], request: ReadAudit) -> Page[AuditEntry]:
        """The tenant's trail: what people did, from here, and what executions did, from Runtime."""
        caller = caller_of(call)
        before, after = read_pair_cursor(request.cursor)
        entries: list[AuditEntry] = []
        acts: list[Act] = []
        if request.act not in RUNTIME_ACTS:
            async with self.tenants.transaction(caller.tenant_id) as session:
                entries = await list_entries(session, request, before)
        if request.act is None or request.act in RUNTIME_ACTS:
            client = self.runtime.speak_for(caller.tenant_id, caller.user_id, call.request_id)
            wanted = request.model_dump(exclude={"cursor"}) | {"cursor": after}
            acts = (await client.list_acts(ReadActs(**wanted))).items
        return merge_trails(entries, acts, request)

    async def _lock_member(
        self, session: TenantSession, caller: Principal, user_id: UserId, becomes: Role | None
    ) -> Member:
        """The member as nobody else can change them until the end, when the caller may change them at all."""
        owners = await lock_owners(session)
        member = await find_member(session, user_id)
        if member is None:
            raise ApiError(Code.NOT_FOUND, "Your tenant has no such member.")
        if Role.OWNER in (member.role, becomes) and caller.role is not Role.OWNER:
            raise ApiError(Code.FORBIDDEN, "Only an owner can make, change or remove an owner.", "Ask an owner.")
        if owners == {user_id} and becomes is not Role.OWNER:
            detail = "This is the tenant's last owner."
            raise ApiError(Code.CONFLICT, detail, "Make somebody else an owner first.")
        return member


def merge_trails(entries: Sequence[AuditEntry], acts: Sequence[Act], request: ReadAudit) -> Page[AuditEntry]:
    """One page of both lists, newest first, and where each goes on behind it. Both are one longer than the page."""
    before, after = read_pair_cursor(request.cursor)
    # a merge keeps the order of each list, along which its cursor runs, whatever the clocks say
    lists: tuple[Sequence[AuditEntry | Act], Sequence[AuditEntry | Act]] = (entries, acts)
    merged = list(heapq.merge(*lists, key=lambda one: -one.at.timestamp()))
    page, more = cut(merged, request.limit)
    for one in page:  # the last of each is where it goes on
        before, after = (before, one.cursor) if isinstance(one, Act) else (int(one.id), after)
    shown = [_show_act(one) if isinstance(one, Act) else one for one in page]
    return Page[AuditEntry](items=shown, next_cursor=write_pair_cursor(before, after) if more else None)


def _show_act(act: Act) -> AuditEntry:
    return AuditEntry(
        id=act.act_id,
        at=act.at,
        act=act.act,
        user_id=act.user_id,
        subject=act.subject,
        address="",
        request_id="",
        detail=act.detail,
    )


def show_invitation(settings: Settings, invitation: InvitationRow, token: str) -> Invitation:
    """An invitation with its token, for the one time it is shown."""
    return Invitation(
        email=invitation.email,
        role=Role(invitation.role),
        token=token,
        # behind the #, like a sign-in code
        url=f"{settings.public_url}/sign-in#invitation={token}",
        expires_at=invitation.expires_at,
    )
