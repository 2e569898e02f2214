"""Files that pages hand out. A context takes none, but the one that a node is waiting for.

Chromium writes the file; it is told to for that time only and for that context only, and stopped when the file grows
beyond what is wanted. Playwright's own downloads would let every page fill the disk for as long as its context lives.
"""

import asyncio
import contextlib
import os
import re
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, BinaryIO, Final

from playwright.async_api import BrowserContext, CDPSession, Error
from playwright.async_api import Page as PlaywrightPage

from contracts.execution import FailureCode
from runtime.browser.failure import BrowserFailure
from runtime.browser.translate import shorten
from runtime.browser.workspace import Workspace

MAX_FILE: Final = 64 * 1_048_576
"""Bytes of one file."""
MAX_UNWANTED: Final = 16
"""Downloads beside the one that is waited for: a page that begins more of them is after the disk."""
_ORDER_S: Final = 5.0
_NAME: Final = 200
_GUID: Final = re.compile(r"[0-9A-Fa-f-]{36}")


@dataclass(frozen=True)
class Downloaded:
    """A file that has arrived."""

    file: BinaryIO
    """Open at its beginning. It is nowhere else: whoever closes it has done away with it."""
    name: str
    """As the site calls it, without any folder."""
    size: int
    url: str


class Downloads:
    """Of one browser context."""

    def __init__(self, page: PlaywrightPage, context: BrowserContext, workspace: Workspace) -> None:
        self._page = page
        self._context = context
        self._workspace = workspace
        self._session: CDPSession | None = None
        self._context_id = ""
        self._waiting: _Waiting | None = None
        self._late: set[asyncio.Task[None]] = set()

    async def catch(self, begin: Callable[[], Awaitable[Any]], max_bytes: int, timeout_s: float) -> Downloaded:
        """Do what begins a download, and wait until its file is whole.

        Raises:
            BrowserFailure: what `begin` raises; timeout when none begins, or it does not end, in time;
                output_too_large; navigation_failed when it is broken off. All but the first with `acted`.
            Error: Playwright's, when the page has gone.
        """
        session = await self._open()
        folder = await asyncio.to_thread(lambda: self._workspace.path)
        waiting = self._waiting = _Waiting(session, max_bytes, self._workspace)
        try:
            await self._let(session, "allowAndName", downloadPath=str(folder))
            await begin()
            try:
                async with asyncio.timeout(timeout_s):
                    guid, name, url = await waiting.done
            except TimeoutError as error:
                raise self._explain_late(waiting) from error
        finally:
            with contextlib.suppress(TimeoutError, Error):  # a context that has gone takes nothing any more
                async with asyncio.timeout(_ORDER_S):
                    await self._let(session, "deny")
                    await waiting.cancel_rest()
            self._waiting = None
            await asyncio.to_thread(waiting.discard_rest)
        try:
            file = await asyncio.to_thread(self._workspace.take_out, guid)
        except OSError as error:
            raise _explain_broken(name, self._page.url) from error
        size = os.fstat(file.fileno()).st_size
        if size > max_bytes:  # whatever the browser has said of it
            file.close()
            raise _explain_large(name, max_bytes, self._page.url)
        return Downloaded(file, name, size, url)

    def lose(self, failure: BrowserFailure) -> None:
        """The page has gone: nothing comes any more."""
        if self._waiting is not None and not self._waiting.done.done():
            self._waiting.done.set_exception(failure)

    async def _open(self) -> CDPSession:
        """A session with the browser that hears of this context's downloads.

        It stays open for as long as the context lives: its end would put Chromium's own default in the place of "none".
        """
        if self._session is None:
            browser = self._context.browser
            if browser is None:
                raise Error("the context has no browser")
            of_page = await self._context.new_cdp_session(self._page)
            self._context_id = (await of_page.send("Target.getTargetInfo"))["targetInfo"]["browserContextId"]
            await of_page.detach()
            self._session = await browser.new_browser_cdp_session()
            self._session.on("Browser.downloadWillBegin", lambda event: self._tell("begin", event))
            self._session.on("Browser.downloadProgress", lambda event: self._tell("progress", event))
        return self._session

    def _tell(self, what: str, event: dict[str, Any]) -> None:
        if self._waiting is not None:
            self._waiting.note(what, event)
        elif what == "begin" and self._session is not None:  # it was on its way when taking ended
            self._go_on(_cancel(self._session, str(event["guid"])))
        elif event.get("state") == "completed" and _GUID.fullmatch(str(event["guid"])):
            self._go_on(asyncio.to_thread(self._workspace.discard, str(event["guid"])))

    def _go_on(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    async def _let(self, session: CDPSession, behavior: str, **more: Any) -> None:
        told = {"behavior": behavior, "browserContextId": self._context_id, "eventsEnabled": True, **more}
        await session.send("Browser.setDownloadBehavior", told)

    def _explain_late(self, waiting: "_Waiting") -> BrowserFailure:
        if waiting.begun:
            said, hint = "The download did not end in time.", "Give the node a longer timeout_s."
        else:
            said, hint = (
                "No download began in time.",
                "Check by hand that this leads to a file, and not to a page that shows it.",
            )
        return BrowserFailure(FailureCode.TIMEOUT, said, hint, acted=True, page_url=self._page.url)

    async def close(self) -> None:
        """The context has been closed: let go of the session."""
        session, self._session = self._session, None
        if session is not None:
            with contextlib.suppress(TimeoutError, Error):
                async with asyncio.timeout(_ORDER_S):
                    await session.detach()


class _Waiting:
    """For the first download that begins; others are cancelled as they begin.

    What a page makes itself (`blob:`) comes past every limit of the proxy, as fast as the disk takes it.
    """

    def __init__(self, session: CDPSession, max_bytes: int, workspace: Workspace) -> None:
        self._session = session
        self._max_bytes = max_bytes
        self._workspace = workspace
        self._stopping: set[asyncio.Task[None]] = set()
        self._first: str | None = None
        self._name = self._url = ""
        self._unwanted: set[str] = set()
        self._ended: set[str] = set()
        self._news = asyncio.Event()
        self.done: asyncio.Future[tuple[str, str, str]] = asyncio.get_running_loop().create_future()

    @property
    def begun(self) -> bool:
        return self._first is not None

    def note(self, what: str, event: dict[str, Any]) -> None:
        guid = str(event["guid"])
        if not _GUID.fullmatch(guid):
            return  # nothing that Chromium says, and it is to be the name of a file
        if event.get("state") in ("completed", "canceled"):
            self._ended.add(guid)
            if guid in self._unwanted:
                self._go_on(asyncio.to_thread(self._workspace.discard, guid))
        self._news.set()
        if what == "begin" and self._first is None:
            self._first, self._url = guid, str(event["url"])
            self._name = name_file(str(event["suggestedFilename"]))
        elif what == "begin":
            self._unwanted.add(guid)
            self._go_on(_cancel(self._session, guid))
            if len(self._unwanted) > MAX_UNWANTED and not self.done.done():
                self.done.set_exception(_explain_many(self._url))
        elif guid == self._first and not self.done.done():
            self._follow(event)

    def _follow(self, event: dict[str, Any]) -> None:
        if max(event["receivedBytes"], event["totalBytes"]) > self._max_bytes:
            self.done.set_exception(_explain_large(self._name, self._max_bytes, self._url))
        elif event["state"] == "completed":
            self.done.set_result((str(self._first), self._name, self._url))
        elif event["state"] == "canceled":
            self.done.set_exception(_explain_broken(self._name, self._url))

    async def cancel_rest(self) -> None:
        """Stop whatever is not wanted, and what was wanted and has not come."""
        for guid in self._rest:
            await _cancel(self._session, guid)
        while not self._rest <= self._ended:  # one that ends by itself meanwhile still writes its file
            self._news.clear()
            await self._news.wait()

    def discard_rest(self) -> None:
        """Remove what was whole before it could be stopped."""
        for guid in self._rest:
            self._workspace.discard(guid)

    def _go_on(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._stopping.add(task)
        task.add_done_callback(self._stopping.discard)

    @property
    def _rest(self) -> set[str]:
        finished = self.done.done() and not self.done.cancelled() and self.done.exception() is None
        return self._unwanted if finished or self._first is None else {*self._unwanted, self._first}


async def _cancel(session: CDPSession, guid: str) -> None:
    with contextlib.suppress(Error):  # it has ended by itself
        await session.send("Browser.cancelDownload", {"guid": guid})


def _explain_large(name: str, max_bytes: int, url: str) -> BrowserFailure:
    return BrowserFailure(
        FailureCode.OUTPUT_TOO_LARGE,
        f"“{shorten(name)}” has more than {max_bytes} bytes.",
        f"Raise the node's “Max Size”, which goes up to {MAX_FILE}, or fetch less at once.",
        acted=True,
        page_url=url,
    )


def _explain_many(url: str) -> BrowserFailure:
    return BrowserFailure(
        FailureCode.OUTPUT_TOO_LARGE,
        f"The page began more than {MAX_UNWANTED} downloads beside the one that was asked for.",
        "Fetch the file by its address, or begin with what starts this one download alone.",
        acted=True,
        page_url=url,
    )


def _explain_broken(name: str, url: str) -> BrowserFailure:
    return BrowserFailure(
        FailureCode.NAVIGATION_FAILED,
        f"The download of “{shorten(name)}” was broken off.",
        "The site or the connection ended it; the log says so where a host was refused.",
        acted=True,
        page_url=url,
    )


def name_file(text: str) -> str:
    """A name that leads nowhere: what a site or a workflow calls a file."""
    name = "".join(char for char in PurePath(text.replace("\\", "/")).name if char.isprintable()).strip(". ")
    stem, dot, suffix = name.rpartition(".")
    kept = f"{stem[: _NAME - len(suffix) - 1]}{dot}{suffix}" if dot and len(suffix) < 20 else name[:_NAME]  # noqa: PLR2004
    return kept or "file"
