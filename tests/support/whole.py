"""A whole Chromium: one that is no headless shell. It reads managed policy, and shows icons, and asks ahead.

It is taken from STAGEDOOR_TEST_CHROMIUM, or found where systems and Playwright put it.
"""

import asyncio
import os
import shutil
from pathlib import Path

import pytest
from playwright.async_api import async_playwright

NONE = "there is no whole Chromium on this machine: name one in STAGEDOOR_TEST_CHROMIUM"


async def find_whole() -> Path | None:
    """The executable, if there is one."""
    async with async_playwright() as playwright:
        return await asyncio.to_thread(_choose, playwright.chromium.executable_path)


async def demand_whole() -> Path:
    """The executable; skips the test where there is none."""
    found = await find_whole()
    if found is None:
        pytest.skip(NONE)
    return found


def _choose(bundled: str) -> Path | None:
    named = [os.environ.get("STAGEDOOR_TEST_CHROMIUM"), bundled]
    found = [shutil.which(name) for name in ("chromium", "google-chrome-stable", "google-chrome")]
    return next((Path(one).resolve() for one in (*named, *found) if one and Path(one).is_file()), None)
