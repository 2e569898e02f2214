"""The queue: in our own transaction, once per execution, handed back, left to whoever holds it, surviving restarts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from sqlalchemy import text
from uuid_utils.compat import uuid7

from contracts.model import ExecutionId, TenantId
from runtime.store.db import Database as TenantDatabase
from runtime.store.db import SystemDatabase
from runtime.store.queue import Entry, HandBack, Perform, PgQueue
from runtime.store.schema import migrate
from tests.runtime.conftest import Killer, open_line
from tests.support.postgres import Database


@pytest.fixture
def fresh(own_database: Database) -> Database:
    """Nothing of other tests lies in its queue."""
    return own_database


@pytest.fixture
async def app(fresh: Database) -> AsyncIterator[TenantDatabase]:
    door = TenantDatabase(fresh.dsn("runtime_app"))
    yield door
    await door.close()


@pytest.fixture
async def back(fresh: Database) -> AsyncIterator[SystemDatabase]:
    door = SystemDatabase(fresh.dsn("runtime_system"))
    yield door
    await door.close()


def make_entry() -> Entry:
    return Entry(tenant_id=TenantId(uuid7()), execution_id=ExecutionId(uuid7()))


async def put(app: TenantDatabase, *entries: Entry) -> None:
    async with app.write(entries[0].tenant_id) as session:
        await PgQueue("", concurrency=1, heartbeat_s=15).enqueue(session, entries)


@asynccontextmanager
async def working(queue: PgQueue, perform: Perform) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        group.create_task(queue.work(perform))
        try:
            async with asyncio.timeout(90):
                yield
        finally:
            queue.stop()


def make_queue(fresh: Database, heartbeat_s: float = 15, concurrency: int = 2) -> PgQueue:
    return PgQueue(fresh.dsn("runtime_system"), concurrency=concurrency, heartbeat_s=heartbeat_s)


async def test_what_is_rolled_back_was_never_queued(app: TenantDatabase, back: SystemDatabase) -> None:
    entry = make_entry()
    with pytest.raises(ZeroDivisionError):  # noqa: PT012 — the block is the transaction
        async with app.write(entry.tenant_id) as session:
            await PgQueue("", concurrency=1, heartbeat_s=15).enqueue(session, [entry])
            raise ZeroDivisionError
    assert await depth(back) == (0, 0)


async def test_an_entry_is_performed_once_however_often_it_is_put_in(fresh: Database, app: TenantDatabase) -> None:
    entry = make_entry()
    performed: asyncio.Queue[Entry] = asyncio.Queue()
    await put(app, entry)
    await put(app, entry)
    async with working(make_queue(fresh), performed.put):
        assert await performed.get() == entry
        other = make_entry()
        await put(app, other)
        assert await performed.get() == other
    assert performed.empty()


async def test_a_handed_back_entry_comes_again(fresh: Database, app: TenantDatabase, back: SystemDatabase) -> None:
    calls = 0
    done = asyncio.Event()

    async def perform(_: Entry) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise HandBack
        if calls == 2:
            raise ValueError("a fault of ours: tried again, later")
        done.set()

    await put(app, make_entry())
    async with working(make_queue(fresh), perform):
        await done.wait()
    assert calls == 3
    assert await depth(back) == (0, 0)


async def test_whoever_lost_the_lease_can_not_end_it(
    fresh: Database, app: TenantDatabase, back: SystemDatabase
) -> None:
    """The first holder freezes past its heartbeat; when it thaws and returns, the second one still holds the entry."""
    frozen, taken, release, counted = (asyncio.Event() for _ in range(4))

    async def freeze(_: Entry) -> None:
        frozen.set()
        await release.wait()

    async def take(_: Entry) -> None:
        taken.set()
        await counted.wait()

    await put(app, make_entry())
    async with working(make_queue(fresh, heartbeat_s=60), freeze):
        await frozen.wait()
        async with back.write() as session:
            stale = text("UPDATE runtime.pgqueuer SET heartbeat = now() - interval '1 hour'")
            await (await session.connection()).execute(stale)
        async with working(make_queue(fresh, heartbeat_s=10), take):
            await taken.wait()
            release.set()
            await asyncio.sleep(0.3)
            assert await depth(back) == (0, 1)
            counted.set()
    assert await depth(back) == (0, 0)


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_no_more_is_leased_than_can_begin(
    concurrency: int, fresh: Database, app: TenantDatabase, back: SystemDatabase
) -> None:
    """What a busy worker can't begin is begun by an idle one."""
    began: asyncio.Queue[Entry] = asyncio.Queue()
    release = asyncio.Event()

    async def hold(entry: Entry) -> None:
        began.put_nowait(entry)
        await release.wait()

    entries = [make_entry() for _ in range(concurrency + 1)]
    await put(app, *entries)
    async with working(make_queue(fresh, concurrency=concurrency), hold):
        assert [await began.get() for _ in range(concurrency)] == entries[:-1]
        await asyncio.sleep(0.5)  # it asks for more at once, if it ever does
        assert await depth(back) == (1, concurrency)
        async with working(make_queue(fresh), began.put):
            assert await began.get() == entries[-1]
        release.set()
    assert await depth(back) == (0, 0)


async def test_it_survives_its_connection(fresh: Database, app: TenantDatabase) -> None:
    performed: asyncio.Queue[Entry] = asyncio.Queue()
    killer = Killer(fresh)
    async with working(make_queue(fresh), performed.put):
        await asyncio.sleep(0.3)
        for _ in range(3):
            await killer.terminate_backends("runtime_system")
            entry = make_entry()
            await put(app, entry)
            assert await performed.get() == entry


async def test_a_line_that_goes_dead_without_a_word_costs_no_lease(fresh: Database, app: TenantDatabase) -> None:
    """Nothing that was open is answered any more, and new connections are: as after a firewall forgot a connection."""
    lease_s = 12.0
    began: list[str] = []
    begun, release = asyncio.Event(), asyncio.Event()

    async def hold(_: Entry) -> None:
        began.append("holder")
        begun.set()
        await release.wait()

    async def take(_: Entry) -> None:
        began.append("another")

    await put(app, make_entry())
    async with open_line(fresh) as (line, behind):
        async with working(make_queue(behind, heartbeat_s=lease_s), hold):
            await begun.wait()
            async with working(make_queue(fresh, heartbeat_s=lease_s), take):
                assert line.mute_open() == 1
                await asyncio.sleep(1.5 * lease_s)
                assert began == ["holder"]
            release.set()
        assert line.passed >= 2


async def test_what_was_put_back_stays_with_whoever_has_taken_it_since(
    fresh: Database, app: TenantDatabase, back: SystemDatabase
) -> None:
    """The answer to putting it back never comes, so it is sent again, when another one holds the entry already."""
    begun, taken, release = asyncio.Event(), asyncio.Event(), asyncio.Event()
    began: list[str] = []

    async with open_line(fresh) as (line, behind):

        async def hand_back(_: Entry) -> None:
            began.append("first")
            begun.set()
            first.rest()
            await asyncio.sleep(1)  # so that nothing else is on its way
            line.mute_open()
            raise HandBack

        async def take(_: Entry) -> None:
            began.append("second")
            taken.set()
            await release.wait()

        await put(app, make_entry())
        first, second = make_queue(behind, heartbeat_s=8), make_queue(fresh, heartbeat_s=8)
        first_at_work = asyncio.create_task(first.work(hand_back))
        try:
            await begun.wait()
            async with working(second, take):
                await taken.wait()
                while line.passed < 3:  # one more asks for an end of what is under way  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.5)
                assert await depth(back) == (0, 1)
                release.set()
        finally:
            first.stop()
            await first_at_work
    assert began == ["first", "second"]
    assert await depth(back) == (0, 0)


async def test_stopping_leases_nothing_more_and_waits_for_what_runs(fresh: Database, app: TenantDatabase) -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def perform(_: Entry) -> None:
        began.set()
        await asyncio.sleep(0.3)
        ended.set()

    queue = make_queue(fresh)
    await put(app, make_entry())
    async with working(queue, perform):
        await began.wait()
        queue.stop()
        await put(app, make_entry())
    assert ended.is_set()


async def test_its_history_is_pruned(app: TenantDatabase, back: SystemDatabase) -> None:
    await put(app, make_entry())
    queue = PgQueue("", concurrency=1, heartbeat_s=15)
    async with back.write() as session:
        assert await queue.prune(session, datetime.now(UTC) - timedelta(days=1), 10) == 0
        assert await queue.prune(session, datetime.now(UTC) + timedelta(days=1), 10) == 1


async def test_who_serves_requests_can_not_read_what_others_put_in(app: TenantDatabase) -> None:
    await put(app, make_entry())
    for statement in ("SELECT payload FROM runtime.pgqueuer", "DELETE FROM runtime.pgqueuer"):
        with pytest.raises(Exception, match="permission denied"):
            async with app.write(TenantId(uuid7())) as session:
                await (await session.connection()).execute(text(statement))


async def test_a_held_entry_is_begun_by_nobody_and_moved_by_whoever_holds_it(
    fresh: Database, app: TenantDatabase
) -> None:
    first, second, third = make_entry(), make_entry(), make_entry()
    performed: asyncio.Queue[Entry] = asyncio.Queue()
    queue = make_queue(fresh)
    await put(app, first, second, third)
    async with app.write(first.tenant_id) as session:
        assert await queue.hold(session, [first.execution_id, uuid7()]) == {first.execution_id}
        async with app.write(first.tenant_id) as other:
            assert await queue.hold(other, [first.execution_id, third.execution_id]) == {third.execution_id}
        async with working(queue, performed.put):
            assert [await performed.get(), await performed.get()] == [second, third]
            await queue.move(session, [first.model_copy(update={"turn": 7})])
            await session.commit()
            assert await performed.get() == first.model_copy(update={"turn": 7})


async def test_an_entry_that_is_performed_is_neither_held_nor_moved(fresh: Database, app: TenantDatabase) -> None:
    entry, begun, release = make_entry(), asyncio.Event(), asyncio.Event()

    async def perform(_: Entry) -> None:
        begun.set()
        await release.wait()

    queue = make_queue(fresh)
    await put(app, entry)
    async with working(queue, perform):
        await begun.wait()
        async with app.write(entry.tenant_id) as session:
            assert await queue.hold(session, [entry.execution_id]) == set()
        release.set()


async def test_a_queue_of_the_release_before_is_widened_once(fresh: Database) -> None:
    tables = ("pgqueuer", "pgqueuer_log", "pgqueuer_statistics")
    connection = await asyncpg.connect(fresh.superuser_dsn)
    try:
        for table in tables:
            await connection.execute(f"ALTER TABLE runtime.{table} ALTER COLUMN priority TYPE integer")
        await connection.execute("REVOKE UPDATE (priority) ON runtime.pgqueuer FROM runtime_app")
        for _ in range(2):
            await migrate(fresh.dsn("runtime_owner"))
            rows = await connection.fetch(
                "SELECT table_name, data_type FROM information_schema.columns "
                "WHERE table_schema = 'runtime' AND column_name = 'priority' AND table_name = ANY($1)",
                tables,
            )
            assert {row["table_name"]: row["data_type"] for row in rows} == dict.fromkeys(tables, "bigint")
        may = "SELECT has_column_privilege('runtime_app', 'runtime.pgqueuer', $1, 'UPDATE')"
        assert [await connection.fetchval(may, column) for column in ("priority", "payload")] == [True, False]
    finally:
        await connection.close()


async def depth(back: SystemDatabase) -> tuple[int, int]:
    async with back.write() as session:
        figures = await PgQueue("", concurrency=1, heartbeat_s=15).measure(session)
    return figures.queued, figures.picked
