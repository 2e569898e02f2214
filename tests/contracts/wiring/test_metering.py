"""Figures of requests and sockets, as a scrape finds them."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from contracts.declare import Channel, Endpoint
from contracts.errors import ApiError, Code
from contracts.frames import ClientFrame, Pong
from contracts.model import Contract
from contracts.wiring.channel import Channels, Opening, Socket
from contracts.wiring.metering import Metrics
from contracts.wiring.server import Envelope, Server, build_app
from tests.support.figures import Figures, read_figures
from tests.support.sockets import Served, open_socket, read_close, serve


class Numbered(Contract):
    number: int


class Api:
    read: Endpoint[Numbered, Numbered] = Endpoint(
        method="GET", path="/thing/{number}", request=Numbered, result=Numbered, summary="", scope=None, tag="t"
    )
    listen: Channel[Numbered, Pong, ClientFrame] = Channel(
        path="/ear/{number}", open=Numbered, sends=Pong, receives=ClientFrame, summary="", scope=None, tag="t"
    )


@asynccontextmanager
async def metered(metrics: Metrics) -> AsyncIterator[Served]:
    async def let_in(envelope: Envelope, _: Endpoint[Any, Any]) -> None:
        if envelope.path.endswith("/4"):
            raise ApiError(Code.FORBIDDEN, "Not four.")

    async def read(_: object, asked: Numbered) -> Numbered:
        return asked

    async def open_ear(opening: Opening, _: Channel[Any, Any, Any]) -> None:
        if opening.path.endswith("/4"):
            raise ApiError(Code.UNAUTHENTICATED, "Not four.")

    async def listen(socket: Socket[None], asked: Numbered) -> None:
        if asked.number == 1:
            return
        if asked.number == 2:
            raise ApiError(Code.RATE_LIMITED, "Too loud.")
        await socket.read()

    server: Server[None] = Server(Api, let_in)
    server.on(Api.read, read)
    channels: Channels[None] = Channels(Api, open_ear)
    channels.on(Api.listen, listen)
    async with serve(build_app([*server.routes(), *channels.routes(), metrics.route()], meter=metrics)) as served:
        yield served


async def scrape(served: Served) -> Figures:
    async with httpx.AsyncClient() as http:
        answer = await http.get(served.http("/metrics"))
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return read_figures(answer.text)


async def test_requests_count_by_route_and_not_by_path() -> None:
    async with metered(Metrics()) as served, httpx.AsyncClient(base_url=served.http()) as http:
        for path in ("/thing/1", "/thing/2", "/thing/4", "/nowhere", "/nowhere/else"):
            await http.get(path)
        await http.request("POST", "/thing/1")
        await http.request("BREW", "/thing/1")
        figures = await scrape(served)
    routed = {"method": "GET", "route": "/thing/{number}"}
    assert figures.get("http_requests_total", **routed, status="200") == 2
    assert figures.get("http_requests_total", **routed, status="403") == 1
    assert figures.get("http_requests_total", method="GET", route="unrouted", status="404") == 2
    assert figures.get("http_requests_total", method="POST", route="/thing/{number}", status="405") == 1
    assert figures.get("http_request_duration_seconds_count", **routed, status="200") == 2
    assert figures.total("http_requests_total", method="BREW") == 0, "a stranger's word became a label"
    assert "/thing/1" not in str(figures.samples)


@pytest.mark.parametrize(("number", "code"), [(1, "1000"), (2, "4429"), (4, "4401")])
async def test_sockets_count_by_the_code_that_we_closed_with(number: int, code: str) -> None:
    async with metered(Metrics()) as served:
        async with open_socket(served.ws(f"/ear/{number}")) as client:
            assert str((await read_close(client))[0]) == code
        assert await closed(served) == {code: 1}


@pytest.mark.parametrize(("sent", "code"), [(1001, "1001"), (4999, "other")])
async def test_sockets_count_by_the_peers_code_where_it_left(sent: int, code: str) -> None:
    async with metered(Metrics()) as served:
        async with open_socket(served.ws("/ear/3")) as client:
            await client.close(sent)
        assert await closed(served) == {code: 1}


async def test_a_peer_that_falls_over_has_no_code_of_its_own() -> None:
    async with metered(Metrics()) as served:
        async with open_socket(served.ws("/ear/3")) as client:
            client.transport.abort()
        assert await closed(served) in ({"1005": 1}, {"1006": 1})


async def closed(served: Served) -> Mapping[str, float]:
    """By code, once there is one: the server learns of a close after the client."""
    async with asyncio.timeout(60):
        while True:
            figures = await scrape(served)
            found = {
                dict(labels)["code"]: value
                for (name, labels), value in figures.samples.items()
                if name == "streams_closed_total" and dict(labels)["route"] == "/ear/{number}"
            }
            if found:
                return found


def test_parts_are_read_when_somebody_scrapes() -> None:
    metrics = Metrics()
    kept: dict[str, Any] = {"one": 1, "many": {"a": 2, "b": 3}, "pairs": {("x", "y"): 4}, "unknown": None}
    metrics.gauge("one", "", lambda: kept["one"])
    metrics.count("many", "", lambda: kept["many"], "kind")
    metrics.gauge("pairs", "", lambda: kept["pairs"], "left", "right")
    metrics.gauge("unknown", "", lambda: kept["unknown"])
    kept["one"] = 5
    figures = read_figures(metrics.render().decode())
    assert figures.get("one") == 5
    assert (figures.get("many_total", kind="a"), figures.get("many_total", kind="b")) == (2, 3)
    assert figures.get("pairs", left="x", right="y") == 4
    assert figures.get("unknown") is None, "what nobody knows is not zero"
    assert "unknown" in figures.names


def test_a_process_tells_of_itself() -> None:
    figures = read_figures(Metrics().render().decode())
    assert (figures.get("process_resident_memory_bytes") or 0) > 1_000_000
    assert "process_cpu_seconds_total" in figures.names


def test_registries_are_apart() -> None:
    one, other = Metrics(), Metrics()
    one.count_request("GET", "/", 200, 0.1)
    assert read_figures(other.render().decode()).total("http_requests_total") == 0
