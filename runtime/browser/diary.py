"""What a page says of itself: its console, its uncaught errors, and what it was refused.

Playwright's driver keeps the last of it, and is asked for it when somebody wants to know. Whoever listened would be
told of each line as it is written, and a page that writes without end would take the time of all runs of the worker.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Final

from playwright.async_api import ConsoleMessage, Error, Page

from runtime.browser.failure import BrowserFailure

LINES: Final = 100
CHARACTERS: Final = 500
"""Of one line."""
_READ_S: Final = 2.0
_LOOKED_AT: Final = 10_000
"""Characters of one line in which secrets are looked for, before it is cut."""


class Diary:
    """Of one page."""

    def __init__(
        self, page: Page, find_refusal: Callable[[str], BrowserFailure | None], clean: Callable[[str], str]
    ) -> None:
        """`find_refusal` says why an address was refused, if it was; `clean` takes secrets out of a text."""
        self._page = page
        self._find_refusal = find_refusal
        self._clean = clean
        self._noted: deque[str] = deque(maxlen=LINES)
        self._read: list[str] = []

    @property
    def lines(self) -> list[str]:
        """What was read last, then what was noted; the last of it, each line cut."""
        return [*self._read, *self._noted][-LINES:]

    def note(self, kind: str, text: str) -> None:
        """Keep a line of our own."""
        self._noted.append(self._cut(kind, text))

    async def read(self) -> None:
        """Take what the page has said. One that has gone says nothing more: what was read before stays."""
        try:
            with contextlib.suppress(TimeoutError, Error):
                async with asyncio.timeout(_READ_S):
                    said = [self._describe(message) for message in await self._page.console_messages(filter="all")]
                    errors = await self._page.page_errors(filter="all")
                    told = [self._cut("uncaught", error.message) for error in errors]
                    self._read = [*said[-LINES:], *told[-LINES // 2 :]]
        finally:
            self._hear_no_more()

    def _describe(self, message: ConsoleMessage) -> str:
        url = message.location.get("url", "")
        refusal = self._find_refusal(url) if message.type == "error" else None
        if refusal is not None:  # a part of the page, which Chromium reports as an answer of 403
            return self._cut("refused", f"{url}: {refusal.message}")
        return self._cut(message.type, message.text)

    def _cut(self, kind: str, text: str) -> str:
        return self._clean(f"{kind}: {text[:_LOOKED_AT]}")[:CHARACTERS]

    def _hear_no_more(self) -> None:
        """The driver takes the question for a wish to hear of each line; a listener that goes takes it back."""
        with contextlib.suppress(Error):
            self._page.on("console", _ignore)
            self._page.remove_listener("console", _ignore)


def _ignore(_: ConsoleMessage) -> None:
    """Listens to nothing."""
