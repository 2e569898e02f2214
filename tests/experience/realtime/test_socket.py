"""Execution streams on real sockets: real hub, real channel, a Runtime whose log is in memory."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from contracts.execution import ExecutionStatus
from contracts.model import ExecutionId, LogId, TenantId
from experience.realtime import socket as socket_module
from tests.support.eventlog import Log, Store, cancelled, completed, failed, line, serve_runtime, status
from tests.support.sockets import open_socket, read_close, read_frame
from tests.support.streams import ORIGIN, TENANT, Front, front, principal


@asynccontextmanager
async def stage(store: Store, **options: Any) -> AsyncIterator[Front]:
    async with serve_runtime(store) as runtime, front(runtime, **options) as running:
        yield running


def finish(store: Store, log: Log) -> None:
    store.append(log, status(log, ExecutionStatus.COMPLETED), completed(log))


async def read_seqs(client: ClientConnection, until: int) -> list[int]:
    seqs: list[int] = []
    while not seqs or seqs[-1] < until:
        frame = await read_frame(client)
        for event in frame if isinstance(frame, list) else [frame]:
            assert "seq" in event, event
            seqs.append(event["seq"])
    return seqs


# --- beginning and resuming


async def test_hello_then_the_log_then_live_then_the_end() -> None:
    store = Store()
    log = store.create(TENANT)
    store.append(log, status(log, ExecutionStatus.RUNNING))
    async with stage(store) as front, open_socket(front.stream(log.execution_id)) as client:
        assert await read_frame(client) == {
            "type": "hello",
            "execution_id": str(log.execution_id),
            "log_id": str(log.log_id),
            "from_seq": 0,
            "head_seq": 2,
            "status": "running",
            "resumed": "fresh",
            "ping_interval": 30.0,
        }
        assert await read_seqs(client, until=2) == [1, 2]
        store.append(log, line(log, "live"))
        event = await read_frame(client)
        assert (event["type"], event["seq"], event["log"]["message"]) == ("log", 3, "live")
        finish(store, log)
        code, reason, frames = await read_close(client)
    assert [frame["type"] for frame in frames] == ["status", "completion"]
    assert (code, reason) == (1000, {"code": "done", "retry": False})


async def test_a_stream_resumes_at_every_position() -> None:
    store = Store()
    log = store.create(TENANT)
    store.append(log, *(line(log, str(number)) for number in range(5)))
    finish(store, log)
    async with stage(store) as front:
        for after in range(9):
            async with open_socket(front.stream(log.execution_id, f"&after={after}&log={log.log_id}")) as client:
                hello = await read_frame(client)
                assert (hello["from_seq"], hello["head_seq"]) == (after, 8)
                assert hello["resumed"] == ("recovered" if after else "fresh")
                code, _, frames = await read_close(client)
                assert [frame["seq"] for frame in frames] == list(range(after + 1, 9))
                assert code == 1000


@pytest.mark.parametrize("watched", [False, True])
async def test_beyond_the_head_or_in_another_log_it_is_reset_with_a_snapshot(watched: bool) -> None:
    store = Store()
    log = store.create(TENANT)
    store.append(log, status(log, ExecutionStatus.RUNNING))
    async with stage(store) as front, open_socket(front.stream(log.execution_id)) as other:
        if watched:
            await read_frame(other)
        else:
            await other.close()
        for query, reason in (("&after=3", "ahead_of_log"), (f"&after=1&log={uuid4()}", "log_changed")):
            async with open_socket(front.stream(log.execution_id, query)) as client:
                hello = await read_frame(client)
                assert (hello["resumed"], hello["from_seq"], hello["head_seq"]) == ("reset", 2, 2)
                reset = await read_frame(client)
                assert (reset["type"], reset["reason"], reset["seq"]) == ("reset", reason, 2)
                assert reset["snapshot"]["status"] == "running"
                store_size = len(log.events)
                store.append(log, line(log, "next"))
                assert (await read_frame(client))["seq"] == store_size + 1
                log.events.pop()  # for the next round; nobody has numbers beyond 2 by then
        await asyncio.sleep(0)


async def test_a_client_ahead_of_this_replicas_feed_is_not_reset() -> None:
    """It got its last events from another replica, whose news are fresher."""
    store = Store(poll_s=60)
    log = store.create(TENANT)
    async with stage(store) as front, open_socket(front.stream(log.execution_id)) as other:
        await read_frame(other)
        assert await read_seqs(other, until=1) == [1]
        store.deaf = True
        store.append(log, line(log, "heard elsewhere"))
        async with open_socket(front.stream(log.execution_id, f"&after=2&log={log.log_id}")) as client:
            hello = await read_frame(client)
            assert (hello["resumed"], hello["from_seq"], hello["head_seq"]) == ("recovered", 2, 2)
            store.append(log, line(log, "next"))
            store.ring(log)
            assert await read_seqs(client, until=3) == [3]
        assert await read_seqs(other, until=3) == [2, 3]


async def test_what_is_accepted_but_not_there_yet_is_waited_for() -> None:
    store = Store()
    execution_id = ExecutionId(uuid4())
    async with stage(store) as front:
        front.accepted.add(execution_id)
        async with open_socket(front.stream(execution_id)) as client:
            hello = await read_frame(client)
            assert (hello["log_id"], hello["head_seq"], hello["status"]) == (None, 0, "pending")
            with pytest.raises(TimeoutError):
                await read_frame(client, 0.3)
            log = store.create(TENANT, execution_id)
            assert await read_seqs(client, until=1) == [1]
            finish(store, log)
            assert (await read_close(client))[0] == 1000


async def test_a_delivered_intent_can_be_told_to_those_who_wait() -> None:
    store = Store()
    execution_id = ExecutionId(uuid4())
    async with stage(store) as front:
        front.accepted.add(execution_id)
        async with open_socket(front.stream(execution_id)) as client:
            await read_frame(client)
            await asyncio.sleep(0.5)
            store.create(TENANT, execution_id)
            front.streams.hub.wake(TENANT, execution_id)
            assert (await read_frame(client, 0.5))["seq"] == 1


async def test_what_is_accepted_while_runtime_is_away_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_module, "OPEN_S", 0.2)
    store = Store()
    execution_id = ExecutionId(uuid4())
    async with serve_runtime(store) as runtime, front(runtime) as running:
        runtime.terminate()
        await runtime.finished
        running.accepted.add(execution_id)
        async with open_socket(running.stream(execution_id)) as client:
            assert (await read_frame(client))["head_seq"] == 0
            async with open_socket(running.stream(execution_id, "&after=4")) as resuming:
                assert (await read_close(resuming))[:2] == (
                    1013,
                    {"code": "overloaded", "retry": True, "detail": "Runtime does not answer."},
                )
            async with open_socket(running.stream(ExecutionId(uuid4()))) as unknown:
                assert (await read_close(unknown))[0] == 1013
            async with serve_runtime(store, runtime.port):
                store.create(TENANT, execution_id)
                assert await read_seqs(client, until=1) == [1]


# --- refusals


async def test_unknown_foreign_and_malformed_ids_are_told_alike() -> None:
    store = Store()
    foreign = store.create(TenantId(uuid4()))
    own = store.create(TENANT)
    answers = []
    async with stage(store) as front:
        paths = [
            f"/api/execution/{uuid4()}/stream?token=me",
            f"/api/execution/{foreign.execution_id}/stream?token=me",
            f"/api/execution/{own.execution_id}/stream?token=me&tenant_id={uuid4()}",
            "/api/execution/exec-123/stream?token=me",
            f"/api/ws/executions/{foreign.execution_id}?token=me",
        ]
        for path in paths:
            async with open_socket(front.served.ws(path)) as client:
                answers.append(await read_close(client))
    assert answers == [(4404, answers[0][1], [])] * len(paths)
    assert answers[0][1]["code"] == "not_found"


async def test_a_foreign_origin_gets_403_before_the_handshake() -> None:
    store = Store()
    log = store.create(TENANT)
    async with stage(store) as front:
        for origin in ("https://evil.example", "null", "http://stagedoor.example"):
            with pytest.raises(InvalidStatus) as refused:
                await connect(front.stream(log.execution_id), origin=origin, proxy=None).__aenter__()  # type: ignore[arg-type]  # a NewType of str
            assert refused.value.response.status_code == 403
        async with open_socket(front.stream(log.execution_id), origin=ORIGIN) as client:
            assert (await read_frame(client))["type"] == "hello"


@pytest.mark.parametrize(
    "garbage", ["", "pong", "{", "null", '{"type":"nonsense"}', '{"type":"ping","extra":1}', "é" * 1_000, b"\x00\xff"]
)
async def test_garbage_closes_with_4400_after_saying_why(garbage: str | bytes) -> None:
    store = Store()
    log = store.create(TENANT)
    async with stage(store) as front, open_socket(front.stream(log.execution_id)) as client:
        await client.send(garbage)
        code, reason, frames = await read_close(client)
        assert (code, reason["code"], reason["retry"]) == (4400, "bad_request", False)
        assert frames[0]["type"] == "hello"
        assert frames[-1]["type"] == "fault"


async def test_a_flood_is_told_to_back_off() -> None:
    store = Store()
    log = store.create(TENANT)
    async with stage(store) as front, open_socket(front.stream(log.execution_id)) as client:
        for _ in range(200):
            await client.send("ping")
        code, reason, _ = await read_close(client)
        assert (code, reason["retry"]) == (4429, True)


# --- pings and credentials


async def test_pings_come_on_their_beat_also_beside_events_and_need_no_answer() -> None:
    store = Store()
    log = store.create(TENANT)
    pings: list[dict[str, Any]] = []
    async with stage(store, ping_interval_s=0.2) as front, open_socket(front.stream(log.execution_id)) as client:
        assert (await read_frame(client))["ping_interval"] == 0.2
        began = time.monotonic()
        while time.monotonic() - began < 1.5:
            store.append(log, line(log, "busy"))
            await asyncio.sleep(0.02)
        finish(store, log)
        _, _, frames = await read_close(client)
    pings = [frame for frame in frames if frame["type"] == "ping"]
    assert 5 <= len(pings) <= 8
    assert set(pings[0]) == {"type", "ts", "seq"}
    assert abs(pings[-1]["ts"] - time.time()) < 5
    assert pings[-1]["seq"] > 10


@pytest.mark.parametrize("ping", ["ping", '{"type":"ping"}'])
async def test_a_clients_ping_is_answered_and_its_pong_is_not(ping: str) -> None:
    store = Store()
    log = store.create(TENANT)
    async with stage(store) as front, open_socket(front.stream(log.execution_id, "&after=1")) as client:
        assert (await read_frame(client))["type"] == "hello"
        await client.send('{"type":"pong"}')
        await client.send(ping)
        assert await read_frame(client) == {"type": "pong"}
        with pytest.raises(TimeoutError):
            await read_frame(client, 0.2)


async def test_a_client_that_only_listens_lives() -> None:
    store = Store()
    log = store.create(TENANT)
    keepalive = {"ws_ping_interval": 0.1, "ws_ping_timeout": 0.2}
    async with stage(store, ping_interval_s=0.1, **keepalive) as front:
        for url in (front.stream(log.execution_id), front.guide(log.execution_id)):
            async with open_socket(url) as client:
                await asyncio.sleep(1.0)
                assert client.state.name == "OPEN"


async def test_an_ending_credential_is_announced_and_closes_with_4401() -> None:
    store = Store()
    log = store.create(TENANT)
    async with stage(store, ping_interval_s=0.5) as front:
        front.principals["me"] = principal(ends_in_s=1.0)
        async with open_socket(front.stream(log.execution_id)) as client:
            code, reason, frames = await read_close(client)
        assert (code, reason["code"], reason["retry"]) == (4401, "unauthenticated", True)
        warning = next(frame for frame in frames if frame["type"] == "auth_expiring")
        ends = front.principals["me"].expires_at
        assert ends is not None
        assert warning["expires_at"] == pytest.approx(ends.timestamp())
        assert abs(time.time() - ends.timestamp()) < 0.9


async def test_a_login_that_lives_on_is_neither_announced_nor_closed() -> None:
    store = Store()
    log = store.create(TENANT)

    def renew(known: Any) -> Any:
        return replace(known, expires_at=known.expires_at + timedelta(hours=1))

    async with stage(store, renew=renew) as front:
        front.principals["me"] = principal(ends_in_s=0.8)
        async with open_socket(front.stream(log.execution_id, "&after=1")) as client:
            await read_frame(client)
            with pytest.raises(TimeoutError):
                await read_frame(client, 1.2)


async def test_a_revoked_credential_ends_its_sockets() -> None:
    store = Store()
    log = store.create(TENANT)
    async with stage(store, check_s=0.2, ping_interval_s=0.4) as front:
        async with open_socket(front.stream(log.execution_id)) as client:
            await read_frame(client)
            front.revoked.add("me")
            code, reason, _ = await read_close(client)
    assert (code, reason["code"]) == (4401, "unauthenticated")


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


async def test_batches_are_arrays_and_the_first_event_does_not_wait() -> None:
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
            async with asyncio.timeout(15):  # 15 MB, of which the stalled one has taken what buffers hold
                assert await read_seqs(client, until=total + 1) == list(range(1, total + 2))
            finish(store, log)
            code, _, frames = await read_close(stalled, 30)
    assert [frame["seq"] for frame in frames[1:]] == list(range(1, total + 4))
    assert code == 1000


async def test_a_slow_client_gets_pongs_and_pings_late_but_only_the_latest() -> None:
    store = Store()
    log = store.create(TENANT)
    async with stage(store, ping_interval_s=0.1) as front:
        async with open_socket(front.stream(log.execution_id), max_queue=1) as client:
            store.append(log, *(line(log, "x" * 20_000) for _ in range(800)))
            await asyncio.sleep(1.0)
            await client.send("ping")
            await asyncio.sleep(0.2)
            finish(store, log)
            _, _, frames = await read_close(client, 30)
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
    async with serve_runtime(store) as runtime, front(runtime) as running:
        async with open_socket(running.stream(log.execution_id)) as client:
            await read_frame(client)
            assert await read_seqs(client, until=1) == [1]
            for connection in list(runtime.server.server_state.connections):
                connection.transport.abort()
            runtime.terminate()
            await runtime.finished
            store.append(log, line(log, "while away"))
            await asyncio.sleep(0.3)
            async with serve_runtime(store, runtime.port, channel=False) as polled:
                assert await read_seqs(client, until=2) == [2]
                polled.terminate()
                await polled.finished
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


async def test_on_sigterm_streams_are_closed_with_1012_within_a_second() -> None:
    store = Store()
    log = store.create(TENANT)
    async with stage(store) as front:
        clients = [await connect(front.stream(log.execution_id), proxy=None).__aenter__() for _ in range(5)]
        for client in clients:
            await read_frame(client)
        began = time.monotonic()
        front.served.terminate()
        for client in clients:
            code, reason, _ = await read_close(client)
            assert (code, reason) == (1012, {"code": "restarting", "retry": True})
        assert time.monotonic() - began < 1.0
        await asyncio.wait_for(asyncio.shield(front.served.finished), 3)


async def test_under_kills_and_stalls_each_client_sees_each_event_once_and_in_order() -> None:
    """The property, with everything real: clients that are cut off and come back, upstream cut off at random."""
    store = Store(poll_s=0.05)
    log = store.create(TENANT)
    total = 400

    async def watch(front: Front, batch: bool) -> list[int]:
        seen: list[int] = []
        log_id = ""
        while True:
            query = f"&after={len(seen)}" + (f"&log={log_id}" if log_id else "") + ("&batch=1" if batch else "")
            async with open_socket(front.stream(log.execution_id, query), max_queue=1) as client:
                async for message in client:
                    frame = json.loads(message)
                    for event in frame if isinstance(frame, list) else [frame]:
                        if event["type"] == "hello":
                            log_id = event["log_id"]
                        elif event["type"] != "ping":
                            seen.append(event["seq"])
                    if len(seen) % 37 == 0 and len(seen) < total:
                        break  # a laptop that closes
                if client.close_code == 1000 and seen and seen[-1] == len(log.events):
                    return seen

    async def write(runtime: Any) -> None:
        for number in range(total):
            store.append(log, line(log, f"{number}" + "x" * 3_000))
            await asyncio.sleep(0.003)
            if number % 60 == 30:
                for connection in list(runtime.server.server_state.connections):
                    connection.transport.abort()
        finish(store, log)

    async with serve_runtime(store) as runtime, front(runtime, ping_interval_s=0.1) as running:
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            watching = [tasks.create_task(watch(running, batch)) for batch in (False, True, False, True)]
            tasks.create_task(write(runtime))
    for task in watching:
        assert task.result() == list(range(1, total + 4))


# --- the API guide's dialect


async def test_the_guides_stream_speaks_only_the_guides_words() -> None:
    store = Store()
    log = store.create(TENANT)
    store.append(log, status(log, ExecutionStatus.RUNNING), line(log, "hi"), status(log, ExecutionStatus.WAITING))
    async with stage(store, ping_interval_s=0.1) as front, open_socket(front.guide(log.execution_id)) as client:
        await client.send("ping")
        await asyncio.sleep(0.4)  # no pings of ours in between
        finish(store, log)
        code, _, frames = await read_close(client)
    assert code == 1000
    kinds = [frame["type"] for frame in frames]
    assert sorted(kinds) == ["completion", "log", "pong", "status", "status", "status"]
    assert kinds[-2:] == ["status", "completion"]
    assert [frame["status"] for frame in frames if frame["type"] == "status"] == ["running", "running", "completed"]
    assert all("seq" not in frame for frame in frames)


async def test_every_bad_end_is_an_error_message_in_the_guide() -> None:
    store = Store()
    ends = {
        ExecutionStatus.FAILED: failed,
        ExecutionStatus.BUDGET_EXCEEDED: failed,
        ExecutionStatus.CANCELLED: cancelled,
    }
    async with stage(store) as front:
        for end, event in ends.items():
            log = store.create(TENANT)
            store.append(log, status(log, end), event(log))
            async with open_socket(front.guide(log.execution_id)) as client:
                _, _, frames = await read_close(client)
            assert [frame["type"] for frame in frames] == ["status", "error"]
            assert frames[0]["status"] == "failed"


def react_hook(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """The `onmessage` of the guide's React hook, line by line."""
    state: dict[str, Any] = {"status": "pending", "nodeStates": {}, "logs": [], "error": None}
    for message in messages:
        match message["type"]:
            case "status":
                state["status"] = message["status"]
            case "node_update":
                state["nodeStates"] |= {message["node_id"]: message["node_state"]}
            case "log":
                state["logs"] = [*state["logs"], message["log"]]
            case "completion":
                state["status"] = "completed"
            case "error":
                state |= {"error": message["error"], "status": "failed"}
    return state


async def test_the_guides_react_hook_ends_up_in_the_right_state() -> None:
    store = Store()
    good, bad = store.create(TENANT), store.create(TENANT)
    store.append(good, status(good, ExecutionStatus.RUNNING), line(good, "hi"))
    finish(store, good)
    store.append(bad, status(bad, ExecutionStatus.CANCELLED), cancelled(bad, "by Ada"))
    states = []
    async with stage(store) as front:
        for log in (good, bad):
            async with open_socket(front.guide(log.execution_id)) as client:
                states.append(react_hook((await read_close(client))[2]))
    assert states[0]["status"] == "completed"
    assert [entry["message"] for entry in states[0]["logs"]] == ["hi"]
    assert (states[1]["status"], states[1]["error"]) == ("failed", "Cancelled: by Ada")


async def eventually(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 — what is waited for tells nobody
            await asyncio.sleep(0.01)
