"""Runtime's end of the internal channel, spoken to frame by frame over a real socket."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from starlette.types import Message
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from contracts.errors import ApiError, Code
from contracts.execution import ExecutionStatus
from contracts.frames import OpenEvents, Subscribe, Unsubscribe
from contracts.model import ExecutionId, LogId, TenantId
from contracts.wiring.channel import Socket
from contracts.wiring.internal import InternalCaller
from runtime.api import streams
from runtime.api.streams import EventStreams
from runtime.store.events import LogPart
from tests.support.eventlog import KEYS, Keys, Log, Store, completed, line, serve_runtime, status
from tests.support.sockets import open_socket, read_close, read_frame

TENANT = TenantId(uuid4())
PATH = "/api/runtime/events"


@asynccontextmanager
async def open_channel(store: Store) -> AsyncIterator[ClientConnection]:
    async with (
        serve_runtime(store) as served,
        open_socket(served.ws(PATH), additional_headers=KEYS.headers()) as client,
    ):
        yield client


async def subscribe(client: ClientConnection, number: int, log: Log, after: int = 0) -> None:
    frame = Subscribe(subscription=number, tenant_id=log.tenant_id, execution_id=log.execution_id, after=after)
    await client.send(frame.model_dump_json())


async def test_what_is_there_comes_first_then_what_happens_then_the_end() -> None:
    store = Store()
    log = store.create(TENANT)
    store.append(log, *(line(log, str(number)) for number in range(250)))
    async with open_channel(store) as client:
        await subscribe(client, 7, log)
        known = await read_frame(client)
        assert known == {
            "type": "subscribed",
            "subscription": 7,
            "log_id": str(log.log_id),
            "head_seq": 251,
            "status": "pending",
        }
        seqs = await read_seqs(client, until=251)
        store.append(log, status(log, ExecutionStatus.RUNNING))
        seqs += await read_seqs(client, until=252)
        store.append(log, status(log, ExecutionStatus.COMPLETED), completed(log))
        seqs += await read_seqs(client, until=254)
        assert seqs == list(range(1, 255))
        assert await read_frame(client) == {"type": "ended", "subscription": 7}
    assert store.watched == 0


@pytest.mark.parametrize("after", range(6))
async def test_it_goes_on_after_any_position(after: int) -> None:
    store = Store()
    log = store.create(TENANT)
    store.append(log, *(line(log, str(number)) for number in range(3)), completed(log))
    async with open_channel(store) as client:
        await subscribe(client, 1, log, after)
        assert (await read_frame(client))["head_seq"] == 5
        assert (await read_seqs(client, until=5) if after < 5 else []) == list(range(after + 1, 6))
        assert (await read_frame(client))["type"] == "ended"


async def test_an_unknown_execution_and_another_tenants_are_told_alike() -> None:
    store = Store()
    log = store.create(TENANT)
    foreign = Log(TenantId(uuid4()), log.execution_id)
    unknown = Log(TENANT, ExecutionId(uuid4()))
    async with open_channel(store) as client:
        await subscribe(client, 1, foreign)
        await subscribe(client, 2, unknown)
        answers = [await read_frame(client), await read_frame(client)]
    assert sorted(answers, key=lambda one: one["subscription"]) == [
        {"type": "unknown", "subscription": 1},
        {"type": "unknown", "subscription": 2},
    ]


async def test_after_unsubscribe_nothing_comes_and_the_bell_is_given_back() -> None:
    store = Store()
    log, other = store.create(TENANT), store.create(TENANT)
    async with open_channel(store) as client:
        await subscribe(client, 1, log, after=1)
        assert (await read_frame(client))["type"] == "subscribed"
        await client.send(Unsubscribe(subscription=1).model_dump_json())
        await client.send(Unsubscribe(subscription=99).model_dump_json())
        await subscribe(client, 2, other, after=1)
        assert (await read_frame(client))["subscription"] == 2
        store.append(log, line(log, "unheard"))
        store.append(other, line(other, "heard"))
        assert (await read_frame(client))["subscription"] == 2
        assert store.watched == 1


async def test_events_come_without_their_wake_up() -> None:
    store = Store(poll_s=0.05)
    log = store.create(TENANT)
    async with open_channel(store) as client:
        await subscribe(client, 1, log, after=1)
        await read_frame(client)
        store.deaf = True
        store.append(log, line(log, "late"))
        assert await read_seqs(client, until=2) == [2]


async def test_a_database_that_is_away_is_waited_for() -> None:
    store = Store(poll_s=0.05)
    log = store.create(TENANT)
    async with open_channel(store) as client:
        store.broken = True
        await subscribe(client, 1, log)
        with pytest.raises(TimeoutError):
            await read_frame(client, 0.2)
        store.broken = False
        assert (await read_frame(client))["type"] == "subscribed"
        assert await read_seqs(client, until=1) == [1]


async def test_a_restored_log_is_told() -> None:
    store = Store(poll_s=0.05)
    log = store.create(TENANT)
    async with open_channel(store) as client:
        await subscribe(client, 1, log, after=1)
        await read_frame(client)
        log.log_id = LogId(uuid4())
        store.ring(log)
        assert (await read_frame(client))["log_id"] == str(log.log_id)


@pytest.mark.parametrize("frame", ["ping", "{}", '{"type":"subscribe"}', '{"type":"events"}'])
async def test_what_is_no_frame_closes_the_channel(frame: str) -> None:
    async with open_channel(Store()) as client:
        await client.send(frame)
        assert (await read_close(client))[0] == 4400


async def test_a_number_can_be_used_once() -> None:
    store = Store()
    log = store.create(TENANT)
    async with open_channel(store) as client:
        await subscribe(client, 1, log)
        await subscribe(client, 1, log)
        assert (await read_close(client))[0] == 4400


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer x"}, Keys.make().headers()])
async def test_nobody_else_gets_in(headers: dict[str, str]) -> None:
    async with serve_runtime(Store()) as served:
        with pytest.raises(InvalidStatus) as refused:
            await connect(served.ws(PATH), additional_headers=headers, proxy=None).__aenter__()
        assert refused.value.response.status_code == 401


async def test_a_peer_that_does_not_read_delays_no_other() -> None:
    store = Store()
    long, short = store.create(TENANT), store.create(TENANT)
    store.append(long, *(line(long, "x" * 50_000) for _ in range(400)))
    async with serve_runtime(store) as served:
        stalled = open_socket(served.ws(PATH), additional_headers=KEYS.headers(), max_queue=1)
        lively = open_socket(served.ws(PATH), additional_headers=KEYS.headers())
        async with stalled as slow, lively as quick:
            await subscribe(slow, 1, long)
            await asyncio.sleep(0.3)
            await subscribe(quick, 1, short)
            assert (await read_frame(quick, 2))["type"] == "subscribed"
            assert await read_seqs(quick, until=1) == [1]


class StalledPeer:
    """Follows many logs, and takes no page of any until it is let."""

    def __init__(self, logs: list[Log]) -> None:
        self._asked = [
            Subscribe(subscription=number, tenant_id=log.tenant_id, execution_id=log.execution_id, after=0)
            for number, log in enumerate(logs, 1)
        ]
        self._open = len(logs)
        self.may_read = asyncio.Event()
        self.has_all = asyncio.Event()

    async def receive(self) -> Message:
        if not self._asked:
            await asyncio.Event().wait()  # it has nothing more to say
        return {"type": "websocket.receive", "text": self._asked.pop(0).model_dump_json()}

    async def send(self, message: Message) -> None:
        kind = json.loads(message["text"])["type"]
        if kind == "batch":
            await self.may_read.wait()
        if kind == "ended":
            self._open -= 1
        if self._open == 0:
            self.has_all.set()


async def test_pages_that_a_peer_does_not_take_are_few_however_many_logs_it_follows() -> None:
    store = Store()
    logs = [store.create(TENANT) for _ in range(50)]
    for log in logs:
        store.append(log, completed(log))
    peer = StalledPeer(logs)
    async with asyncio.TaskGroup() as tasks:
        socket = Socket(InternalCaller(TENANT, None, "test"), tasks, peer.receive, peer.send)
        serving = tasks.create_task(EventStreams(store, store).serve(socket, OpenEvents()))
        for _ in range(
            1_000
        ):  # turns of the loop, which nothing but itself can hold up: whatever can go on has gone on
            await asyncio.sleep(0)
        assert (store.watched, store.reads) == (50, streams._IN_HAND)
        peer.may_read.set()
        async with asyncio.timeout(60):
            await peer.has_all.wait()
        assert store.reads == 50
        serving.cancel()


class TornStore(Store):
    """Some of its logs can't be read."""

    def __init__(self) -> None:
        super().__init__()
        self.torn: set[ExecutionId] = set()

    async def read_raw_after(self, tenant_id: TenantId, execution_id: ExecutionId, after: int, limit: int) -> LogPart:
        if execution_id in self.torn:
            raise ApiError(Code.UNAVAILABLE, "This one can't be read.")
        return await super().read_raw_after(tenant_id, execution_id, after, limit)


async def test_logs_that_can_not_be_read_keep_no_other_waiting() -> None:
    store = TornStore()
    torn, whole = [store.create(TENANT) for _ in range(3 * streams._IN_HAND)], store.create(TENANT)
    store.torn = {log.execution_id for log in torn}
    async with open_channel(store) as client:
        for number, log in enumerate(torn):
            await subscribe(client, number, log)
        await subscribe(client, 99, whole)
        assert (await read_frame(client))["subscription"] == 99
        assert await read_seqs(client, until=1) == [1]


async def read_seqs(client: ClientConnection, until: int) -> list[int]:
    seqs: list[int] = []
    while not seqs or seqs[-1] < until:
        frame: dict[str, Any] = await read_frame(client)
        assert frame["type"] == "batch", frame
        seqs += [event["seq"] for event in frame["events"]]
    return seqs
