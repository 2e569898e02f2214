"""Members, invitations, roles and the audit trail."""

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from contracts.api.account import ListPage
from contracts.declare import NOTHING
from contracts.errors import ApiError, Code
from contracts.identity import (
    AuditAct,
    ChangeRole,
    CreateApiKey,
    Invite,
    LogIn,
    Member,
    MemberRef,
    ReadAudit,
    Refresh,
    Register,
    Role,
)
from contracts.model import UserId
from tests.experience.test_account import join
from tests.support.asking import refused
from tests.support.fake_tools import make_act
from tests.support.front import PASSWORD, Front, Person
from tests.support.postgres import Database


def ref(person: Person) -> MemberRef:
    return MemberRef(user_id=person.grant.user.user_id)


def give(person: Person, role: Role) -> ChangeRole:
    return ChangeRole.model_validate({"user_id": person.grant.user.user_id, "role": role})


async def test_a_tenants_members_are_listed_page_by_page(front: Front) -> None:
    owner = await front.register()
    joined = [await join(front, owner, role) for role in (Role.ADMIN, Role.MEMBER, Role.VIEWER)]
    await front.register()
    seen: list[Member] = []
    cursor = None
    for _ in range(2):
        page = await owner.client.list_members(ListPage(limit=2, cursor=cursor))
        seen, cursor = [*seen, *page.items], page.next_cursor
    assert cursor is None
    assert [(member.email, member.role) for member in seen] == [
        (owner.email, Role.OWNER),
        *((person.email, person.grant.role) for person in joined),
    ]


async def test_a_new_role_counts_with_the_next_request(front: Front) -> None:
    owner = await front.register()
    bob = await join(front, owner, Role.VIEWER)
    assert await refused(bob.client.list_members(ListPage())) is Code.FORBIDDEN
    changed = await owner.client.change_role(give(bob, Role.ADMIN))
    assert (changed.role, changed.email) == (Role.ADMIN, bob.email)
    assert (await bob.client.list_members(ListPage())).items
    assert (await bob.client.me(NOTHING)).role is Role.ADMIN


async def test_a_removed_member_loses_logins_tokens_and_keys_at_once(front: Front) -> None:
    owner = await front.register()
    bob = await join(front, owner, Role.MEMBER)
    key = front.call((await bob.client.create_key(CreateApiKey(name="bob's"))).secret)
    await key.me(NOTHING)
    await owner.client.remove_member(ref(bob))
    assert await refused(bob.client.me(NOTHING)) is Code.UNAUTHENTICATED
    assert await refused(key.me(NOTHING)) is Code.UNAUTHENTICATED
    token = Refresh(refresh_token=bob.grant.refresh_token or "")
    assert await refused(front.call().refresh(token)) is Code.UNAUTHENTICATED
    assert await refused(owner.client.remove_member(ref(bob))) is Code.NOT_FOUND
    # and coming back later revives none of them
    invitation = await owner.client.invite_member(Invite(email=bob.email))
    await front.call().register(Register(email=bob.email, password=PASSWORD, invitation=invitation.token))
    assert await refused(bob.client.me(NOTHING)) is Code.UNAUTHENTICATED
    assert await refused(key.me(NOTHING)) is Code.UNAUTHENTICATED


async def test_the_last_owner_stays(front: Front) -> None:
    owner = await front.register()
    await join(front, owner, Role.ADMIN)
    assert await refused(owner.client.remove_member(ref(owner))) is Code.CONFLICT
    assert await refused(owner.client.change_role(give(owner, Role.ADMIN))) is Code.CONFLICT
    assert (await owner.client.change_role(give(owner, Role.OWNER))).role is Role.OWNER


async def test_of_two_owners_who_demote_each_other_at_once_one_stays(front: Front) -> None:
    for _ in range(5):
        ada = await front.register()
        bob = await join(front, ada, Role.OWNER)

        async def demote(by: Person, whom: Person) -> str:
            try:
                await by.client.change_role(give(whom, Role.VIEWER))
            except ApiError as error:
                return error.code
            return "done"

        async with asyncio.TaskGroup() as group:
            first = group.create_task(demote(ada, bob))
            second = group.create_task(demote(bob, ada))
        # the second is too late: by then it is the last owner's, or its caller is none any more
        assert sorted([first.result(), second.result()]) in (["conflict", "done"], ["done", "forbidden"])


async def test_an_admin_neither_makes_nor_touches_owners(front: Front) -> None:
    owner = await front.register()
    admin, member = await join(front, owner, Role.ADMIN), await join(front, owner, Role.MEMBER)
    await join(front, owner, Role.OWNER)
    assert await refused(admin.client.change_role(give(member, Role.OWNER))) is Code.FORBIDDEN
    assert await refused(admin.client.change_role(give(admin, Role.OWNER))) is Code.FORBIDDEN
    assert await refused(admin.client.change_role(give(owner, Role.VIEWER))) is Code.FORBIDDEN
    assert await refused(admin.client.remove_member(ref(owner))) is Code.FORBIDDEN
    forbidden = Invite(email="boss@example.com", role=Role.OWNER)
    assert await refused(admin.client.invite_member(forbidden)) is Code.FORBIDDEN
    assert (await admin.client.change_role(give(member, Role.ADMIN))).role is Role.ADMIN
    await admin.client.remove_member(ref(member))


async def test_members_of_other_tenants_are_unknown(front: Front) -> None:
    ada, bob = await front.register(), await front.register()
    await join(front, bob, Role.OWNER)
    for unknown in (bob.grant.user.user_id, UserId(UUID(int=1))):
        assert await refused(ada.client.remove_member(MemberRef(user_id=unknown))) is Code.NOT_FOUND
        change = ChangeRole(user_id=unknown, role=Role.VIEWER)
        assert await refused(ada.client.change_role(change)) is Code.NOT_FOUND


async def test_a_second_invitation_voids_the_first_and_members_are_not_invited(front: Front) -> None:
    owner = await front.register()
    email = f"{uuid4().hex}@example.com"
    first = await owner.client.invite_member(Invite(email=email, role=Role.ADMIN))
    second = await owner.client.invite_member(Invite(email=email, role=Role.VIEWER))
    old = Register(email=email, password=PASSWORD, invitation=first.token)
    assert await refused(front.call().register(old)) is Code.NOT_FOUND
    grant = await front.call().register(Register(email=email, password=PASSWORD, invitation=second.token))
    assert grant.role is Role.VIEWER
    assert await refused(owner.client.invite_member(Invite(email=email))) is Code.CONFLICT


async def test_the_trail_tells_who_did_what_from_where(front: Front) -> None:
    owner = await front.register()
    bob = await join(front, owner, Role.MEMBER)
    await owner.client.change_role(give(bob, Role.VIEWER))
    await refused(front.call(address="198.51.100.7").log_in(LogIn(email=owner.email, password="wrong password")))
    acts = [entry.act for entry in (await owner.client.read_audit(ReadAudit())).items]
    assert acts == [
        AuditAct.LOGIN_REFUSED,
        AuditAct.MEMBER_CHANGED,
        AuditAct.REGISTERED,
        AuditAct.MEMBER_JOINED,
        AuditAct.MEMBER_INVITED,
        AuditAct.REGISTERED,
    ]
    [refusal] = (await owner.client.read_audit(ReadAudit(act=AuditAct.LOGIN_REFUSED))).items
    assert (refusal.address, refusal.user_id) == ("198.51.100.7", None)
    assert refusal.subject == f"user:{owner.grant.user.user_id}"
    [change] = (await owner.client.read_audit(ReadAudit(act=AuditAct.MEMBER_CHANGED))).items
    assert change.detail == {"before": "member", "after": "viewer"}
    assert change.user_id == owner.grant.user.user_id
    assert change.request_id


async def test_the_trail_is_filtered_and_paged(front: Front) -> None:
    owner = await front.register()
    for number in range(5):
        await owner.client.create_key(CreateApiKey(name=f"k{number}"))
    front.clock.advance(60)
    middle = front.clock()
    await owner.client.create_key(CreateApiKey(name="late"))
    names: list[str] = []
    cursor = None
    for _ in range(3):
        page = await owner.client.read_audit(ReadAudit(act=AuditAct.KEY_CREATED, limit=2, cursor=cursor))
        names, cursor = [*names, *(entry.detail["name"] for entry in page.items)], page.next_cursor
    assert names == ["late", "k4", "k3", "k2", "k1", "k0"]
    since = await owner.client.read_audit(ReadAudit(since=middle))
    assert [entry.detail.get("name") for entry in since.items] == ["late"]
    until = await owner.client.read_audit(ReadAudit(act=AuditAct.KEY_CREATED, until=middle - timedelta(seconds=30)))
    assert len(until.items) == 5
    nobody = await owner.client.read_audit(ReadAudit(user_id=UserId(uuid4())))
    assert nobody.items == []
    for bad in ("x", "x.5", "9" * 30):
        assert await refused(owner.client.read_audit(ReadAudit(cursor=bad))) is Code.INVALID


async def test_what_executions_did_stands_in_the_trail_in_its_place(front: Front) -> None:
    owner = await front.register()
    began = front.clock() + timedelta(seconds=1)
    order: list[str] = []
    for number in range(6):
        front.clock.advance(10)
        if number in (1, 2, 5):
            front.runtime.acts.append(make_act(number, front.clock()))
            order.append(f"credential:{number}")
        else:
            order.append((await owner.client.create_key(CreateApiKey(name=f"k{number}"))).key.name)
    seen: list[str] = []
    cursor, pages = None, 0
    while cursor is not None or pages == 0:
        page = await owner.client.read_audit(ReadAudit(since=began, limit=2, cursor=cursor))
        seen += [entry.detail.get("name") or entry.subject for entry in page.items]
        cursor, pages = page.next_cursor, pages + 1
    assert (seen, pages) == (order[::-1], 3)
    (only,) = (await owner.client.read_audit(ReadAudit(act=AuditAct.CREDENTIAL_USED, limit=1))).items
    assert (only.subject, only.id) == ("credential:5", front.runtime.acts[-1].act_id)
    front.runtime.away = True
    assert len((await owner.client.read_audit(ReadAudit(act=AuditAct.KEY_CREATED))).items) == 3
    assert await refused(owner.client.read_audit(ReadAudit())) is Code.UNAVAILABLE


@pytest.mark.parametrize("edge", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
async def test_times_that_utc_does_not_have_are_refused(front: Front, edge: str) -> None:
    owner = await front.register()
    for name in ("since", "until"):
        answer = await front.visit(owner.bearer).get("/api/admin/audit", params={name: edge})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid")


async def test_a_trail_is_its_tenants_own(front: Front) -> None:
    ada, bob = await front.register(), await front.register()
    subjects = {entry.subject for entry in (await ada.client.read_audit(ReadAudit())).items}
    assert subjects == {f"user:{ada.grant.user.user_id}"}
    assert (await bob.client.read_audit(ReadAudit(user_id=ada.grant.user.user_id))).items == []


@pytest.mark.parametrize("role", ["experience_app", "experience_system"])
@pytest.mark.parametrize("change", ["UPDATE audit_entries SET act = 'x'", "DELETE FROM audit_entries"])
async def test_nobody_changes_the_trail(front: Front, experience_database: Database, role: str, change: str) -> None:
    ada = await front.register()
    connection = await asyncpg.connect(experience_database.dsn(role), timeout=10)
    await connection.execute("SELECT set_config('app.tenant_id', $1, false)", str(ada.grant.tenant.tenant_id))
    assert await connection.fetchval("SELECT count(*) FROM audit_entries")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute(change)
    await connection.close()
