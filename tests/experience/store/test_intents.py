"""The outbox's rows: claimed by one at a time, back after their lease, gone only when delivered."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from contracts.identity import TenantLimits
from contracts.model import ExecutionId, IntentId, TenantId
from experience.store.db import SystemDatabase, TenantDatabase
from experience.store.intents import (
    add_intent,
    claim_due,
    find_intent,
    find_intent_of,
    hurry,
    list_undelivered,
    mark_cancel_delivered,
    mark_delivered,
    mark_refused,
    postpone,
    request_cancel,
)
from experience.store.migrate import migrate
from experience.store.tables import IntentRow
from experience.store.tenants import delete_tenant, insert_tenant
from tests.support.postgres import Database, Postgres

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


class Doors:
    """Both doors to a database whose outbox nobody else works on, and a tenant in it."""

    def __init__(self, database: Database) -> None:
        self.tenants = TenantDatabase(database.dsn("experience_app"), pool_size=4)
        self.system = SystemDatabase(database.dsn("experience_system"), pool_size=4)
        self.tenant_id = TenantId(uuid4())

        self._made: list[TenantId] = []

    async def found_tenant(self) -> TenantId:
        async with self.system.transaction() as session:
            row = await insert_tenant(session, name="T", kind="team", limits=TenantLimits(), now=NOW)
        self._made.append(TenantId(row.tenant_id))
        return TenantId(row.tenant_id)

    async def close(self) -> None:
        async with self.system.transaction() as session:
            for tenant_id in self._made:
                await delete_tenant(session, tenant_id)
        await self.tenants.close()
        await self.system.close()

    async def add(self, due: datetime = NOW, tenant_id: TenantId | None = None) -> IntentId:
        row = draft(tenant_id or self.tenant_id, due)
        async with self.tenants.transaction(TenantId(row.tenant_id)) as session:
            await add_intent(session, row)
        return IntentId(row.intent_id)

    async def read(self, intent_id: IntentId) -> IntentRow:
        async with self.tenants.transaction(self.tenant_id) as session:
            row = await find_intent(session, intent_id)
        assert row is not None
        return row

    async def claim(self, now: datetime = NOW, limit: int = 10) -> list[IntentId]:
        async with self.system.transaction() as session:
            rows = await claim_due(session, limit, now=now, until=now + 10 * SECOND)
        return [IntentId(row.intent_id) for row in rows]


def draft(tenant_id: TenantId, due: datetime) -> IntentRow:
    return IntentRow(
        intent_id=uuid4(),
        tenant_id=tenant_id,
        execution_id=uuid4(),
        session_id=None,
        user_id=None,
        realm="browser",
        intent="visit",
        parameters={"url": "https://shop.test", "nothing": None},
        status="pending",
        error=None,
        deferred=False,
        attempts=0,
        next_attempt_at=due,
        last_error=None,
        cancel_requested=False,
        cancel_reason="",
        cancel_delivered_at=None,
        created_at=NOW,
        delivered_at=None,
    )


@pytest.fixture(scope="module")
def database(postgres: Postgres) -> Database:
    made = postgres.create_database()
    asyncio.run(migrate(made.dsn("experience_owner")))
    return made


@pytest.fixture
async def doors(database: Database) -> AsyncIterator[Doors]:
    made = Doors(database)
    made.tenant_id = await made.found_tenant()
    yield made
    await made.close()


async def test_two_who_claim_at_once_never_get_the_same(doors: Doors) -> None:
    wanted = {await doors.add() for _ in range(6)}
    async with doors.system.transaction() as one, doors.system.transaction() as other:
        first = await claim_due(one, 4, now=NOW, until=NOW + SECOND)
        second = await claim_due(other, 4, now=NOW, until=NOW + SECOND)
    claimed = [row.intent_id for row in (*first, *second)]
    assert len(claimed) == 6
    assert set(claimed) == wanted


async def test_a_claim_that_is_rolled_back_never_was(doors: Doors) -> None:
    intent_id = await doors.add()

    async def claim_and_die() -> None:
        async with doors.system.transaction() as session:
            assert await claim_due(session, 4, now=NOW, until=NOW + SECOND)
            raise ConnectionAbortedError

    with pytest.raises(Exception):  # noqa: B017, PT011  # whichever: the point is what is left
        await claim_and_die()
    assert await doors.claim() == [intent_id]


async def test_oldest_first_and_nothing_before_its_time(doors: Doors) -> None:
    later = await doors.add(NOW + SECOND)
    second = await doors.add(NOW)
    first = await doors.add(NOW - SECOND)
    assert await doors.claim(limit=1) == [first]
    assert await doors.claim() == [second]
    assert await doors.claim() == []
    assert await doors.claim(NOW + SECOND) == [later]


async def test_a_lease_that_ends_gives_the_row_back(doors: Doors) -> None:
    intent_id = await doors.add()
    assert await doors.claim() == [intent_id]
    assert await doors.claim(NOW + 9 * SECOND) == []
    assert await doors.claim(NOW + 10 * SECOND) == [intent_id]
    assert (await doors.read(intent_id)).deferred is True


async def test_what_is_delivered_is_out_of_the_outbox(doors: Doors) -> None:
    intent_id = await doors.add()
    async with doors.tenants.transaction(doors.tenant_id) as session:
        assert await mark_delivered(session, intent_id, now=NOW) is False
    row = await doors.read(intent_id)
    assert (row.status, row.delivered_at, row.next_attempt_at) == ("delivered", NOW, None)
    async with doors.tenants.transaction(doors.tenant_id) as session:
        await postpone(session, intent_id, "late", until=NOW)
        await mark_refused(session, intent_id, "late")
    assert (await doors.read(intent_id)).status == "delivered"
    assert await doors.claim(NOW + 60 * SECOND) == []


async def test_a_cancel_that_came_meanwhile_is_owed_after_the_delivery(doors: Doors) -> None:
    intent_id = await doors.add(NOW + 5 * SECOND)
    async with doors.tenants.transaction(doors.tenant_id) as session:
        wanted = await request_cancel(session, intent_id, "why", attempt_until=NOW + 60 * SECOND)
    assert wanted is not None
    assert (wanted.status, wanted.cancel_reason, wanted.next_attempt_at) == ("pending", "why", NOW + 5 * SECOND)
    async with doors.tenants.transaction(doors.tenant_id) as session:
        assert await mark_delivered(session, intent_id, now=NOW) is True
    assert await doors.claim() == [intent_id]
    async with doors.tenants.transaction(doors.tenant_id) as session:
        await mark_cancel_delivered(session, intent_id, now=NOW)
    assert await doors.claim(NOW + 60 * SECOND) == []


async def test_a_cancel_of_a_delivered_one_is_the_callers_first(doors: Doors) -> None:
    intent_id = await doors.add()
    async with doors.tenants.transaction(doors.tenant_id) as session:
        await mark_delivered(session, intent_id, now=NOW)
        await request_cancel(session, intent_id, "", attempt_until=NOW + 5 * SECOND)
    assert await doors.claim(NOW + 4 * SECOND) == []
    assert await doors.claim(NOW + 5 * SECOND) == [intent_id]


async def test_what_was_refused_can_not_be_cancelled(doors: Doors) -> None:
    intent_id = await doors.add()
    async with doors.tenants.transaction(doors.tenant_id) as session:
        await mark_refused(session, intent_id, "invalid: no")
        assert await request_cancel(session, intent_id, "", attempt_until=NOW) is None
    assert await doors.claim(NOW + 60 * SECOND) == []


async def test_hurrying_makes_everything_of_a_tenant_due(doors: Doors) -> None:
    mine = {await doors.add(NOW + 60 * SECOND) for _ in range(2)}
    await doors.add(NOW + 60 * SECOND, await doors.found_tenant())
    async with doors.system.transaction() as session:
        assert await hurry(session, doors.tenant_id, now=NOW) == 2
    assert set(await doors.claim()) == mine


async def test_another_tenants_intents_are_not_there(doors: Doors) -> None:
    intent_id = await doors.add()
    row = await doors.read(intent_id)
    async with doors.tenants.transaction(await doors.found_tenant()) as session:
        assert await find_intent(session, intent_id) is None
        assert await find_intent_of(session, ExecutionId(row.execution_id)) is None
        assert await list_undelivered(session, None, 10) == []
        assert await request_cancel(session, intent_id, "", attempt_until=NOW) is None
        await mark_refused(session, intent_id, "not mine")
        await postpone(session, intent_id, "not mine", until=NOW)
    assert await doors.read(intent_id) == row


async def test_row_level_security_stands_behind_the_queries(doors: Doors) -> None:
    foreign = await doors.found_tenant()
    with pytest.raises(Exception, match="row-level security"):
        async with doors.tenants.transaction(foreign) as session:
            await add_intent(session, draft(doors.tenant_id, NOW))


async def test_a_hundred_claims_at_once_hand_out_each_row_once(doors: Doors) -> None:
    wanted = [await doors.add() for _ in range(40)]
    batches = await asyncio.gather(*(doors.claim(limit=3) for _ in range(20)))
    claimed = [intent_id for batch in batches for intent_id in batch]
    assert sorted(claimed) == sorted(wanted)
