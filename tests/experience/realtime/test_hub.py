"""Many watchers, slow ones, replicas, an upstream that dies: nobody waits for another, and nobody loses an event."""

import asyncio
import json
import random
from uuid import uuid4

import pytest
from websockets.asyncio.client import connect

from contracts.events import EventPage
from contracts.model import LogId
from contracts.wiring.client import NotUnderstood
from experience.realtime import hub
from tests.support.eventlog import Log, Store, line, novel, serve_runtime
from tests.support.sockets import Served, open_socket, read_close, read_frame
from tests.support.streams import TENANT, Front, eventually, finish, front, read_seqs, stage

# --- many, slow, broken


async def test_watchers_of_one_execution_share_one_subscription() -> None:
    store = Store()
    log = store.create(TENANT)
    async with stage(store) as front:
        clients = [await connect(front.stream(log.execution_id), proxy=None).__aenter__() for _ in range(20)]
        for client in clients:
            await read_frame(client)
        assert (store.watched, front.streams.hub.feeds) == (1, 1)
        finish(store, log)
        for client in clients:
            assert [frame["seq"] for frame in (await read_close(client))[2]] == [1, 2, 3]
        await eventually(lambda: front.streams.hub.feeds == 0 and store.watched == 0)


async def test_batches_are_arrays_and_the_first_event_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "COALESCE_S", 0.5)
    store = Store()
    log = store.create(TENANT)
    async with stage(store) as front, open_socket(front.stream(log.execution_id, "&after=1&batch=1")) as client:
        assert (await read_frame(client))["type"] == "hello"
        store.append(log, line(log, "alone"))
        assert [event["seq"] for event in await read_frame(client)] == [2]
        sizes = []
        for _ in range(10):
            store.append(log, line(log, "together"))
            await asyncio.sleep(0.002)
        finish(store, log)
        _, _, frames = await read_close(client)
        sizes = [len(frame) for frame in frames]
        assert [event["seq"] for frame in frames for event in frame] == list(range(3, 15))
        assert len(sizes) <= 6


async def test_a_slow_client_delays_nobody_and_loses_nothing() -> None:
    store = Store()
    log = store.create(TENANT)
    total = 1_500
    async with stage(store) as front:
        slow = open_socket(front.stream(log.execution_id), max_queue=1)
        quick = open_socket(front.stream(log.execution_id))
        async with slow as stalled, quick as client:
            await read_frame(client)
            for number in range(total):
                store.append(log, line(log, f"{number} " + "x" * 10_000))
                if number % 50 == 0:
                    await asyncio.sleep(0)
            async with asyncio.timeout(60):  # 15 MB, of which the stalled one has taken what buffers hold
                assert await read_seqs(client, until=total + 1) == list(range(1, total + 2))
            finish(store, log)
            code, _, frames = await read_close(stalled)
    assert [frame["seq"] for frame in frames[1:]] == list(range(1, total + 4))
    assert code == 1000


async def test_a_slow_client_gets_pongs_and_pings_late_but_only_the_latest() -> None:
    store = Store()
    log = store.create(TENANT)
    async with (
        stage(store, ping_interval_s=0.1) as front,
        open_socket(front.stream(log.execution_id), max_queue=1) as client,
    ):
        store.append(log, *(line(log, "x" * 20_000) for _ in range(800)))
        await asyncio.sleep(1.0)
        await client.send("ping")
        await asyncio.sleep(0.2)
        finish(store, log)
        _, _, frames = await read_close(client)
    kinds = [frame["type"] for frame in frames]
    assert kinds.count("pong") == 1
    assert [frame["seq"] for frame in frames if "log" in frame or frame["type"] == "completion"][-1] == 803


async def test_each_of_two_replicas_serves_the_whole_log() -> None:
    store = Store()
    log = store.create(TENANT)
    async with serve_runtime(store) as runtime, front(runtime) as one, front(runtime) as two:
        async with open_socket(one.stream(log.execution_id)) as first:
            hello = await read_frame(first)
            store.append(log, *(line(log, str(number)) for number in range(10)))
            seen = await read_seqs(first, until=11)
        query = f"&after={seen[-1]}&log={hello['log_id']}"
        async with open_socket(two.stream(log.execution_id, query)) as second:
            assert (await read_frame(second))["resumed"] == "recovered"
            finish(store, log)
            assert [frame["seq"] for frame in (await read_close(second))[2]] == [12, 13]


async def test_runtime_dying_and_coming_back_is_not_noticed() -> None:
    store = Store()
    log = store.create(TENANT)
    async with (
        serve_runtime(store) as runtime,
        front(runtime) as running,
        open_socket(running.stream(log.execution_id)) as client,
    ):
        await read_frame(client)
        assert await read_seqs(client, until=1) == [1]
        await runtime.kill()
        store.append(log, line(log, "while away"))
        await asyncio.sleep(0.3)
        async with serve_runtime(store, runtime.port, channel=False) as polled:
            assert await read_seqs(client, until=2) == [2]
            await polled.kill()
        store.append(log, line(log, "away again"))
        async with serve_runtime(store, runtime.port):
            assert await read_seqs(client, until=3) == [3]
            await eventually(lambda: running.subscriber.connected)
            finish(store, log)
            assert (await read_close(client))[0] == 1000


async def test_a_restored_backup_resets_open_streams() -> None:
    store = Store(poll_s=0.05)
    log = store.create(TENANT)
    async with stage(store) as front:
        native, guide = open_socket(front.stream(log.execution_id)), open_socket(front.guide(log.execution_id))
        async with native as client, guide as guided:
            await read_frame(client)
            store.append(log, line(log, "one"), line(log, "two"))
            assert await read_seqs(client, until=3) == [1, 2, 3]
            assert [(await read_frame(guided))["log"]["message"] for _ in range(2)] == ["one", "two"]
            log.log_id = LogId(uuid4())
            del log.events[2:]
            store.append(log, line(log, "three"))
            reset = await read_frame(client)
            assert (reset["type"], reset["seq"]) == ("reset", 3)
            store.append(log, line(log, "four"))
            assert (await read_frame(client))["log"]["message"] == "four"
            # this dialect has no word for it: it hears the log from its beginning
            assert [(await read_frame(guided))["log"]["message"] for _ in range(3)] == ["one", "three", "four"]


async def test_an_execution_that_is_gone_closes_its_streams() -> None:
    store = Store(poll_s=0.05)
    log = store.create(TENANT)
    async with stage(store) as front, open_socket(front.stream(log.execution_id)) as client:
        await read_frame(client)
        del store.logs[log.execution_id]
        assert (await read_close(client))[0] == 4404


async def test_an_event_of_a_newer_runtime_sends_its_watchers_on_and_nobody_else() -> None:
    store = Store()
    newer, other = store.create(TENANT), store.create(TENANT)
    async with stage(store) as front:
        one, two = open_socket(front.stream(newer.execution_id)), open_socket(front.stream(newer.execution_id))
        beside = open_socket(front.stream(other.execution_id))
        async with one as first, two as second, beside as neighbour:
            for client in (first, second, neighbour):
                assert (await read_frame(client))["type"] == "hello"
            store.append(newer, novel(newer))
            for client in (first, second):
                code, reason, _ = await read_close(client)
                assert (code, reason) == (1012, {"code": "restarting", "retry": True})
            async with open_socket(front.stream(newer.execution_id)) as late:
                assert (await read_close(late))[0] == 1012
            finish(store, other)
            assert (await read_close(neighbour))[0] == 1000
        assert front.subscriber.connections == 1


async def test_a_log_that_can_not_be_read_is_not_tried_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store()
    log = store.create(TENANT)
    store.append(log, line(log, "one"), line(log, "two"))
    async with stage(store) as front, open_socket(front.stream(log.execution_id, "&after=2")) as client:
        assert (await read_frame(client))["type"] == "hello"
        assert await read_seqs(client, until=3) == [3]

        async def read_newer(*_: object) -> EventPage:
            raise NotUnderstood("/events")

        monkeypatch.setattr(front.streams.hub, "read_log", read_newer)
        async with open_socket(front.stream(log.execution_id)) as behind:  # of what the feed holds
            assert (await read_close(behind))[0] == 1012


async def test_on_sigterm_streams_are_closed_with_1012_at_once() -> None:
    store = Store()
    log = store.create(TENANT)
    # at once: not when the time for a stop in order is over
    async with stage(store, timeout_graceful_shutdown=300) as front:
        clients = [await connect(front.stream(log.execution_id), proxy=None).__aenter__() for _ in range(5)]
        for client in clients:
            await read_frame(client)
        front.served.terminate()
        for client in clients:
            code, reason, _ = await read_close(client)
            assert (code, reason) == (1012, {"code": "restarting", "retry": True})
        await asyncio.wait_for(asyncio.shield(front.served.finished), 60)


async def watch(front: Front, log: Log, *, batch: bool) -> list[int]:
    """A client that is cut off now and then and comes back where it was; ends with the terminal event."""
    chance = random.Random(batch)
    seen: list[int] = []
    log_id = ""
    while True:
        query = f"&after={len(seen)}" + (f"&log={log_id}" if log_id else "") + ("&batch=1" if batch else "")
        async with open_socket(front.stream(log.execution_id, query), max_queue=1) as client:
            log_id = (await read_frame(client))["log_id"]
            async for message in client:
                frame = json.loads(message)
                seen += [event["seq"] for event in (frame if isinstance(frame, list) else [frame]) if "seq" in event]
                if frame and chance.random() < 0.03:
                    break  # a laptop that closes
            if client.close_code == 1000 and len(seen) == len(log.events):
                return seen


async def test_under_kills_and_stalls_each_client_sees_each_event_once_and_in_order() -> None:
    """The property, with everything real: clients that are cut off and come back, upstream cut off at random."""
    store = Store(poll_s=0.05)
    log = store.create(TENANT)
    total = 160

    async def write(runtime: Served) -> None:
        for number in range(total):
            store.append(log, line(log, f"{number}" + "x" * 3_000))
            await asyncio.sleep(0.003)
            if number % 40 == 20:
                runtime.cut()
        finish(store, log)

    async with serve_runtime(store) as runtime, front(runtime) as running, asyncio.TaskGroup() as tasks:
        watching = [tasks.create_task(watch(running, log, batch=batch)) for batch in (False, True, False, True)]
        tasks.create_task(write(runtime))
    for task in watching:
        assert task.result() == list(range(1, total + 4))
