"""Handshakes, refusals, frames and goodbyes of WebSocket channels, on real sockets."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from contracts.declare import Channel
from contracts.errors import ApiError, Code
from contracts.frames import ClientFrame, Close, Pong
from contracts.model import Contract, ExecutionId, Seq
from contracts.wiring.channel import Channels, Frames, Keepalive, Opening, Socket, close_for
from contracts.wiring.outlet import close_reason
from contracts.wiring.server import build_app
from tests.support.sockets import Served, open_socket, read_close, read_frame, serve

ID = "0193a1f0-0000-7000-8000-000000000001"


class OpenEcho(Contract):
    execution_id: ExecutionId
    after: Seq = 0
    batch: bool = False
    token: str | None = None


class EchoApi:
    echo: Channel[OpenEcho, Pong, ClientFrame] = Channel(
        path="/echo/{execution_id}",
        open=OpenEcho,
        sends=Pong,
        receives=ClientFrame,
        summary="Says what it was told.",
        scope=None,
        tag="test",
    )


Handler = Callable[[Socket[str], OpenEcho], Awaitable[None]]


async def echo(socket: Socket[str], opened: OpenEcho) -> None:
    socket.outlet.write(json.dumps({"caller": socket.caller, "opened": opened.model_dump(mode="json")}))
    while True:
        socket.outlet.write(json.dumps(await socket.read()))


async def let_in(opening: Opening, channel: Channel[Any, Any, Any]) -> str:
    if opening.headers.get("origin") == "https://evil.example":
        raise ApiError(Code.CROSS_SITE, "Not our page.")
    if opening.token == "stale":
        raise ApiError(Code.UNAUTHENTICATED, "Never heard of it.")
    if opening.token == "expired":
        raise ApiError(Code.UNAUTHENTICATED, "Expired.", renewable=True)
    return opening.token or "anonymous"


@asynccontextmanager
async def serve_echo(handler: Handler = echo, *, private: bool = False, **settings: Any) -> AsyncIterator[Served]:
    bound: Channels[str] = Channels(EchoApi, let_in, private=private)
    bound.on(EchoApi.echo, handler)
    async with serve(build_app(bound.routes()), **settings) as served:
        yield served


async def test_a_handler_gets_caller_and_typed_fields_and_reads_texts() -> None:
    async with serve_echo() as served, open_socket(served.ws(f"/echo/{ID}?after=7&batch=1&token=me")) as client:
        hello = await read_frame(client)
        assert hello == {"caller": "me", "opened": {"execution_id": ID, "after": 7, "batch": True, "token": "me"}}
        await client.send("ping")
        assert await read_frame(client) == "ping"


async def test_who_comes_back_after_4401_is_who_has_something_to_renew() -> None:
    async with serve_echo() as served:
        said = {}
        for token in ("stale", "expired"):
            async with open_socket(served.ws(f"/echo/{ID}?token={token}")) as client:
                code, reason, _ = await read_close(client)
                said[token] = (code, reason["retry"])
    assert said == {"stale": (4401, False), "expired": (4401, True)}


@pytest.mark.parametrize(
    ("path", "close"),
    [
        (f"/echo/{ID}?after=-1", Close.BAD_REQUEST),
        (f"/echo/{ID}?after=x", Close.BAD_REQUEST),
        (f"/echo/{ID}?after=1&after=2", Close.BAD_REQUEST),
        (f"/echo/{ID}?after=99999999999999999999999", Close.BAD_REQUEST),
        (f"/echo/{ID}?batch=perhaps", Close.BAD_REQUEST),
        (f"/echo/{ID}?afte=1", Close.BAD_REQUEST),
        ("/echo/exec-123", Close.NOT_FOUND),
        ("/echo/%00", Close.NOT_FOUND),
        (f"/echo/{ID}?token=stale", Close.UNAUTHENTICATED),
    ],
)
async def test_a_bad_opening_is_accepted_and_closed_readably(path: str, close: Close) -> None:
    async with serve_echo() as served, open_socket(served.ws(path)) as client:
        code, reason, frames = await read_close(client)
        assert (code, reason["code"], reason["retry"]) == (close, close.name.lower(), close.retry)
        assert frames == []


async def test_another_origin_is_refused_before_the_handshake(caplog: pytest.LogCaptureFixture) -> None:
    async with serve_echo() as served:
        with pytest.raises(InvalidStatus) as refused:
            await connect(served.ws(f"/echo/{ID}"), origin="https://evil.example", proxy=None).__aenter__()  # type: ignore[arg-type]  # a NewType of str
        assert refused.value.response.status_code == 403
        assert not [record for record in caplog.records if record.levelname == "ERROR"]
        assert json.loads(refused.value.response.body)["code"] == "cross_site"


async def test_a_private_channel_answers_everything_wrong_over_http() -> None:
    async with serve_echo(private=True) as served:
        with pytest.raises(InvalidStatus) as refused:
            await connect(served.ws(f"/echo/{ID}?token=stale"), proxy=None).__aenter__()
        assert refused.value.response.status_code == 401
        assert refused.value.response.headers["content-type"] == "application/problem+json"


async def test_plain_http_learns_that_this_is_a_socket() -> None:
    async with serve_echo() as served, httpx.AsyncClient() as http:
        answer = await http.get(served.http(f"/echo/{ID}"))
    assert (answer.status_code, answer.json()["code"]) == (406, "not_acceptable")


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [(["stagedoor.ticket.abc", "stagedoor"], "stagedoor"), (["stagedoor.ticket.abc"], "stagedoor.ticket.abc")],
)
async def test_the_answer_names_the_protocol_and_never_the_ticket_unless_nothing_else_was_offered(
    offered: list[str], chosen: str
) -> None:
    async with serve_echo() as served, open_socket(served.ws(f"/echo/{ID}"), subprotocols=offered) as client:
        assert client.subprotocol == chosen


async def test_a_token_in_the_query_reaches_no_log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    # another test of this process may have configured logging, which drops uvicorn's own line
    uvicorn = logging.getLogger("uvicorn.error")
    for name, value in (("filters", []), ("disabled", False), ("propagate", True), ("level", logging.NOTSET)):
        monkeypatch.setattr(uvicorn, name, value)
    monkeypatch.setattr(logging.getLogger("uvicorn"), "propagate", True)
    uvicorn.manager._clear_cache()  # type: ignore[attr-defined]  # levels are remembered
    logging.getLogger("websockets.client").setLevel(logging.WARNING)
    async with serve_echo() as served, open_socket(served.ws(f"/echo/{ID}?after=1&token=s3cr3t")) as client:
        assert (await read_frame(client))["caller"] == "s3cr3t"
    assert "token=redacted" in caplog.text  # the line that uvicorn writes is there at all
    assert "s3cr3t" not in caplog.text


async def test_binary_frames_are_refused() -> None:
    async with serve_echo() as served, open_socket(served.ws(f"/echo/{ID}")) as client:
        await client.send(b"\x00\x01")
        assert (await read_close(client))[0] == Close.BAD_REQUEST


@pytest.mark.parametrize("size", [100_000, 10 * 1_048_576])
async def test_a_message_that_is_too_big_closes_that_socket_only(size: int) -> None:
    async with serve_echo() as served, open_socket(served.ws(f"/echo/{ID}")) as other:
        async with open_socket(served.ws(f"/echo/{ID}")) as client:
            await read_frame(client)
            with suppress(ConnectionClosed):
                await client.send("x" * size)
            await asyncio.wait_for(client.wait_closed(), 60)
            assert client.close_code == Close.TOO_BIG
            assert client.close_reason
            assert json.loads(client.close_reason)["code"] == "too_big"
        await read_frame(other)
        await other.send("still there")
        assert await read_frame(other) == "still there"


async def test_a_peer_that_never_stops_sending_is_let_go() -> None:
    frame = b"\x81\xff" + (2**40).to_bytes(8, "big") + bytes(4)  # a text of a terabyte begins
    async with serve_echo() as served, raw_client(served, f"/echo/{ID}") as (_, writer):
        for connection in served.server.server_state.connections:
            connection.close_timeout = 0.5  # type: ignore[union-attr]  # there is only this one, and it is ours
        writer.write(frame)
        async with asyncio.timeout(60):
            with suppress(ConnectionError):
                while True:
                    writer.write(bytes(10_000))
                    await writer.drain()
                    await asyncio.sleep(0.05)
        assert not served.server.server_state.connections


async def test_failures_of_a_handler_become_close_codes() -> None:
    failures: list[Exception] = [ApiError(Code.NOT_FOUND, "Gone fishing."), ValueError("a bug")]

    async def fail(socket: Socket[str], opened: OpenEcho) -> None:
        raise failures.pop(0)

    async with serve_echo(fail) as served:
        async with open_socket(served.ws(f"/echo/{ID}")) as client:
            code, reason, _ = await read_close(client)
            assert (code, reason) == (4404, {"code": "not_found", "retry": False, "detail": "Gone fishing."})
        async with open_socket(served.ws(f"/echo/{ID}")) as client:
            code, reason, _ = await read_close(client)
            assert (code, reason) == (1011, {"code": "internal", "retry": True})


async def test_a_failing_task_of_a_socket_closes_it() -> None:
    async def fail_aside(socket: Socket[str], opened: OpenEcho) -> None:
        async def break_down() -> None:
            raise ValueError("a bug")

        socket.tasks.create_task(break_down())
        await socket.read()

    async with serve_echo(fail_aside) as served, open_socket(served.ws(f"/echo/{ID}")) as client:
        assert (await read_close(client))[0] == Close.INTERNAL


async def test_tasks_of_a_socket_end_with_it() -> None:
    cancelled = asyncio.Event()

    async def start_aside(socket: Socket[str], opened: OpenEcho) -> None:
        async def sleep() -> None:
            try:
                await asyncio.sleep(1_000)
            finally:
                cancelled.set()

        socket.tasks.create_task(sleep())
        await echo(socket, opened)

    async with serve_echo(start_aside) as served:
        async with open_socket(served.ws(f"/echo/{ID}")) as client:
            await read_frame(client)
        await asyncio.wait_for(cancelled.wait(), 60)


async def test_an_outlet_that_is_full_is_busy_and_says_when_it_can_take_more() -> None:
    sent: list[int] = []
    line = "x" * 100_000
    total = 200

    async def pour(socket: Socket[str], opened: OpenEcho) -> None:
        outlet = socket.outlet

        def go_on() -> None:
            while len(sent) < total and not outlet.busy and not outlet.closed:
                sent.append(len(sent))
                outlet.write(json.dumps([sent[-1], line]))

        outlet.ready = go_on
        go_on()
        assert outlet.busy  # the client does not read yet, and 20 MB fit into no buffer
        await socket.read()

    async with serve_echo(pour) as served, open_socket(served.ws(f"/echo/{ID}"), max_queue=1) as client:
        await asyncio.sleep(0.2)
        assert len(sent) < total
        assert [(await read_frame(client))[0] for _ in range(total)] == list(range(total))


async def test_closing_a_full_outlet_comes_after_what_was_written() -> None:
    async def pour(socket: Socket[str], opened: OpenEcho) -> None:
        while not socket.outlet.busy:
            socket.outlet.write(json.dumps("x" * 100_000))
        socket.outlet.close(Close.DONE)
        await socket.read()

    async with serve_echo(pour) as served, open_socket(served.ws(f"/echo/{ID}"), max_queue=1) as client:
        await asyncio.sleep(0.1)
        code, reason, frames = await read_close(client)
    assert (code, reason["code"]) == (1000, "done")
    assert len(frames) > 1


async def test_on_sigterm_sockets_are_closed_with_a_reason_at_once() -> None:
    # at once: not when the time for a stop in order is over
    async with (
        serve_echo(timeout_graceful_shutdown=300) as served,
        open_socket(served.ws(f"/echo/{ID}")) as client,
    ):
        await read_frame(client)
        served.terminate()
        code, reason, _ = await read_close(client)
        assert (code, reason) == (1012, {"code": "restarting", "retry": True})


async def test_a_stalled_peer_does_not_keep_a_stopping_server() -> None:
    async def pour(socket: Socket[str], opened: OpenEcho) -> None:
        while not socket.outlet.busy:
            socket.outlet.write("x" * 100_000)
        await socket.read()

    async with serve_echo(pour, timeout_graceful_shutdown=300) as served, raw_client(served, f"/echo/{ID}"):
        await asyncio.sleep(0.1)
        served.terminate()
        await asyncio.wait_for(asyncio.shield(served.finished), 60)


async def test_a_peer_without_pongs_is_let_go_also_when_it_stopped_reading() -> None:
    ended = asyncio.Event()

    async def pour(socket: Socket[str], opened: OpenEcho) -> None:
        while not socket.outlet.busy:
            socket.outlet.write("x" * 100_000)
        try:
            await socket.read()
        finally:
            ended.set()

    keepalive: dict[str, Any] = {"ws_ping_interval": 0.1, "ws_ping_timeout": 0.1}
    async with serve_echo(pour, **keepalive) as served, raw_client(served, f"/echo/{ID}"):
        await asyncio.wait_for(ended.wait(), 30)  # the default would be 40 s
        async with asyncio.timeout(30):
            while served.server.server_state.connections:  # noqa: ASYNC110 — uvicorn's state tells nobody
                await asyncio.sleep(0.05)


async def test_a_dead_peer_is_told_4408_and_one_that_answers_pings_lives() -> None:
    path = f"/echo/{ID}"
    async with (
        serve_echo(ws_ping_interval=0.05, ws_ping_timeout=4) as served,
        open_socket(served.ws(path)) as alive,
        raw_client(served, path) as (reader, _),
    ):
        seen = await asyncio.wait_for(reader.read(), 30)
        await asyncio.sleep(0.5)
        await read_frame(alive)
        await alive.send("here")
        assert await read_frame(alive) == "here"
    assert int(Close.DEAD_PEER).to_bytes(2, "big") + close_reason(Close.DEAD_PEER).encode() in seen


async def test_a_channel_may_ask_for_a_patience_of_its_own() -> None:
    bound: Channels[str] = Channels(EchoApi, let_in)
    bound.on(EchoApi.echo, echo, keepalive=Keepalive(0.05, 60))
    hasty: dict[str, Any] = {"ws_ping_interval": 0.05, "ws_ping_timeout": 0.05}
    async with (
        serve(build_app(bound.routes()), **hasty) as served,
        raw_client(served, f"/echo/{ID}") as (reader, _),
    ):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(), 0.5)  # pings come, and nobody hangs up


def test_a_channel_without_handler_or_served_twice_is_refused_at_start() -> None:
    bound: Channels[str] = Channels(EchoApi, let_in)
    with pytest.raises(TypeError, match="unserved"):
        bound.routes()
    bound.on(EchoApi.echo, echo)
    with pytest.raises(TypeError, match="twice"):
        bound.on(EchoApi.echo, echo)


@pytest.mark.parametrize("text", ["", "pong", "{", "[]", "null", '{"type":"nonsense"}', '{"type":"ping","x":1}'])
def test_what_is_no_frame_is_malformed(text: str) -> None:
    with pytest.raises(ApiError) as refused:
        Frames(ClientFrame).parse(text)
    assert refused.value.code is Code.MALFORMED


def test_every_failure_has_a_close_code_and_every_reason_fits_a_control_frame() -> None:
    assert {close_for(code) for code in Code} <= set(Close)
    for close in Close:
        for detail in ("", "short", "long " * 100):
            reason = close_reason(close, detail)
            assert len(reason.encode()) <= 123
            assert json.loads(reason) | {"code": close.name.lower(), "retry": close.retry} == json.loads(reason)


@asynccontextmanager
async def raw_client(served: Served, path: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A peer that shakes hands and then neither reads on nor answers pings."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port, limit=1_000)
    writer.write(
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    assert b"101" in await reader.readline()
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
