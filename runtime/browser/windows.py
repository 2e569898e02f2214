"""The windows of one browser context: a page may open others, and a storm of them must not eat the machine."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from playwright.async_api import BrowserContext, Error, Page

MAX_WINDOWS: Final = 10
"""Of one context. One more is closed as soon as it is there."""
MAX_SURPLUS: Final = 10
"""Windows beyond that, after which the page that opens them has gone too far."""
_CLOSE_S: Final = 5.0


class Windows:
    """Counts what a context opens."""

    def __init__(self, context: BrowserContext, on_storm: Callable[[], None], on_stuck: Callable[[], None]) -> None:
        """`on_storm` is called once, before the context is closed for it, and `on_stuck` when it can't be."""
        self._context = context
        self._on_storm = on_storm
        self._on_stuck = on_stuck
        self._surplus = 0
        context.on("page", self._admit)

    async def _admit(self, page: Page) -> None:
        if len(self._context.pages) <= MAX_WINDOWS:
            return
        self._surplus += 1
        if self._surplus == MAX_SURPLUS + 1:
            self._on_storm()
            await self._end()
        elif self._surplus <= MAX_SURPLUS:
            with contextlib.suppress(TimeoutError, Error):  # its context is going, or the storm goes on
                async with asyncio.timeout(_CLOSE_S):
                    await page.close()

    async def _end(self) -> None:
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self._context.close()
        except TimeoutError:
            self._on_stuck()
        except Error:
            return  # it has gone already
