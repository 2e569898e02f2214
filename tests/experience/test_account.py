"""Me, password, keys, tickets and links."""

import asyncpg

from contracts.api.account import ListPage
from contracts.api.public import PublicApi
from contracts.declare import NOTHING
from contracts.errors import Code
from contracts.identity import (
    AuditAct,
    ChangePassword,
    ChangeRole,
    CreateApiKey,
    CreateSignInLink,
    Invite,
    KeyRef,
    LogIn,
    ReadAudit,
    RedeemSignInLink,
    Refresh,
    Register,
    Role,
    Scope,
)
from contracts.model import KeyId
from contracts.wiring.channel import Opening
from experience.auth.guard import TICKET_SUBPROTOCOL
from experience.auth.principal import Principal
from tests.support.asking import refused
from tests.support.front import PASSWORD, Front, Person
from tests.support.postgres import Database

NEW_PASSWORD = "another good one"


async def join(front: Front, owner: Person, role: Role) -> Person:
    """Somebody new in the owner's tenant."""
    email = f"{role}-{owner.email}"
    invitation = await owner.client.invite_member(Invite.model_validate({"email": email, "role": role}))
    grant = await front.call().register(Register(email=email, password=PASSWORD, invitation=invitation.token))
    return Person(email, grant, front.call(grant.access_token))


async def open_socket(front: Front, *offers: str, token: str | None = None, **headers: str) -> Principal:
    """What the guard makes of a handshake with these."""
    opening = Opening(
        request_id="r",
        address="10.9.9.9",
        method="GET",
        path="/api/execution/x/stream",
        headers=headers,
        cookies={},
        subprotocols=offers,
        token=token,
    )
    return await front.ground.guard.admit(opening, PublicApi.execution_stream)


async def test_changing_the_password_ends_every_other_login_and_link(front: Front) -> None:
    ada = await front.register()
    elsewhere = await front.call().log_in(LogIn(email=ada.email, password=PASSWORD))
    link = await ada.client.create_link(CreateSignInLink())
    await ada.client.change_password(ChangePassword(current_password=PASSWORD, new_password=NEW_PASSWORD))
    assert (await ada.client.me(NOTHING)).user == ada.grant.user
    assert await refused(front.call(elsewhere.access_token).me(NOTHING)) is Code.UNAUTHENTICATED
    token = Refresh(refresh_token=elsewhere.refresh_token or "")
    assert await refused(front.call().refresh(token)) is Code.UNAUTHENTICATED
    assert await refused(front.call().redeem_link(RedeemSignInLink(code=link.code))) is Code.UNAUTHENTICATED
    assert await refused(front.call().log_in(LogIn(email=ada.email, password=PASSWORD))) is Code.UNAUTHENTICATED
    assert (await front.call().log_in(LogIn(email=ada.email, password=NEW_PASSWORD))).user == ada.grant.user


async def test_a_password_is_changed_only_by_who_knows_it(front: Front) -> None:
    front.clock.stop()
    ada = await front.register()
    guess = ChangePassword(current_password="not this one", new_password=NEW_PASSWORD)
    for _ in range(5):
        assert await refused(ada.client.change_password(guess)) is Code.FORBIDDEN
    # a stolen token is not a way to guess the password at leisure
    assert await refused(ada.client.change_password(guess)) is Code.RATE_LIMITED


async def test_a_key_works_is_noted_and_revoked_at_once(front: Front) -> None:
    ada = await front.register()
    made = await ada.client.create_key(CreateApiKey(name="ci"))
    program = front.call(made.secret)
    me = await program.me(NOTHING)
    assert (me.via, me.user) == ("key", ada.grant.user)
    [listed] = (await ada.client.list_keys(ListPage())).items
    assert made.secret.startswith(f"{listed.prefix}.")
    assert listed.last_used_at is not None
    used = await ada.client.read_audit(ReadAudit(act=AuditAct.KEY_USED))
    assert [entry.subject for entry in used.items] == [f"key:{made.key.key_id}"]
    await ada.client.revoke_key(KeyRef(key_id=made.key.key_id))
    assert await refused(program.me(NOTHING)) is Code.UNAUTHENTICATED
    assert await refused(ada.client.revoke_key(KeyRef(key_id=made.key.key_id))) is Code.NOT_FOUND


async def test_a_key_with_another_secret_or_shape_is_nobodys(front: Front) -> None:
    ada = await front.register()
    made = await ada.client.create_key(CreateApiKey(name="ci"))
    name, _, secret = made.secret.partition(".")
    for wrong in (f"{name}.{secret[:-1]}", f"{name}.", name, "sd_", "sd_.", f"sd_{'0' * 32}.{secret}", "sd_☃.x"):
        answer = await front.visit().get("/api/auth/me", headers=[(b"authorization", f"Bearer {wrong}".encode())])
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


async def test_only_hashes_of_secrets_are_stored(front: Front, experience_database: Database) -> None:
    ada = await front.register()
    made = await ada.client.create_key(CreateApiKey(name="ci"))
    ticket = await ada.client.create_ticket(NOTHING)
    link = await ada.client.create_link(CreateSignInLink())
    invitation = await ada.client.invite_member(Invite(email="somebody@example.com"))
    secrets = [made.secret.partition(".")[2], ticket.ticket, link.code, invitation.token, ada.grant.refresh_token]
    connection = await asyncpg.connect(experience_database.superuser_dsn, timeout=10)
    for table in ("api_keys", "tickets", "links", "invitations", "refresh_tokens", "users", "audit_entries"):
        stored = await connection.fetchval(f"SELECT string_agg(t::text, ' ') FROM experience.{table} t")
        assert not [secret for secret in secrets if secret and secret in stored], table
        assert PASSWORD not in stored
    await connection.close()


async def test_a_key_can_be_narrowed_and_never_hands_on_more_than_it_has(front: Front) -> None:
    owner = await front.register()
    viewer = await join(front, owner, Role.VIEWER)
    wide = CreateApiKey(name="wide", scopes=[Scope.EXECUTION_READ, Scope.EXECUTION_WRITE])
    assert await refused(viewer.client.create_key(wide)) is Code.FORBIDDEN
    assert await refused(owner.client.create_key(CreateApiKey(name="x", scopes=[Scope.INSTALLATION]))) is Code.FORBIDDEN
    narrow = await owner.client.create_key(CreateApiKey(name="narrow", scopes=[Scope.KEYS, Scope.SESSION]))
    program = front.call(narrow.secret)
    assert (await program.me(NOTHING)).scopes == [Scope.KEYS, Scope.SESSION]
    assert await refused(program.list_members(ListPage())) is Code.FORBIDDEN
    assert await refused(program.create_key(CreateApiKey(name="y", scopes=[Scope.MEMBERS]))) is Code.FORBIDDEN
    assert (await program.create_key(CreateApiKey(name="z"))).key.scopes == [Scope.KEYS, Scope.SESSION]


async def test_a_key_does_no_more_than_its_owner_may_by_now(front: Front) -> None:
    owner = await front.register()
    admin = await join(front, owner, Role.ADMIN)
    program = front.call((await admin.client.create_key(CreateApiKey(name="admin's"))).secret)
    assert (await program.list_members(ListPage())).items
    await owner.client.change_role(ChangeRole(user_id=admin.grant.user.user_id, role=Role.VIEWER))
    assert await refused(program.list_members(ListPage())) is Code.FORBIDDEN


async def test_keys_end_and_a_key_makes_none_that_outlives_it(front: Front) -> None:
    ada = await front.register()
    short = await ada.client.create_key(CreateApiKey(name="short", expires_in_days=1))
    program = front.call(short.secret)
    child = await program.create_key(CreateApiKey(name="child", expires_in_days=30))
    assert child.key.expires_at == short.key.expires_at
    front.clock.advance(86_401)
    assert await refused(program.me(NOTHING)) is Code.UNAUTHENTICATED


async def test_keys_are_each_persons_own(front: Front) -> None:
    owner = await front.register()
    viewer = await join(front, owner, Role.VIEWER)
    mine = await owner.client.create_key(CreateApiKey(name="mine"))
    assert (await viewer.client.list_keys(ListPage())).items == []
    assert await refused(viewer.client.revoke_key(KeyRef(key_id=mine.key.key_id))) is Code.NOT_FOUND
    assert (await front.call(mine.secret).me(NOTHING)).via == "key"


async def test_keys_are_paged_and_limited(front: Front) -> None:
    ada = await front.register()
    made = [(await ada.client.create_key(CreateApiKey(name=f"k{n}"))).key.key_id for n in range(50)]
    assert await refused(ada.client.create_key(CreateApiKey(name="one more"))) is Code.LIMIT_REACHED
    seen: list[KeyId] = []
    cursor = None
    while True:
        page = await ada.client.list_keys(ListPage(cursor=cursor, limit=20))
        seen += [key.key_id for key in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == made
    assert await refused(ada.client.list_keys(ListPage(cursor="nonsense"))) is Code.INVALID


async def test_a_key_can_make_no_sign_in_link(front: Front) -> None:
    ada = await front.register()
    program = front.call((await ada.client.create_key(CreateApiKey(name="ci"))).secret)
    assert await refused(program.create_link(CreateSignInLink())) is Code.FORBIDDEN


async def test_a_ticket_opens_one_socket_within_thirty_seconds(front: Front) -> None:
    ada = await front.register()
    first, second = await ada.client.create_ticket(NOTHING), await ada.client.create_ticket(NOTHING)
    assert first.expires_in == 30
    offers = ("stagedoor", f"{TICKET_SUBPROTOCOL}{first.ticket}")
    principal = await open_socket(front, *offers)
    assert (principal.user_id, principal.tenant_id) == (ada.grant.user.user_id, ada.grant.tenant.tenant_id)
    assert await refused(open_socket(front, *offers)) is Code.UNAUTHENTICATED
    front.clock.advance(31)
    late = open_socket(front, f"{TICKET_SUBPROTOCOL}{second.ticket}")
    assert await refused(late) is Code.UNAUTHENTICATED


async def test_a_ticket_is_worth_no_more_than_what_it_was_made_with(front: Front) -> None:
    ada = await front.register()
    made = await ada.client.create_key(CreateApiKey(name="ci", scopes=[Scope.SESSION]))
    narrow = await front.call(made.secret).create_ticket(NOTHING)
    assert await refused(open_socket(front, f"{TICKET_SUBPROTOCOL}{narrow.ticket}")) is Code.FORBIDDEN
    revoked = await front.call(made.secret).create_ticket(NOTHING)
    await ada.client.revoke_key(KeyRef(key_id=made.key.key_id))
    assert await refused(open_socket(front, f"{TICKET_SUBPROTOCOL}{revoked.ticket}")) is Code.UNAUTHENTICATED


async def test_a_link_goes_nowhere_but_to_this_origin(front: Front) -> None:
    ada = await front.register()
    for foreign in ("//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", ""):
        answer = await front.visit(ada.bearer).post("/api/auth/link", json={"next": foreign})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
