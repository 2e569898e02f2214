"""The two doors: whose rows they show, and what becomes of a transaction when the server goes away."""

from datetime import UTC, datetime
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlmodel import select, update
from uuid_utils.compat import uuid7

from contracts.errors import ApiError, Code
from contracts.identity import TenantLimits
from contracts.model import TenantId
from experience.store.db import SystemDatabase, TenantDatabase
from experience.store.revision import SCHEMA
from experience.store.tables import Row, SessionRow, TenantRow
from experience.store.tenants import insert_tenant
from tests.support.postgres import Database

OF_TENANTS = sorted(table.name for table in Row.metadata.tables.values() if "tenant_id" in table.columns)
UNSEEN = {"logins", "refresh_tokens", "tickets", "links", "throttle"}
"""Tables that the app role may not read at all."""


async def found(system: SystemDatabase) -> TenantId:
    async with system.transaction() as session:
        now = datetime.now(UTC)
        tenant = await insert_tenant(session, name="t", kind="team", limits=TenantLimits(), now=now)
    return TenantId(tenant.tenant_id)


def draft(tenant_id: UUID) -> SessionRow:
    now = datetime.now(UTC)
    return SessionRow(
        session_id=uuid7(),
        tenant_id=tenant_id,
        user_id=uuid7(),
        token_hash=None,
        label="",
        permissions=[],
        created_at=now,
        last_seen_at=now,
        expires_at=None,
    )


async def store(door: TenantDatabase, tenant_id: TenantId, row: SessionRow) -> None:
    async with door.transaction(tenant_id) as session:
        session.add(row)
        await session.flush()


async def store_and_fail(door: TenantDatabase, tenant_id: TenantId) -> None:
    async with door.transaction(tenant_id) as session:
        session.add(draft(tenant_id))
        await session.flush()
        raise ZeroDivisionError


async def test_a_tenant_sees_its_own_rows_and_no_others_even_when_nobody_asks_for_the_tenant(
    tenant_database: TenantDatabase, system_database: SystemDatabase
) -> None:
    ours, theirs = await found(system_database), await found(system_database)
    for tenant_id in (ours, theirs):
        async with tenant_database.transaction(tenant_id) as session:
            session.add(draft(tenant_id))
    async with tenant_database.transaction(ours) as session:
        assert {row.tenant_id for row in await session.exec(select(SessionRow))} == {ours}
        assert {row.tenant_id for row in await session.exec(select(TenantRow))} == {ours}
    async with system_database.transaction() as session:
        assert {ours, theirs} <= {row.tenant_id for row in await session.exec(select(SessionRow))}


async def test_no_row_is_written_for_another_tenant(
    tenant_database: TenantDatabase, system_database: SystemDatabase
) -> None:
    ours, theirs = await found(system_database), await found(system_database)
    with pytest.raises(DBAPIError, match="row-level security"):
        await store(tenant_database, ours, draft(theirs))
    await store(tenant_database, theirs, draft(theirs))
    async with tenant_database.transaction(theirs) as session:
        with pytest.raises(DBAPIError, match="row-level security"):
            await session.exec(update(SessionRow).values(tenant_id=ours))
        await session.rollback()
    async with tenant_database.transaction(ours) as session:
        changed = await session.exec(update(SessionRow).values(label="mine"))
        assert changed.rowcount == 0


@pytest.mark.parametrize("table", OF_TENANTS)
async def test_without_a_tenant_the_app_role_sees_nothing(experience_database: Database, table: str) -> None:
    connection = await asyncpg.connect(experience_database.dsn("experience_app"), timeout=10)
    if table in UNSEEN:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetchval(f"SELECT count(*) FROM {table}")
    else:
        assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 0
    await connection.close()


async def test_every_table_is_closed_for_its_owner_too(experience_database: Database) -> None:
    connection = await asyncpg.connect(experience_database.superuser_dsn, timeout=10)
    open_tables = await connection.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = $1::regnamespace AND relkind = 'r' "
        "AND relname <> 'alembic_version' AND NOT (relrowsecurity AND relforcerowsecurity)",
        SCHEMA,
    )
    await connection.close()
    assert open_tables == []


async def test_the_app_role_reads_no_password_hash(experience_database: Database) -> None:
    connection = await asyncpg.connect(experience_database.dsn("experience_app"), timeout=10)
    for query in ("SELECT password_hash FROM users", "SELECT * FROM users", "UPDATE users SET operator = true"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(query)
    await connection.close()


async def test_a_block_that_fails_leaves_nothing(
    tenant_database: TenantDatabase, system_database: SystemDatabase
) -> None:
    tenant_id = await found(system_database)
    with pytest.raises(ZeroDivisionError):
        await store_and_fail(tenant_database, tenant_id)
    async with tenant_database.transaction(tenant_id) as session:
        assert (await session.exec(select(SessionRow))).all() == []


async def test_the_tenant_does_not_stay_on_the_connection(
    experience_database: Database, system_database: SystemDatabase
) -> None:
    tenant_id = await found(system_database)
    door = TenantDatabase(experience_database.dsn("experience_app"), pool_size=1)
    async with door.transaction(tenant_id) as session:
        session.add(draft(tenant_id))
    async with door._engine.connect() as connection:
        left = await connection.execute(text("SELECT current_setting('app.tenant_id', true)"))
        assert left.scalar_one() == ""
    await door.close()


async def test_connections_that_died_in_the_pool_are_not_noticed(
    experience_database: Database, tenant_database: TenantDatabase, system_database: SystemDatabase
) -> None:
    tenant_id = await found(system_database)
    for _ in range(2):
        async with tenant_database.transaction(tenant_id) as session:
            await session.exec(select(TenantRow))
        admin = await asyncpg.connect(experience_database.superuser_dsn, timeout=10)
        await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE 'experience_%'")
        await admin.close()
        async with tenant_database.transaction(tenant_id) as session:
            assert (await session.exec(select(TenantRow))).one().tenant_id == tenant_id


async def test_a_connection_that_dies_in_mid_transaction_is_told(
    experience_database: Database, tenant_database: TenantDatabase, system_database: SystemDatabase
) -> None:
    tenant_id = await found(system_database)
    admin = await asyncpg.connect(experience_database.superuser_dsn, timeout=10)

    async def lose_the_server() -> None:
        async with tenant_database.transaction(tenant_id) as session:
            session.add(draft(tenant_id))
            await session.flush()
            await admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'experience_app'"
            )
            await session.exec(select(TenantRow))

    with pytest.raises(ApiError) as caught:
        await lose_the_server()
    await admin.close()
    assert (caught.value.code, caught.value.code.retryable) == (Code.UNAVAILABLE, True)


async def test_who_freezes_in_a_transaction_loses_its_locks(
    experience_database: Database, system_database: SystemDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant_id = await found(system_database)
    lock = text("SELECT 1 FROM experience.tenants WHERE tenant_id = :id FOR UPDATE")
    monkeypatch.setattr("experience.store.db.IDLE_IN_TRANSACTION_S", 0.1)
    frozen = SystemDatabase(experience_database.dsn("experience_system"), pool_size=1)

    async def freeze() -> None:
        async with frozen.transaction() as session:
            await (await session.connection()).execute(lock, {"id": tenant_id})
            async with system_database.transaction() as other:  # waits for the lock, and gets it
                await (await other.connection()).execute(lock, {"id": tenant_id})
            await (await session.connection()).execute(lock, {"id": tenant_id})

    with pytest.raises(ApiError) as caught:
        await freeze()
    assert caught.value.code is Code.UNAVAILABLE
    await frozen.close()


@pytest.mark.parametrize(
    "dsn", ["postgresql://experience_system@127.0.0.1:1/stagedoor", "postgresql://experience_system@/x?host=/nowhere"]
)
async def test_a_server_that_is_away_is_told(dsn: str) -> None:
    door = SystemDatabase(dsn)
    with pytest.raises(ApiError) as caught:
        async with door.transaction():
            raise AssertionError("unreachable")
    await door.close()
    assert caught.value.code is Code.UNAVAILABLE


async def test_a_database_that_is_not_there_is_told(experience_database: Database) -> None:
    door = SystemDatabase(experience_database.dsn("experience_system").replace("stagedoor_", "gone_"))
    with pytest.raises(ApiError) as caught:
        async with door.transaction():
            raise AssertionError("unreachable")
    await door.close()
    assert caught.value.code is Code.UNAVAILABLE


async def test_a_server_that_can_not_write_is_away_and_not_met_again(experience_database: Database) -> None:
    door = SystemDatabase(experience_database.dsn("experience_system"), pool_size=1)
    with experience_database.read_only():
        for _ in range(2):
            with pytest.raises(ApiError) as away:
                await found(door)
            assert away.value.code is Code.UNAVAILABLE
        async with door.transaction() as session:
            await (await session.connection()).execute(text("SELECT 1"))
    with pytest.raises(ApiError):  # the one connection that was opened meanwhile
        await found(door)
    await found(door)
    await door.close()


async def ask_with(door: SystemDatabase, state: str) -> None:
    async with door.transaction() as session:
        raising = f"DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{state}'; END $$"
        await (await session.connection()).execute(text(raising))


async def test_what_a_server_lacks_is_no_fault_of_ours(system_database: SystemDatabase) -> None:
    for state in ("25006", "53100", "53200", "53300", "57P01", "57P03"):
        with pytest.raises(ApiError) as away:
            await ask_with(system_database, state)
        assert away.value.code is Code.UNAVAILABLE, state


async def test_a_server_that_can_not_write_is_not_connected_to_if_the_address_says_so(
    experience_database: Database,
) -> None:
    """As docs/OPERATING.md has it: of several hosts, the first that takes one and can write."""
    dsn = experience_database.dsn("experience_system").replace("host=", "host=/nowhere,")
    door = SystemDatabase(dsn + "&target_session_attrs=read-write", pool_size=1)
    with experience_database.read_only(), pytest.raises(ApiError) as away:
        await found(door)
    assert away.value.code is Code.UNAVAILABLE
    await found(door)
    await door.close()
