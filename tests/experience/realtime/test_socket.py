"""How streams begin, resume, are refused, keep alive and end, on real sockets with a real hub and channel."""

import asyncio
import gc
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from contracts.errors import ApiError, Code
from contracts.execution import ExecutionStatus, IntentStatus
from contracts.model import ExecutionId, TenantId
from contracts.wiring.uvicorn_socket import SocketProtocol
from experience.auth.principal import Principal
from experience.realtime import socket as socket_module
from tests.support.eventlog import Store, line, serve_runtime, status
from tests.support.sockets import open_socket, read_close, read_frame
from tests.support.streams import ORIGIN, TENANT, finish, front, principal, read_seqs, stage

OTHER_LOG = "0193a1f0-0000-7000-8000-00000000ffff"


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


@pytest.mark.parametrize("others", [0, 1])
@pytest.mark.parametrize(
    ("query", "reason"),
    [("&after=3", "ahead_of_log"), (f"&after=1&log={OTHER_LOG}", "log_changed"), (f"&log={OTHER_LOG}", "log_changed")],
)
async def test_beyond_the_head_or_in_another_log_it_is_reset_with_a_snapshot(
    query: str, reason: str, others: int
) -> None:
    store = Store()
    log = store.create(TENANT)
    store.append(log, status(log, ExecutionStatus.RUNNING))
    async with stage(store) as front, AsyncExitStack() as stack:
        for _ in range(others):
            await read_frame(await stack.enter_async_context(open_socket(front.stream(log.execution_id))))
        client = await stack.enter_async_context(open_socket(front.stream(log.execution_id, query)))
        hello = await read_frame(client)
        assert (hello["resumed"], hello["from_seq"], hello["head_seq"]) == ("reset", 2, 2)
        reset = await read_frame(client)
        assert (reset["type"], reset["reason"], reset["seq"]) == ("reset", reason, 2)
        assert reset["snapshot"]["status"] == "running"
        store.append(log, line(log, "next"))
        assert (await read_frame(client))["seq"] == 3


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
        front.rules.accepted.add(execution_id)
        async with open_socket(front.stream(execution_id)) as client:
            hello = await read_frame(client)
            assert (hello["log_id"], hello["head_seq"], hello["status"]) == (None, 0, "pending")
            with pytest.raises(TimeoutError):
                await read_frame(client, 0.3)
            log = store.create(TENANT, execution_id)
            assert await read_seqs(client, until=1) == [1]
            finish(store, log)
            assert (await read_close(client))[0] == 1000


async def test_what_was_delivered_in_this_very_moment_is_not_taken_for_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store()
    execution_id = ExecutionId(uuid4())
    async with stage(store) as front:

        async def find_promise(*_: object) -> IntentStatus:
            if execution_id not in store.logs:
                store.create(TENANT, execution_id)  # Runtime has said that it does not know it, and now it does
            return IntentStatus.DELIVERED

        monkeypatch.setattr(front.streams, "doors", replace(front.streams.doors, find_promise=find_promise))
        async with open_socket(front.stream(execution_id)) as client:
            assert (await read_frame(client))["type"] == "hello"
            assert await read_seqs(client, until=1) == [1]


async def test_what_is_accepted_while_runtime_is_away_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_module, "PENDING_S", 0.1)
    monkeypatch.setattr(socket_module, "OPEN_S", 0.2)
    store = Store()
    execution_id = ExecutionId(uuid4())
    async with serve_runtime(store) as runtime, front(runtime) as running:
        await runtime.kill()
        running.rules.accepted.add(execution_id)
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


@pytest.mark.parametrize("kept", [IntentStatus.DELIVERED, IntentStatus.REFUSED])
async def test_what_was_waited_for_and_never_comes_ends_the_stream(
    monkeypatch: pytest.MonkeyPatch, kept: IntentStatus
) -> None:
    store = Store()
    execution_id = ExecutionId(uuid4())
    async with stage(store, check_s=0.1) as front:
        promise = IntentStatus.PENDING

        async def find_promise(*_: object) -> IntentStatus:
            return promise

        monkeypatch.setattr(front.streams, "doors", replace(front.streams.doors, find_promise=find_promise))
        async with open_socket(front.stream(execution_id)) as client:
            assert (await read_frame(client))["type"] == "hello"
            promise = kept  # Runtime had it and has pruned it, or would not have it
            assert (await read_close(client))[0] == 4404


# --- refusals


async def test_unknown_foreign_and_malformed_ids_are_told_alike() -> None:
    store = Store()
    foreign = store.create(TenantId(uuid4()))
    own = store.create(TENANT)
    answers = []
    async with stage(store) as front:
        paths = [
            f"/api/execution/{uuid4()}/stream",
            f"/api/execution/{foreign.execution_id}/stream",
            f"/api/execution/{own.execution_id}/stream?tenant_id={uuid4()}",
            "/api/execution/exec-123/stream",
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
    began, began_at = time.monotonic(), time.time()
    async with stage(store, ping_interval_s=0.2) as front, open_socket(front.stream(log.execution_id)) as client:
        assert (await read_frame(client))["ping_interval"] == 0.2
        async with asyncio.timeout(60):
            while front.streams.pings < 6:
                store.append(log, line(log, "busy"))
                await asyncio.sleep(0.02)
        finish(store, log)
        _, _, frames = await read_close(client)
    pings = [frame for frame in frames if frame["type"] == "ping"]
    assert 6 <= len(pings) <= (time.monotonic() - began) / 0.2 + 1  # a wheel may call a tick early
    assert set(pings[0]) == {"type", "ts", "seq"}
    assert all(began_at <= ping["ts"] <= time.time() for ping in pings)
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
    keepalive = {"ws_ping_interval": 0.1, "ws_ping_timeout": 3}
    async with (
        stage(store, ping_interval_s=0.1, **keepalive) as front,
        open_socket(front.stream(log.execution_id)) as native,
        open_socket(front.guide(log.execution_id)) as guide,
    ):
        await asyncio.sleep(4.0)
        assert (native.state.name, guide.state.name) == ("OPEN", "OPEN")


async def test_an_ending_credential_is_announced_and_closes_with_4401() -> None:
    store = Store()
    log = store.create(TENANT)
    async with stage(store, ping_interval_s=0.5) as front:
        front.rules.principals["me"] = principal(ends_in_s=8.0)  # time enough to open
        async with open_socket(front.stream(log.execution_id)) as client:
            code, reason, frames = await read_close(client)
        assert (code, reason["code"], reason["retry"]) == (4401, "unauthenticated", True)
        warning = next(frame for frame in frames if frame["type"] == "auth_expiring")
        ends = front.rules.principals["me"].expires_at
        assert ends is not None
        assert warning["expires_at"] == pytest.approx(ends.timestamp())
        assert time.time() > ends.timestamp() - 0.9


async def test_the_guides_stream_outlives_its_token_and_not_its_login() -> None:
    """Its clients know no warning and no renewal: one that only listens stays while the login behind it stands."""
    store = Store()
    log = store.create(TENANT)
    login_ends = datetime.fromtimestamp(time.time() + 3_600, UTC)
    revoked = asyncio.Event()

    def renew(known: Principal) -> Principal:
        # as Identities.renew: a token's own end counts as long as it is asked for as a token
        if revoked.is_set() or known.via == "token":
            raise ApiError(Code.UNAUTHENTICATED, "This credential has ended.")
        return replace(known, expires_at=login_ends)

    async with stage(store, renew=renew, check_s=0.2, ping_interval_s=0.4) as front:
        front.rules.principals["me"] = replace(principal(ends_in_s=0.6), via="token")
        async with open_socket(front.guide(log.execution_id)) as client:
            with pytest.raises(TimeoutError):
                await read_close(client, 1.5)
            assert client.state.name == "OPEN"
            revoked.set()
            assert (await read_close(client))[0] == 4401


async def test_a_login_that_lives_on_is_neither_announced_nor_closed() -> None:
    store = Store()
    log = store.create(TENANT)

    def renew(known: Any) -> Any:
        return replace(known, expires_at=known.expires_at + timedelta(hours=1))

    async with stage(store, renew=renew) as front:
        front.rules.principals["me"] = principal(ends_in_s=0.8)
        async with open_socket(front.stream(log.execution_id, "&after=1")) as client:
            await read_frame(client)
            with pytest.raises(TimeoutError):
                await read_frame(client, 1.2)


async def test_a_revoked_credential_ends_its_sockets() -> None:
    store = Store()
    log = store.create(TENANT)
    timing = {"check_s": 0.2, "ping_interval_s": 0.4}
    async with stage(store, **timing) as front, open_socket(front.stream(log.execution_id)) as client:
        await read_frame(client)
        front.rules.revoked.add("me")
        code, reason, _ = await read_close(client)
    assert (code, reason["code"], reason["retry"]) == (4401, "unauthenticated", False)


async def test_an_open_socket_keeps_its_handshake_once() -> None:
    store = Store()
    log = store.create(TENANT)
    async with stage(store) as front, open_socket(front.stream(log.execution_id)) as client:
        await read_frame(client)
        sockets = [one for one in gc.get_objects() if type(one) is SocketProtocol and one.handshake_complete]
        held = [one for one in sockets if str(log.execution_id) in one.scope["path"]]  # others are in here, too
        assert held
        assert all(one.scope["headers"] for one in held)
        assert not any(len(one.request.headers) or len(one.response.headers) for one in held)
