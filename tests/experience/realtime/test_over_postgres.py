"""The whole way, from the transaction that records a fact to the client's socket, over the real store."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import pytest
from uuid_utils.compat import uuid7

from contracts.execution import Execution, ExecutionStatus
from contracts.model import ExecutionId, TenantId
from runtime.store.changes import Change, End, Lease
from runtime.store.events import EventLog
from runtime.store.executions import Executions
from runtime.store.moves import end_events
from runtime.store.queue import PgQueue
from runtime.store.runs import Runs
from runtime.store.schema import migrate
from tests.runtime.made import make_execution, make_log
from tests.support.eventlog import execution, runtime_app
from tests.support.postgres import Database, Postgres
from tests.support.sockets import Served, open_socket, read_close, read_frame, serve
from tests.support.streams import TENANT, front, read_seqs
from tests.support.wakeups import Way, any_way, both_ways, open_way


@pytest.fixture(scope="module")
def runtime_database(postgres: Postgres) -> Database:
    made = postgres.create_database()
    asyncio.run(migrate(made.dsn("runtime_owner")))
    return made


@pytest.fixture
def way(request: pytest.FixtureRequest) -> Iterator[Way]:
    with open_way(getattr(request, "param", "notify")) as opened:
        yield opened


@dataclass
class Backstage:
    """A Runtime process over the real store, and the hands of a worker."""

    served: Served
    executions: Executions
    runs: Runs

    async def begin(self) -> Lease:
        row = await self.executions.submit(TENANT, make_execution())
        claimed = await self.runs.claim(TENANT, ExecutionId(row.execution_id), "worker")
        assert claimed is not None
        return claimed.lease

    async def log(self, lease: Lease, *messages: str) -> None:
        await self.runs.record(lease, Change(events=[make_log(lease.execution_id, text) for text in messages]))

    async def finish(self, lease: Lease) -> None:
        end = ExecutionStatus.CANCELLED
        last = end_events(lease.execution_id, end, None, progress=1, current_node=None)
        await self.runs.finish(lease, Change(events=last), End(status=end))


def no_snapshot(tenant_id: TenantId, execution_id: ExecutionId) -> Execution:
    return execution(execution_id)  # nothing here is reset


@asynccontextmanager
async def backstage(database: Database, way: Way) -> AsyncIterator[Backstage]:
    db, wakeups = way.connect(database)
    queue = PgQueue("", concurrency=1, heartbeat_s=15)
    async with asyncio.TaskGroup() as tasks:
        listening = tasks.create_task(wakeups.run())
        try:
            async with serve(runtime_app(EventLog(db), wakeups, no_snapshot)) as served:
                yield Backstage(served, Executions(db, queue), Runs(db, queue))
        finally:
            listening.cancel()
            await db.close()


@any_way
async def test_facts_reach_the_client_as_they_are_recorded(runtime_database: Database, way: Way) -> None:
    async with backstage(runtime_database, way) as behind, front(behind.served) as running:
        lease = await behind.begin()
        async with open_socket(running.stream(lease.execution_id)) as client:
            hello = await read_frame(client)
            assert (hello["head_seq"], hello["status"], hello["resumed"]) == (2, "running", "fresh")
            assert await read_seqs(client, until=2) == [1, 2]
            await behind.log(lease, "one", "two")
            assert [(await read_frame(client))["log"]["message"] for _ in range(2)] == ["one", "two"]
            await behind.finish(lease)
            code, _, frames = await read_close(client)
        assert [frame["type"] for frame in frames] == ["status", "cancelled"]
        assert code == 1000


async def test_it_resumes_at_every_position_on_either_replica(runtime_database: Database, way: Way) -> None:
    async with backstage(runtime_database, way) as behind, AsyncExitStack() as stack:
        replicas = [await stack.enter_async_context(front(behind.served)) for _ in range(2)]
        lease = await behind.begin()
        await behind.log(lease, *(str(number) for number in range(6)))
        await behind.finish(lease)
        for after in range(11):
            async with open_socket(replicas[after % 2].stream(lease.execution_id, f"&after={after}")) as client:
                _, _, frames = await read_close(client)
                assert [frame["seq"] for frame in frames[1:]] == list(range(after + 1, 11))


async def test_another_tenants_execution_is_unknown(runtime_database: Database, way: Way) -> None:
    async with backstage(runtime_database, way) as behind, front(behind.served) as running:
        row = await behind.executions.submit(TenantId(uuid7()), make_execution())
        async with open_socket(running.stream(ExecutionId(row.execution_id))) as client:
            assert (await read_close(client))[0] == 4404


@both_ways
async def test_writers_replicas_and_lost_wake_ups_lose_and_repeat_nothing(runtime_database: Database, way: Way) -> None:
    chance = random.Random(7)

    async def write(behind: Backstage, lease: Lease, writer: int) -> None:
        for number in range(25):
            await behind.log(lease, *(f"{writer}.{number}.{place}" for place in range(chance.randint(1, 4))))
            await asyncio.sleep(chance.uniform(0, 0.02))

    async def disturb(behind: Backstage) -> None:
        for _ in range(3):
            await asyncio.sleep(0.2)
            await way.cut(runtime_database)
            behind.served.cut()
            await asyncio.sleep(0.2)
            way.mend()

    async with backstage(runtime_database, way) as behind, front(behind.served) as one, front(behind.served) as two:
        lease = await behind.begin()
        urls = [
            one.stream(lease.execution_id),
            two.stream(lease.execution_id),
            two.stream(lease.execution_id, "&batch=1"),
        ]
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(open_socket(url)) for url in urls]
            reading = [asyncio.ensure_future(read_close(client, 30)) for client in clients]
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(disturb(behind))
                for writer in range(4):
                    tasks.create_task(write(behind, lease, writer))
            await behind.finish(lease)
            for _, _, frames in await asyncio.gather(*reading):
                events = [event for frame in frames[1:] for event in (frame if isinstance(frame, list) else [frame])]
                assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
                assert events[-1]["type"] == "cancelled"
