"""The built page, a scripted house to serve it from, and a real browser to look at it with."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from playwright.async_api import Browser, BrowserContext, async_playwright, expect

import hatch_build
from runtime.browser.find import find_chromium
from tests.experience.web.playhouse import Playhouse, open_playhouse
from tests.support.sockets import Served

OpenContext = Callable[..., Awaitable[BrowserContext]]
PATIENCE_MS = 60_000
"""Nothing on a page takes that long: it only stands for never, also where the machine pauses."""

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="session")
def dist() -> Path:
    """The page, built from the sources as they are now."""
    sources = [*(hatch_build.WEB / "src").rglob("*"), *(hatch_build.WEB / "public").iterdir()]
    sources += [hatch_build.WEB / name for name in ("index.html", "vite.config.ts", "package-lock.json")]
    index = hatch_build.DIST / "index.html"
    if not index.exists() or index.stat().st_mtime < max(source.stat().st_mtime for source in sources):
        hatch_build.build_page()
    return hatch_build.DIST


@pytest.fixture
async def house(dist: Path) -> Playhouse:
    """An empty one."""
    return Playhouse(dist)


@pytest.fixture
async def served(house: Playhouse) -> AsyncIterator[Served]:
    """The page on a port of its own."""
    async with open_playhouse(house) as running:
        yield running


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A real Chromium."""
    async with async_playwright() as playwright:
        setting = os.environ.get("STAGEDOOR_RUNTIME_BROWSER_PATH")
        path = find_chromium(Path(setting) if setting else None, Path(playwright.chromium.executable_path))
        launched = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield launched
        await launched.close()


@pytest.fixture
def open_context(browser: Browser, house: Playhouse, served: Served) -> OpenContext:
    """Make a browser profile in which Ada is signed in; options are Playwright's."""

    async def open_one(**options: object) -> BrowserContext:
        context = await browser.new_context(base_url=served.http(), **options)  # type: ignore[arg-type]
        context.set_default_timeout(PATIENCE_MS)
        await context.add_cookies([{**house.log_in(), "url": served.http()}])  # type: ignore[typeddict-item]
        return context

    return open_one
