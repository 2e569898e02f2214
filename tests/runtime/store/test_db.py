"""Transactions that end otherwise than their block."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from contracts.model import TenantId
from runtime.store.admission import lock_tenant
from runtime.store.db import Database as TenantDatabase
from runtime.store.db import DatabaseAway
from runtime.store.statement import Statement
from tests.support.postgres import Database

ADD = Statement("INSERT INTO runtime.tenants (tenant_id) VALUES (:tenant_id) ON CONFLICT DO NOTHING")
AWAY = {
    "25006": "a server that can't write",
    "53000": "out of something",
    "53100": "out of disk",
    "53200": "out of memory",
    "53300": "out of connections",
    "57P01": "told to go",
    "57P03": "starting",
}


@pytest.fixture
async def narrow(migrated: Database) -> AsyncIterator[TenantDatabase]:
    """With a pool of one, so that whatever is left in it is met by the next."""
    door = TenantDatabase(migrated.dsn("runtime_app"), size=1)
    yield door
    await door.close()


async def add(door: TenantDatabase, tenant_id: TenantId, *, plainly: bool) -> None:
    if plainly:
        async with door.write_plainly(tenant_id) as plain:
            await ADD.fetch(plain, {"tenant_id": tenant_id})
    else:
        async with door.write(tenant_id) as session:
            await (await session.connection()).execute(text(f"INSERT INTO runtime.tenants VALUES ('{tenant_id}')"))


async def find_server(door: TenantDatabase, tenant_id: TenantId) -> int:
    """The number of the server's process behind the pool's one connection."""
    async with door.read(tenant_id) as session:
        found = await (await session.connection()).scalar(text("SELECT pg_backend_pid()"))
    return int(found or 0)


@pytest.mark.parametrize("plainly", [True, False])
async def test_a_server_that_can_not_write_is_away_and_not_met_again(
    *, plainly: bool, migrated: Database, narrow: TenantDatabase, tenant_id: TenantId
) -> None:
    with migrated.read_only():
        for _ in range(2):
            with pytest.raises(DatabaseAway):
                await add(narrow, tenant_id, plainly=plainly)
        assert await find_server(narrow, tenant_id) > 0
    with pytest.raises(DatabaseAway):  # the one connection that was opened meanwhile
        await add(narrow, tenant_id, plainly=plainly)
    await add(narrow, tenant_id, plainly=plainly)


async def test_a_server_that_can_not_write_is_not_connected_to_if_the_address_says_so(
    migrated: Database, tenant_id: TenantId
) -> None:
    """As docs/OPERATING.md has it: of several hosts, the first that takes one and can write."""
    dsn = migrated.dsn("runtime_app").replace("host=", "host=/nowhere,")
    door = TenantDatabase(dsn + "&target_session_attrs=read-write", size=1)
    with migrated.read_only(), pytest.raises(DatabaseAway):
        await find_server(door, tenant_id)
    await add(door, tenant_id, plainly=True)
    await door.close()


@pytest.mark.parametrize("state", AWAY)
async def test_what_a_server_lacks_is_no_fault_of_ours(state: str, narrow: TenantDatabase, tenant_id: TenantId) -> None:
    raising = f"DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{state}'; END $$"
    before = await find_server(narrow, tenant_id)
    with pytest.raises(DatabaseAway):
        async with narrow.write(tenant_id) as session:
            await (await session.connection()).execute(text(raising))
    between = await find_server(narrow, tenant_id)
    with pytest.raises(DatabaseAway):
        async with narrow.write_plainly(tenant_id) as plain:
            await plain.raw.execute(raising)
    assert len({before, between, await find_server(narrow, tenant_id)}) == 3


async def test_being_refused_a_write_where_only_reading_was_asked_for_is_a_fault_of_ours(
    narrow: TenantDatabase, tenant_id: TenantId
) -> None:
    before = await find_server(narrow, tenant_id)
    with pytest.raises(Exception, match="read-only transaction"):
        async with narrow.read_plainly(tenant_id) as plain:
            await ADD.fetch(plain, {"tenant_id": tenant_id})
    assert await find_server(narrow, tenant_id) == before


async def test_who_freezes_in_a_transaction_loses_its_locks(
    migrated: Database, db: TenantDatabase, tenant_id: TenantId, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with db.write(tenant_id) as session:
        await lock_tenant(session, tenant_id)
    monkeypatch.setattr("runtime.store.db.IDLE_IN_TRANSACTION_S", 0.1)
    frozen = TenantDatabase(migrated.dsn("runtime_app"), size=1)

    async def freeze() -> None:
        async with frozen.write(tenant_id) as session:
            await lock_tenant(session, tenant_id)
            async with db.write(tenant_id) as other:  # waits for the row, and gets it
                await lock_tenant(other, tenant_id)
            await (await session.connection()).execute(text("SELECT 1"))

    with pytest.raises(DatabaseAway):
        await freeze()
    await frozen.close()
