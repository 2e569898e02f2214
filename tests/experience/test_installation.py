"""Tenants of the installation, and its first operator."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from contracts.api.account import ListPage
from contracts.declare import NOTHING
from contracts.errors import Code
from contracts.identity import (
    AuditAct,
    CreateApiKey,
    CreateTenant,
    Invite,
    LogIn,
    ReadAudit,
    Register,
    Role,
    Scope,
    TenantLimits,
    TenantRef,
    UpdateTenant,
)
from contracts.model import TenantId
from contracts.shortcoming import FoundShortcoming, Shortcoming
from contracts.wiring.server import Server
from experience.app import serve_identity
from experience.background import run_beside
from experience.installation import ensure_operator
from experience.store.migrate import migrate
from experience.store.users import make_operator
from tests.experience.test_account import join
from tests.support.asking import refused
from tests.support.front import PASSWORD, Front, IdentityApi, Person, TurnableClock, make_settings, open_front
from tests.support.postgres import Database


@pytest.fixture
async def operator(front: Front) -> Person:
    """Somebody who runs the installation."""
    person = await front.register()
    async with front.ground.system.transaction() as session:
        await make_operator(session, person.grant.user.user_id)
    front.ground.identities.forget()
    return person


def ref(person: Person) -> TenantRef:
    return TenantRef(tenant_id=person.grant.tenant.tenant_id)


def change(person: Person, **fields: Any) -> UpdateTenant:
    return UpdateTenant(tenant_id=person.grant.tenant.tenant_id, **fields)


async def test_an_operator_makes_a_tenant_for_somebody_new(front: Front, operator: Person) -> None:
    limits = TenantLimits(max_workflows=3)
    made = await operator.client.create_tenant(CreateTenant(name="Acme", owner_email="boss@acme.test", limits=limits))
    assert (made.invitation.email, made.invitation.role) == ("boss@acme.test", Role.OWNER)
    boss = Register(email="boss@acme.test", password=PASSWORD, invitation=made.invitation.token)
    grant = await front.call().register(boss)
    assert (grant.tenant, grant.role) == (made.tenant, Role.OWNER)
    assert front.runtime.states[made.tenant.tenant_id].max_workflows == 3


async def test_operators_alone_read_what_protects_less_than_it_could(front: Front, operator: Person) -> None:
    found = FoundShortcoming(shortcoming=Shortcoming.CODE_REFUSED, detail="Install bubblewrap.", workers=2)
    front.runtime.shortcomings.append(found)
    assert (await operator.client.list_shortcomings(NOTHING)).items == [found]
    assert front.runtime.shortcomings_known == set(Shortcoming), "Runtime tells of those alone that Experience knows"
    owner = await front.register()
    assert await refused(owner.client.list_shortcomings(NOTHING)) is Code.FORBIDDEN


async def test_somebody_known_becomes_owner_by_the_invitation_only(front: Front, operator: Person) -> None:
    """Whoever has registered the address may be a stranger: nobody has verified it."""
    ada = await front.register()
    made = await operator.client.create_tenant(CreateTenant(name="Second", owner_email=ada.email))
    there = LogIn(email=ada.email, password=PASSWORD, tenant_id=made.tenant.tenant_id)
    assert await refused(front.call().log_in(there)) is Code.FORBIDDEN
    join = Register(email=ada.email, password=PASSWORD, invitation=made.invitation.token)
    grant = await front.call().register(join)
    assert (grant.user, grant.tenant, grant.role) == (ada.grant.user, made.tenant, Role.OWNER)
    assert (await front.call().log_in(there)).role is Role.OWNER
    # defaults are what Runtime gives a tenant it has not heard of: nothing to tell
    assert made.tenant.tenant_id not in front.runtime.states


async def test_tenants_are_listed_page_by_page(front: Front, operator: Person) -> None:
    mine = {(await front.register()).grant.tenant.tenant_id for _ in range(3)}
    seen: list[TenantId] = []
    cursor = None
    while True:
        page = await operator.client.list_tenants(ListPage(cursor=cursor, limit=50))
        seen += [tenant.tenant_id for tenant in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert mine <= set(seen)
    assert len(seen) == len(set(seen))


async def test_limits_and_suspension_reach_runtime_and_the_tenant(front: Front, operator: Person) -> None:
    ada = await front.register()
    limits = TenantLimits(max_concurrent_executions=1, retention_days=7)
    tenant = await operator.client.update_tenant(change(ada, name="Renamed", suspended=True, limits=limits))
    assert (tenant.name, tenant.suspended, tenant.limits) == ("Renamed", True, limits)
    state = front.runtime.states[tenant.tenant_id]
    assert (state.suspended, state.max_concurrent_executions, state.retention_days) == (True, 1, 7)
    assert Scope.EXECUTION_WRITE not in (await ada.client.me(NOTHING)).scopes
    # a change of something else leaves the limits alone
    later = await operator.client.update_tenant(change(ada, suspended=False))
    assert (later.suspended, later.limits) == (False, limits)
    assert Scope.EXECUTION_WRITE in (await ada.client.me(NOTHING)).scopes


async def test_runtime_hears_what_it_missed_once_it_is_back(
    front: Front, operator: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = await front.register()
    front.runtime.away = True
    assert (await operator.client.update_tenant(change(ada, suspended=True))).suspended
    assert ada.grant.tenant.tenant_id not in front.runtime.states
    front.runtime.away = False
    monkeypatch.setattr("experience.installation.TELL_EVERY_S", 0.01)
    front.runtime.heard.clear()
    work = serve_identity(Server(IdentityApi, front.ground.guard), front.ground)
    async with asyncio.timeout(10), run_beside({"tenant states": work["tenant states"]}):
        await front.runtime.heard.wait()
    assert front.runtime.states[ada.grant.tenant.tenant_id].suspended


async def test_an_export_holds_everything_and_no_secret(front: Front, operator: Person) -> None:
    ada = await front.register()
    key = await ada.client.create_key(CreateApiKey(name="ci"))
    bob = await join(front, ada, Role.VIEWER)
    answer = await front.visit(operator.bearer).get(f"/api/admin/tenants/{ada.grant.tenant.tenant_id}/export")
    export = answer.json()
    assert [member["email"] for member in export["members"]] == [ada.email, bob.email]
    assert export["workflows"] == [{"of": str(ada.grant.tenant.tenant_id)}]
    assert "key_created" in {entry["act"] for entry in export["audit"]}
    for secret in (key.secret.partition(".")[2], ada.grant.refresh_token or "", "argon2", "hash"):
        assert secret not in answer.text


async def test_only_a_suspended_tenant_can_be_deleted_and_then_nothing_is_left(
    front: Front, operator: Person, experience_database: Database
) -> None:
    ada = await front.register()
    bob, elsewhere = await join(front, ada, Role.MEMBER), await front.register()
    invitation = await ada.client.invite_member(Invite(email=elsewhere.email))
    await front.call().register(Register(email=elsewhere.email, password=PASSWORD, invitation=invitation.token))
    await ada.client.create_key(CreateApiKey(name="ci"))
    await ada.client.create_ticket(NOTHING)
    assert await refused(operator.client.delete_tenant(ref(ada))) is Code.CONFLICT
    await operator.client.update_tenant(change(ada, suspended=True))
    front.runtime.busy = True
    assert await refused(operator.client.delete_tenant(ref(ada))) is Code.CONFLICT
    front.runtime.busy = False
    front.runtime.away = True
    assert await refused(operator.client.delete_tenant(ref(ada))) is Code.UNAVAILABLE
    front.runtime.away = False
    await operator.client.delete_tenant(ref(ada))
    assert front.runtime.deleted == [ada.grant.tenant.tenant_id]
    assert await refused(bob.client.me(NOTHING)) is Code.UNAUTHENTICATED
    assert await refused(operator.client.delete_tenant(ref(ada))) is Code.NOT_FOUND
    connection = await asyncpg.connect(experience_database.superuser_dsn, timeout=10)
    tables = await connection.fetch(
        "SELECT table_name FROM information_schema.columns WHERE table_schema = 'experience' "
        "AND column_name = 'tenant_id'"
    )
    assert len(tables) == 13
    for (table,) in tables:
        count = f"SELECT count(*) FROM experience.{table} WHERE tenant_id = $1"
        assert await connection.fetchval(count, ada.grant.tenant.tenant_id) == 0, table
    users = "SELECT email FROM experience.users WHERE email = ANY($1)"
    left = await connection.fetch(users, [ada.email, bob.email, elsewhere.email])
    await connection.close()
    # who belongs to another tenant, too, stays
    assert [row["email"] for row in left] == [elsewhere.email]
    deleted = await operator.client.read_audit(ReadAudit(act=AuditAct.TENANT_DELETED))
    assert [entry.subject for entry in deleted.items] == [f"tenant:{ada.grant.tenant.tenant_id}"]


async def test_an_operator_cannot_delete_the_ground_they_stand_on(operator: Person) -> None:
    await operator.client.update_tenant(change(operator, suspended=True))
    assert await refused(operator.client.delete_tenant(ref(operator))) is Code.CONFLICT
    await operator.client.update_tenant(change(operator, suspended=False))


async def test_unknown_tenants_are_unknown(operator: Person) -> None:
    unknown = TenantId(UUID(int=9))
    assert await refused(operator.client.export_tenant(TenantRef(tenant_id=unknown))) is Code.NOT_FOUND
    assert await refused(operator.client.delete_tenant(TenantRef(tenant_id=unknown))) is Code.NOT_FOUND
    update = UpdateTenant(tenant_id=unknown, suspended=True)
    assert await refused(operator.client.update_tenant(update)) is Code.NOT_FOUND


async def test_what_operators_do_is_in_both_trails(front: Front, operator: Person) -> None:
    ada = await front.register()
    await operator.client.update_tenant(change(ada, suspended=True))
    for reader in (ada, operator):
        [entry] = (await reader.client.read_audit(ReadAudit(act=AuditAct.TENANT_CHANGED))).items
        assert (entry.user_id, entry.detail) == (operator.grant.user.user_id, {"suspended": True})


# --- the first operator ----------------------------------------------------------------------------------------------


@pytest.fixture
async def empty(make_database: Callable[[], Database], tmp_path: Path) -> AsyncIterator[Front]:
    """A new installation that names its first operator."""
    database = make_database()
    await migrate(database.dsn("experience_owner"))
    named = {"admin_email": "Root@Example.com", "admin_password": PASSWORD}
    async with open_front(make_settings(database, tmp_path, **named), TurnableClock()) as opened:
        yield opened


async def start(front: Front) -> None:
    ground = front.ground
    await ensure_operator(ground.settings, ground.system, ground.hasher, ground.audit, ground.clock)


async def test_replicas_that_start_together_make_one_operator(empty: Front) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(start(empty))
    grant = await empty.call().log_in(LogIn(email="root@example.com", password=PASSWORD))
    assert (grant.user.operator, grant.role) == (True, Role.OWNER)
    root = empty.call(grant.access_token)
    assert len((await root.list_tenants(ListPage())).items) == 1
    assert Scope.INSTALLATION in (await root.me(NOTHING)).scopes
    # once there is one, the settings make no other
    await start(empty)
    assert len((await root.list_tenants(ListPage())).items) == 1


async def test_who_took_the_operators_address_first_is_not_made_operator(empty: Front) -> None:
    squatter = Register(email="root@example.com", password="the squatter's own")
    grant = await empty.call().register(squatter)
    with pytest.raises(ValueError, match="registered with another password"):
        await start(empty)
    assert await refused(empty.call(grant.access_token).list_tenants(ListPage())) is Code.FORBIDDEN


async def test_the_right_person_who_registered_before_is(empty: Front) -> None:
    await empty.call().register(Register(email="root@example.com", password=PASSWORD))
    await start(empty)
    grant = await empty.call().log_in(LogIn(email="root@example.com", password=PASSWORD))
    assert grant.user.operator
