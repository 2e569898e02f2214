"""However much waits: who is let in, and how much is read to find that out."""

import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import pytest
from uuid_utils.compat import uuid7

from contracts.model import TenantId
from runtime.store.admission import _ADMIT, admit_waiting, lock_tenant
from runtime.store.upkeep import Upkeep
from tests.runtime.store.test_admission import Place
from tests.support.postgres import Database

WAITING = 20_000
LIMIT = 4


class Waiting(NamedTuple):
    """One that no place was free for."""

    execution_id: UUID
    workflow_id: UUID | None
    workflow_concurrency: int | None
    priority: int
    order: int
    """Lower ones have waited longer."""


@pytest.fixture
async def place(own_database: Database) -> AsyncIterator[Place]:
    made = Place(own_database)
    yield made
    await made.db.close()
    await made.system.close()


@pytest.fixture
async def superuser(own_database: Database) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(own_database.superuser_dsn)
    yield connection
    await connection.close()


def model(waiting: Sequence[Waiting], busy: Counter[UUID | None], limit: int) -> list[UUID]:
    """Who is to be let in, in order, read off every one that waits."""
    in_order = sorted(waiting, key=lambda one: (-one.priority, one.order))
    places: Counter[UUID | None] = Counter()
    fits = []
    for one in in_order:
        places[one.workflow_id] += 1
        place = busy[one.workflow_id] + places[one.workflow_id]
        if one.workflow_concurrency is None or place <= one.workflow_concurrency:
            fits.append(one.execution_id)
    return fits[: max(0, limit - busy.total())]


@pytest.mark.parametrize("seed", range(12))
async def test_those_are_let_in_whom_the_limits_let_in(
    place: Place, superuser: "asyncpg.Connection[asyncpg.Record]", seed: int
) -> None:
    chance = random.Random(seed)
    limit = chance.choice([1, 3, 8, 30])
    tenant_id = await place.open_tenant(limit)
    (made,) = await place.submit(tenant_id)
    await superuser.execute("DELETE FROM runtime.pgqueuer")
    workflows: list[UUID | None] = [uuid7() for _ in range(4)]
    busy = [chance.choice([*workflows, None]) for _ in range(chance.randrange(limit))]
    waiting = []
    for order in range(40):
        workflow_id = chance.choice([*workflows, None])
        concurrency = None if workflow_id is None else chance.choice([None, 1, 2, 3, 20])
        waiting.append(Waiting(uuid7(), workflow_id, concurrency, chance.choice([-1, 0, 0, 1]), order))
    for workflow_id in busy:
        await copy(superuser, made, execution_id=uuid7(), workflow_id=workflow_id)
    for one in waiting:
        await copy(
            superuser,
            made,
            execution_id=one.execution_id,
            workflow_id=one.workflow_id,
            workflow_concurrency=one.workflow_concurrency,
            priority=one.priority,
            admitted_at=None,
            created_at=f"now() + {one.order} * interval '1 second'",
        )
    await superuser.execute("DELETE FROM runtime.executions WHERE execution_id = $1", made)
    async with place.db.write(tenant_id) as session:
        await admit_waiting(session, place.queue, await lock_tenant(session, tenant_id))
    assert await place.queued() == model(waiting, Counter(busy), limit)


async def copy(superuser: "asyncpg.Connection[asyncpg.Record]", made: UUID, number: int = 1, **changes: Any) -> None:
    """Rows like that of an execution but for what changes: values, or SQL over `n`, the number of the copy."""
    names = [row["column_name"] for row in await superuser.fetch(_COLUMNS)]
    changes = {"log_id": "gen_random_uuid()", "execution_id": "gen_random_uuid()"} | changes

    def say(name: str) -> str:
        value = changes.get(name, name)
        if value is None:
            return "NULL"
        return f"'{value}'" if isinstance(value, UUID) else str(value)

    await superuser.execute(
        f"INSERT INTO runtime.executions ({', '.join(names)}) SELECT {', '.join(map(say, names))} "
        "FROM runtime.executions, generate_series(1, $2::int) n WHERE execution_id = $1",
        made,
        number,
    )


_COLUMNS = """
    SELECT column_name FROM information_schema.columns WHERE table_schema = 'runtime' AND table_name = 'executions'
"""
FULL, WIDE = uuid7(), uuid7()


@pytest.mark.parametrize("analysed", [False, True])
async def test_no_more_is_read_than_is_let_in(
    place: Place, superuser: "asyncpg.Connection[asyncpg.Record]", *, analysed: bool
) -> None:
    """It happens under the tenant's lock, at each submit and each end."""
    tenant_id = await place.open_tenant(LIMIT)
    (running,) = await place.submit(tenant_id)
    later = "now() + n * interval '1 ms'"
    waits: dict[str, Any] = {"admitted_at": None, "created_at": later}
    await copy(superuser, running, WAITING, **waits)
    await copy(superuser, running, WAITING, **waits, workflow_id=FULL, workflow_concurrency=1, priority=1)
    await copy(superuser, running, WAITING, **waits, workflow_id=WIDE, workflow_concurrency=1_000, priority=1)
    await copy(superuser, running, 1, workflow_id=FULL)
    if analysed:
        await superuser.execute("ANALYZE runtime.executions")
    async with place.db.write(tenant_id) as session:
        await session.raw.execute("SET LOCAL plan_cache_mode = force_generic_plan")  # as after the first few
        assert max(await count_read(session.raw, tenant_id)) <= 10 * LIMIT
        await admit_waiting(session, place.queue, await lock_tenant(session, tenant_id))
        assert max(await count_read(session.raw, tenant_id)) <= 10 * LIMIT, "nothing is free now"
    admitted = await place.read(
        "SELECT workflow_id FROM runtime.executions WHERE admitted_at IS NOT NULL AND tenant_id = :id", id=tenant_id
    )
    assert Counter(row.workflow_id for row in admitted) == {None: 1, FULL: 1, WIDE: 2}


async def count_read(raw: "asyncpg.Connection[asyncpg.Record]", tenant_id: TenantId) -> list[int]:
    """Rows that each part of admission's plan read, thrown away ones as well; what it did is undone."""
    assert _ADMIT.names == ("tenant_id", "limit")
    undo = raw.transaction()
    await undo.start()
    await raw.execute(f"PREPARE admit (uuid, bigint) AS {_ADMIT.sql}")
    [row] = await raw.fetch(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE admit ('{tenant_id}', {LIMIT})")
    await raw.execute("DEALLOCATE admit")
    await undo.rollback()
    return list(_walk(row[0][0]["Plan"]))


def _walk(node: dict[str, Any]) -> list[int]:
    thrown = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    mine = [round((node["Actual Rows"] + thrown) * node["Actual Loops"])] if "Scan" in node["Node Type"] else []
    return mine + [number for part in node.get("Plans", []) for number in _walk(part)]


async def test_only_tenants_with_room_are_looked_at_again(place: Place) -> None:
    full, behind, idle, suspended = [await place.open_tenant(2) for _ in range(4)]
    await place.submit(full, 3)
    for tenant_id in (behind, suspended):
        (waiting,) = await place.submit(tenant_id)
        await place.change(waiting, "admitted_at = NULL")
    await place.read("UPDATE runtime.tenants SET suspended = true WHERE tenant_id = :id RETURNING 1", id=suspended)
    assert idle not in {full, behind}
    assert await Upkeep(place.system, place.queue).find_behind() == [behind]
