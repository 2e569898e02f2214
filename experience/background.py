"""Work that goes on beside the requests, for as long as the process lives."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import structlog

REST_S = 5.0

log = structlog.get_logger()


@asynccontextmanager
async def run_beside(work: Mapping[str, Callable[[], Awaitable[None]]]) -> AsyncIterator[None]:
    """Run each by its name until the block ends. One that fails is logged and begun again after REST_S seconds."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_keep_going(name, begin), name=name) for name, begin in work.items()]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


async def _keep_going(name: str, begin: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await begin()
        except Exception:  # a shell: an outbox that ended unseen would deliver nothing, and nobody would know
            log.exception("background work failed", work=name)
        await asyncio.sleep(REST_S)
