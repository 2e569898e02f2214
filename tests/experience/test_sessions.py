"""Sessions: a guest's own corner, a member's visit, and the way from one to the other."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest

from contracts.errors import ApiError, Code
from contracts.execution import ExecutionStatus
from contracts.model import TenantId
from experience.app import lay_ground
from experience.audit import Audit
from experience.auth.throttle import VISIT
from experience.outbox import Outbox
from experience.sessions import Sessions
from tests.support.front import TurnableClock, make_settings
from tests.support.house import House, Json, Visitor, register, run_house, until
from tests.support.postgres import Database


async def start(http: httpx.AsyncClient, label: str = "") -> Json:
    answer = await http.post("/api/session", json={"label": label})
    assert answer.status_code == 201, answer.text
    body: Json = answer.json()
    return body


@pytest.fixture
async def guest(house: House) -> AsyncIterator[Visitor]:
    async with house.visit() as http:
        made = await start(http)
        http.headers["authorization"] = f"Bearer {made['session_token']}"
        yield Visitor(http, TenantId(UUID(made["session"]["tenant_id"])), made["session_token"])


async def session_of(guest: Visitor) -> str:
    """Found as a guest would: by what was started from it."""
    accepted = await guest.accepted()
    return str((await guest.intent(accepted))["session_id"])


async def add_turn(house: House, session_id: str, role: str, text: str) -> None:
    connection = await asyncpg.connect(house.database.superuser_dsn)
    try:
        await connection.execute(
            "INSERT INTO experience.session_turns (tenant_id, session_id, role, text, at) "
            "SELECT tenant_id, session_id, $2, $3, $4 FROM experience.sessions WHERE session_id = $1",
            UUID(session_id),
            role,
            text,
            datetime.now(UTC),
        )
    finally:
        await connection.close()


async def count(house: House, table: str, tenant_id: TenantId) -> int:
    connection = await asyncpg.connect(house.database.superuser_dsn)
    try:
        return int(
            await connection.fetchval(f"SELECT count(*) FROM experience.{table} WHERE tenant_id = $1", tenant_id)
        )
    finally:
        await connection.close()


async def test_a_member_starts_a_session_and_sees_what_it_started(ada: Visitor) -> None:
    made = await start(ada.http, "Morning")
    assert made["session_token"] is None
    session = made["session"]
    assert (session["anonymous"], session["label"], session["expires_at"]) == (False, "Morning", None)
    assert session["tenant_id"] == str(ada.tenant_id)
    started = [(await ada.accepted(session_id=session["session_id"]))["execution_id"] for _ in range(3)]
    await ada.accepted()
    shown = (await ada.http.get(f"/api/session/{session['session_id']}")).json()
    assert shown["executions"] == started[::-1]
    assert (shown["history"], shown["permissions"]) == ([], [])


async def test_a_guest_gets_a_tenant_and_a_token_of_its_own(house: House, guest: Visitor) -> None:
    accepted = await guest.accepted()
    assert (await guest.status(accepted["execution_id"])).status_code == 200
    intent = await guest.intent(accepted)
    assert intent["created_by"] is None
    session = (await guest.http.get(f"/api/session/{intent['session_id']}")).json()
    assert session["anonymous"] is True
    assert session["executions"] == [accepted["execution_id"]]
    assert session["expires_at"] is not None
    async with house.visit() as stranger:
        assert (await stranger.get(f"/api/session/{intent['session_id']}")).status_code == 401


async def test_guests_may_not_draw_or_administrate(guest: Visitor) -> None:
    assert (await guest.http.post("/api/workflow", json={"name": "x"})).status_code == 403
    assert (await guest.http.get("/api/admin/members")).status_code == 403
    upgrade = await guest.http.post(f"/api/session/{uuid4()}/upgrade", json={"session_token": guest.token})
    assert upgrade.status_code == 403


async def test_guests_are_refused_where_they_are_not_welcome(house: House, tmp_path: Path) -> None:
    with run_house(house.database, tmp_path, house.runtime, guests=False) as closed:
        async with closed.visit() as http:
            answer = await http.post("/api/session", json={})
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert "sign in" in answer.json()["hint"]


async def test_guests_are_throttled_by_address(house: House) -> None:
    async with house.visit() as http:
        await start(http)
        await set_count(house, f"guest:{http.headers['x-forwarded-for']}", VISIT.free - 1)
        await start(http)
        answer = await http.post("/api/session", json={})
    assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
    assert int(answer.headers["retry-after"]) > 0


async def set_count(house: House, name: str, failures: int) -> None:
    connection = await asyncpg.connect(house.database.superuser_dsn)
    try:
        sql = "UPDATE experience.throttle SET failures = $2 WHERE name = $1"
        assert await connection.execute(sql, name, failures) == "UPDATE 1"
    finally:
        await connection.close()


async def test_somebody_elses_session_is_unknown(house: House, ada: Visitor, bob: Visitor, guest: Visitor) -> None:
    mine = (await start(ada.http))["session"]["session_id"]
    for other in (bob, guest):
        assert (await other.http.get(f"/api/session/{mine}")).status_code == 404
        assert (await other.http.delete(f"/api/session/{mine}")).status_code == 404
        answer = await other.submit(session_id=mine)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert (await ada.http.get(f"/api/session/{mine}")).status_code == 200


async def test_a_colleague_in_the_same_tenant_has_other_sessions(house: House, ada: Visitor) -> None:
    invited = await ada.http.post("/api/admin/members", json={"email": "eve@example.com", "role": "member"})
    eve = await register(house, email="eve@example.com", invitation=invited.json()["token"])
    try:
        assert eve.tenant_id == ada.tenant_id
        mine = (await start(ada.http))["session"]["session_id"]
        assert (await eve.http.get(f"/api/session/{mine}")).status_code == 404
        assert (await eve.submit(session_id=mine)).status_code == 404
    finally:
        await eve.http.aclose()


async def test_deleting_forgets_the_history_and_keeps_the_executions(house: House, ada: Visitor) -> None:
    session_id = (await start(ada.http))["session"]["session_id"]
    accepted = await ada.accepted(session_id=session_id)
    await add_turn(house, session_id, "user", "hello")
    assert (await ada.http.delete(f"/api/session/{session_id}")).status_code == 204
    assert (await ada.http.get(f"/api/session/{session_id}")).status_code == 404
    assert (await ada.http.delete(f"/api/session/{session_id}")).status_code == 404
    assert await count(house, "session_turns", ada.tenant_id) == 0
    assert (await ada.intent(accepted))["session_id"] is None
    assert (await ada.status(accepted["execution_id"])).status_code == 200


async def test_a_guest_who_deletes_the_session_is_gone_at_once(guest: Visitor) -> None:
    session_id = await session_of(guest)
    assert (await guest.http.delete(f"/api/session/{session_id}")).status_code == 204
    assert (await guest.http.get(f"/api/session/{session_id}")).status_code == 401


async def test_an_upgrade_moves_history_and_executions(house: House, ada: Visitor, guest: Visitor) -> None:
    accepted = await guest.accepted(key="guests-key")
    session_id = str((await guest.intent(accepted))["session_id"])
    await add_turn(house, session_id, "user", "find me a lamp")
    await add_turn(house, session_id, "assistant", "here it is")
    body = {"session_token": guest.token}
    answer = await ada.http.post(f"/api/session/{session_id}/upgrade", json=body)
    assert answer.status_code == 200, answer.text
    session = answer.json()
    assert (session["anonymous"], session["tenant_id"], session["expires_at"]) == (False, str(ada.tenant_id), None)
    assert [turn["text"] for turn in session["history"]] == ["find me a lamp", "here it is"]
    assert session["executions"] == [accepted["execution_id"]]
    assert house.runtime.moved[-1] == (guest.tenant_id, ada.tenant_id)
    assert (await ada.status(accepted["execution_id"])).status_code == 200
    assert (await ada.intent(accepted))["session_id"] == session_id
    assert (await guest.http.get(f"/api/session/{session_id}")).status_code == 401
    again = await ada.http.post(f"/api/session/{session_id}/upgrade", json=body)
    assert (again.status_code, again.json()) == (200, session)
    trail = (await ada.http.get("/api/admin/audit", params={"act": "session_upgraded"})).json()["items"]
    assert [one["subject"] for one in trail] == [f"session:{session_id}"]


async def test_an_upgrade_needs_the_guests_token(ada: Visitor, guest: Visitor, house: House) -> None:
    session_id = await session_of(guest)
    for token in ("ss_wrong", ada.token):
        answer = await ada.http.post(f"/api/session/{session_id}/upgrade", json={"session_token": token})
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    async with house.visit() as http:
        answer = await http.post(f"/api/session/{session_id}/upgrade", json={"session_token": guest.token})
        assert answer.status_code == 401


async def test_a_refused_upgrade_moves_nothing(house: House, ada: Visitor, guest: Visitor) -> None:
    session_id = await session_of(guest)
    house.runtime.adopt_refusal = ApiError(Code.CONFLICT, "Something of it is running.")
    path, body = f"/api/session/{session_id}/upgrade", {"session_token": guest.token}
    answer = await ada.http.post(path, json=body)
    assert (answer.status_code, answer.json()["detail"]) == (409, "Something of it is running.")
    assert (await guest.http.get(f"/api/session/{session_id}")).json()["anonymous"] is True
    house.runtime.down()
    assert (await ada.http.post(path, json=body)).status_code == 503
    assert (await guest.http.get(f"/api/session/{session_id}")).json()["anonymous"] is True
    house.runtime.behave()
    assert (await ada.http.post(path, json=body)).status_code == 200


async def test_an_upgrade_waits_for_what_is_on_its_way(house: House, ada: Visitor, guest: Visitor) -> None:
    session_id = await session_of(guest)
    house.runtime.down()
    late = await guest.accepted()
    path, body = f"/api/session/{session_id}/upgrade", {"session_token": guest.token}
    answer = await ada.http.post(path, json=body)
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert answer.headers["retry-after"] == "1"
    house.runtime.up()

    async def is_moved() -> bool:
        return (await ada.http.post(path, json=body)).status_code == 200

    await until(is_moved)
    assert UUID(late["execution_id"]) in house.runtime.executions[ada.tenant_id]
    assert house.runtime.deliveries[UUID(late["execution_id"])] == 1


async def test_a_guests_session_ends_after_a_day(house: House, guest: Visitor) -> None:
    session_id = await session_of(guest)
    house.clock.advance(24 * 3600 + 1)
    assert (await guest.http.get(f"/api/session/{session_id}")).status_code == 401


@pytest.fixture
async def sessions(
    house: House, tmp_path: Path, experience_database: Database, clock: TurnableClock
) -> AsyncIterator[Sessions]:
    """The same code as in the house, on another database, to sweep when the test says so."""
    keys = {"internal_key_file": house.settings.internal_key_file, "runtime_url": house.runtime.url}
    ground = lay_ground(make_settings(experience_database, tmp_path, **keys), clock=clock)
    yield Sessions(
        guests_welcome=True,
        tenants=ground.tenants,
        system=ground.system,
        runtime=ground.runtime,
        outbox=Outbox(ground.tenants, ground.system, ground.runtime),
        identities=ground.identities,
        throttle=ground.throttle,
        audit=Audit(clock),
        clock=clock,
    )
    await ground.close()


async def add_guest_tenant(database: Database, expires_at: datetime) -> UUID:
    tenant_id = uuid4()
    connection = await asyncpg.connect(database.superuser_dsn)
    try:
        await connection.execute(
            "INSERT INTO experience.tenants (tenant_id, kind, name, suspended, runtime_behind, created_at) "
            "VALUES ($1, 'guest', 'Guest', false, false, now())",
            tenant_id,
        )
        await connection.execute(
            "INSERT INTO experience.sessions (session_id, tenant_id, token_hash, label, permissions, created_at,"
            " last_seen_at, expires_at) VALUES ($1, $1, $2, '', '{}', now(), now(), $3)",
            tenant_id,
            tenant_id.bytes,
            expires_at,
        )
    finally:
        await connection.close()
    return tenant_id


async def tenants_in(database: Database) -> set[UUID]:
    connection = await asyncpg.connect(database.superuser_dsn)
    try:
        return {row[0] for row in await connection.fetch("SELECT tenant_id FROM experience.tenants")}
    finally:
        await connection.close()


async def test_the_sweep_ends_guests_who_are_gone(
    house: House, sessions: Sessions, experience_database: Database
) -> None:
    now = datetime.now(UTC)
    gone = await add_guest_tenant(experience_database, now.replace(year=now.year - 1))
    here = await add_guest_tenant(experience_database, now.replace(year=now.year + 1))
    await sessions.sweep()
    assert gone in house.runtime.deleted
    assert here not in house.runtime.deleted
    left = await tenants_in(experience_database)
    assert (gone in left, here in left) == (False, True)


async def test_the_sweep_leaves_what_still_runs_for_the_next_time(
    house: House, ada: Visitor, sessions: Sessions, experience_database: Database
) -> None:
    accepted = await ada.accepted()
    kept = house.runtime.executions[ada.tenant_id][UUID(accepted["execution_id"])]
    now = datetime.now(UTC)
    gone = await add_guest_tenant(experience_database, now.replace(year=now.year - 1))
    house.runtime.executions[gone][uuid4()] = kept
    kept.status = ExecutionStatus.RUNNING
    await sessions.sweep()
    assert gone in await tenants_in(experience_database)
    kept.status = ExecutionStatus.COMPLETED
    await sessions.sweep()
    assert gone not in await tenants_in(experience_database)


async def test_without_runtime_nothing_is_swept(
    house: House, sessions: Sessions, experience_database: Database
) -> None:
    now = datetime.now(UTC)
    gone = await add_guest_tenant(experience_database, now.replace(year=now.year - 1))
    house.runtime.down()
    with pytest.raises(ApiError):
        await sessions.sweep()
    assert gone in await tenants_in(experience_database)
    house.runtime.up()
    await sessions.sweep()
    assert gone not in await tenants_in(experience_database)
