"""Who gets in where: scopes for every endpoint and channel, the same-site rule, sockets, headers that lie."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from starlette.applications import Starlette

from contracts.api.account import AdminApi, AuthApi
from contracts.api.public import PublicApi
from contracts.declare import NOTHING, Channel, Endpoint, channels, endpoints
from contracts.errors import ApiError, Code
from contracts.identity import (
    ROLE_SCOPES,
    AuditAct,
    CreateApiKey,
    LogIn,
    LogOut,
    ReadAudit,
    Refresh,
    Role,
    Scope,
    TenantLimits,
)
from contracts.model import Nothing
from contracts.wiring.channel import Opening
from contracts.wiring.server import Call, Server, build_app
from experience.app import Ground
from experience.auth.guard import TICKET_SUBPROTOCOL
from experience.auth.opaque import GUEST, digest, mint
from experience.auth.principal import STARTS_WORK, Principal
from experience.store.db import SystemDatabase, SystemSession
from experience.store.guests import FoundGuest, find_guest
from experience.store.tables import SessionRow
from experience.store.tenants import insert_tenant, lock_tenant, save_tenant
from experience.store.users import make_operator
from tests.experience.test_account import join
from tests.support.asking import refused
from tests.support.front import PASSWORD, PUBLIC_URL, Front, TurnableClock, make_settings, open_front
from tests.support.postgres import Database

ENDPOINTS = dict(endpoints(PublicApi))
CHANNELS = dict(channels(PublicApi))
COOKIE = "__Host-stagedoor"


def compose_hollow(ground: Ground) -> Starlette:
    """Every declared endpoint behind the real guard, with a handler that only says that it was reached."""
    server: Server[Principal | None] = Server(PublicApi, ground.guard)

    async def reached(_call: Call[Principal | None], _request: Any) -> Nothing:
        raise ApiError(Code.LIMIT_REACHED, "reached")

    for endpoint in ENDPOINTS.values():
        server.on(endpoint, reached)
    return build_app(server.routes())


@pytest.fixture
async def hollow(experience_database: Database, tmp_path: Path, clock: TurnableClock) -> AsyncIterator[Front]:
    async with open_front(make_settings(experience_database, tmp_path), clock, compose_hollow) as opened:
        yield opened


async def welcome_guest(system: SystemDatabase, clock: TurnableClock) -> str:
    """A guest's session; answers its token."""
    token = mint(GUEST)
    async with system.transaction() as session:
        tenant = await insert_tenant(session, name="guest", kind="guest", limits=TenantLimits(), now=clock())
        row = SessionRow(
            session_id=uuid4(),
            tenant_id=tenant.tenant_id,
            user_id=None,
            token_hash=digest(token),
            label="",
            permissions=[],
            created_at=clock(),
            last_seen_at=clock(),
            expires_at=None,
        )
        session.add(row)
    return token


async def read_tokens(front: Front) -> dict[str, str]:
    """A token for each role, and one of an operator."""
    owner = await front.register()
    people = {"owner": owner} | {
        role.value: await join(front, owner, role) for role in (Role.ADMIN, Role.MEMBER, Role.VIEWER)
    }
    operator = await front.register()
    async with front.ground.system.transaction() as session:
        await make_operator(session, operator.grant.user.user_id)
    tokens = {name: person.grant.access_token or "" for name, person in {**people, "operator": operator}.items()}
    return tokens | {"guest": await welcome_guest(front.ground.system, front.clock)}


def scopes_of(name: str) -> frozenset[Scope]:
    return ROLE_SCOPES[Role.OWNER] | {Scope.INSTALLATION} if name == "operator" else ROLE_SCOPES[Role(name)]


def place_of(endpoint: Endpoint[Any, Any] | Channel[Any, Any, Any]) -> str:
    return endpoint.path.format(**dict.fromkeys(endpoint.path_fields, str(UUID(int=5))))


async def knock(front: Front, endpoint: Endpoint[Any, Any], headers: dict[str, str]) -> Code:
    body: Any = {} if endpoint.has_body else None
    answer = await front.visit(headers).request(endpoint.method, place_of(endpoint), json=body)
    return Code(answer.json()["code"])


async def test_every_endpoint_lets_in_exactly_who_has_its_scope(front: Front, hollow: Front) -> None:
    wrong: list[str] = []
    for name, token in (await read_tokens(front)).items():
        headers = {"authorization": f"Bearer {token}"}
        for called, endpoint in ENDPOINTS.items():
            allowed = endpoint.scope is None or endpoint.scope in scopes_of(name)
            # past the guard it meets the parser or the hollow handler
            expected = {Code.LIMIT_REACHED, Code.INVALID} if allowed else {Code.FORBIDDEN}
            code = await knock(hollow, endpoint, headers)
            if code not in expected:
                wrong.append(f"{called} as {name}: {code}")
    assert wrong == []


async def test_nobody_gets_in_without_credentials_but_where_everybody_may(hollow: Front) -> None:
    found = {name: await knock(hollow, endpoint, {}) for name, endpoint in ENDPOINTS.items()}
    shut = {name for name, code in found.items() if code is Code.UNAUTHENTICATED}
    assert shut == {name for name, endpoint in ENDPOINTS.items() if endpoint.scope is not None}
    open_to_all = {"register", "log_in", "refresh", "log_out", "redeem_link", "create_session", "get_artifact"}
    assert set(ENDPOINTS) - shut == open_to_all


async def test_every_scope_is_asked_for_somewhere_and_each_channel_asks_for_one() -> None:
    assert {endpoint.scope for endpoint in ENDPOINTS.values()} - {None} == set(Scope)
    assert all(channel.scope for channel in CHANNELS.values())


async def test_a_suspended_tenant_reads_and_starts_nothing(front: Front, hollow: Front) -> None:
    owner = await front.register()
    async with front.ground.system.transaction() as session:
        row = await lock_tenant(session, owner.grant.tenant.tenant_id)
        assert row is not None
        row.suspended = True
        await save_tenant(session, row)
    front.ground.identities.forget()
    assert (await owner.client.me(NOTHING)).tenant.suspended
    assert (await front.call().log_in(LogIn(email=owner.email, password=PASSWORD))).tenant.suspended
    for endpoint in ENDPOINTS.values():
        code = await knock(hollow, endpoint, owner.bearer)
        stopped = endpoint.scope in STARTS_WORK or endpoint.scope is Scope.INSTALLATION
        assert (code is Code.FORBIDDEN) is stopped, endpoint.path
    assert Scope.EXECUTION_CANCEL in (await owner.client.me(NOTHING)).scopes


async def test_credentials_that_are_none_are_refused_except_where_they_are_the_reason(hollow: Front) -> None:
    for header in ("Bearer nonsense", "Bearer a.b.c", "Bearer ss_unknown", f"Bearer sd_{'0' * 32}.x"):
        headers = {"authorization": header}
        assert await knock(hollow, PublicApi.get_status, headers) is Code.UNAUTHENTICATED
        assert await knock(hollow, PublicApi.create_session, headers) is Code.UNAUTHENTICATED
        assert await knock(hollow, PublicApi.refresh, headers) is Code.INVALID
    for header in ("", "Basic dXNlcjpwYXNz", "Bearer", "Bearer  "):
        assert await knock(hollow, PublicApi.me, {"authorization": header}) is Code.UNAUTHENTICATED
    stale = {"cookie": f"{COOKIE}=gone"}
    assert await knock(hollow, PublicApi.create_session, stale) is Code.LIMIT_REACHED
    assert await knock(hollow, PublicApi.me, stale) is Code.UNAUTHENTICATED


# --- the same-site rule ----------------------------------------------------------------------------------------------

FOREIGN: list[dict[str, str]] = [
    {"origin": "https://evil.test"},
    {"origin": "https://evil.test", "sec-fetch-site": "cross-site"},
    {"origin": "https://sibling.stagedoor.test", "sec-fetch-site": "same-site"},
    {"sec-fetch-site": "same-site"},
    {"origin": "null"},
]
OWN: list[dict[str, str]] = [
    {},
    {"origin": PUBLIC_URL},
    {"origin": PUBLIC_URL, "sec-fetch-site": "same-origin"},
    {"sec-fetch-site": "none"},
]


async def log_in_page(front: Front) -> tuple[str, dict[str, str]]:
    ada = await front.register()
    page = front.visit()
    await page.post("/api/auth/login", json={"email": ada.email, "password": PASSWORD, "transport": "cookie"})
    return ada.email, {"cookie": f"{COOKIE}={page.cookies[COOKIE]}"}


async def test_no_write_with_a_cookie_comes_from_another_site(front: Front, hollow: Front) -> None:
    _, cookie = await log_in_page(front)
    for endpoint in ENDPOINTS.values():
        is_write = endpoint.method != "GET"
        for headers in FOREIGN:
            code = await knock(hollow, endpoint, cookie | headers)
            assert (code is Code.CROSS_SITE) is is_write, (endpoint.path, headers, code)
        for headers in OWN:
            assert await knock(hollow, endpoint, cookie | headers) is not Code.CROSS_SITE, (endpoint.path, headers)


async def test_nor_does_a_write_that_needs_no_login(hollow: Front) -> None:
    # a foreign page could sign its visitor in as somebody else
    for endpoint in (AuthApi.register, AuthApi.log_in, AuthApi.redeem_link, PublicApi.create_session):
        for headers in FOREIGN:
            assert await knock(hollow, endpoint, headers) is Code.CROSS_SITE
        for headers in OWN:
            assert await knock(hollow, endpoint, headers) is not Code.CROSS_SITE


async def test_with_a_token_the_origin_does_not_matter(front: Front, hollow: Front) -> None:
    ada = await front.register()
    for headers in FOREIGN:
        assert await knock(hollow, AdminApi.invite_member, ada.bearer | headers) is Code.INVALID


async def test_a_refused_cross_site_write_is_in_the_trail(front: Front) -> None:
    email, cookie = await log_in_page(front)
    answer = await front.visit(cookie | FOREIGN[1]).post("/api/auth/keys", json={"name": "stolen"})
    assert (answer.status_code, answer.json()["code"]) == (403, "cross_site")
    assert "STAGEDOOR_PUBLIC_URL" in answer.json()["hint"]
    ada = await front.call().log_in(LogIn(email=email, password=PASSWORD))
    trail = await front.call(ada.access_token).read_audit(ReadAudit(act=AuditAct.CROSS_SITE_REFUSED))
    assert [(entry.subject, entry.detail) for entry in trail.items] == [
        ("path:/api/auth/keys", {"origin": "https://evil.test"})
    ]


# --- sockets ---------------------------------------------------------------------------------------------------------


def knock_socket(
    front: Front,
    headers: dict[str, str] | None = None,
    *,
    cookie: str | None = None,
    token: str | None = None,
    offers: tuple[str, ...] = (),
    channel: Channel[Any, Any, Any] = PublicApi.guide_stream,
) -> Any:
    opening = Opening(
        request_id="r",
        address="10.9.9.9",
        method="GET",
        path="/api/execution/x/stream",
        headers=headers or {},
        cookies={COOKIE: cookie} if cookie else {},
        subprotocols=offers,
        token=token,
    )
    return front.ground.guard.admit(opening, channel)


async def test_sockets_take_every_kind_of_credential(front: Front) -> None:
    ada = await front.register()
    _, header = await log_in_page(front)
    cookie = header["cookie"].partition("=")[2]
    access = ada.grant.access_token or ""
    key = (await ada.client.create_key(CreateApiKey(name="k"))).secret
    guest = await welcome_guest(front.ground.system, front.clock)
    assert (await knock_socket(front, {"origin": PUBLIC_URL}, cookie=cookie)).via == "login"
    for token, via in ((access, "token"), (key, "key"), (guest, "session")):
        assert (await knock_socket(front, {"authorization": f"Bearer {token}"})).via == via
        assert (await knock_socket(front, token=token)).via == via
    ticket = (await ada.client.create_ticket(NOTHING)).ticket
    assert (await knock_socket(front, offers=("stagedoor", f"{TICKET_SUBPROTOCOL}{ticket}"))).via == "token"
    # what was given for this very socket counts before the cookie that the browser sends with everything
    assert (await knock_socket(front, {"origin": PUBLIC_URL}, cookie=cookie, token=access)).user_id == (
        ada.grant.user.user_id
    )


async def test_a_token_in_the_query_counts_only_where_it_is_declared(front: Front) -> None:
    ada = await front.register()
    _, header = await log_in_page(front)
    cookie = header["cookie"].partition("=")[2]
    token = ada.grant.access_token
    native = PublicApi.execution_stream
    assert await refused(knock_socket(front, token=token, channel=native)) is Code.UNAUTHENTICATED
    by_cookie = await knock_socket(front, {"origin": PUBLIC_URL}, cookie=cookie, token=token, channel=native)
    assert by_cookie.via == "login"


async def test_sockets_of_other_pages_are_refused_whatever_they_bring(front: Front) -> None:
    ada = await front.register()
    _, header = await log_in_page(front)
    cookie = header["cookie"].partition("=")[2]
    ticket = (await ada.client.create_ticket(NOTHING)).ticket
    evil = {"origin": "https://evil.test"}
    bearer = {**evil, **ada.bearer}
    assert await refused(knock_socket(front, evil, cookie=cookie)) is Code.CROSS_SITE
    assert await refused(knock_socket(front, {}, cookie=cookie)) is Code.CROSS_SITE
    assert await refused(knock_socket(front, {"origin": "https://a.stagedoor.test"}, cookie=cookie)) is Code.CROSS_SITE
    assert await refused(knock_socket(front, bearer)) is Code.CROSS_SITE
    assert await refused(knock_socket(front, evil, token=ada.grant.access_token)) is Code.CROSS_SITE
    assert await refused(knock_socket(front, evil, offers=(f"{TICKET_SUBPROTOCOL}{ticket}",))) is Code.CROSS_SITE
    # and the refused attempt has not used the ticket up
    assert (await knock_socket(front, offers=(f"{TICKET_SUBPROTOCOL}{ticket}",))).via == "token"


async def test_sockets_without_a_live_credential_are_refused(front: Front) -> None:
    assert await refused(knock_socket(front)) is Code.UNAUTHENTICATED
    assert await refused(knock_socket(front, token="nonsense")) is Code.UNAUTHENTICATED
    assert await refused(knock_socket(front, offers=(TICKET_SUBPROTOCOL,))) is Code.UNAUTHENTICATED
    assert await refused(knock_socket(front, {"origin": PUBLIC_URL}, cookie="gone")) is Code.UNAUTHENTICATED
    ada = await front.register()
    key = await ada.client.create_key(CreateApiKey(name="k", scopes=[Scope.PROFILE]))
    assert await refused(knock_socket(front, token=key.secret)) is Code.FORBIDDEN


# --- as things change ------------------------------------------------------------------------------------------------


async def test_a_revocation_counts_in_other_processes_within_two_seconds(front: Front) -> None:
    ada = await front.register()
    async with open_front(front.ground.settings, front.clock) as other:
        there = other.call(ada.grant.access_token)
        await there.me(NOTHING)
        await ada.client.log_out(LogOut())
        assert await refused(ada.client.me(NOTHING)) is Code.UNAUTHENTICATED
        front.clock.advance(2)
        assert await refused(there.me(NOTHING)) is Code.UNAUTHENTICATED


async def test_many_requests_at_once_look_a_credential_up_once(
    front: Front, hollow: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = await welcome_guest(front.ground.system, front.clock)
    found: list[str] = []

    async def count(session: SystemSession, token_hash: bytes, now: datetime) -> FoundGuest | None:
        found.append("once")
        return await find_guest(session, token_hash, now)

    monkeypatch.setattr("experience.auth.identities.find_guest", count)
    headers = {"authorization": f"Bearer {token}"}
    endpoint = ENDPOINTS["list_executions"]
    codes = await asyncio.gather(*(knock(hollow, endpoint, headers) for _ in range(20)))
    assert set(codes) == {Code.LIMIT_REACHED}
    assert found == ["once"]


async def test_a_long_lived_socket_asks_again(front: Front) -> None:
    ada = await front.register()
    principal = await knock_socket(front, ada.bearer)
    guard = front.ground.guard
    assert await guard.renew(principal) == principal
    await ada.client.log_out(LogOut())
    assert await refused(guard.renew(principal)) is Code.UNAUTHENTICATED
    bob = await front.register()
    soon_over = await knock_socket(front, bob.bearer)
    front.clock.advance(601)
    assert await refused(guard.renew(soon_over)) is Code.UNAUTHENTICATED


async def test_a_token_that_has_ended_can_be_renewed_and_one_that_never_was_can_not(front: Front) -> None:
    ada = await front.register()
    front.clock.advance(601)
    for bearer, renewable in ((ada.bearer, True), ({"authorization": "Bearer nonsense"}, False)):
        with pytest.raises(ApiError) as caught:
            await knock_socket(front, bearer)
        assert (caught.value.code, caught.value.renewable) == (Code.UNAUTHENTICATED, renewable)


async def test_what_outlives_its_token_ends_with_its_login(front: Front) -> None:
    ada = await front.register()
    principal = (await knock_socket(front, token=ada.grant.access_token)).outlive_token()
    guard = front.ground.guard
    front.clock.advance(601)
    renewed = await guard.renew(principal)
    assert (renewed.user_id, renewed.scopes) == (principal.user_id, principal.scopes)
    assert renewed.expires_at is not None
    assert renewed.expires_at - front.clock() > timedelta(days=1)
    there = await front.call().refresh(Refresh(refresh_token=ada.grant.refresh_token or ""))
    await front.call(there.access_token).log_out(LogOut())
    assert await refused(guard.renew(renewed)) is Code.UNAUTHENTICATED
    assert await refused(guard.renew(principal)) is Code.UNAUTHENTICATED


async def test_a_guest_lives_in_a_tenant_of_its_own_until_its_session_ends(front: Front) -> None:
    first, second = [await welcome_guest(front.ground.system, front.clock) for _ in range(2)]
    one, two = await front.call(first).me(NOTHING), await front.call(second).me(NOTHING)
    assert (one.user, one.role, one.via) == (None, Role.GUEST, "session")
    assert one.tenant.tenant_id != two.tenant.tenant_id
    # guests are no members: there is nobody whose password or keys these could be
    keys = await front.visit({"authorization": f"Bearer {first}"}).get("/api/auth/keys")
    assert (keys.status_code, keys.json()["code"]) == (403, "forbidden")


async def test_headers_that_claim_an_identity_change_nothing(front: Front) -> None:
    ada, bob = await front.register(), await front.register()
    lies = {
        "X-Tenant-Id": str(bob.grant.tenant.tenant_id),
        "X-User-Id": str(bob.grant.user.user_id),
        "X-Internal-Token": "x",
        "X_Tenant_Id": str(bob.grant.tenant.tenant_id),
        "X-User-Role": "owner",
    }
    me = (await front.visit(ada.bearer | lies).get("/api/auth/me")).json()
    assert (me["user"]["email"], me["tenant"]["tenant_id"]) == (ada.email, str(ada.grant.tenant.tenant_id))
    assert (await front.visit(lies).get("/api/auth/me")).status_code == 401
