"""Throws away what has expired, every few minutes; expired things count for nothing before that, too."""

import asyncio

import structlog

from contracts.errors import ApiError
from experience.audit import Clock
from experience.store.db import SystemDatabase
from experience.store.pruning import delete_expired

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
                async with self._system.transaction() as session:
                    await delete_expired(session, self._clock())
            except ApiError as error:
                log.warning("not pruned", reason=error.detail)
            await asyncio.sleep(EVERY_S)
