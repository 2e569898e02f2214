"""What one may do to a page. Every call has a deadline, and every failure is a BrowserFailure.

Playwright's own time-outs cover actions only: `title()`, `content()` and `evaluate()` wait for ever on a page whose
script never rests. So each call also runs against a clock of ours, and a page that lets it run out is closed with its
context, which frees the browser at once and harms no neighbour.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeVar

from playwright.async_api import BrowserContext, Error, FilePayload, Locator, Request, Response
from playwright.async_api import Page as PlaywrightPage

from contracts.execution import FailureCode
from runtime.browser.concealing import COLOUR, Concealed, Secrets
from runtime.browser.diary import Diary
from runtime.browser.downloads import MAX_FILE, Downloaded, Downloads
from runtime.browser.failure import BrowserFailure
from runtime.browser.introduction import introduce
from runtime.browser.options import DEFAULT, ContextOptions
from runtime.browser.picture import Picture, PictureFormat, read_size
from runtime.browser.recording import Recording
from runtime.browser.storage import read_storage
from runtime.browser.trail import PageState, Trail, hear_of_documents_only, read_state
from runtime.browser.translate import (
    explain_closed,
    explain_crash,
    explain_hang,
    explain_no_file_field,
    explain_still_there,
    has_error_page,
    is_closed,
    shorten,
    translate_action,
    translate_navigation,
    translate_other,
)
from runtime.browser.wall import WayOut, explain_forgotten
from runtime.browser.workspace import Workspace
from runtime.egress.proxy import REFUSED_HEADER

Visibility = Literal["visible", "hidden"]
ActT = TypeVar("ActT")

ACTION_S: Final = 15.0
"""How long an action waits for its element, unless the node has less time left."""
NAVIGATION_S: Final = 30.0
MAX_HTML: Final = 5_000_000
"""Characters of markup a page may hand out."""
MAX_ROWS: Final = 10_000
MAX_UPLOAD: Final = 50_000_000
"""Bytes of one file; Playwright hands on no more without a disk that both sides see."""
MAX_PICTURE: Final = 15 * 1_048_576
"""Bytes of one picture."""

_GRACE_S = 2.0
"""How much longer our clock runs than Playwright's, so that its better words win."""
_CLOSE_S = 3.0
_STATE_S = 2.0
_NEWS_TURNS = 10
_NEWS_TURN_S = 0.02
_EVIDENCE_S = 5.0
_JPEG_QUALITY = 80
_ERROR_PAGE = "chrome-error:"
_ERROR_PAGE_TURNS = 50
_FORBIDDEN = 403
_WHO_IS_IT = 407
_BUSY = frozenset({429, *range(500, 600)})
"""Answers that may be better a little later (spec W6)."""

_READ_HTML = """limit => {
  const type = document.doctype ? new XMLSerializer().serializeToString(document.doctype) : "";
  const html = type + (document.documentElement ? document.documentElement.outerHTML : "");
  return html.length > limit ? html.length : html;
}"""
_TAKES_FILES = """found => {
  const field = found.nodeName === "LABEL" ? found.control : found;
  return field?.nodeName === "INPUT" && field.type === "file";
}"""
_READ_ROWS = """(rows, [fields, limit]) => {
  if (rows.length > limit) return rows.length;
  const read = (row, [css, attribute]) => {
    const found = css ? row.querySelector(css) : row;
    if (!found) return null;
    if (!attribute) return (found.innerText ?? found.textContent ?? "").trim();
    const value = found.getAttribute(attribute);
    const whole = ["href", "src", "action"].includes(attribute) && typeof found[attribute] === "string";
    return value !== null && whole ? found[attribute] : value;
  };
  return rows.map(row => Object.fromEntries(fields.map(([name, ...how]) => [name, read(row, how)])));
}"""


@dataclass(frozen=True)
class Evidence:
    """What is left of a page for whoever looks into a failure."""

    page_url: str
    console: list[str]
    """The last lines of its console, refused requests among them."""
    picture: Picture | None


@dataclass(frozen=True)
class Upload:
    """A file on its way into a page."""

    name: str
    media_type: str
    data: bytes = field(repr=False)


class Page:
    """One page in a browser context of its own."""

    def __init__(
        self,
        page: PlaywrightPage,
        context: BrowserContext,
        way_out: WayOut,
        workspace: Workspace,
        on_dead: Callable[[], None],
        options: ContextOptions = DEFAULT,
    ) -> None:
        """`on_dead` is called when the page finds that nobody drives its browser any more."""
        self.recording: Recording | None = None
        self.keeps_databases = False
        """Whether it was given a login that is more than cookies and local storage; its checkpoints then are, too."""
        self.options = options
        """Those that its context was made with."""
        self._on_dead = on_dead
        self._page = page
        self._context = context
        self.way_out = way_out
        self.workspace = workspace
        self._downloads = Downloads(page, context, workspace)
        self._lost: BrowserFailure | None = None
        self._failed_url: str | None = None
        """Where the page was sent last, when it did not come there."""
        hear_of_documents_only(page)
        self.trail = Trail(page, self._is_own)
        self._concealed = Concealed(page)
        self._diary = Diary(page, way_out.find_refusal, self._concealed.clean)
        page.on("requestfailed", self._note_failed_document)
        page.on("crash", lambda _: self.lose(explain_crash(self.url)))
        page.on("close", lambda _: self.lose(explain_closed(self.url)))

    @property
    def url(self) -> str:
        """Where the page is."""
        return self._page.url

    @property
    def lost(self) -> BrowserFailure | None:
        """Why nothing can be done with the page any more; None while it lives."""
        return self._lost

    def lose(self, failure: BrowserFailure) -> None:
        """Take note that the page has gone. A crash explains more than a close, else the first reason stays."""
        crashed = self._lost is not None and self._lost.code is FailureCode.BROWSER_CRASHED
        if self._lost is None or (failure.code is FailureCode.BROWSER_CRASHED and not crashed):
            self._lost = failure
            self._downloads.lose(failure)

    async def open_url(self, url: str, *, timeout_s: float = NAVIGATION_S) -> int | None:
        """Go to an address and wait until it has loaded; answers the HTTP status, None for a blank page.

        Raises BrowserFailure: invalid_input, host_refused (also for a redirect), navigation_failed (also for an
        answer of 429 or 5xx, retryable), timeout.
        """
        self.way_out.check(url)
        self._failed_url = None

        response = await self._run(
            "open", lambda: self._go(url, timeout_s), timeout_s, lambda error: self._explain_navigation(error, url)
        )
        if response is None:
            return None
        if (failure := self._explain_answer(response, url)) is not None:
            raise failure
        return response.status

    async def _go(self, url: str, timeout_s: float) -> Response | None:
        try:
            return await self._page.goto(url, timeout=timeout_s * 1_000, wait_until="load")
        except Error as error:
            if has_error_page(error):
                await self._await_error_page()
            raise

    async def _await_error_page(self) -> None:
        """Chromium's error page comes a moment after the failure, and would cut off a navigation that comes first."""
        for _ in range(_ERROR_PAGE_TURNS):
            if self.url.startswith(_ERROR_PAGE):
                return
            await asyncio.sleep(_NEWS_TURN_S)

    async def fill(self, selector: str, value: str, *, timeout_s: float = ACTION_S) -> None:
        """Replace the value of a field."""
        await self._act("fill", selector, lambda found, limit: found.fill(value, timeout=limit), timeout_s)

    async def fill_secret(
        self, selector: str, reveal: Callable[[str], Awaitable[str]], *, timeout_s: float = ACTION_S
    ) -> None:
        """Replace the value of a field by what `reveal` answers for the address of the document that the field is in.

        That document gets it or none does: one that goes away in between takes its field with it. The field is covered
        on pictures from then on.
        """

        async def fill(found: Locator, limit: float) -> None:
            element = await found.element_handle(timeout=limit)
            frame = await element.owner_frame()
            text = await reveal(frame.url if frame is not None else "")
            self._concealed.note_filled(found)
            await element.fill(text, timeout=limit)

        await self._act("fill", selector, fill, timeout_s)

    def conceal(self, secrets: Secrets) -> None:
        """Cover whatever shows one of these on pictures from now on, and leave them out of what the page says."""
        self._concealed.secrets = secrets

    async def click(self, selector: str, *, timeout_s: float = ACTION_S) -> None:
        """Click the first element that matches, once it can be clicked."""
        await self._act("click", selector, lambda found, limit: found.click(timeout=limit), timeout_s)

    async def select(self, selector: str, option: str, *, timeout_s: float = ACTION_S) -> None:
        """Choose an option of a list by its value or its label."""
        await self._act("select", selector, lambda found, limit: found.select_option(option, timeout=limit), timeout_s)

    async def upload(self, selector: str, file: Upload, *, timeout_s: float = ACTION_S) -> None:
        """Choose a file in a field for files, as if it lay on a disk of the browser's.

        Raises BrowserFailure: as `click`; invalid_input for what is no such field.
        """
        payload: FilePayload = {"name": file.name, "mimeType": file.media_type, "buffer": file.data}

        async def choose(found: Locator, limit: float) -> None:
            if not await found.evaluate(_TAKES_FILES, timeout=limit):  # Playwright would "choose" it without a word
                raise explain_no_file_field(selector, self.url)
            await found.set_input_files(payload, timeout=limit)

        await self._act("upload to", selector, choose, timeout_s)

    async def download(self, *, selector: str, max_bytes: int = MAX_FILE, timeout_s: float = ACTION_S) -> Downloaded:
        """Click what a selector finds, and take the file that comes of it.

        Raises BrowserFailure: as `click`; timeout, output_too_large, navigation_failed.
        """

        async def begin() -> None:
            await self.click(selector, timeout_s=min(timeout_s, ACTION_S))

        if self.lost is not None:
            raise self.lost
        try:
            return await self._downloads.catch(begin, max_bytes, timeout_s)
        except Error as error:
            raise (await self._await_reason(error) or translate_other(error, self.url)) from error

    async def introduce(self, url: str, *, timeout_s: float = ACTION_S) -> dict[str, str]:
        """The headers by which a site knows this browser, for a request for that address. Raises BrowserFailure."""
        return await self._evaluate(
            "read its cookies", lambda: introduce(self._context, self.options, self.url, url), timeout_s
        )

    async def wait_for(self, selector: str, visibility: Visibility, *, timeout_s: float = ACTION_S) -> None:
        """Wait until the first match is visible, or until none is."""

        def explain(error: Error) -> BrowserFailure:
            failure = self._explain_action(error, selector)
            if visibility == "visible" and failure.code is FailureCode.ELEMENT_NOT_FOUND:
                failure.hint = "Check the selector against the screenshot, or give it more time."
            if visibility == "hidden" and failure.code in (FailureCode.ELEMENT_NOT_FOUND, FailureCode.TIMEOUT):
                return explain_still_there(selector, self.url)
            return failure

        await self._run(
            f"wait for {shorten(selector)}",
            lambda: self._page.locator(selector).first.wait_for(state=visibility, timeout=timeout_s * 1_000),
            timeout_s,
            explain,
        )

    async def read_html(self, *, timeout_s: float = ACTION_S) -> str:
        """The page's markup as it stands now. Raises output_too_large above MAX_HTML characters."""
        html = await self._evaluate("read", lambda: self._page.evaluate(_READ_HTML, MAX_HTML), timeout_s)
        if isinstance(html, str):
            return html
        raise BrowserFailure(
            FailureCode.OUTPUT_TOO_LARGE,
            f"The page's markup has {html} characters; at most {MAX_HTML} are read.",
            "Read a part of the page instead, with extract_list.",
            page_url=self.url,
        )

    async def read_title(self, *, timeout_s: float = ACTION_S) -> str:
        """The page's title."""
        return await self._evaluate("read the title", self._page.title, timeout_s)

    async def read_rows(
        self, selector: str, fields: dict[str, tuple[str, str]], *, timeout_s: float = ACTION_S
    ) -> list[dict[str, str | None]]:
        """For each match, its fields: name → (CSS inside the match or "", attribute or "" for the visible text).

        Waits for a first match. A field that isn't there is None; addresses come out whole. Raises output_too_large.
        """
        await self._act(
            "find", selector, lambda found, limit: found.wait_for(state="attached", timeout=limit), timeout_s
        )
        wanted = [[name, css, attribute] for name, (css, attribute) in fields.items()]
        rows = await self._run(
            "read the list",
            lambda: self._page.locator(selector).evaluate_all(_READ_ROWS, [wanted, MAX_ROWS]),
            timeout_s,
            lambda error: translate_action(error, ", ".join(css for css, _ in fields.values()), self.url),
        )
        if isinstance(rows, list):
            return rows
        raise BrowserFailure(
            FailureCode.OUTPUT_TOO_LARGE,
            f"“{shorten(selector)}” matches {rows} elements; at most {MAX_ROWS} are read.",
            "Choose a narrower selector.",
            page_url=self.url,
        )

    async def take_picture(
        self, *, format_: PictureFormat = "jpeg", full_page: bool = False, timeout_s: float = ACTION_S
    ) -> Picture:
        """The page as it looks, what is in view or all of it. Raises output_too_large above MAX_PICTURE bytes."""
        quality = _JPEG_QUALITY if format_ == "jpeg" else None

        async def take() -> bytes:
            covered = await self._concealed.find()
            return await self._page.screenshot(
                type=format_,
                quality=quality,
                full_page=full_page,
                timeout=timeout_s * 1_000,
                mask=covered,
                mask_color=COLOUR,
            )

        data = await self._run("take a picture", take, timeout_s, self._explain_picture)
        if len(data) > MAX_PICTURE:
            raise BrowserFailure(
                FailureCode.OUTPUT_TOO_LARGE,
                f"The picture has {len(data)} bytes; at most {MAX_PICTURE} are kept.",
                "Take what is in view only, or a JPEG.",
                page_url=self.url,
            )
        width, height = read_size(data)
        return Picture(data, f"image/{format_}", width, height, self.url)

    async def read_state(self) -> PageState | None:
        """What it takes to open the page again elsewhere; None for a page that can't be. Raises BrowserFailure."""
        if not self.can_be_reopened:
            return None

        def read() -> Awaitable[PageState]:
            return read_state(self._page, self._context, self.options, databases=self.keeps_databases)

        return await self._evaluate("read the session", read, _STATE_S)

    @property
    def can_be_reopened(self) -> bool:
        """Whether going to its address once more leads to the same document."""
        return self.trail.can_be_reopened and self.url.startswith(("http:", "https:"))

    async def read_storage(self, *, timeout_s: float = ACTION_S) -> dict[str, Any]:
        """What sites keep in this page's context. Raises BrowserFailure."""
        return await self._evaluate("read what is kept", lambda: read_storage(self._context), timeout_s)

    async def collect_evidence(self) -> Evidence:
        """Address, console and picture of the page as it is now, within a few seconds and whatever its state."""
        picture = None
        await self._diary.read()
        if self._lost is None:
            try:
                picture = await self.take_picture(timeout_s=_EVIDENCE_S)
            except BrowserFailure as failure:
                self._diary.note("no picture", failure.message)
        return Evidence(self.url, self._diary.lines, picture)

    async def close(self) -> None:
        """Close the page with its context, within a few seconds whatever its state."""
        self.lose(explain_closed(self.url))
        if self.recording is not None:
            await self.recording.stop()
        self.way_out.close()
        with contextlib.suppress(TimeoutError, Error):  # the browser hangs or has gone; whoever holds it ends it
            async with asyncio.timeout(_CLOSE_S):
                await self._context.close()
        await self._downloads.close()
        await self.workspace.remove()

    # --- running calls against the clock

    async def _act(
        self, what: str, selector: str, call: Callable[[Locator, float], Awaitable[Any]], timeout_s: float
    ) -> None:
        await self._run(
            f"{what} {shorten(selector)}",
            lambda: call(self._page.locator(selector).first, timeout_s * 1_000),
            timeout_s,
            lambda error: self._explain_action(error, selector),
        )

    async def _evaluate(self, what: str, call: Callable[[], Awaitable[ActT]], timeout_s: float) -> ActT:
        return await self._run(what, call, timeout_s, lambda error: translate_other(error, self.url))

    async def _run(
        self,
        what: str,
        call: Callable[[], Awaitable[ActT]],
        timeout_s: float,
        explain: Callable[[Error], BrowserFailure],
    ) -> ActT:
        if self.lost is not None:
            raise self.lost
        try:
            async with asyncio.timeout(timeout_s + _GRACE_S):
                return await call()
        except TimeoutError as error:
            failure = explain_hang(what, self.url)
            await self._diary.read()
            await self.close()
            raise failure from error
        except Error as error:
            raise (await self._await_reason(error) or explain(error)) from error

    async def _await_reason(self, error: Error) -> BrowserFailure | None:
        """Why the page has gone, if it has: a call fails a moment before the word comes that it was a crash."""
        if not is_closed(error):
            await asyncio.sleep(0)
            return self.lost
        for _ in range(_NEWS_TURNS):
            if self.lost is not None and self.lost.code is FailureCode.BROWSER_CRASHED:
                return self.lost
            await asyncio.sleep(_NEWS_TURN_S)
        if self.lost is None:  # a page that closes says so; one that doesn't has lost Playwright's driver
            self._on_dead()
        return self.lost

    # --- words

    def _explain_action(self, error: Error, selector: str) -> BrowserFailure:
        on_error_page = self.url.startswith(_ERROR_PAGE)
        refusal = self.way_out.find_refusal(self._failed_url or "" if on_error_page else self.url)
        return refusal or translate_action(error, selector, self.url)

    def _explain_navigation(self, error: Error, target: str) -> BrowserFailure:
        if self._failed_url is not None:
            explained = self.way_out.find_refusal(self._failed_url) or self.way_out.find_trouble(self._failed_url)
            if explained is not None:
                return explained
        return translate_navigation(error, target, self.url)

    def _explain_answer(self, response: Response, target: str) -> BrowserFailure | None:
        """What stands against an answer; of plain http it may be the proxy's own."""
        if response.status == _WHO_IS_IT:
            self.lose(explain_forgotten(self.url))
            return self.lost
        if response.status == _FORBIDDEN and REFUSED_HEADER in response.headers:
            return self.way_out.find_refusal(response.url)
        if response.status not in _BUSY:
            return None
        return self.way_out.find_trouble(response.url) or BrowserFailure(
            FailureCode.NAVIGATION_FAILED,
            f"{shorten(target)} answered {response.status} {response.status_text}".strip() + ".",
            "The site has trouble or wants fewer visits; try again later.",
            retryable=True,
            page_url=self.url,
        )

    def _explain_picture(self, error: Error) -> BrowserFailure:
        if "Timeout" in error.message:
            return explain_hang("take a picture", self.url)
        return translate_other(error, self.url)

    def _note_failed_document(self, request: Request) -> None:
        if (refusal := self.way_out.find_refusal(request.url)) is not None:
            self._diary.note("refused", f"{request.url}: {refusal.message}")
        else:
            self._diary.note("request failed", f"{request.method} {request.url} {request.failure or ''}")
        if self._is_own(request):
            self._failed_url = request.url

    def _is_own(self, request: Request) -> bool:
        try:
            return request.is_navigation_request() and request.frame == self._page.main_frame
        except Error:  # the frame of a navigation that never came to be
            return True
