"""`/health`: this process is alive. `/ready`: it can do its work. Both without credentials, both without details."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from contracts.errors import ApiError
from contracts.wiring.server import API_HEADERS, make_route

CHECK_TIMEOUT_S = 2.0

Check = Callable[[], Awaitable[str]]
"""Answers `ok`, or what is missing in words; an ApiError or a timeout counts as missing, too."""


def health_routes(checks: Mapping[str, Check]) -> list[BaseRoute]:
    """The two routes; `checks` decide about readiness and run at the same time."""

    async def health(_request: Request) -> Response:
        return JSONResponse({"status": "ok", "checks": {}}, headers=API_HEADERS)

    async def ready(_request: Request) -> Response:
        async with asyncio.TaskGroup() as group:
            running = {name: group.create_task(_run(check)) for name, check in checks.items()}
        found = {name: task.result() for name, task in running.items()}
        is_ready = all(result == "ok" for result in found.values())
        status = HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE
        return JSONResponse({"status": "ok" if is_ready else "not ready", "checks": found}, status, API_HEADERS)

    return [make_route("/health", {"GET": health}), make_route("/ready", {"GET": ready})]


async def _run(check: Check) -> str:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            return await check()
    except ApiError as error:
        return error.detail
    except TimeoutError:
        return f"no answer within {CHECK_TIMEOUT_S:g} seconds"
