"""One Chromium process: started behind the wall, its contexts counted, one page kept ready."""

import asyncio
import contextlib
import os
import re
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog
from playwright.async_api import Browser, BrowserContext, Error, Playwright

from contracts.execution import FailureCode
from runtime.browser.failure import BrowserFailure
from runtime.browser.jail import Gate, Jail, describe_environment, make_plan
from runtime.browser.options import DEFAULT, ContextOptions, explain_refused
from runtime.browser.page import Page
from runtime.browser.processes import LAUNCHER, MARK, RunFolder, end_browser, find_driver, measure_memory, read_pid
from runtime.browser.recording import start_recording
from runtime.browser.sandboxing import Confinement
from runtime.browser.storage import has_databases
from runtime.browser.trail import PageState
from runtime.browser.translate import explain_crash, explain_storm, shorten
from runtime.browser.wall import WayOut, make_arguments
from runtime.browser.windows import MAX_WINDOWS, Windows
from runtime.browser.workspace import Workspace
from runtime.egress.permit import Permit
from runtime.egress.proxy import EgressProxy

_LAUNCH_S = 30.0
_OPEN_S = 30.0
_PARK_S = 120.0
"""Nobody waits for that page, and giving it up ends the browser with all its others: a busy machine has time for it."""
_CLOSE_S = 5.0
_QUIET = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-domain-reliability",
    "--disable-sync",
    "--disable-default-apps",
    "--no-first-run",
    "--no-pings",
    "--metrics-recording-only",
)
"""Nothing leaves Chromium but what a page asks for."""
_UNTHROTTLED: Final = "--disable-ipc-flooding-protection"
"""Playwright's own: without it Chromium lets a page change its address 200 times in ten seconds, as everywhere."""
_HEAP_MIB: Final = 1_024
"""Of one page's scripts: a page that fills it crashes alone, before the watchdog has to end the browser."""
_ENVIRONMENT = {"PATH": os.defpath, "LANG": "C.UTF-8"}
"""A browser gets no variable of ours: those hold the addresses and passwords of the database."""
_TELLING = re.compile(
    r"^.*?(?P<line>No usable sandbox.*|error while loading shared libraries.*|(?:FATAL|ERROR):.*"
    r"|.*(?:Permission denied|No such file|cannot execute|ENOENT|EACCES).*)$",
    re.MULTILINE,
)
"""Lines of a browser that did not start which say why; Playwright's own first line only says that it ended."""
_log = structlog.get_logger(__name__)


@dataclass
class Tally:
    """What has happened to the browsers of one worker so far."""

    launched: int = 0
    crashed: int = 0
    """Ended without being asked to, or answered no more."""


@dataclass(frozen=True)
class Launch:
    """All that starting a Chromium needs."""

    executable: Path
    folder: RunFolder
    proxy: EgressProxy
    gate: Gate
    on_lost: Callable[["Chromium"], None]
    """Called with a browser that has crashed or was cut off: it is still to be closed."""
    tally: Tally


class Chromium:
    """A running browser. It serves one tenant, from the first lease to its end."""

    def __init__(self, browser: Browser, playwright: Playwright, launch: Launch, mark: str) -> None:
        """`playwright` is its own driver, and ends with it."""
        self._browser = browser
        self._playwright = playwright
        self._launch = launch
        self._mark = mark
        self._driver = find_driver(self.pid or 0)
        self._parked: Page | None = None
        self._parking = False
        self._closing: asyncio.Task[None] | None = None
        self._pages: list[Page] = []
        self._put_aways: set[asyncio.Task[None]] = set()
        self.opened = 0
        """Contexts given out so far."""
        self.leases = 0
        """Executions that use it now."""
        self.alive = True
        browser.on("disconnected", lambda _: self.lose())

    @classmethod
    async def start(cls, playwright: Playwright, launch: Launch, mark: str, confinement: Confinement) -> "Chromium":
        """Start a Chromium that is shut in so.

        Raises:
            BrowserFailure: browser_crashed, retryable, when it doesn't come up.
        """
        try:
            async with asyncio.timeout(_LAUNCH_S + _CLOSE_S):
                browser = await playwright.chromium.launch(
                    executable_path=LAUNCHER,
                    args=[
                        f"{MARK}{mark}",
                        f"--js-flags=--max-old-space-size={_HEAP_MIB}",
                        *_QUIET,
                        *make_arguments(launch.proxy),
                    ],
                    ignore_default_args=[_UNTHROTTLED],
                    env=_make_environment(launch, mark, confinement.jail),
                    chromium_sandbox=confinement.sandboxed,
                    handle_sigint=False,  # a drain closes browsers in its own order
                    handle_sigterm=False,
                    handle_sighup=False,
                    timeout=_LAUNCH_S * 1_000,
                )
        except (TimeoutError, Error) as error:
            _end(launch, mark)
            raise _explain_no_start(launch.executable, error) from error
        except BaseException:
            _end(launch, mark)
            raise
        launch.tally.launched += 1
        return cls(browser, playwright, launch, mark)

    @property
    def contexts(self) -> int:
        """Contexts that are open, the parked one with them."""
        return len(self._pages)

    @property
    def has_parked(self) -> bool:
        """Whether the next page stands ready."""
        return self._parked is not None

    @property
    def pid(self) -> int | None:
        """Process id of the browser."""
        return read_pid(self._launch.folder.record(self._mark))

    async def open_page(
        self, permit: Permit, options: ContextOptions = DEFAULT, storage: dict[str, Any] | None = None
    ) -> Page:
        """A page of a run in a context of its own: the one kept ready where that is as asked, or a new one."""
        if options != DEFAULT or storage is not None:
            return self._give_out(await self._make_page(options, storage), permit)
        page, self._parked = self._parked, None
        if page is None or page.lost is not None:
            page = await self._make_page()
        return self._give_out(page, permit)

    async def reopen_page(self, permit: Permit, state: PageState) -> Page:
        """A page of a run in a context with that session; it has not gone to its address yet."""
        return self._give_out(await self._make_page(state.reopened, state.storage), permit)

    async def park_page(self) -> None:
        """Make the next page ready, unless one is. Failing to do so is no failure: the next one takes a bit longer."""
        if self._parked is not None or self._parking or not self.alive:
            return
        self._parking = True
        try:
            self._parked = await self._make_page(within_s=_PARK_S)
        except BrowserFailure as failure:
            _log.info("no page parked", reason=failure.message)
        finally:
            self._parking = False

    def forget(self, page: Page) -> None:
        """A page was closed."""
        if page in self._pages:
            self._pages.remove(page)

    def lose(self, explain: Callable[[str], BrowserFailure] = explain_crash) -> None:
        """Take note that it crashed or was cut off, and end what is left of it; `explain` says why, for an address."""
        was_alive, self.alive = self.alive, False
        for page in self._pages:
            page.lose(explain(page.url))
        if was_alive:
            _log.warning("browser lost", pid=self.pid, contexts=self.opened)
            self._launch.tally.crashed += 1
            self._launch.on_lost(self)
        _end(self._launch, self._mark)

    def measure_memory(self) -> int:
        """Bytes that its processes hold, 0 where that can't be told."""
        pid = self.pid
        return measure_memory(pid) if pid is not None else 0

    async def close(self) -> None:
        """End it, in order if it can, by force if not, and its driver. Whoever comes later waits for the same end."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)  # half an end is none: the driver would be left to itself

    async def _close(self) -> None:
        was_alive, self.alive = self.alive, False
        if was_alive:
            try:
                async with asyncio.timeout(_CLOSE_S):
                    await self._browser.close()
            except (TimeoutError, Error) as error:
                _log.warning("browser ended by force", reason=str(error) or "it did not answer")
        _end(self._launch, self._mark)
        if not await end_driver(self._playwright) and self._driver is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._driver, signal.SIGKILL)

    def _give_out(self, page: Page, permit: Permit) -> Page:
        page.way_out.bind(permit, page.options.proxy)
        self.opened += 1
        return page

    async def _make_page(
        self, options: ContextOptions = DEFAULT, storage: dict[str, Any] | None = None, within_s: float | None = None
    ) -> Page:
        """A page that belongs to no run yet. Who stops waiting for it leaves nothing behind."""
        if not self.alive:
            raise explain_crash("")
        making = asyncio.create_task(self._build_page(options, storage, within_s or _OPEN_S))
        try:
            return await asyncio.shield(making)
        except asyncio.CancelledError:
            # Playwright can't take back a context it is making: it can be closed once it is known.
            closing = asyncio.create_task(self._put_away(making))
            self._put_aways.add(closing)
            closing.add_done_callback(self._put_aways.discard)
            raise

    async def _put_away(self, making: asyncio.Task[Page]) -> None:
        with contextlib.suppress(BrowserFailure):
            page = await making
            await page.close()
            self.forget(page)

    async def _build_page(self, options: ContextOptions, storage: dict[str, Any] | None, within_s: float) -> Page:
        way_out = WayOut(self._launch.proxy)
        context = None
        try:
            async with asyncio.timeout(within_s):
                context = await self._browser.new_context(
                    **options.make_arguments(),
                    storage_state=storage,  # type: ignore[arg-type]  # as it was read
                    accept_downloads=False,
                    proxy=way_out.settings,
                    service_workers="block",
                )
                inner = await context.new_page()
                await way_out.greet(context, inner)
                recording = await start_recording(inner, context, options, self._launch.folder.path)
        except (TimeoutError, Error) as error:
            way_out.close()
            if (refusal := explain_refused(error, options)) is not None:
                await _close_context(context)
                raise refusal from error
            self._launch.tally.crashed += self.alive
            await self.close()  # a browser that can't open a page opens none any more
            raise explain_crash("") from error
        page = Page(
            inner,
            context,
            way_out,
            Workspace(self._launch.folder.home(self._mark)),
            self.lose,
            options,
        )
        Windows(
            context,
            on_storm=lambda: page.lose(explain_storm(MAX_WINDOWS, page.url)),
            on_stuck=lambda: self.lose(lambda url: explain_storm(MAX_WINDOWS, url)),
        )
        page.keeps_databases, page.recording = has_databases(storage), recording
        self._pages.append(page)
        return page


async def end_driver(playwright: Playwright) -> bool:
    """End a driver, and with it the browser that it may have started; False when it does not end. Again is fine."""
    try:
        async with asyncio.timeout(_CLOSE_S):
            await playwright.stop()
    except TimeoutError:
        return False
    except Error:
        return True  # it has ended already
    return True


async def _close_context(context: BrowserContext | None) -> None:
    if context is not None:
        with contextlib.suppress(TimeoutError, Error):  # a browser that hangs is found out by the next page
            async with asyncio.timeout(_CLOSE_S):
                await context.close()


def _end(launch: Launch, mark: str) -> None:
    end_browser(launch.folder.record(mark))
    launch.gate.shut(mark)
    shutil.rmtree(launch.folder.home(mark), ignore_errors=True)


def _make_environment(launch: Launch, mark: str, jail: Jail) -> dict[str, str | float | bool]:
    home = launch.folder.home(mark)
    home.mkdir(mode=0o700)
    plan = make_plan(
        jail, mark=mark, executable=launch.executable, gate=launch.folder.path, home=home, port=launch.gate.port
    )
    told = describe_environment(plan, launch.executable, launch.folder.record(mark))
    return {**_ENVIRONMENT, "HOME": str(home), **told}


def _explain_no_start(executable: Path, error: Exception) -> BrowserFailure:
    said = _TELLING.search(str(error))
    reason = said["line"].strip() if said else "it ended at once, or did not answer in time"
    return BrowserFailure(
        FailureCode.BROWSER_CRASHED,
        f"{executable} did not start: {shorten(reason)}",
        f"Try it by hand: {executable} --version. In a container it may lack shared memory or rights for its sandbox.",
        retryable=True,
    )
