"""`/health`: alive. `/ready`: can do its work. `/metrics`: figures. All three without a token, and without details."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from contracts.errors import ApiError
from runtime.telemetry import MEDIA_TYPE, Telemetry

CHECK_S: Final = 2.0
Check = Callable[[], Awaitable[None]]
"""Returns when all is well; raises ApiError with what is not."""


def make_routes(checks: Mapping[str, Check], telemetry: Telemetry) -> list[BaseRoute]:
    """The three routes; `checks` decide about readiness and run at the same time."""

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok", "checks": {}})

    async def ready(_: Request) -> Response:
        async with asyncio.TaskGroup() as group:
            asked = {name: group.create_task(_ask(check)) for name, check in checks.items()}
        found = {name: task.result() for name, task in asked.items()}
        is_ready = all(answer == "ok" for answer in found.values())
        status = HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE
        return JSONResponse({"status": "ok" if is_ready else "not ready", "checks": found}, status)

    async def metrics(_: Request) -> Response:
        return Response(telemetry.render(), headers={"content-type": MEDIA_TYPE})

    return [Route("/health", health), Route("/ready", ready), Route("/metrics", metrics)]


async def _ask(check: Check) -> str:
    try:
        async with asyncio.timeout(CHECK_S):
            await check()
    except ApiError as error:
        return error.detail
    except TimeoutError:
        return f"no answer within {CHECK_S:g} s"
    return "ok"


class Meter:
    """Middleware that counts answers and times their beginning."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        self._app = app
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()

        async def count(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._telemetry.count_request(scope["method"], message["status"], time.perf_counter() - began)
            await send(message)

        await self._app(scope, receive, count)
