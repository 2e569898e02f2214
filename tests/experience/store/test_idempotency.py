"""Keys: taken once, with the intent or not at all; answered once and for all."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from contracts.identity import TenantLimits
from contracts.model import TenantId
from experience.store.db import SystemDatabase, TenantDatabase
from experience.store.idempotency import find_record, settle_answer, take_key
from experience.store.pruning import delete_expired
from experience.store.tables import IdempotencyRow
from experience.store.tenants import insert_tenant

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
async def tenant_id(system_database: SystemDatabase) -> TenantId:
    async with system_database.transaction() as session:
        row = await insert_tenant(session, name="T", kind="team", limits=TenantLimits(), now=NOW)
    return TenantId(row.tenant_id)


def record(tenant_id: TenantId, key: str, *, lives: timedelta = timedelta(hours=48)) -> IdempotencyRow:
    return IdempotencyRow(
        tenant_id=tenant_id,
        endpoint="intent",
        key=key,
        request_hash=b"hash",
        status=None,
        body=None,
        intent_id=uuid4(),
        created_at=NOW,
        expires_at=NOW + lives,
    )


async def test_a_key_is_taken_once(tenant_database: TenantDatabase, tenant_id: TenantId) -> None:
    first = record(tenant_id, "k")
    async with tenant_database.transaction(tenant_id) as session:
        assert await take_key(session, first) is True
        assert await take_key(session, record(tenant_id, "k")) is False
        found = await find_record(session, "intent", "k")
    assert found is not None
    assert (found.intent_id, found.status, found.body) == (first.intent_id, None, None)


async def test_the_second_waits_for_how_the_first_ends(tenant_database: TenantDatabase, tenant_id: TenantId) -> None:
    taken: list[bool] = []

    async def second() -> None:
        async with tenant_database.transaction(tenant_id) as session:
            taken.append(await take_key(session, record(tenant_id, "race")))

    async with tenant_database.transaction(tenant_id) as session:
        await take_key(session, record(tenant_id, "race"))
        waiting = asyncio.ensure_future(second())
        await asyncio.sleep(0.2)
        assert not waiting.done()
    await waiting
    assert taken == [False]


async def test_a_key_whose_taker_failed_is_free(tenant_database: TenantDatabase, tenant_id: TenantId) -> None:
    async def take_and_fail() -> None:
        async with tenant_database.transaction(tenant_id) as session:
            await take_key(session, record(tenant_id, "free"))
            raise LookupError

    with pytest.raises(LookupError):
        await take_and_fail()
    async with tenant_database.transaction(tenant_id) as session:
        assert await take_key(session, record(tenant_id, "free")) is True


async def test_the_first_answer_stands(tenant_database: TenantDatabase, tenant_id: TenantId) -> None:
    async with tenant_database.transaction(tenant_id) as session:
        await take_key(session, record(tenant_id, "a"))
        assert await settle_answer(session, "intent", "a", 202, {"n": 1}) == (202, {"n": 1})
        assert await settle_answer(session, "intent", "a", 422, {"n": 2}) == (202, {"n": 1})
    async with tenant_database.transaction(tenant_id) as session:
        found = await find_record(session, "intent", "a")
    assert found is not None
    assert (found.status, found.body) == (202, {"n": 1})


async def test_keys_are_a_tenants_own(
    tenant_database: TenantDatabase, system_database: SystemDatabase, tenant_id: TenantId
) -> None:
    async with system_database.transaction() as session:
        other = await insert_tenant(session, name="U", kind="team", limits=TenantLimits(), now=NOW)
    async with tenant_database.transaction(tenant_id) as session:
        await take_key(session, record(tenant_id, "mine"))
    async with tenant_database.transaction(TenantId(other.tenant_id)) as session:
        assert await find_record(session, "intent", "mine") is None
        assert await take_key(session, record(TenantId(other.tenant_id), "mine")) is True


async def test_expired_keys_are_forgotten(
    tenant_database: TenantDatabase, system_database: SystemDatabase, tenant_id: TenantId
) -> None:
    async with tenant_database.transaction(tenant_id) as session:
        await take_key(session, record(tenant_id, "old", lives=timedelta(hours=1)))
        await take_key(session, record(tenant_id, "new"))
    async with system_database.transaction() as session:
        await delete_expired(IdempotencyRow, IdempotencyRow.expires_at, NOW + timedelta(hours=2), session)
    async with tenant_database.transaction(tenant_id) as session:
        assert await find_record(session, "intent", "old") is None
        assert await find_record(session, "intent", "new") is not None
