"""What holds a session holds it against moving, and what moves it takes its things along."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from contracts.identity import TenantLimits
from contracts.model import SessionId, TenantId, UserId
from experience.store.db import SystemDatabase, TenantDatabase
from experience.store.sessions import (
    add_guest,
    add_session,
    find_session,
    hold_session,
    list_left_tenants,
    list_turns,
    lock_guest,
    move_session,
)
from experience.store.tables import SessionRow, SessionTurnRow
from experience.store.tenants import insert_tenant

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


async def found(system: SystemDatabase, kind: str = "team") -> TenantId:
    async with system.transaction() as session:
        guest = kind == "guest"
        row = await insert_tenant(session, name="T", kind="guest" if guest else "team", limits=TenantLimits(), now=NOW)
    return TenantId(row.tenant_id)


def draft(tenant_id: TenantId, *, user_id: UUID | None = None, token_hash: bytes | None = None) -> SessionRow:
    return SessionRow(
        session_id=uuid4(),
        tenant_id=tenant_id,
        user_id=user_id,
        token_hash=token_hash,
        label="",
        permissions=["browser.visit"],
        created_at=NOW,
        last_seen_at=NOW,
        expires_at=NOW + timedelta(hours=1) if token_hash else None,
    )


async def welcome(system: SystemDatabase, token_hash: bytes) -> SessionRow:
    row = draft(await found(system, "guest"), token_hash=token_hash)
    async with system.transaction() as session:
        await add_guest(session, row)
    return row


async def test_a_move_waits_for_who_holds_the_session(
    system_database: SystemDatabase, tenant_database: TenantDatabase
) -> None:
    guest = await welcome(system_database, uuid4().bytes)
    session_id, home = SessionId(guest.session_id), await found(system_database)

    async def move() -> None:
        async with system_database.transaction() as session:
            assert guest.token_hash is not None
            assert await lock_guest(session, session_id, guest.token_hash, now=NOW) is not None
            await move_session(session, session_id, home, UserId(uuid4()))

    async with tenant_database.transaction(TenantId(guest.tenant_id)) as session:
        assert await hold_session(session, session_id) is not None
        moving = asyncio.ensure_future(move())
        await asyncio.sleep(0.2)
        assert not moving.done()
    await moving
    async with tenant_database.transaction(TenantId(guest.tenant_id)) as session:
        assert await hold_session(session, session_id) is None
    async with tenant_database.transaction(home) as session:
        moved = await find_session(session, session_id)
    assert moved is not None
    assert (moved.token_hash, moved.expires_at, moved.permissions) == (None, None, ["browser.visit"])


async def test_a_guest_is_locked_by_the_right_token_while_it_lives(system_database: SystemDatabase) -> None:
    token_hash = uuid4().bytes
    guest = await welcome(system_database, token_hash)
    session_id = SessionId(guest.session_id)
    async with system_database.transaction() as session:
        assert await lock_guest(session, session_id, b"another", now=NOW) is None
        assert await lock_guest(session, session_id, token_hash, now=NOW + timedelta(hours=2)) is None
        assert await lock_guest(session, session_id, token_hash, now=NOW) is not None


async def test_history_is_the_latest_in_order(system_database: SystemDatabase, tenant_database: TenantDatabase) -> None:
    tenant_id = await found(system_database)
    row = draft(tenant_id, user_id=uuid4())
    async with tenant_database.transaction(tenant_id) as session:
        await add_session(session, row)
        for number in range(5):
            turn = SessionTurnRow(tenant_id=tenant_id, session_id=row.session_id, role="user", text=str(number), at=NOW)
            session.add(turn)
            await session.flush()
        turns = await list_turns(session, SessionId(row.session_id), 3)
    assert [turn.text for turn in turns] == ["2", "3", "4"]


async def test_tenants_are_left_when_no_session_lives_there(
    system_database: SystemDatabase, tenant_database: TenantDatabase
) -> None:
    guest = await welcome(system_database, uuid4().bytes)
    team = await found(system_database)
    async with system_database.transaction() as session:
        now = await list_left_tenants(session, 1_000, now=NOW)
        later = await list_left_tenants(session, 1_000, now=NOW + timedelta(hours=2))
    assert guest.tenant_id not in now
    assert guest.tenant_id in later
    assert team not in later


async def test_another_tenants_session_is_not_there(
    system_database: SystemDatabase, tenant_database: TenantDatabase
) -> None:
    guest = await welcome(system_database, uuid4().bytes)
    async with tenant_database.transaction(await found(system_database)) as session:
        assert await find_session(session, SessionId(guest.session_id)) is None
        assert await hold_session(session, SessionId(guest.session_id)) is None
        assert await list_turns(session, SessionId(guest.session_id), 10) == []
