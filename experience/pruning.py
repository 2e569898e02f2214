"""Throws away what has expired, every few minutes; expired things count for nothing before that, too."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import structlog

from contracts.errors import ApiError
from experience.audit import Clock
from experience.store.db import SystemDatabase, SystemSession
from experience.store.pruning import BATCH, EXPIRING, delete_expired, delete_old_intents

EVERY_S = 300.0

log = structlog.get_logger()


class Pruning:
    """The broom."""

    def __init__(self, system: SystemDatabase, clock: Clock) -> None:
        self._system = system
        self._clock = clock

    async def run(self) -> None:
        """Sweep, for ever."""
        while True:
            try:
                await self.sweep()
            except ApiError as error:
                log.warning("not pruned", reason=error.detail)
            await asyncio.sleep(EVERY_S)

    async def sweep(self) -> None:
        """Delete all that is past its time, a batch in each transaction: what is gone stays gone.

        Raises:
            ApiError: the database is away; the rest is left for the next time.
        """
        now = self._clock()
        for table, end in EXPIRING:
            await self._empty(partial(delete_expired, table, end, now))
        if gone := await self._empty(delete_old_intents):
            log.info("intents pruned", number=gone)

    async def _empty(self, delete: Callable[[SystemSession], Awaitable[int]]) -> int:
        total = 0
        while True:
            async with self._system.transaction() as session:
                number = await delete(session)
            total += number
            if number < BATCH:
                return total
