"""A real uvicorn in the test's own loop, and a client for its WebSockets."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from contracts.wiring.uvicorn_socket import uvicorn_settings

WAIT_S = 60.0


@dataclass
class Served:
    """A running server."""

    port: int
    server: uvicorn.Server
    finished: asyncio.Task[None]

    def ws(self, path: str) -> str:
        """The address of a WebSocket on it."""
        return f"ws://127.0.0.1:{self.port}{path}"

    def http(self, path: str = "") -> str:
        """The address of a path on it."""
        return f"http://127.0.0.1:{self.port}{path}"

    def terminate(self) -> None:
        """What SIGTERM does."""
        self.server.should_exit = True

    def cut(self) -> None:
        """Reset every open connection."""
        for connection in list(self.server.server_state.connections):
            connection.transport.abort()

    async def kill(self) -> None:
        """What SIGKILL looks like to the others: nothing is said, and nothing comes in any more."""
        self.terminate()
        while not self.finished.done():
            self.cut()  # again and again: those accepted in the last moment are told nothing by uvicorn either
            await asyncio.sleep(0.01)


@asynccontextmanager
async def serve(app: ASGIApp, port: int = 0, **settings: Any) -> AsyncIterator[Served]:
    """Serve `app` on loopback while the block runs; a port that was served before can be served again."""
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    chosen = uvicorn_settings() | {"log_config": None, "timeout_graceful_shutdown": 3} | settings
    server = uvicorn.Server(uvicorn.Config(app, **chosen))
    async with asyncio.TaskGroup() as tasks:
        # not serve(): that takes over the signals of the test process
        finished = tasks.create_task(server._serve(sockets=[listening]))
        async with asyncio.timeout(WAIT_S):
            while not server.started:
                assert not finished.done(), "the server did not start"
                await asyncio.sleep(0.005)
        try:
            yield Served(listening.getsockname()[1], server, finished)
        finally:
            server.should_exit = True


@asynccontextmanager
async def open_socket(url: str, **options: Any) -> AsyncIterator[ClientConnection]:
    """A client as bare as they come: no pings of its own, no compression, no proxy."""
    bare: dict[str, Any] = {"ping_interval": None, "compression": None, "proxy": None, "close_timeout": 1}
    async with connect(url, open_timeout=WAIT_S, **bare, **options) as client:
        yield client


async def read_frame(client: ClientConnection, timeout_s: float = WAIT_S) -> Any:
    """The next JSON frame."""
    async with asyncio.timeout(timeout_s):
        return json.loads(await client.recv())


async def read_close(client: ClientConnection, timeout_s: float = WAIT_S) -> tuple[int, Any, list[Any]]:
    """Read until the server closes: the code, the reason as JSON, and the frames before it."""
    frames: list[Any] = []
    with suppress(ConnectionClosed):
        async with asyncio.timeout(timeout_s):
            while True:
                frames.append(json.loads(await client.recv()))
    assert client.close_code not in (None, 1006), "cut without a close frame"
    return int(client.close_code or 0), json.loads(client.close_reason or "null"), frames
