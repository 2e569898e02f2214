"""Small real servers that answer with what reached them, to stand behind Traefik."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from experience.cli.ports import find_free_port

START_TIMEOUT_S = 60


@dataclass(frozen=True)
class Echo:
    """A backend that says its name and what it was asked."""

    name: str
    port: int

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def run_echo(name: str) -> Iterator[Echo]:
    """Serve the echo app `name` on a port of its own."""
    port = find_free_port()
    settings = uvicorn.Config(make_echo_app(name), port=port, log_level="error", lifespan="off", ws="websockets-sansio")
    server = uvicorn.Server(settings)
    thread = threading.Thread(target=server.run, name=f"echo {name}")
    thread.start()
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not server.started:
            assert thread.is_alive(), f"the echo server {name} did not start"
            assert time.monotonic() < deadline, f"the echo server {name} took too long"
            time.sleep(0.01)
        yield Echo(name, port)
    finally:
        server.should_exit = True
        server.force_exit = True
        thread.join(START_TIMEOUT_S)


def make_echo_app(name: str) -> ASGIApp:
    """Describes each request in JSON; on a WebSocket describes the handshake first and echoes text from then on."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        described = _describe(name, scope)
        if scope["type"] == "http":
            await JSONResponse(described)(scope, receive, send)
            return
        socket = WebSocket(scope, receive, send)
        await socket.accept()
        await socket.send_json(described)
        async for text in socket.iter_text():
            await socket.send_text(text)

    return answer


def _describe(name: str, scope: Scope) -> dict[str, object]:
    headers = [[key.decode("latin-1"), value.decode("latin-1")] for key, value in scope["headers"]]
    return {"name": name, "raw_path": scope["raw_path"].decode("latin-1"), "headers": headers}
