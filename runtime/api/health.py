"""`/health`: alive. `/ready`: can do its work. `/metrics`: figures. All three without a token, and without details."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from contracts.errors import ApiError
from contracts.wiring.metering import Metrics

CHECK_S: Final = 2.0
Check = Callable[[], Awaitable[str | None]]
"""Returns when all is well, perhaps with a remark; raises ApiError with what is not."""


def make_routes(checks: Mapping[str, Check], metrics: Metrics, *, hints: Mapping[str, Check]) -> list[BaseRoute]:
    """The three routes; `checks` decide about readiness, `hints` only say what is worse than it should be."""

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok", "checks": {}})

    async def ready(_: Request) -> Response:
        async with asyncio.TaskGroup() as group:
            asked = {name: group.create_task(_ask(check)) for name, check in (*checks.items(), *hints.items())}
        found = {name: task.result() for name, task in asked.items()}
        bad = {name for name, (well, _) in found.items() if not well}
        told = {name: text for name, (_, text) in found.items()}
        if bad & checks.keys():
            return JSONResponse({"status": "not ready", "checks": told}, HTTPStatus.SERVICE_UNAVAILABLE)
        return JSONResponse({"status": "degraded" if bad else "ok", "checks": told})

    return [Route("/health", health), Route("/ready", ready), metrics.route()]


async def _ask(check: Check) -> tuple[bool, str]:
    try:
        async with asyncio.timeout(CHECK_S):
            remark = await check()
    except ApiError as error:
        return False, error.detail
    except TimeoutError:
        return False, f"no answer within {CHECK_S:g} s"
    return True, remark or "ok"
