"""Limits hold whatever happens at once, priorities count inside a tenant, and between tenants the queue goes round."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from uuid_utils.compat import uuid7

from contracts.execution import ExecutionStatus, Priority, TenantState
from contracts.model import ExecutionId, TenantId, WorkflowId
from runtime.store.admission import RANKS, admit_waiting, lock_tenant, pass_turn
from runtime.store.changes import Change, End
from runtime.store.db import Database as TenantDatabase
from runtime.store.db import SystemDatabase
from runtime.store.executions import Executions
from runtime.store.queue import Entry, HandBack, PgQueue
from runtime.store.runs import Runs
from runtime.store.tenants import Tenants
from runtime.store.upkeep import Upkeep
from tests.runtime.made import make_execution
from tests.support.postgres import Database

IN_HAND = 2
"""Entries that a worker has taken before a test says which one it may begin."""


class Place:
    """A Runtime whose queue nobody else uses."""

    def __init__(self, database: Database) -> None:
        self.db = TenantDatabase(database.dsn("runtime_app"), size=12)
        self.system = SystemDatabase(database.dsn("runtime_system"))
        self.queue = PgQueue(database.dsn("runtime_system"), concurrency=1, heartbeat_s=15)
        self.executions = Executions(self.db, self.queue)
        self.runs = Runs(self.db, self.queue)
        self.tenants = Tenants(self.db, self.system, self.queue)

    async def open_tenant(self, limit: int) -> TenantId:
        tenant_id = TenantId(uuid7())
        await self.tenants.put(TenantState(tenant_id=tenant_id, suspended=False, max_concurrent_executions=limit))
        return tenant_id

    async def submit(self, tenant_id: TenantId, number: int = 1, **changes: Any) -> list[ExecutionId]:
        made = [make_execution(**changes) for _ in range(number)]
        for new in made:
            await self.executions.submit(tenant_id, new)
        return [new.execution_id for new in made]

    async def submit_as(self, tenant_id: TenantId, *priorities: Priority) -> list[ExecutionId]:
        """Executions of these priorities that come together: all of them are there before any is let in."""
        made = [make_execution() for _ in priorities]
        async with self.db.write(tenant_id) as session:
            tenant = await lock_tenant(session, tenant_id)
            for new, priority in zip(made, priorities, strict=True):
                await self.executions._insert(session, new)
                await self._change(session, new.execution_id, f"priority = {RANKS[priority]}")
            await admit_waiting(session, self.queue, tenant)
        return [new.execution_id for new in made]

    async def change(self, execution_id: UUID, values: str) -> None:
        async with self.system.write() as session:
            await self._change(session, execution_id, values)

    async def _change(self, session: Any, execution_id: UUID, values: str) -> None:
        statement = text(f"UPDATE runtime.executions SET {values} WHERE execution_id = :id")
        await (await session.connection()).execute(statement, {"id": execution_id})

    async def read(self, query: str, **values: Any) -> Sequence[Any]:
        async with self.system.write() as session:
            return (await (await session.connection()).execute(text(query), values)).all()

    async def queued(self) -> list[UUID]:
        """What lies in the queue, as it will be performed."""
        rows = await self.read("SELECT dedupe_key FROM runtime.pgqueuer ORDER BY priority DESC, id")
        return [UUID(row.dedupe_key) for row in rows]

    async def begin(self, entry: Entry) -> None:
        async with self.db.write(entry.tenant_id) as session:
            await pass_turn(session, entry.turn)

    async def perform(self, entry: Entry) -> None:
        """From the claim to the end, which lets in what waited."""
        await self.begin(entry)
        claimed = await self.runs.claim(entry.tenant_id, entry.execution_id, "worker")
        assert claimed is not None
        await self.runs.finish(claimed.lease, Change(), End(status=ExecutionStatus.COMPLETED, result={}))


class Worker:
    """Performs what the queue gives it, as many as a test lets it."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._permits = asyncio.Semaphore(0)
        self._performed: asyncio.Queue[Entry] = asyncio.Queue()
        self.ends = False

    async def perform(self, entry: Entry) -> None:
        await self._permits.acquire()
        if self.ends:
            raise HandBack
        await self._place.perform(entry)
        self._performed.put_nowait(entry)

    async def take(self, number: int) -> list[Entry]:
        """The next ones, in the order in which they were performed."""
        taken = []
        for _ in range(number):
            self._permits.release()
            taken.append(await self._performed.get())
        return taken

    def leave(self) -> None:
        self.ends = True
        for _ in range(IN_HAND + 1):
            self._permits.release()


@pytest.fixture
async def place(own_database: Database) -> AsyncIterator[Place]:
    made = Place(own_database)
    yield made
    await made.db.close()
    await made.system.close()


@asynccontextmanager
async def working(place: Place) -> AsyncIterator[Worker]:
    worker = Worker(place)
    async with asyncio.TaskGroup() as group:
        group.create_task(place.queue.work(worker.perform))
        try:
            async with asyncio.timeout(90):
                yield worker
        finally:
            place.queue.stop()
            worker.leave()


async def test_a_newcomer_is_in_the_round_that_goes_on(place: Place) -> None:
    flooding, newcomer = await place.open_tenant(500), await place.open_tenant(500)
    await place.submit(flooding, 200)
    async with working(place) as worker:
        assert {entry.tenant_id for entry in await worker.take(20)} == {flooding}
        await place.submit(newcomer, 5)
        # from now on each round has one of either
        taken = Counter(entry.tenant_id for entry in await worker.take(IN_HAND + 1 + 2 * 5))
    assert taken[newcomer] == 5


async def test_tenants_share_evenly_however_much_they_have_waiting(place: Place) -> None:
    limits = {await place.open_tenant(limit): limit for limit in (2, 4, 60)}
    for tenant_id in limits:
        await place.submit(tenant_id, 30)
    async with working(place) as worker:
        taken = Counter(entry.tenant_id for entry in await worker.take(45))
    assert all(abs(taken[tenant_id] - 15) <= IN_HAND for tenant_id in limits), taken


async def test_priorities_take_nothing_from_other_tenants(place: Place) -> None:
    urgent, steady = await place.open_tenant(40), await place.open_tenant(40)
    await place.submit_as(urgent, *[Priority.HIGH] * 20)
    mine = await place.submit(steady, 8)
    async with working(place) as worker:
        seen: list[Entry] = []
        while len(seen) < IN_HAND + 1 + 2 * len(mine):
            seen += await worker.take(1)
            await place.submit_as(urgent, Priority.HIGH)  # it never runs out of them
    assert {entry.execution_id for entry in seen if entry.tenant_id == steady} == set(mine)


async def test_the_higher_one_waits_less_then_the_older_one(place: Place) -> None:
    tenant_id = await place.open_tenant(10)
    low, normal, high, normal_2, high_2 = await place.submit_as(
        tenant_id, Priority.LOW, Priority.NORMAL, Priority.HIGH, Priority.NORMAL, Priority.HIGH
    )
    assert await place.queued() == [high, high_2, normal, normal_2, low]


async def test_a_high_one_passes_what_its_tenant_has_in_the_queue(place: Place) -> None:
    tenant_id, other = await place.open_tenant(10), await place.open_tenant(10)
    first, second = await place.submit_as(tenant_id, Priority.NORMAL, Priority.LOW)
    theirs = await place.submit(other, 3)
    (third,) = await place.submit_as(tenant_id, Priority.HIGH)
    (fourth,) = await place.submit_as(tenant_id, Priority.NORMAL)
    assert [one for one in await place.queued() if one not in theirs] == [third, first, fourth, second]
    # and the others' turns are what they were, with one of either tenant in each round
    rows = await place.read("SELECT tenant_id, turn FROM runtime.executions ORDER BY turn")
    turns = {tenant: [row.turn for row in rows if row.tenant_id == tenant] for tenant in (tenant_id, other)}
    assert (turns[tenant_id], turns[other]) == ([1, 2, 3, 4], [1, 2, 3])
    stored = {
        row.execution_id: row.turn for row in await place.read("SELECT execution_id, turn FROM runtime.executions")
    }
    lying = await place.read("SELECT dedupe_key, priority FROM runtime.pgqueuer")
    assert {UUID(row.dedupe_key): -row.priority for row in lying} == stored


async def test_what_a_worker_has_taken_is_not_passed_any_more(place: Place) -> None:
    tenant_id = await place.open_tenant(10)
    taken, lying = await place.submit(tenant_id, 2)
    await place.read(
        "UPDATE runtime.pgqueuer SET status = 'picked' WHERE dedupe_key = :key RETURNING id", key=str(taken)
    )
    (high,) = await place.submit_as(tenant_id, Priority.HIGH)
    turns = {
        row.execution_id: row.turn for row in await place.read("SELECT execution_id, turn FROM runtime.executions")
    }
    assert (turns[taken], turns[high], turns[lying]) == (1, 2, 3)


async def test_the_round_goes_on_and_never_back(place: Place) -> None:
    tenant_id = await place.open_tenant(10)
    for turn, reached in ((5, 5), (3, 5), (2**40, 2**40)):
        async with place.db.write(tenant_id) as session:
            await pass_turn(session, turn)
        assert (await place.read("SELECT last_value FROM runtime.turns"))[0].last_value == reached
    await place.submit(tenant_id, 2)
    rows = await place.read("SELECT turn FROM runtime.executions ORDER BY turn")
    assert [row.turn for row in rows] == [2**40, 2**40 + 1]
    async with working(place) as worker:
        assert [entry.turn for entry in await worker.take(2)] == [2**40, 2**40 + 1]


async def test_what_is_cancelled_before_its_turn_does_not_push_back_what_comes_after(place: Place) -> None:
    tenant_id = await place.open_tenant(3)
    for _ in range(20):
        for execution_id in await place.submit(tenant_id, 3):
            await place.executions.request_cancel(tenant_id, execution_id, "")
    (last,) = await place.submit(tenant_id)
    assert (await place.executions.get(tenant_id, last)).turn <= 1 + 3


async def test_a_paused_one_holds_no_place_and_waits_for_one_once_it_is_ready(place: Place) -> None:
    tenant_id = await place.open_tenant(1)
    paused, next_one = await place.submit(tenant_id, 2)
    assert await place.queued() == [paused]
    await place.change(paused, "status = 'paused', ready = false, admitted_at = NULL")
    await self_admit(place, tenant_id)
    assert (await place.executions.get(tenant_id, next_one)).admitted_at is not None
    await place.change(paused, "ready = true")
    await self_admit(place, tenant_id)
    assert (await place.executions.get(tenant_id, paused)).admitted_at is None  # the place is taken now
    await place.perform(Entry(tenant_id=tenant_id, execution_id=next_one))
    assert (await place.executions.get(tenant_id, paused)).admitted_at is not None


async def test_what_was_cancelled_before_it_came_takes_no_place(place: Place) -> None:
    tenant_id = await place.open_tenant(1)
    await place.executions.submit(tenant_id, make_execution(), deferred=True, cancelled="enough")
    assert await place.queued() == []
    (wanted,) = await place.submit(tenant_id)
    assert await place.queued() == [wanted]


async def test_a_pause_in_place_of_a_lost_worker_lets_the_next_one_in(place: Place) -> None:
    tenant_id = await place.open_tenant(1)
    lost, next_one = await place.submit(tenant_id, 2)
    assert await place.runs.claim(tenant_id, lost, "gone") is not None
    await place.executions.request_pause(tenant_id, lost, "lunch")
    assert await place.runs.claim(tenant_id, lost, "next") is None
    assert (await place.executions.get(tenant_id, lost)).status is ExecutionStatus.PAUSED
    assert (await place.executions.get(tenant_id, next_one)).admitted_at is not None
    assert await place.read("SELECT 1 FROM runtime.pgqueuer WHERE dedupe_key = :key", key=str(next_one))


async def self_admit(place: Place, tenant_id: TenantId) -> None:
    async with place.db.write(tenant_id) as session:
        await admit_waiting(session, place.queue, await lock_tenant(session, tenant_id))


async def test_what_goes_back_into_the_queue_has_its_turn_still(place: Place) -> None:
    one, other = await place.open_tenant(5), await place.open_tenant(5)
    await place.submit(one, 3)
    await place.submit(other, 2)
    before = await place.queued()
    await place.read("DELETE FROM runtime.pgqueuer RETURNING id")
    await place.read("UPDATE runtime.executions SET admitted_at = now() - interval '1 minute' RETURNING 1")
    await Upkeep(place.system, place.queue).reconcile()
    after = await place.queued()
    turns = {
        row.execution_id: row.turn for row in await place.read("SELECT execution_id, turn FROM runtime.executions")
    }
    assert [turns[execution_id] for execution_id in after] == [turns[execution_id] for execution_id in before]
    assert [turns[execution_id] for execution_id in after] == [1, 1, 2, 2, 3]


async def test_limits_hold_while_many_submit_and_finish(place: Place) -> None:
    limit, of_workflow, each = 5, 2, 7
    tenant_id, workflow_id = await place.open_tenant(limit), WorkflowId(uuid7())
    of_a_workflow: dict[str, Any] = {
        "workflow_id": workflow_id,
        "workflow_version": 1,
        "workflow_concurrency": of_workflow,
    }
    most: Counter[str] = Counter()
    done = asyncio.Event()

    async def watch() -> None:
        while not done.is_set():
            rows = await place.read(_BUSY, tenant_id=tenant_id)
            most["tenant"] = max(most["tenant"], sum(row.number for row in rows))
            of_it = [row.number for row in rows if row.workflow_id == workflow_id]
            most["workflow"] = max(most["workflow"], *of_it, 0)

    async def submit_and_finish(number: int) -> None:
        for turn in range(each):
            await place.submit(tenant_id, **(of_a_workflow if (number + turn) % 2 else {}))
            await finish_one(place, tenant_id)

    async with asyncio.TaskGroup() as watching:
        watching.create_task(watch())
        async with asyncio.TaskGroup() as group:
            for number in range(8):
                group.create_task(submit_and_finish(number))
        while await finish_one(place, tenant_id):
            pass
        done.set()
    assert most["tenant"] <= limit
    assert most["workflow"] <= of_workflow
    assert most["tenant"] > of_workflow, "nothing went on at once, so this has shown nothing"
    rows = await place.read("SELECT status, count(*) AS number FROM runtime.executions GROUP BY status")
    assert {row.status: row.number for row in rows} == {"completed": 8 * each}


_BUSY = """
    SELECT workflow_id, count(*) AS number FROM runtime.executions
    WHERE tenant_id = :tenant_id AND admitted_at IS NOT NULL AND finished_at IS NULL GROUP BY workflow_id
"""


async def finish_one(place: Place, tenant_id: TenantId) -> bool:
    """Take what lies in the queue longest, as a worker would, and end it; False when there is nothing."""
    rows = await place.read("""
        DELETE FROM runtime.pgqueuer WHERE id = (
            SELECT id FROM runtime.pgqueuer ORDER BY priority DESC, id LIMIT 1 FOR UPDATE SKIP LOCKED)
        RETURNING dedupe_key, priority
    """)
    for row in rows:
        entry = Entry(tenant_id=tenant_id, execution_id=ExecutionId(UUID(row.dedupe_key)), turn=-row.priority)
        await place.perform(entry)
    return bool(rows)
