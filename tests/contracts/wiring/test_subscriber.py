"""The client's end of the internal channel against a real Runtime end: reconnects, polling, and nobody noticing."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import uuid4

import httpx
import pytest
from structlog.testing import capture_logs

from contracts.events import Event, EventPage
from contracts.execution import Execution, ExecutionStatus, ReadEvents, ReadExecution
from contracts.model import ExecutionId, LogId, Seq, TenantId
from contracts.wiring.client import NotUnderstood, RuntimeClient
from contracts.wiring.subscriber import Subscriber
from experience.cli.ports import find_free_port
from tests.support.eventlog import KEYS, RuntimeClients, Store, completed, line, novel, serve_runtime, status
from tests.support.sockets import Served
from tests.support.streams import eventually

TENANT = TenantId(uuid4())


@dataclass
class Ear:
    """Remembers what it heard, and checks at once what a listener may rely on."""

    after: Seq = 0
    known: list[tuple[LogId, Seq, ExecutionStatus]] = field(default_factory=list)
    seqs: list[Seq] = field(default_factory=list)
    ended: bool = False
    unknown: bool = False
    unreadable: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def on_known(self, log_id: LogId, head_seq: Seq, status: ExecutionStatus) -> None:
        assert not self.ended
        self.known.append((log_id, head_seq, status))
        self.changed.set()

    def on_events(self, events: Sequence[Event]) -> None:
        assert self.known
        assert not self.ended
        for event in events:
            assert event.seq == self.after + 1, "a gap or a repeat"
            self.after = event.seq
            self.seqs.append(event.seq)
        self.changed.set()

    def on_ended(self) -> None:
        assert not self.ended
        self.ended = True
        self.changed.set()

    def on_unknown(self) -> None:
        assert not self.ended
        self.unknown = True
        self.changed.set()

    def on_unreadable(self) -> None:
        assert not self.ended
        self.unreadable = True
        self.changed.set()

    async def until(self, condition: Callable[["Ear"], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition(self):
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def subscriber_of(served: Served) -> AsyncIterator[Subscriber]:
    async with httpx.AsyncClient(base_url=served.http()) as http, asyncio.TaskGroup() as tasks:
        subscriber = Subscriber(served.http(), KEYS.headers, RuntimeClients(http), poll_s=0.02)
        running = tasks.create_task(subscriber.run())
        try:
            yield subscriber
        finally:
            running.cancel()


async def until_connected(subscriber: Subscriber) -> None:
    async with asyncio.timeout(60):
        while not subscriber.connected:  # noqa: ASYNC110 — it tells nobody
            await asyncio.sleep(0.01)


async def test_many_logs_come_over_one_channel() -> None:
    store = Store()
    logs = [store.create(TENANT) for _ in range(20)]
    ears = [Ear() for _ in logs]
    async with serve_runtime(store) as served, subscriber_of(served) as subscriber:
        for log, ear in zip(logs, ears, strict=True):
            subscriber.subscribe(TENANT, log.execution_id, 0, ear)
        await until_connected(subscriber)
        for log in logs:
            store.append(log, line(log, "one"), status(log, ExecutionStatus.COMPLETED), completed(log))
        for log, ear in zip(logs, ears, strict=True):
            await ear.until(lambda heard: heard.ended)
            assert ear.seqs == [1, 2, 3, 4]
            assert {known[0] for known in ear.known} == {log.log_id}
        assert len(served.server.server_state.connections) == 1


async def test_an_unknown_execution_is_told_and_can_be_asked_for_again() -> None:
    store = Store()
    async with serve_runtime(store) as served, subscriber_of(served) as subscriber:
        await until_connected(subscriber)
        execution_id = ExecutionId(uuid4())
        first, second = Ear(), Ear()
        subscriber.subscribe(TENANT, execution_id, 0, first)
        await first.until(lambda heard: heard.unknown)
        store.create(TENANT, execution_id)
        subscriber.subscribe(TENANT, execution_id, 0, second)
        await second.until(lambda heard: heard.seqs == [1])


async def test_an_answer_that_the_channel_has_overtaken_is_not_heard() -> None:
    """A poll under way when the channel came back knows an older head: as news it would look like a restore."""
    store = Store()
    log = store.create(TENANT)
    async with serve_runtime(store) as served, httpx.AsyncClient(base_url=served.http()) as http:
        gate, asked = asyncio.Event(), asyncio.Event()
        clients = RuntimeClients(http)

        def speak_late(tenant_id: TenantId) -> RuntimeClient:
            client = clients(tenant_id)
            read = client.get_execution

            async def get_late(wanted: ReadExecution) -> Execution:
                asked.set()
                await gate.wait()
                return await read(wanted)

            object.__setattr__(client, "get_execution", get_late)
            return client

        subscriber = Subscriber(served.http(), KEYS.headers, speak_late, poll_s=60)
        ear = Ear()
        subscription = subscriber.subscribe(TENANT, log.execution_id, 0, ear)
        polling = asyncio.create_task(subscriber._poll(subscription))
        await asked.wait()
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(subscriber.run())
            await until_connected(subscriber)
            store.append(log, line(log, "one"), line(log, "two"))
            await ear.until(lambda heard: heard.seqs == [1, 2, 3])
            gate.set()
            assert not await polling
            running.cancel()
    heads = [head for _, head, _ in ear.known]
    assert heads == sorted(heads)
    assert len(heads) == 1


async def test_nothing_is_heard_after_cancel() -> None:
    store = Store()
    log = store.create(TENANT)
    async with serve_runtime(store) as served, subscriber_of(served) as subscriber:
        await until_connected(subscriber)
        ear, other = Ear(), Ear(after=1)
        subscription = subscriber.subscribe(TENANT, log.execution_id, 0, ear)
        await ear.until(lambda heard: heard.seqs == [1])
        subscriber.cancel(subscription)
        subscriber.cancel(subscription)
        store.append(log, line(log, "unheard"))
        subscriber.subscribe(TENANT, log.execution_id, 1, other)
        await other.until(lambda heard: heard.seqs == [2])
        assert ear.seqs == [1]
        assert store.watched == 1


async def test_without_a_channel_logs_are_polled_and_end_too() -> None:
    store = Store()
    log = store.create(TENANT)
    store.append(log, *(line(log, str(number)) for number in range(500)))
    async with serve_runtime(store, channel=False) as served, subscriber_of(served) as subscriber:
        ear, unknown = Ear(), Ear()
        subscriber.subscribe(TENANT, log.execution_id, 0, ear)
        subscriber.subscribe(TENANT, ExecutionId(uuid4()), 0, unknown)
        await ear.until(lambda heard: len(heard.seqs) == 501)
        assert ear.known[0] == (log.log_id, 501, ExecutionStatus.PENDING)
        await unknown.until(lambda heard: heard.unknown)
        store.append(log, status(log, ExecutionStatus.COMPLETED), completed(log))
        await ear.until(lambda heard: heard.ended)
        assert ear.seqs == list(range(1, 504))
        assert not subscriber.connected


async def test_a_killed_runtime_that_comes_back_goes_on_where_it_was() -> None:
    store = Store()
    log = store.create(TENANT)
    ear = Ear()
    async with serve_runtime(store) as served, subscriber_of(served) as subscriber:
        await until_connected(subscriber)
        subscriber.subscribe(TENANT, log.execution_id, 0, ear)
        await ear.until(lambda heard: heard.seqs == [1])
        await served.kill()
        store.append(log, line(log, "meanwhile"))
        await asyncio.sleep(0.1)
        assert ear.seqs == [1]
        async with serve_runtime(store, served.port):
            await ear.until(lambda heard: heard.seqs == [1, 2])
            await until_connected(subscriber)
            store.append(log, line(log, "live"))
            await ear.until(lambda heard: heard.seqs == [1, 2, 3])


async def test_from_polling_to_channel_and_back_each_event_is_heard_once() -> None:
    store = Store(poll_s=0.05)
    logs = [store.create(TENANT) for _ in range(5)]
    ears = [Ear() for _ in logs]
    chance = random.Random(20)
    over = asyncio.Event()

    async def write() -> None:
        for number in range(120):
            log = chance.choice(logs)
            store.append(log, *(line(log, str(number)) for _ in range(chance.randint(1, 4))))
            await asyncio.sleep(0.004)
        for log in logs:
            store.append(log, status(log, ExecutionStatus.COMPLETED), completed(log))
        over.set()

    async def disturb(served: Served) -> None:
        while not over.is_set():
            await asyncio.sleep(chance.uniform(0.02, 0.15))
            for connection in list(served.server.server_state.connections):
                if chance.random() < 0.7:
                    connection.transport.abort()  # any connection: channel or poll

    async with serve_runtime(store) as served, subscriber_of(served) as subscriber:
        for log, ear in zip(logs, ears, strict=True):
            subscriber.subscribe(TENANT, log.execution_id, 0, ear)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(write())
            tasks.create_task(disturb(served))
        for log, ear in zip(logs, ears, strict=True):
            await ear.until(lambda heard: heard.ended)
            assert ear.seqs == [event.seq for event in log.events]


async def test_a_gap_on_the_wire_is_asked_for_again() -> None:
    store = Store()
    log = store.create(TENANT)
    store.append(log, *(line(log, str(number)) for number in range(9)))
    ear = Ear()
    async with serve_runtime(store) as served, subscriber_of(served) as subscriber:
        await until_connected(subscriber)
        subscription = subscriber.subscribe(TENANT, log.execution_id, 0, ear)
        await ear.until(lambda heard: heard.after == 10)
        ear.after = subscription.after = 4  # as if the rest had never arrived
        ear.seqs.clear()
        store.append(log, line(log, "next"))
        await ear.until(lambda heard: heard.after == 11)
        assert ear.seqs == list(range(5, 12))


async def test_an_event_that_nobody_here_knows_ends_its_own_subscription_alone() -> None:
    """During a rollout Runtime may be newer; a channel that broke would bring the same again after each reconnect."""
    store = Store()
    newer, other = store.create(TENANT), store.create(TENANT)
    ear, beside = Ear(), Ear()
    async with serve_runtime(store) as served, subscriber_of(served) as subscriber:
        await until_connected(subscriber)
        subscriber.subscribe(TENANT, newer.execution_id, 0, ear)
        subscriber.subscribe(TENANT, other.execution_id, 0, beside)
        await ear.until(lambda heard: heard.seqs == [1])
        store.append(newer, novel(newer), line(newer, "more"))
        await ear.until(lambda heard: heard.unreadable)
        for number in range(3):
            store.append(newer, line(newer, "unheard"))
            store.append(other, line(other, str(number)))
            await beside.until(lambda heard, number=number: heard.after == 2 + number)  # type: ignore[misc]
        assert (subscriber.connections, subscriber.subscriptions) == (1, 1)
        assert ear.seqs == [1]
        await eventually(lambda: store.watched == 1)


async def test_while_polling_too() -> None:
    store = Store()
    logs = [store.create(TENANT) for _ in range(20)]
    ears = [Ear() for _ in logs]
    async with serve_runtime(store, channel=False) as served, httpx.AsyncClient(base_url=served.http()) as http:
        clients = RuntimeClients(http)

        def speak_newer(tenant_id: TenantId) -> RuntimeClient:
            client = clients(tenant_id)
            read = client.read_events

            async def read_newer(wanted: ReadEvents) -> EventPage:
                if wanted.execution_id != logs[-1].execution_id:
                    raise NotUnderstood("/events")
                return await read(wanted)

            object.__setattr__(client, "read_events", read_newer)
            return client

        subscriber = Subscriber(served.http(), KEYS.headers, speak_newer, poll_s=0.02)
        for log, ear in zip(logs, ears, strict=True):
            subscriber.subscribe(TENANT, log.execution_id, 0, ear)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(subscriber.run())
            await ears[-1].until(lambda heard: heard.seqs == [1])
            running.cancel()
    assert [ear.unreadable for ear in ears] == [True] * 19 + [False]


async def test_a_restored_log_is_told_while_polling_too() -> None:
    store = Store()
    log = store.create(TENANT)
    ear = Ear()
    async with serve_runtime(store, channel=False) as served, subscriber_of(served) as subscriber:
        subscriber.subscribe(TENANT, log.execution_id, 0, ear)
        await ear.until(lambda heard: heard.seqs == [1])
        log.log_id = LogId(uuid4())
        await ear.until(lambda heard: [known[0] for known in heard.known][-1] == log.log_id)


@pytest.mark.parametrize(("starting_s", "levels"), [(60, ["debug"]), (0, ["warning", "debug"])])
async def test_that_runtime_is_not_up_yet_is_nothing_to_warn_of(starting_s: float, levels: list[str]) -> None:
    nobody = f"http://127.0.0.1:{find_free_port()}"
    with capture_logs() as lines:
        async with httpx.AsyncClient(base_url=nobody) as http, asyncio.TaskGroup() as tasks:
            subscriber = Subscriber(nobody, KEYS.headers, RuntimeClients(http), starting_s=starting_s)
            running = tasks.create_task(subscriber.run())
            async with asyncio.timeout(60):
                while len(lines) < 3:  # noqa: ASYNC110 — it tells nobody
                    await asyncio.sleep(0.01)
            running.cancel()
    said = [line["log_level"] for line in lines if line["event"].startswith("no channel")]
    assert said[: len(levels)] == levels
    assert set(said[1:]) == {"debug"}


async def test_a_channel_that_breaks_is_warned_of_once() -> None:
    with capture_logs() as lines:
        async with serve_runtime(Store()) as served, subscriber_of(served) as subscriber:
            await until_connected(subscriber)
            for connection in list(served.server.server_state.connections):
                connection.transport.abort()
            async with asyncio.timeout(60):
                while subscriber.connections < 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
    said = [line["log_level"] for line in lines if line["event"].startswith("no channel")]
    assert said.count("warning") == 1
