"""The way into Runtime: what a lost connection is called, and that nothing stays of one call for the next."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import cast

import aiohttp
import httpx
import pytest
from structlog.testing import capture_logs

from contracts.declare import NOTHING
from contracts.errors import ApiError, Code
from experience.cli.ports import find_free_port
from experience.runtime_calls import (
    _CONNECT_S,
    NOBODY,
    TIMEOUT_S,
    RuntimeCalls,
    RuntimeHttp,
    RuntimeTransport,
    make_socket,
)
from tests.support.eventlog import KEYS

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def met_by(talk: Talk) -> AsyncIterator[RuntimeHttp]:
    """A client of a server that behaves so."""

    meetings: list[asyncio.Task[None]] = []

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        meetings.append(cast("asyncio.Task[None]", asyncio.current_task()))
        await talk(reader, writer)
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(meet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with RuntimeHttp(f"http://127.0.0.1:{port}", RuntimeTransport(4, 60)) as http:
            yield http
        await asyncio.wait(meetings, timeout=60)


async def hang_up(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")


async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
    await writer.drain()


async def say_nothing(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()


@pytest.mark.parametrize(
    ("talk", "timeout_s", "kind"),
    [
        (hang_up, 60.0, httpx.ConnectError),
        (break_off, 60.0, httpx.ReadError),
        (say_nothing, 0.5, httpx.ReadTimeout),
    ],
)
async def test_each_way_to_lose_an_answer_has_the_name_that_httpx_gives_it(
    talk: Talk, timeout_s: float, kind: type[httpx.TransportError]
) -> None:
    async with met_by(talk) as http:
        with pytest.raises(kind):
            await http.get("/x", timeout=timeout_s)


async def test_a_refused_connection_is_no_silence() -> None:
    async with RuntimeHttp(f"http://127.0.0.1:{find_free_port()}", RuntimeTransport(4, 60)) as http:
        with pytest.raises(httpx.ConnectError):
            await http.get("/x", timeout=60.0)


async def test_who_does_not_even_answer_the_connection_leaves_time_for_another_try() -> None:
    assert _CONNECT_S * 2 < TIMEOUT_S
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:  # with one waiting, further ones hear nothing
        address = full.getsockname()
        with socket.create_connection(address):
            async with RuntimeHttp(f"http://127.0.0.1:{address[1]}", RuntimeTransport(4, 60)) as http:
                with pytest.raises(httpx.ConnectTimeout):
                    async with asyncio.timeout(TIMEOUT_S * 2):
                        await http.get("/x", timeout=TIMEOUT_S * 3)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can be asked")
async def test_connections_end_when_the_machine_behind_them_has_gone_without_a_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[socket.socket] = []
    given: list[int] = []

    def make(address: aiohttp.AddrInfoType) -> socket.socket:
        made.append(make_socket(address))
        given.extend(made[-1].getsockopt(*one) for one in options)
        return made[-1]

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
        await writer.drain()

    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE), (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)]
    monkeypatch.setattr("experience.runtime_calls.make_socket", make)
    async with met_by(talk) as http:
        await http.get("/x", timeout=60.0)
    kept_alive, given_up_ms = given
    assert kept_alive == 1
    assert 0 < given_up_ms < TIMEOUT_S * 1_000


async def test_cookies_and_redirects_of_one_answer_change_nothing_about_the_next_call() -> None:
    asked: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\nset-cookie: a=b\r\nconnection: close\r\n\r\n")
        await writer.drain()

    async with met_by(talk) as http:
        for _ in range(2):
            assert (await http.get("/x", timeout=60.0)).status_code == 302
    assert len(asked) == 2
    assert b"cookie" not in asked[1].lower()
    assert all(request.startswith(b"GET /x HTTP/1.1\r\n") for request in asked)


async def test_query_body_and_headers_arrive_as_they_were_given() -> None:
    async def answer(request: httpx.Request) -> httpx.Response:
        said = f"{request.method} {request.url} {request.headers['x-request-id']} {request.content.decode()}"
        return httpx.Response(200, text=said)

    async with RuntimeHttp("http://runtime.test/", httpx.MockTransport(answer)) as http:
        request = http.build_request(
            "POST", "/a%2Fb", params={"q": "ä&b"}, headers={"x-request-id": "r1"}, json={"n": 1}, timeout=1.0
        )
        response = await http.send(request)
    assert response.text == 'POST http://runtime.test/a%2Fb?q=%C3%A4%26b r1 {"n":1}'
    assert response.request is request


@pytest.mark.parametrize(("starting_s", "level"), [(60, "info"), (0, "warning")])
async def test_that_runtime_is_not_up_yet_is_nothing_to_warn_of(starting_s: float, level: str) -> None:
    async with RuntimeHttp(f"http://127.0.0.1:{find_free_port()}", RuntimeTransport(4, 60)) as http:
        calls = RuntimeCalls(http, KEYS.signer, starting_s=starting_s)
        with capture_logs() as lines, pytest.raises(ApiError) as caught:
            await calls.speak_for(NOBODY, None, "r-1").get_realms(NOTHING)
    assert caught.value.code is Code.UNAVAILABLE
    # Other tests' houses may stand in this process and say things of their own.
    assert [line["log_level"] for line in lines if line["event"] == "runtime is away"] == [level]
