"""T2: what the way out costs."""

import base64
import time
from asyncio import StreamReader, StreamWriter, open_connection, start_server
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median

from playwright.async_api import BrowserContext, async_playwright
from uuid_utils.compat import uuid7

from contracts.model import ExecutionId, TenantId
from runtime.browser.chromium import _QUIET
from runtime.browser.find import find_chromium
from runtime.browser.options import VIEWPORT_HEIGHT, VIEWPORT_WIDTH
from runtime.browser.wall import WayOut, make_arguments
from runtime.egress.egress import Egress
from runtime.egress.permit import Permit
from tests.bench.actions import ACTIONS, act
from tests.bench.figure import Bar, Figure
from tests.bench.ground import Ground, start_process
from tests.bench.rounds import Effort, take_turns

CONNECTIONS = 400
ROUNDS = 5
PURCHASES = 7
CONNECT_BAR_MS = 1.5
SHARE_BAR = 1.10


async def measure(ground: Ground, effort: Effort) -> list[Figure]:
    """A connection through the proxy to a server on loopback, from the first SYN to the first byte of an answer, beside
    the same straight to it; the figure is the difference of their medians, so what resolving a name takes is not in it.
    Then the purchase of B1 as a plain script, in a context behind the wall and in one without; both contexts are made
    before the clock starts, as parked pages are.
    """
    return [await _compare_connections(effort), await _compare_purchases(ground, effort)]


async def _compare_connections(effort: Effort) -> Figure:
    count = effort.count(CONNECTIONS, 20)
    async with await start_server(_echo, "127.0.0.1", 0) as server:
        host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with _permitted(host) as (egress, permit):
            credentials = egress.proxy.issue()
            egress.proxy.bind(credentials, permit)
            said = base64.b64encode(f"{credentials.username}:{credentials.password}".encode()).decode()
            ask = f"CONNECT {host} HTTP/1.1\r\nhost: {host}\r\nproxy-authorization: Basic {said}\r\n\r\n".encode()
            port = int(host.split(":")[1])
            through, straight = await take_turns(
                effort.rounds(ROUNDS),
                lambda: _connect_often(count, egress.proxy.port, ask),
                lambda: _connect_often(count, port, b""),
            )
    return Figure(
        bench="T2",
        what="what the proxy adds to a connection, median of each round",
        unit="ms",
        ours=[ours - peer for ours, peer in zip(through, straight, strict=True)],
        against="straight to the same server",
        bar=Bar(limit=CONNECT_BAR_MS, absolute=True, unit="ms"),
    )


async def _echo(reader: StreamReader, writer: StreamWriter) -> None:
    writer.write(await reader.read(1))
    writer.close()


async def _connect_often(count: int, port: int, ask: bytes) -> float:
    """Median ms of one connection with one byte there and back."""
    took = []
    for _ in range(count):
        began = time.perf_counter()
        reader, writer = await open_connection("127.0.0.1", port)
        if ask:
            writer.write(ask)
            await reader.readuntil(b"\r\n\r\n")
        writer.write(b"x")
        await reader.readexactly(1)
        took.append((time.perf_counter() - began) * 1e3)
        writer.close()
    return median(took)


async def _compare_purchases(ground: Ground, effort: Effort) -> Figure:
    with start_process(["-m", "experience.demo", "--port", "{port}"], ground.folder) as shop:
        host = f"127.0.0.1:{shop.port}"
        async with _permitted(host) as (egress, permit), async_playwright() as playwright:
            executable = find_chromium(None, Path(playwright.chromium.executable_path))
            launch = playwright.chromium.launch
            walled = await launch(executable_path=executable, args=[*_QUIET, *make_arguments(egress.proxy)])
            plain = await launch(executable_path=executable, args=list(_QUIET))
            size = {"width": VIEWPORT_WIDTH, "height": VIEWPORT_HEIGHT}

            async def open_walled() -> BrowserContext:
                way_out = WayOut(egress.proxy)
                context = await walled.new_context(viewport=size, proxy=way_out.settings)  # type: ignore[arg-type]
                await way_out.greet(context, await context.new_page())
                way_out.bind(permit)
                return context

            async def open_plain() -> BrowserContext:
                context = await plain.new_context(viewport=size)  # type: ignore[arg-type]
                await context.new_page()
                return context

            def buying(open_: Callable[[], Awaitable[BrowserContext]]) -> Callable[[], Awaitable[float]]:
                return lambda: _buy(open_, host)

            for warm in (open_walled, open_plain):
                await _buy(warm, host)
            ours, peer = await take_turns(effort.rounds(PURCHASES), buying(open_walled), buying(open_plain))
            await walled.close()
            await plain.close()
    return Figure(
        bench="T2",
        what=f"a script of {len(ACTIONS)} browser actions behind the wall",
        unit="ms",
        ours=ours,
        against="the same script without it",
        peer=peer,
        bar=Bar(limit=SHARE_BAR),
    )


async def _buy(open_: Callable[[], Awaitable[BrowserContext]], host: str) -> float:
    """ms of the purchase in a context that stands ready."""
    context = await open_()
    began = time.perf_counter()
    for action in ACTIONS:
        await act(context.pages[0], action, host)
    took = (time.perf_counter() - began) * 1e3
    await context.close()
    return took


@asynccontextmanager
async def _permitted(host: str) -> AsyncIterator[tuple[Egress, Permit]]:
    async with Egress([host]) as egress:
        permit = egress.admit(TenantId(uuid7()), ExecutionId(uuid7()))
        yield egress, permit
        permit.close()
