"""What is past its time goes, a batch in each transaction; what is owed or young stays."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from contracts.identity import TenantLimits
from contracts.model import TenantId
from experience.pruning import Pruning
from experience.store.db import SystemDatabase
from experience.store.pruning import BATCH, delete_expired, delete_old_intents
from experience.store.tables import ThrottleRow
from experience.store.tenants import insert_tenant
from tests.support.postgres import Database

DAY = timedelta(days=1)


class Place:
    """An Experience in which nobody else prunes."""

    def __init__(self, database: Database) -> None:
        self.system = SystemDatabase(database.dsn("experience_system"), pool_size=2)
        self.pruning = Pruning(self.system, lambda: datetime.now(UTC))

    async def found(self, retention_days: int | None = None) -> TenantId:
        async with self.system.transaction() as session:
            limits, now = TenantLimits(retention_days=retention_days), datetime.now(UTC)
            row = await insert_tenant(session, name="T", kind="team", limits=limits, now=now)
        return TenantId(row.tenant_id)

    async def add(self, tenant_id: TenantId, days: float, status: str, *, owed: bool = False) -> UUID:
        """An intent of so many days ago."""
        at = datetime.now(UTC) - days * DAY
        intent_id = UUID(int=int(at.timestamp() * 1_000) << 80 | uuid4().int >> 48)
        async with self.system.transaction() as session:
            values = {
                "id": intent_id,
                "tenant": tenant_id,
                "status": status,
                "next": at if owed else None,
                "at": at,
                "delivered": at if status == "delivered" else None,
            }
            await (await session.connection()).execute(_ADD, values)
        return intent_id

    async def run(self, statement: str, **values: object) -> None:
        async with self.system.transaction() as session:
            await (await session.connection()).execute(text(statement), values)

    async def left(self) -> set[UUID]:
        async with self.system.transaction() as session:
            rows = await (await session.connection()).execute(text("SELECT intent_id FROM experience.intents"))
            return {row.intent_id for row in rows}


_ADD = text("""
    INSERT INTO experience.intents (intent_id, tenant_id, execution_id, realm, intent, parameters, status, deferred,
        attempts, next_attempt_at, cancel_requested, cancel_reason, created_at, delivered_at)
    VALUES (:id, :tenant, gen_random_uuid(), 'browser', 'visit', '{"secret": "x"}', :status, true, 1, :next, false, '',
        :at, :delivered)
""")


@pytest.fixture
async def place(database: Database) -> AsyncIterator[Place]:
    made = Place(database)
    await made.run("DELETE FROM experience.tenants")
    yield made
    await made.system.close()


async def test_intents_go_when_their_executions_would(place: Place) -> None:
    usual, short, long = await place.found(), await place.found(3), await place.found(90)
    kept = {
        await place.add(usual, 29, "delivered"),
        await place.add(usual, 29, "refused"),
        await place.add(short, 2, "delivered"),
        await place.add(long, 80, "delivered"),
    }
    for tenant_id, days in ((usual, 31), (short, 4), (long, 91)):
        await place.add(tenant_id, days, "delivered")
        await place.add(tenant_id, days, "refused")
    await place.pruning.sweep()
    assert await place.left() == kept


async def test_what_is_owed_to_runtime_stays_however_old(place: Place) -> None:
    tenant_id = await place.found()
    owed = {
        await place.add(tenant_id, 40, "pending", owed=True),
        await place.add(tenant_id, 40, "delivered", owed=True),  # its cancel
    }
    late = await place.add(tenant_id, 40, "delivered")
    await place.run("UPDATE experience.intents SET delivered_at = now() WHERE intent_id = :id", id=late)
    await place.pruning.sweep()
    assert await place.left() == owed | {late}


async def test_what_piled_up_goes_in_batches(place: Place) -> None:
    tenant_id, now = await place.found(), datetime.now(UTC)
    for _ in range(2 * BATCH + 1):
        await place.add(tenant_id, 40, "refused")
    failures = "INSERT INTO experience.throttle SELECT 'n' || n, 1, :at, :at FROM generate_series(1, :number) n"
    await place.run(failures, number=2 * BATCH + 1, at=now - DAY)
    async with place.system.transaction() as session:
        assert await delete_old_intents(session) == BATCH
        assert await delete_expired(ThrottleRow, ThrottleRow.forget_at, now, session) == BATCH
    await place.pruning.sweep()
    assert await place.left() == set()
    async with place.system.transaction() as session:
        counted = await (await session.connection()).execute(text("SELECT count(*) FROM experience.throttle"))
        assert counted.scalar_one() == 0
