"""Ways in and out, over the real application and the real database."""

import asyncio
import base64
import hashlib
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import argon2
import asyncpg
import httpx
import jwt
import pytest

from contracts.declare import NOTHING
from contracts.errors import ApiError, Code
from contracts.identity import (
    AuditAct,
    CreateSignInLink,
    Grant,
    Invite,
    LogIn,
    LogOut,
    MemberRef,
    ReadAudit,
    RedeemSignInLink,
    Refresh,
    Register,
    Role,
)
from contracts.model import TenantId
from experience.auth.cookies import LOGIN_LONGEST
from experience.auth.identities import LOGIN_IDLE
from tests.support.asking import refused
from tests.support.front import PASSWORD, Front, TurnableClock, make_settings, open_front
from tests.support.postgres import Database

COOKIE = "__Host-stagedoor"


async def sign_in_page(front: Front, email: str) -> httpx.AsyncClient:
    page = front.visit()
    body = {"email": email, "password": PASSWORD, "transport": "cookie"}
    assert (await page.post("/api/auth/login", json=body)).status_code == 200
    return page


async def test_registering_makes_a_user_with_a_tenant_of_their_own(front: Front) -> None:
    ada = await front.register(display_name="Ada", tenant_name="Engines")
    me = await ada.client.me(NOTHING)
    assert me.user is not None
    assert (me.user.email, me.user.display_name, me.user.operator) == (ada.email, "Ada", False)
    assert (me.tenant.name, me.role, me.via, me.insecure) == ("Engines", Role.OWNER, "token", False)


async def test_an_address_registers_once_also_when_asked_at_the_same_moment(front: Front) -> None:
    ada = await front.register()
    again = Register(email=ada.email.upper(), password=PASSWORD)
    assert await refused(front.call().register(again)) is Code.CONFLICT

    async def attempt() -> str:
        try:
            await front.call().register(Register(email=f"twin-{ada.email}", password=PASSWORD))
        except ApiError as error:
            return error.code
        return "done"

    async with asyncio.TaskGroup() as group:
        twins = [group.create_task(attempt()) for _ in range(3)]
    assert sorted(twin.result() for twin in twins) == ["conflict", "conflict", "done"]


async def test_where_registration_is_by_invitation_only_the_invited_get_in(
    experience_database: Database, tmp_path: Path, front: Front
) -> None:
    owner = await front.register()
    closed = make_settings(experience_database, tmp_path, registration="invite")
    async with open_front(closed, front.clock) as invite_only:
        uninvited = Register(email="eve@example.com", password=PASSWORD)
        assert await refused(invite_only.call().register(uninvited)) is Code.FORBIDDEN
        invitation = await owner.client.invite_member(Invite(email="Bob@Example.com ", role=Role.VIEWER))
        bob = Register(email="bob@example.com", password=PASSWORD, invitation=invitation.token)
        grant = await invite_only.call().register(bob)
    assert (grant.tenant, grant.role) == (owner.grant.tenant, Role.VIEWER)


async def test_an_invitation_lets_one_person_in_once_and_only_the_one_it_names(front: Front) -> None:
    owner = await front.register()
    invitation = await owner.client.invite_member(Invite(email="carol@example.com", role=Role.MEMBER))
    assert invitation.url.endswith(f"/sign-in#invitation={invitation.token}")
    stranger = Register(email="mallory@example.com", password=PASSWORD, invitation=invitation.token)
    assert await refused(front.call().register(stranger)) is Code.FORBIDDEN
    carol = Register(email="carol@example.com", password=PASSWORD, invitation=invitation.token)
    assert (await front.call().register(carol)).role is Role.MEMBER
    again = Register(email="carol@example.com", password=PASSWORD, invitation=invitation.token)
    assert await refused(front.call().register(again)) is Code.NOT_FOUND
    # and the stranger's failed attempt left no user behind
    log_in = LogIn(email="mallory@example.com", password=PASSWORD)
    assert await refused(front.call().log_in(log_in)) is Code.UNAUTHENTICATED


async def test_an_invitation_ends_after_a_week(front: Front) -> None:
    owner = await front.register()
    invitation = await owner.client.invite_member(Invite(email="late@example.com"))
    front.clock.advance(timedelta(days=7, seconds=1).total_seconds())
    late = Register(email="late@example.com", password=PASSWORD, invitation=invitation.token)
    assert await refused(front.call().register(late)) is Code.NOT_FOUND


async def test_somebody_known_joins_a_second_tenant_with_the_password_they_have(front: Front) -> None:
    owner, dora = await front.register(), await front.register()
    invitation = await owner.client.invite_member(Invite(email=dora.email, role=Role.ADMIN))
    wrong = Register(email=dora.email, password="not her password", invitation=invitation.token)
    assert await refused(front.call().register(wrong)) is Code.FORBIDDEN
    joined = await front.call().register(Register(email=dora.email, password=PASSWORD, invitation=invitation.token))
    assert (joined.tenant, joined.role, joined.user) == (owner.grant.tenant, Role.ADMIN, dora.grant.user)
    # the oldest membership stays the one to sign in to, unless another is named
    first = await front.call().log_in(LogIn(email=dora.email, password=PASSWORD))
    assert first.tenant == dora.grant.tenant
    named = LogIn(email=dora.email, password=PASSWORD, tenant_id=owner.grant.tenant.tenant_id)
    assert (await front.call().log_in(named)).tenant == owner.grant.tenant


async def test_a_wrong_password_and_an_unknown_address_look_the_same(front: Front) -> None:
    ada = await front.register()
    answers = []
    for email in (ada.email, "nobody@example.com"):
        answer = await front.visit().post("/api/auth/login", json={"email": email, "password": "wrong password"})
        problem = answer.json()
        del problem["request_id"]
        answers.append((answer.status_code, problem))
    assert answers[0] == answers[1]
    assert answers[0][0] == 401


async def test_unknown_users_cost_as_much_hashing_as_known_ones(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = await front.register()
    seen: list[str] = []
    verify = argon2.PasswordHasher.verify

    def count(hasher: argon2.PasswordHasher, known: str, guess: str) -> bool:
        seen.append(known.split("$")[3])
        return verify(hasher, known, guess)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", count)
    for email in (ada.email, "nobody@example.com"):
        await refused(front.call().log_in(LogIn(email=email, password="wrong password")))
    assert len(seen) == 2
    assert seen[0] == seen[1]


async def test_somebody_put_out_of_their_only_tenant_is_told_so(front: Front) -> None:
    owner = await front.register()
    invitation = await owner.client.invite_member(Invite(email="gone@example.com"))
    gone = await front.call().register(
        Register(email="gone@example.com", password=PASSWORD, invitation=invitation.token)
    )
    await owner.client.remove_member(MemberRef(user_id=gone.user.user_id))
    assert await refused(front.call().log_in(LogIn(email="gone@example.com", password=PASSWORD))) is Code.FORBIDDEN
    assert await refused(front.call(gone.access_token).me(NOTHING)) is Code.UNAUTHENTICATED
    assert await refused(front.call().refresh(Refresh(refresh_token=gone.refresh_token or ""))) is Code.UNAUTHENTICATED


async def test_no_tenant_of_others_can_be_signed_in_to(front: Front) -> None:
    ada, bob = await front.register(), await front.register()
    foreign = LogIn(email=ada.email, password=PASSWORD, tenant_id=bob.grant.tenant.tenant_id)
    unknown = LogIn(email=ada.email, password=PASSWORD, tenant_id=TenantId(UUID(int=7)))
    assert await refused(front.call().log_in(foreign)) is Code.FORBIDDEN
    assert await refused(front.call().log_in(unknown)) is Code.FORBIDDEN


# --- cookies ---------------------------------------------------------------------------------------------------------


async def test_a_page_gets_a_cookie_out_of_reach_and_no_token(front: Front) -> None:
    ada = await front.register()
    page = front.visit()
    answer = await page.post("/api/auth/login", json={"email": ada.email, "password": PASSWORD, "transport": "cookie"})
    assert (answer.json()["access_token"], answer.json()["refresh_token"]) == (None, None)
    [cookie] = answer.headers.get_list("set-cookie")
    assert cookie.startswith(f"{COOKIE}=")
    attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert {"httponly", "secure", "samesite=lax", "path=/"} <= attributes
    assert not any(part.startswith("domain") for part in attributes)
    assert (await page.get("/api/auth/me")).json()["via"] == "login"


async def test_only_the_hash_of_a_cookie_is_stored(front: Front, experience_database: Database) -> None:
    ada = await front.register()
    page = await sign_in_page(front, ada.email)
    secret = page.cookies[COOKIE]
    connection = await asyncpg.connect(experience_database.superuser_dsn, timeout=10)
    stored = await connection.fetchval("SELECT string_agg(l::text, ' ') FROM experience.logins l")
    hashes = await connection.fetch("SELECT cookie_hash FROM experience.logins")
    await connection.close()
    assert hashlib.sha256(secret.encode()).digest() in {row["cookie_hash"] for row in hashes}
    assert secret not in stored
    assert len(base64.urlsafe_b64decode(f"{secret}=")) == 32


async def test_on_plain_http_elsewhere_the_cookie_gives_up_its_prefix(
    experience_database: Database, tmp_path: Path, clock: TurnableClock
) -> None:
    lan = make_settings(experience_database, tmp_path, public_url="http://192.168.1.5:8080", insecure=True)
    async with open_front(lan, clock) as front:
        ada = await front.register()
        answer = await front.visit().post(
            "/api/auth/login", json={"email": ada.email, "password": PASSWORD, "transport": "cookie"}
        )
        [cookie] = answer.headers.get_list("set-cookie")
        assert cookie.startswith("stagedoor=")
        assert "secure" not in cookie.lower()
        assert (await ada.client.me(NOTHING)).insecure


async def test_a_login_that_is_used_goes_on_and_one_that_is_not_ends(front: Front) -> None:
    ada = await front.register()
    used, unused = await sign_in_page(front, ada.email), await sign_in_page(front, ada.email)
    for _ in range(3):
        front.clock.advance(LOGIN_IDLE.total_seconds() * 0.6)
        assert (await used.get("/api/auth/me")).status_code == 200
    assert (await unused.get("/api/auth/me")).status_code == 401


async def test_no_login_outlives_its_longest_time(front: Front) -> None:
    ada = await front.register()
    page = await sign_in_page(front, ada.email)
    steps = int(LOGIN_LONGEST / LOGIN_IDLE) + 1
    for _ in range(steps):
        front.clock.advance(LOGIN_LONGEST.total_seconds() / steps - 60)
        assert (await page.get("/api/auth/me")).status_code == 200
    front.clock.advance(steps * 60 + 1)
    assert (await page.get("/api/auth/me")).status_code == 401


async def test_logging_out_ends_the_login_and_the_cookie(front: Front) -> None:
    ada = await front.register()
    page, other = await sign_in_page(front, ada.email), await sign_in_page(front, ada.email)
    secret = page.cookies[COOKIE]
    answer = await page.post("/api/auth/logout", json={})
    assert answer.status_code == 204
    assert "max-age=0" in answer.headers["set-cookie"].lower()
    stale = front.visit({"cookie": f"{COOKIE}={secret}"})
    assert (await stale.get("/api/auth/me")).status_code == 401
    assert (await stale.post("/api/auth/logout", json={})).status_code == 204
    assert (await other.get("/api/auth/me")).status_code == 200


async def test_signing_in_again_in_the_same_browser_ends_the_login_before(front: Front) -> None:
    ada, bob = await front.register(), await front.register()
    page = await sign_in_page(front, ada.email)
    before = page.cookies[COOKIE]
    body = {"email": bob.email, "password": PASSWORD, "transport": "cookie"}
    assert (await page.post("/api/auth/login", json=body)).status_code == 200
    assert (await page.get("/api/auth/me")).json()["user"]["email"] == bob.email
    assert (await front.visit({"cookie": f"{COOKIE}={before}"}).get("/api/auth/me")).status_code == 401


# --- tokens ----------------------------------------------------------------------------------------------------------


async def test_an_access_token_names_key_tenant_role_and_ends_after_ten_minutes(front: Front) -> None:
    ada = await front.register()
    token = ada.grant.access_token or ""
    claims = jwt.decode(token, options={"verify_signature": False})
    header = jwt.get_unverified_header(token)
    assert (header["alg"], header["kid"]) == ("EdDSA", front.ground.keyring.current)
    assert claims["tenant"] == str(ada.grant.tenant.tenant_id)
    assert claims["role"] == "owner"
    assert claims["exp"] - claims["iat"] == ada.grant.expires_in == 600
    front.clock.advance(601)
    assert await refused(ada.client.me(NOTHING)) is Code.UNAUTHENTICATED


async def test_logging_out_refuses_the_access_token_at_once(front: Front) -> None:
    ada = await front.register()
    await ada.client.me(NOTHING)
    await ada.client.log_out(LogOut())
    assert await refused(ada.client.me(NOTHING)) is Code.UNAUTHENTICATED
    assert await refused(front.call().refresh(Refresh(refresh_token=ada.grant.refresh_token or ""))) is (
        Code.UNAUTHENTICATED
    )


async def test_logging_out_with_the_refresh_token_ends_its_family(front: Front) -> None:
    ada = await front.register()
    front.clock.advance(3_600)
    await front.call().log_out(LogOut(refresh_token=ada.grant.refresh_token))
    token = Refresh(refresh_token=ada.grant.refresh_token or "")
    assert await refused(front.call().refresh(token)) is Code.UNAUTHENTICATED


async def test_each_refresh_answers_a_new_token(front: Front) -> None:
    ada = await front.register()
    token = ada.grant.refresh_token or ""
    seen = {token}
    for _ in range(3):
        front.clock.advance(700)
        grant = await front.call().refresh(Refresh(refresh_token=token))
        token = grant.refresh_token or ""
        assert token not in seen
        seen.add(token)
        assert (await front.call(grant.access_token).me(NOTHING)).user == ada.grant.user


async def test_eight_refreshes_at_once_answer_one_successor(front: Front, experience_database: Database) -> None:
    ada = await front.register()
    before = Refresh(refresh_token=ada.grant.refresh_token or "")

    async def refresh() -> Grant:
        return await front.call().refresh(before)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(refresh()) for _ in range(8)]
    successors = {task.result().refresh_token for task in tasks}
    assert len(successors) == 1
    connection = await asyncpg.connect(experience_database.superuser_dsn, timeout=10)
    heads = await connection.fetchval(
        "SELECT count(*) FROM experience.refresh_tokens t JOIN experience.logins l USING (login_id) "
        "WHERE l.user_id = $1 AND t.spent_at IS NULL",
        ada.grant.user.user_id,
    )
    await connection.close()
    assert heads == 1
    assert (await front.call().refresh(Refresh(refresh_token=successors.pop() or ""))).access_token


async def test_a_lost_answer_is_answered_again_within_ten_seconds_only(front: Front) -> None:
    ada = await front.register()
    token = Refresh(refresh_token=ada.grant.refresh_token or "")
    first = await front.call().refresh(token)
    front.clock.advance(9)
    again = await front.call().refresh(token)
    assert again.refresh_token == first.refresh_token
    front.clock.advance(2)
    assert await refused(front.call().refresh(token)) is Code.UNAUTHENTICATED
    # the replay has ended the family: neither its newest token nor its access tokens work
    assert await refused(front.call().refresh(Refresh(refresh_token=first.refresh_token or ""))) is (
        Code.UNAUTHENTICATED
    )
    assert await refused(front.call(again.access_token).me(NOTHING)) is Code.UNAUTHENTICATED


async def test_a_token_whose_successor_is_in_use_ends_the_family_even_within_the_grace(front: Front) -> None:
    ada = await front.register()
    stolen = Refresh(refresh_token=ada.grant.refresh_token or "")
    second = await front.call().refresh(stolen)
    third = await front.call().refresh(Refresh(refresh_token=second.refresh_token or ""))
    assert await refused(front.call().refresh(stolen)) is Code.UNAUTHENTICATED
    assert await refused(front.call(third.access_token).me(NOTHING)) is Code.UNAUTHENTICATED
    # another login of the same user is another family
    fresh = await front.call().log_in(LogIn(email=ada.email, password=PASSWORD))
    entries = await front.call(fresh.access_token).read_audit(ReadAudit(act=AuditAct.TOKEN_REUSED))
    assert [entry.user_id for entry in entries.items] == [ada.grant.user.user_id]


async def test_made_up_refresh_tokens_and_codes_are_refused_and_counted(front: Front) -> None:
    thief = front.call(address="203.0.113.9")
    for number in range(30):
        assert await refused(thief.refresh(Refresh(refresh_token=f"rt_{number}"))) is Code.UNAUTHENTICATED
    assert await refused(thief.redeem_link(RedeemSignInLink(code="ln_x"))) is Code.RATE_LIMITED


# --- links -----------------------------------------------------------------------------------------------------------


async def test_a_sign_in_link_signs_in_once(front: Front) -> None:
    ada = await front.register()
    link = await ada.client.create_link(CreateSignInLink(next="/executions"))
    assert link.url == f"https://stagedoor.test/enter?next=/executions#{link.code}"
    page = front.visit()
    answer = await page.post("/api/auth/link/redeem", json={"code": link.code})
    assert answer.json()["access_token"] is None
    assert (await page.get("/api/auth/me")).json()["user"]["email"] == ada.email
    again = await front.visit().post("/api/auth/link/redeem", json={"code": link.code})
    assert (again.status_code, again.json()["code"]) == (401, "unauthenticated")


async def test_of_many_who_redeem_a_link_at_once_one_gets_in(front: Front) -> None:
    ada = await front.register()
    link = await ada.client.create_link(CreateSignInLink())
    body = {"code": link.code, "transport": "token"}
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(front.visit().post("/api/auth/link/redeem", json=body)) for _ in range(5)]
    assert sorted(task.result().status_code for task in tasks) == [200, 401, 401, 401, 401]


async def test_a_sign_in_link_ends_after_its_time(front: Front) -> None:
    ada = await front.register()
    link = await ada.client.create_link(CreateSignInLink())
    assert link.expires_in == 600
    front.clock.advance(601)
    assert await refused(front.call().redeem_link(RedeemSignInLink(code=link.code))) is Code.UNAUTHENTICATED
