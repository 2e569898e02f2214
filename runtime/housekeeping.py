"""What has to be looked after while nobody asks: the queue kept whole, old things removed, figures taken."""

import asyncio
import dataclasses
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Final

import structlog

from runtime.artifacts import ArtifactFolder, Disk
from runtime.store.db import DatabaseAway
from runtime.store.upkeep import Figures, Upkeep

log = structlog.get_logger()

RECONCILE_S: Final = 15.0
PRUNE_S: Final = 3_600.0
MEASURE_S: Final = 5.0


class Housekeeping:
    """Any number of processes may keep house at once."""

    def __init__(self, upkeep: Upkeep, folder: ArtifactFolder) -> None:
        self._upkeep = upkeep
        self._folder = folder
        self.figures: Figures | None = None
        """What was counted last; None while nobody knows."""
        self.disk: Disk | None = None
        self.pruned_at = time.time()
        """When a round of pruning last came to its end here (Unix time); at first, when this process began."""

    async def keep(self) -> None:
        """Go on until cancelled; a round that fails is logged, and the next one comes."""
        async with asyncio.TaskGroup() as group:
            group.create_task(_repeat("reconcile", RECONCILE_S, self._upkeep.reconcile))
            group.create_task(_repeat("prune", PRUNE_S, self.prune))
            group.create_task(_repeat("measure", MEASURE_S, self._measure))

    async def prune(self) -> None:
        """Remove what is past its retention, rows first: a file without a row is nobody's, a row without is a lie."""
        gone: Counter[str] = Counter()
        try:
            async with aclosing(self._upkeep.prune()) as batches:
                async for pruned in batches:
                    await self._folder.remove(pruned.folders)
                    counts = dataclasses.asdict(pruned)
                    gone.update({kind: number for kind, number in counts.items() if kind != "folders" and number})
        finally:
            if gone:
                log.info("pruned", **gone)
        self.pruned_at = time.time()

    async def _measure(self) -> None:
        self.disk = await self._folder.measure()
        try:
            self.figures = await self._upkeep.measure()
        except BaseException:
            self.figures = None  # rather no figure than an old one
            raise


async def _repeat(name: str, every_s: float, work: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await work()
        except DatabaseAway as error:
            log.warning("housekeeping waits for the database", work=name, reason=error.detail)
        except Exception:  # a shell: one bad row must not end all housekeeping
            log.exception("housekeeping failed", work=name)
        await asyncio.sleep(every_s * random.uniform(0.8, 1.2))  # noqa: S311 — replicas take turns
