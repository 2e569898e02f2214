"""A tab of a real Chromium, as a person has one: no pool, no wall around it."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Page, async_playwright, expect

from runtime.browser.find import find_chromium

TIMEOUT_MS = 60_000

NETWORK_CHANGED = "ERR_NETWORK_CHANGED"
"""What Chromium says when this machine gets another network interface, which is no fault of a page."""

expect.set_options(timeout=TIMEOUT_MS)


@asynccontextmanager
async def open_tab() -> AsyncIterator[Page]:
    """Start the Chromium that Runtime would find, open a tab, end both."""
    async with async_playwright() as playwright:
        setting = os.environ.get("STAGEDOOR_RUNTIME_BROWSER_PATH")
        path = find_chromium(Path(setting) if setting else None, Path(playwright.chromium.executable_path))
        browser = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        tab = await browser.new_page()
        tab.set_default_timeout(TIMEOUT_MS)
        yield tab
        await browser.close()
