"""Playwright's driver process: started when first needed, started again when it was lost."""

import asyncio
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import structlog
from playwright.async_api import Error, Playwright, async_playwright

from contracts.execution import FailureCode
from runtime.browser.chromium import Chromium, Launch, Tally
from runtime.browser.failure import BrowserFailure
from runtime.browser.find import find_chromium
from runtime.browser.jail import Gate
from runtime.browser.processes import RunFolder
from runtime.browser.sandboxing import Sandboxing
from runtime.egress.proxy import EgressProxy

_START_S = 30.0
_STOP_S = 5.0
_log = structlog.get_logger(__name__)


class Driver:
    """What starts browsers. One at a time may call it."""

    def __init__(
        self, browser_path: Path | None, folder: RunFolder, proxy: EgressProxy, gate: Gate, sandboxing: Sandboxing
    ) -> None:
        self._browser_path = browser_path
        self._folder = folder
        self._proxy = proxy
        self._gate = gate
        self._sandboxing = sandboxing
        self._playwright: Playwright | None = None
        self._started: set[Chromium] = set()
        self.tally = Tally()

    async def launch(self) -> Chromium:
        """Start a Chromium. Raises BrowserFailure: browser_missing, browser_crashed (retryable)."""
        try:
            return await self._launch()
        except BrowserFailure:
            if self._playwright is None or await self._answers(self._playwright):
                raise
        _log.warning("Playwright's driver was lost and is started again")
        self._on_lost()
        await self.stop()
        return await self._launch()

    async def stop(self) -> None:
        """End the driver, which ends every browser it started."""
        playwright, self._playwright = self._playwright, None
        if playwright is not None:
            with contextlib.suppress(TimeoutError, Error):
                async with asyncio.timeout(_STOP_S):
                    await playwright.stop()

    async def _launch(self) -> Chromium:
        playwright = await self._start()
        executable = find_chromium(self._browser_path, Path(playwright.chromium.executable_path))
        launch = Launch(executable, self._folder, self._proxy, self._gate, self._on_lost, self.tally)
        chromium = await self._sandboxing.start(
            executable, lambda confinement: Chromium.start(playwright, launch, uuid4().hex, confinement)
        )
        self._started = {chromium, *(one for one in self._started if one.alive)}
        return chromium

    def _on_lost(self) -> None:
        """Without its driver no browser can be used; none of them is told."""
        for chromium in self._started:
            chromium.lose()
        self._started.clear()

    async def _answers(self, playwright: Playwright) -> bool:
        """Whether the driver lives: its end looks the same as a browser's, so it is asked for what needs no browser."""
        try:
            async with asyncio.timeout(_STOP_S):
                await (await playwright.request.new_context()).dispose()
        except (TimeoutError, Error):
            return False
        return True

    async def _start(self) -> Playwright:
        if self._playwright is None:
            # whoever tests with it set would have loopback and metadata addresses go past the proxy
            os.environ.pop("PLAYWRIGHT_DISABLE_FORCED_CHROMIUM_PROXIED_LOOPBACK", None)
            try:
                with _temporary_files_in(self._folder.path):
                    async with asyncio.timeout(_START_S):
                        self._playwright = await async_playwright().start()
            except Exception as error:  # Playwright raises a bare one for a driver that ends at once
                raise BrowserFailure(
                    FailureCode.BROWSER_CRASHED,
                    f"Playwright's driver did not start: {error}",
                    "Check that the machine has memory and processes left; in a container, that it has libatomic1.",
                    retryable=True,
                ) from error
        return self._playwright


async def find_browser(setting: Path | None) -> Path:
    """The Chromium that a worker would start. Raises BrowserFailure (browser_missing), as starting it would."""
    async with asyncio.timeout(_START_S), async_playwright() as playwright:
        return find_chromium(setting, Path(playwright.chromium.executable_path))


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
