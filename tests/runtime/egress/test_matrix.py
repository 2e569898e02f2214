"""Every way out of a browser, tried: behind the wall nothing reaches the forbidden host, without it nearly all would.

The context is made here as the pool makes it, but lets service workers and downloads live and quiets nothing, so that
the wall alone has to hold. What a headless shell over http leaves out is tried here too; test_whole.py shows it open.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from playwright.async_api import Browser, BrowserContext, Error, Page, async_playwright

from runtime.browser.find import find_chromium
from runtime.browser.wall import WayOut, make_arguments
from runtime.egress.egress import Egress
from runtime.egress.permit import Permit
from tests.runtime.egress.listeners import HOST, Forbidden, Good, forbid, serve_good
from tests.runtime.egress.played import PUBLIC, Internet
from tests.runtime.egress.ways import WAYS
from tests.support.browsers import TENANT, make_permit

pytestmark = pytest.mark.timeout(300)

BESIDE = ("goto", "context-request", "download-attached-by-goto")
"""Ways that are Playwright's own."""
UNASKED = "favicon.ico"
"""What a whole browser looks for by itself."""
MUST_BE_HEARD = 75
REST_S = 4.0
"""Of quiet, after which nothing more is expected."""
PIECES = 40
"""In which a rest is slept: of one during which the machine stands still only one of them is lost."""
AT_MOST_S = 60.0
"""For all that is expected; a machine that has other work to do takes its time."""


@asynccontextmanager
async def launch(*arguments: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        executable = find_chromium(None, Path(playwright.chromium.executable_path))
        browser = await playwright.chromium.launch(executable_path=executable, args=list(arguments))
        try:
            yield browser
        finally:
            await browser.close()


async def try_everything(
    context: BrowserContext, page: Page, good: Good, forbidden: Forbidden, told: Callable[[], int], expected: set[str]
) -> None:
    """Take every way. `told` counts what is known of attempts; of `expected` a page is left only when it was heard."""
    frames = []
    for way in WAYS:
        html = forbidden.fill(way.html, way, good.url)
        headers = {name: forbidden.fill(value, way, good.url) for name, value in way.headers.items()}
        good.pages[f"/way/{way.name}"] = (f"<!doctype html><body>{html}</body>", headers)
        frames.append(f"<iframe src='/way/{way.name}'></iframe>")
    good.pages |= {"/all": ("<!doctype html>" + "".join(frames), {}), "/calm": ("calm", {})}
    later = {way.name for way in WAYS if way.leaves} | set(BESIDE)
    bad = f"http://{HOST}:{forbidden.port}"
    await page.goto(f"{good.url}/all", wait_until="commit")
    await rest(lambda: is_read(good) and forbidden.heard >= expected - later, told)
    await page.goto(f"{good.url}/calm")  # what happens when a page is left
    other = await context.new_page()
    for name in BESIDE[:2]:
        with suppress(Error):  # refused
            await other.goto(f"{bad}/{name}")
    with suppress(Error):
        await context.request.get(f"{bad}/{BESIDE[2]}")
    await rest(lambda: forbidden.heard >= expected, told)


def is_read(good: Good) -> bool:
    """Whether every way's page was."""
    return all(f"/way/{way.name}" in good.asked for way in WAYS)


async def rest(enough: Callable[[], bool], told: Callable[[], int]) -> None:
    """Until there is enough, and nothing new has been told for a while. What is missing in the end is not said here."""
    with suppress(TimeoutError):
        async with asyncio.timeout(AT_MOST_S):
            while not enough():  # noqa: ASYNC110 — nothing tells of it
                await asyncio.sleep(0.1)
            seen = None
            while seen != (seen := told()):
                for _ in range(PIECES):
                    await asyncio.sleep(REST_S / PIECES)


def list_names(*, silent: bool) -> set[str]:
    return {way.name for way in WAYS if silent or not way.silent} | set(BESIDE)


async def test_without_a_wall_nearly_every_way_is_heard() -> None:
    names = f"MAP inside.test {HOST}, MAP rebind.test {HOST}"
    expected = list_names(silent=False)
    async with serve_good() as good, forbid(WAYS) as forbidden, launch(f"--host-resolver-rules={names}") as browser:
        context = await browser.new_context()
        page = await context.new_page()
        await try_everything(context, page, good, forbidden, lambda: len(forbidden.heard), expected)
        heard = forbidden.heard - {"?"}
    assert sorted(expected - heard) == []
    assert heard <= list_names(silent=True) | {UNASKED}
    assert len(heard) >= MUST_BE_HEARD
    assert {way.name for way in WAYS if way.silent}.isdisjoint(heard), "it is heard after all: take its excuse away"


async def test_behind_the_wall_nothing_is_heard(good: Good, forbidden: Forbidden, walled: "Walled") -> None:
    def told() -> int:
        return len(forbidden.heard) + sum(walled.egress.tally.refused.values())

    await try_everything(walled.context, walled.page, good, forbidden, told, set())
    assert forbidden.heard == set()
    assert sum(walled.egress.tally.refused.values()) >= MUST_BE_HEARD, "nobody tried"
    assert walled.permit.find_refusal(HOST, forbidden.port) is not None
    assert walled.permit.find_refusal("inside.test", forbidden.port) is not None


class Walled:
    """A context behind the wall."""

    def __init__(self, egress: Egress, permit: Permit, browser: Browser) -> None:
        self.egress = egress
        self.permit = permit
        self.browser = browser

    async def open(self) -> None:
        way_out = WayOut(self.egress.proxy)
        self.context = await self.browser.new_context(proxy=way_out.settings)
        self.page = await self.context.new_page()
        await way_out.greet(self.context, self.page)
        way_out.bind(self.permit)


@pytest.fixture
async def good() -> AsyncIterator[Good]:
    async with serve_good() as running:
        yield running


@pytest.fixture
async def forbidden() -> AsyncIterator[Forbidden]:
    async with forbid(WAYS) as listening:
        yield listening


@pytest.fixture
async def walled(good: Good, forbidden: Forbidden) -> AsyncIterator[Walled]:
    internet = Internet(
        names={"inside.test": [HOST], "rebind.test": [PUBLIC, HOST], "stagedoor.test": [HOST]},
        lands={PUBLIC: int(good.url.rsplit(":", 1)[1])},
        rebinding={"rebind.test"},
    )
    async with Egress([good.url.removeprefix("http://")], door=internet.door()) as egress:
        permit = egress.admit(TENANT, make_permit(TENANT).execution_id)
        async with launch(*make_arguments(egress.proxy)) as browser:
            made = Walled(egress, permit, browser)
            await made.open()
            yield made
        permit.close()
