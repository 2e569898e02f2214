"""The ways out that only a whole Chromium takes, over https and with a profile of its own: open without a wall, shut
behind it.

A headless shell leaves four of them out, and so does a context without a profile with asking and connecting ahead;
speculation, reports and late fetches want https. So these run once more, one page after the other in a window of their
own, since a frame has neither icon nor manifest. What is refused tells of itself by its port; a look-up is heard by a
played resolver, which Chromium asks by https, past every proxy, if it asks anybody. The ways by datagram run again
too: what keeps a whole Chromium from them is another switch than a headless shell's.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import BrowserContext, ProxySettings, async_playwright

from runtime.browser.wall import WayOut, make_arguments
from runtime.egress.egress import Egress
from tests.runtime.egress.listeners import HOST, Forbidden, Good, forbid, serve_good
from tests.runtime.egress.resolver import Resolver, serve_names
from tests.runtime.egress.ways import WAYS
from tests.support.browsers import TENANT, make_permit
from tests.support.tls import Tls, make_tls
from tests.support.whole import demand_whole

pytestmark = pytest.mark.timeout(180)

DATAGRAMS = {"stun", "turn-udp", "web-transport"}
LOOK_UP = "dns-prefetch"
"""Nothing is connected to for it."""
TRIED = [way for way in WAYS if way.silent or way.name in DATAGRAMS]
NAME = "inside.test"
PROBE = "www.gstatic.com"
"""Chromium's own question, whether a resolver that it was told of works; it depends on no page."""
AT_MOST_S = 60.0
"""For a way to be heard; all are within a second on a machine at rest."""
REST_S = 2.0
"""After what no proxy hears of, and in the end: for what may still reach the forbidden host."""


@pytest.fixture
def tls(tmp_path: Path) -> Tls:
    return make_tls(tmp_path, HOST)


@pytest.fixture
async def good(tls: Tls) -> AsyncIterator[Good]:
    async with serve_good(tls.server) as running:
        yield running


@pytest.fixture
async def forbidden() -> AsyncIterator[Forbidden]:
    async with forbid(TRIED, secure=True) as listening:
        yield listening


@pytest.fixture
async def resolver(tls: Tls) -> AsyncIterator[Resolver]:
    async with serve_names(tls.server) as running:
        yield running


@pytest.fixture
def profile(tmp_path: Path, resolver: Resolver) -> Path:
    """A profile that has not been used yet."""
    folder = tmp_path / "profile"
    folder.mkdir()
    (folder / "Local State").write_text(json.dumps(resolver.settings))
    return folder


@asynccontextmanager
async def launch(
    profile: Path, tls: Tls, arguments: Sequence[str] = (), proxy: ProxySettings | None = None
) -> AsyncIterator[BrowserContext]:
    path = await demand_whole()
    ours = [f"--ignore-certificate-errors-spki-list={tls.key_hash}", "--short-reporting-delay"]  # a minute else
    async with async_playwright() as playwright:
        context = await playwright.chromium.launch_persistent_context(
            profile, executable_path=path, args=[*ours, *arguments], proxy=proxy
        )
        try:
            yield context
        finally:
            await context.close()


async def try_each(context: BrowserContext, good: Good, forbidden: Forbidden, told: Callable[[str], bool]) -> list[str]:
    """Visit a page for each way, until `told` says of its name that it was taken; answers those that were not."""
    missing = []
    page = context.pages[0]
    for way in TRIED:
        headers = {name: forbidden.fill(value, way, good.url) for name, value in way.headers.items()}
        html = forbidden.fill(way.html, way, good.url)
        good.pages[f"/way/{way.name}"] = (f"<!doctype html><title>{way.name}</title>{html}", headers)
        await page.goto(f"{good.url}/way/{way.name}")
        try:
            async with asyncio.timeout(AT_MOST_S):
                while not told(way.name):  # noqa: ASYNC110 — nothing tells of it
                    await asyncio.sleep(0.05)
        except TimeoutError:
            missing.append(way.name)
    return missing


async def test_without_a_wall_each_is_heard(
    good: Good, forbidden: Forbidden, resolver: Resolver, profile: Path, tls: Tls
) -> None:
    def told(name: str) -> bool:
        return NAME in resolver.asked if name == LOOK_UP else name in forbidden.heard

    async with launch(profile, tls) as context:
        assert await try_each(context, good, forbidden, told) == []


async def test_behind_the_wall_each_is_refused(
    good: Good, forbidden: Forbidden, resolver: Resolver, profile: Path, tls: Tls
) -> None:
    async with Egress([good.url.removeprefix("https://")]) as egress:
        permit = egress.admit(TENANT, make_permit(TENANT).execution_id)
        way_out = WayOut(egress.proxy)

        began: dict[str, float] = {}

        def told(name: str) -> bool:
            """By the proxy, unless it hears nothing of it: names are its own to resolve, and datagrams not its kind."""
            if name == LOOK_UP or name in DATAGRAMS:
                return time.monotonic() - began.setdefault(name, time.monotonic()) > REST_S
            return permit.find_refusal(HOST, forbidden.own[name]) is not None

        async with launch(profile, tls, make_arguments(egress.proxy), way_out.settings) as context:
            await way_out.greet(context, context.pages[0])
            way_out.bind(permit)
            missing = await try_each(context, good, forbidden, told)
            await asyncio.sleep(REST_S)
        permit.close()
    assert forbidden.heard == set()
    assert resolver.asked <= {PROBE}
    assert missing == [], "nobody tried"
