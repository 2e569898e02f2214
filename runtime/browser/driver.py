"""Playwright's driver process: each browser has one of its own, started with it and ended with it.

All that a page does passes through its driver, much of it unasked: errors, frames, workers, messages of WebSockets. If
browsers shared one, what a page does without end would stand in the way of answers to all of them, and the memory that
it takes would be the loss of all.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

from playwright.async_api import Playwright, async_playwright

from contracts.execution import FailureCode
from runtime.browser.chromium import Chromium, Launch, Tally, end_driver
from runtime.browser.failure import BrowserFailure
from runtime.browser.find import find_chromium
from runtime.browser.jail import Gate
from runtime.browser.processes import RunFolder
from runtime.browser.sandboxing import Sandboxing
from runtime.egress.proxy import EgressProxy

_START_S = 30.0
_GIVE_UP_S = 5.0
"""How long a driver that nobody waits for any more may take to start, so that it can be ended in order."""


class Starter:
    """What starts browsers. One at a time may call it."""

    def __init__(
        self,
        browser_path: Path | None,
        folder: RunFolder,
        proxy: EgressProxy,
        *,
        gate: Gate,
        sandboxing: Sandboxing,
        on_lost: Callable[[Chromium], None],
    ) -> None:
        """`on_lost` is called with a browser that crashed or was cut off, so that it is closed."""
        self._browser_path = browser_path
        self._folder = folder
        self._proxy = proxy
        self._gate = gate
        self._sandboxing = sandboxing
        self._on_lost = on_lost
        self._abandoned: set[asyncio.Task[None]] = set()
        self.tally = Tally()

    async def launch(self) -> Chromium:
        """Start a Chromium with its driver. Raises BrowserFailure: browser_missing, browser_crashed (retryable)."""
        playwright = await self._start()
        try:
            executable = find_chromium(self._browser_path, Path(playwright.chromium.executable_path))
            launch = Launch(executable, self._folder, self._proxy, self._gate, self._on_lost, self.tally)
            return await self._sandboxing.start(
                executable, lambda confinement: Chromium.start(playwright, launch, uuid4().hex, confinement)
            )
        except BaseException:
            await end_driver(playwright)
            raise

    async def close(self) -> None:
        """Wait for the drivers that nobody waited for, within limits."""
        if self._abandoned:
            await asyncio.wait(self._abandoned, timeout=_GIVE_UP_S)

    async def _start(self) -> Playwright:
        # whoever tests with it set would have loopback and metadata addresses go past the proxy
        os.environ.pop("PLAYWRIGHT_DISABLE_FORCED_CHROMIUM_PROXIED_LOOPBACK", None)
        try:
            with _temporary_files_in(self._folder.path):
                return await _start_driver(self._abandoned)
        except Exception as error:  # Playwright raises a bare one for a driver that ends at once
            raise BrowserFailure(
                FailureCode.BROWSER_CRASHED,
                f"Playwright's driver did not start: {error}",
                "Check that the machine has memory and processes left; in a container, that it has libatomic1.",
                retryable=True,
            ) from error


async def find_browser(setting: Path | None) -> Path:
    """The Chromium that a worker would start. Raises BrowserFailure (browser_missing), as starting it would."""
    playwright = await _start_driver(set())
    try:
        return find_chromium(setting, Path(playwright.chromium.executable_path))
    finally:
        await end_driver(playwright)


async def _start_driver(abandoned: set[asyncio.Task[None]]) -> Playwright:
    """Start a driver. Where nobody waits for it any more, its end becomes one of the abandoned, and is waited for."""
    starting = asyncio.create_task(async_playwright().start())
    try:
        async with asyncio.timeout(_START_S):
            return await asyncio.shield(starting)
    except BaseException:
        ending = asyncio.create_task(_end_started(starting))
        abandoned.add(ending)
        ending.add_done_callback(abandoned.discard)
        await asyncio.wait([ending], timeout=_GIVE_UP_S)
        raise


async def _end_started(starting: asyncio.Task[Playwright]) -> None:
    """Playwright can only end a driver whose start it has seen through."""
    with contextlib.suppress(Exception):  # one that did not start is to be ended by nobody
        await end_driver(await starting)


@contextlib.contextmanager
def _temporary_files_in(folder: Path) -> Iterator[None]:
    """Have the driver make profiles in a folder that is surely removed: one that is killed leaves them behind.

    It takes the place from its environment only, which Playwright copies from ours when it starts.
    """
    before = os.environ.get("TMPDIR")
    os.environ["TMPDIR"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = before
