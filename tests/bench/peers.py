"""The other side of the comparisons, each a server in a process of its own: `python -m tests.bench.peers NAME PORT …`.

They are as bare as they can be written: no authorisation, no validation, no log, no error handling.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final

import aiohttp
import asyncpg
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from contracts.wiring.uvicorn_socket import MESSAGE_LIMIT

_STATUS_BYTES = 1_200
_PATH_ID = 4
"""Where the id stands in /api/runtime/executions/{id}."""


async def answer_health(_: Request) -> Response:
    """Up."""
    return PlainTextResponse("ok")


class Fan:
    """B4: an ASGI application that sends one prepared text to all who are there, `GET /fan?rate=…&count=…`."""

    def __init__(self) -> None:
        self._sends: list[Send] = []
        self._message: Final = {"type": "websocket.send", "text": json.dumps({"type": "log", "text": "x" * 300})}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await send(self._message)
            self._sends.append(send)
            while (await receive())["type"] != "websocket.disconnect":
                pass
            self._sends.remove(send)
            return
        if scope["path"] == "/fan":
            asked = dict(pair.split("=") for pair in scope["query_string"].decode().split("&"))
            await self._fan(float(asked["rate"]), int(asked["count"]))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    async def _fan(self, rate: float, count: int) -> None:
        clock = asyncio.get_running_loop().time
        began = clock()
        for number in range(count):
            await asyncio.sleep(max(0.0, began + number / rate - clock()))
            for send in self._sends:
                await send(self._message)


def make_idle() -> ASGIApp:
    """B5: a socket that Starlette accepts, greets and reads."""

    async def idle(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text("hello")
        try:
            while True:
                await socket.receive_text()
        except WebSocketDisconnect:
            return

    return Starlette(routes=[Route("/health", answer_health), WebSocketRoute("/idle", idle)])


def make_echo(dsn: str) -> ASGIApp:
    """B2: answers what it was sent, once that is in a table."""

    @asynccontextmanager
    async def live(app: Starlette) -> AsyncIterator[None]:
        async with asyncpg.create_pool(dsn, min_size=1, max_size=2) as pool:
            await pool.execute("CREATE TABLE IF NOT EXISTS public.echoes (id bigserial PRIMARY KEY, body text)")
            app.state.pool = pool
            yield

    async def echo(request: Request) -> Response:
        body = await request.body()
        await request.app.state.pool.execute("INSERT INTO public.echoes (body) VALUES ($1)", body.decode())
        return Response(body)

    return Starlette(routes=[Route("/", answer_health), Route("/echo", echo, methods=["POST"])], lifespan=live)


def make_proxy(upstream: str) -> ASGIApp:
    """B8: passes a status on as it comes, with aiohttp's client; nobody is asked who they are."""

    @asynccontextmanager
    async def live(app: Starlette) -> AsyncIterator[None]:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=100)) as session:
            app.state.session = session
            yield

    async def status(request: Request) -> Response:
        url = f"{upstream}/api/runtime/executions/{request.path_params['id']}"
        async with request.app.state.session.get(url) as answer:
            return Response(await answer.read(), answer.status, media_type="application/json")

    routes = [Route("/health", answer_health), Route("/api/execution/{id}/status", status)]
    return Starlette(routes=routes, lifespan=live)


class Upstream:
    """B8: a Runtime that has every execution and looks nothing up; `GET /count` says how many it was asked for."""

    def __init__(self) -> None:
        self._asked = 0
        now = datetime.now(UTC).isoformat()
        fields: dict[str, Any] = {
            "execution_id": "$id",
            "status": "completed",
            "name": "Bench",
            "realm": "workflow",
            "intent": "run",
            "workflow_id": None,
            "workflow_version": None,
            "progress": 1.0,
            "current_node": None,
            "phases": [{"number": 1, "nodes": ["a", "b"], "status": "success"}],
            "nodes": [_describe_node(name, now) for name in ("a", "b")],
            "head_seq": 12,
            "created_at": now,
            "started_at": now,
            "finished_at": now,
            "result": {"a": {"text": ""}},
            "error": None,
            "cost": {"credits": 3, "usd": "0"},
            "cancel_requested": False,
            "artifacts": None,
            "visuals": None,
        }
        fields["result"]["a"]["text"] = "x" * max(0, _STATUS_BYTES - len(json.dumps(fields)))
        self._before, self._after = json.dumps(fields).encode().split(b"$id")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "websocket":  # Experience's channel: held, and never told anything
            await receive()
            await send({"type": "websocket.accept"})
            while (await receive())["type"] != "websocket.disconnect":
                pass
            return
        parts = scope["path"].split("/")
        if len(parts) > _PATH_ID:
            self._asked += 1
            body = self._before + parts[_PATH_ID].encode() + self._after
        else:
            body = str(self._asked).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _describe_node(name: str, now: str) -> dict[str, Any]:
    return {
        "node_id": name,
        "type": "delay",
        "name": name,
        "phase": 1,
        "status": "success",
        "attempt": 1,
        "started_at": now,
        "finished_at": now,
        "error": None,
    }


_PEERS: dict[str, Callable[..., ASGIApp]] = {
    "fan": Fan,
    "idle": make_idle,
    "echo": make_echo,
    "proxy": make_proxy,
    "upstream": Upstream,
}


def main() -> None:
    """Serve one, with the settings of uvicorn that ours has too."""
    name, port, *rest = sys.argv[1:]
    uvicorn.run(
        _PEERS[name](*rest),
        host="127.0.0.1",
        port=int(port),
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=95,
        ws="websockets-sansio",
        ws_max_size=MESSAGE_LIMIT,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=1,
    )


if __name__ == "__main__":
    main()
