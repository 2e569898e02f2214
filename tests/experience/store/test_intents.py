"""The outbox's rows: claimed by one at a time, back after their lease, gone only when delivered."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import text

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
from experience.store.tables import IntentRow
from experience.store.tenants import delete_tenant, insert_tenant
from tests.support.postgres import Database

NOW = timedelta()
MINUTE = timedelta(minutes=1)
"""Far longer than a test takes, and at the database's clock it is real time that passes."""


class Doors:
    """Both doors to a database whose outbox nobody else works on, and a tenant in it."""

    def __init__(self, database: Database) -> None:
        self.tenants = TenantDatabase(database.dsn("experience_app"), pool_size=4)
        self.system = SystemDatabase(database.dsn("experience_system"), pool_size=4)
        self.tenant_id = TenantId(uuid4())

        self._made: list[TenantId] = []

    async def found_tenant(self) -> TenantId:
        async with self.system.transaction() as session:
            row = await insert_tenant(session, name="T", kind="team", limits=TenantLimits(), now=datetime.now(UTC))
        self._made.append(TenantId(row.tenant_id))
        return TenantId(row.tenant_id)

    async def close(self) -> None:
        async with self.system.transaction() as session:
            for tenant_id in self._made:
                await delete_tenant(session, tenant_id)
        await self.tenants.close()
        await self.system.close()

    async def add(self, due: timedelta = NOW, tenant_id: TenantId | None = None) -> IntentId:
        row = draft(tenant_id or self.tenant_id)
        async with self.tenants.transaction(TenantId(row.tenant_id)) as session:
            await add_intent(session, row, lease=due)
        return IntentId(row.intent_id)

    async def wait(self, time: timedelta) -> None:
        """As if so much time had passed."""
        async with self.system.transaction() as session:
            moved = text("UPDATE experience.intents SET next_attempt_at = next_attempt_at - cast(:time AS interval)")
            await (await session.connection()).execute(moved, {"time": time})

    async def read(self, intent_id: IntentId) -> IntentRow:
        async with self.tenants.transaction(self.tenant_id) as session:
            row = await find_intent(session, intent_id)
        assert row is not None
        return row

    async def claim(self, limit: int = 10) -> list[IntentId]:
        async with self.system.transaction() as session:
            rows = await claim_due(session, limit, lease=10 * MINUTE)
        return [IntentId(row.intent_id) for row in rows]


def draft(tenant_id: TenantId) -> IntentRow:
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
        next_attempt_at=None,
        last_error=None,
        cancel_requested=False,
        cancel_reason="",
        cancel_delivered_at=None,
        created_at=datetime.now(UTC),
        delivered_at=None,
    )


@pytest.fixture
async def doors(database: Database) -> AsyncIterator[Doors]:
    made = Doors(database)
    made.tenant_id = await made.found_tenant()
    yield made
    await made.close()


async def test_two_who_claim_at_once_never_get_the_same(doors: Doors) -> None:
    wanted = {await doors.add() for _ in range(6)}
    async with doors.system.transaction() as one, doors.system.transaction() as other:
        first = await claim_due(one, 4, lease=MINUTE)
        second = await claim_due(other, 4, lease=MINUTE)
    claimed = [row.intent_id for row in (*first, *second)]
    assert len(claimed) == 6
    assert set(claimed) == wanted


async def test_a_claim_that_is_rolled_back_never_was(doors: Doors) -> None:
    intent_id = await doors.add()

    async def claim_and_die() -> None:
        async with doors.system.transaction() as session:
            assert await claim_due(session, 4, lease=MINUTE)
            raise ConnectionAbortedError

    with pytest.raises(Exception):  # noqa: B017, PT011  # whichever: the point is what is left
        await claim_and_die()
    assert await doors.claim() == [intent_id]


async def test_oldest_first_and_nothing_before_its_time(doors: Doors) -> None:
    later = await doors.add(MINUTE)
    second = await doors.add()
    first = await doors.add(-MINUTE)
    assert await doors.claim(limit=1) == [first]
    assert await doors.claim() == [second]
    assert await doors.claim() == []
    await doors.wait(MINUTE)
    assert await doors.claim() == [later]


async def test_a_lease_that_ends_gives_the_row_back(doors: Doors) -> None:
    intent_id = await doors.add()
    assert await doors.claim() == [intent_id]
    await doors.wait(9 * MINUTE)
    assert await doors.claim() == []
    await doors.wait(MINUTE)
    assert await doors.claim() == [intent_id]
    assert (await doors.read(intent_id)).deferred is True


async def test_what_is_delivered_is_out_of_the_outbox(doors: Doors) -> None:
    intent_id = await doors.add()
    async with doors.tenants.transaction(doors.tenant_id) as session:
        assert await mark_delivered(session, intent_id) is False
    row = await doors.read(intent_id)
    assert (row.status, row.next_attempt_at) == ("delivered", None)
    assert row.delivered_at is not None
    async with doors.tenants.transaction(doors.tenant_id) as session:
        await postpone(session, intent_id, "late", delay=NOW)
        await mark_refused(session, intent_id, "late")
    assert (await doors.read(intent_id)).status == "delivered"
    await doors.wait(60 * MINUTE)
    assert await doors.claim() == []


async def test_a_cancel_that_came_meanwhile_is_owed_after_the_delivery(doors: Doors) -> None:
    intent_id = await doors.add(5 * MINUTE)
    before = (await doors.read(intent_id)).next_attempt_at
    async with doors.tenants.transaction(doors.tenant_id) as session:
        wanted = await request_cancel(session, intent_id, "why", lease=60 * MINUTE)
    assert wanted is not None
    assert (wanted.status, wanted.cancel_reason, wanted.next_attempt_at) == ("pending", "why", before)
    async with doors.tenants.transaction(doors.tenant_id) as session:
        assert await mark_delivered(session, intent_id) is True
    assert await doors.claim() == [intent_id]
    async with doors.tenants.transaction(doors.tenant_id) as session:
        await mark_cancel_delivered(session, intent_id)
    await doors.wait(60 * MINUTE)
    assert await doors.claim() == []


async def test_a_cancel_of_a_delivered_one_is_the_callers_first(doors: Doors) -> None:
    intent_id = await doors.add()
    async with doors.tenants.transaction(doors.tenant_id) as session:
        await mark_delivered(session, intent_id)
        await request_cancel(session, intent_id, "", lease=5 * MINUTE)
    await doors.wait(4 * MINUTE)
    assert await doors.claim() == []
    await doors.wait(MINUTE)
    assert await doors.claim() == [intent_id]


async def test_what_was_refused_can_not_be_cancelled(doors: Doors) -> None:
    intent_id = await doors.add()
    async with doors.tenants.transaction(doors.tenant_id) as session:
        await mark_refused(session, intent_id, "invalid: no")
        assert await request_cancel(session, intent_id, "", lease=NOW) is None
    await doors.wait(60 * MINUTE)
    assert await doors.claim() == []


async def test_hurrying_makes_everything_of_a_tenant_due(doors: Doors) -> None:
    mine = {await doors.add(60 * MINUTE) for _ in range(2)}
    await doors.add(60 * MINUTE, await doors.found_tenant())
    async with doors.system.transaction() as session:
        assert await hurry(session, doors.tenant_id) == 2
    assert set(await doors.claim()) == mine


async def test_another_tenants_intents_are_not_there(doors: Doors) -> None:
    intent_id = await doors.add()
    row = await doors.read(intent_id)
    async with doors.tenants.transaction(await doors.found_tenant()) as session:
        assert await find_intent(session, intent_id) is None
        assert await find_intent_of(session, ExecutionId(row.execution_id)) is None
        assert await list_undelivered(session, None, 10) == []
        assert await request_cancel(session, intent_id, "", lease=NOW) is None
        await mark_refused(session, intent_id, "not mine")
        await postpone(session, intent_id, "not mine", delay=NOW)
    assert await doors.read(intent_id) == row


async def test_row_level_security_stands_behind_the_queries(doors: Doors) -> None:
    foreign = await doors.found_tenant()
    with pytest.raises(Exception, match="row-level security"):
        async with doors.tenants.transaction(foreign) as session:
            await add_intent(session, draft(doors.tenant_id), lease=NOW)


async def test_a_hundred_claims_at_once_hand_out_each_row_once(doors: Doors) -> None:
    wanted = [await doors.add() for _ in range(40)]
    batches = await asyncio.gather(*(doors.claim(limit=3) for _ in range(20)))
    claimed = [intent_id for batch in batches for intent_id in batch]
    assert sorted(claimed) == sorted(wanted)
