"""Where a page has gone: whether it has come to a new document, and what it takes to open that one again elsewhere.

Only whole documents count. An address that changed within one (`#`, pushState) says nothing of what the page has
become, and a document that came as the answer to a POST can't be asked for again.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from playwright.async_api import BrowserContext, Error, Request
from playwright.async_api import Page as PlaywrightPage

from runtime.browser.options import DEFAULT, ContextOptions
from runtime.browser.storage import read_storage

SETTLE_S: Final = 3.0
"""How long a node waits for a navigation that it has begun, so that what it left is known when it ends."""


@dataclass(frozen=True)
class PageState:
    """All that a checkpoint keeps of a page."""

    url: str
    storage: dict[str, Any]
    """What sites keep, as Playwright reads and takes it; databases only where a login was loaded with some."""
    width: int
    height: int
    options: ContextOptions = DEFAULT
    """Those that its context was made with."""

    @property
    def reopened(self) -> ContextOptions:
        """The options to open it again with: as they were, in the size that it has now."""
        return replace(self.options, width=self.width, height=self.height)


class Trail:
    """Follows one page's main frame."""

    def __init__(self, page: PlaywrightPage, is_own: Callable[[Request], bool]) -> None:
        self._is_own = is_own
        self._method = "GET"
        self._arrived = asyncio.Event()
        self._arrived.set()
        self.moved = False
        """Whether the page has come to a new document since this was last forgotten."""
        page.on("request", self._note_request)
        page.on("requestfailed", self._note_failure)
        page.on("domcontentloaded", lambda _: self._arrive())

    @property
    def can_be_reopened(self) -> bool:
        """Whether the document came as the answer to a GET."""
        return self._method == "GET"

    def forget(self) -> None:
        """Count from here."""
        self.moved = False

    async def settle(self) -> None:
        """Wait until the navigation under way has arrived, for a few seconds at most."""
        try:
            async with asyncio.timeout(SETTLE_S):
                await self._arrived.wait()
        except TimeoutError:
            return  # a slow site: whoever comes next finds the page on its way

    def _note_request(self, request: Request) -> None:
        if self._is_own(request):
            self._method = request.method
            self._arrived.clear()

    def _note_failure(self, request: Request) -> None:
        if self._is_own(request):
            self._arrived.set()

    def _arrive(self) -> None:
        self.moved = True
        self._arrived.set()


def hear_of_documents_only(page: PlaywrightPage) -> None:
    """Have listeners of a page's requests hear of documents alone, which Playwright's driver tells of unasked.

    A listener makes the client ask the driver for all the others too, and a page that asks for thousands of things a
    second would take the time of everybody whose messages come from the same driver. Playwright has no public way to
    listen without asking.
    """
    for name in ("request", "requestfailed"):
        page._impl_obj._event_to_subscription_mapping.pop(name)  # noqa: SLF001


async def read_state(
    page: PlaywrightPage, context: BrowserContext, options: ContextOptions, *, databases: bool
) -> PageState:
    """The page's address with the session that belongs to it. Raises Playwright's Error."""
    size = page.viewport_size
    if size is None:
        raise Error("the page has no viewport of its own")
    storage = await read_storage(context, databases=databases)
    return PageState(page.url, storage, size["width"], size["height"], options)
