"""Addresses that are no web: no way leads a page there, in a headless shell and in a whole Chromium."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Error

from contracts.execution import FailureCode
from runtime.browser.driver import find_browser
from runtime.browser.failure import BrowserFailure
from runtime.browser.jail import Jail
from runtime.browser.page import Page
from runtime.browser.policy import PLACES, POLICY
from runtime.browser.pool import Pool, PoolOptions
from tests.support.browsers import TENANT, make_permit, open_pool
from tests.support.site import Site
from tests.support.whole import demand_whole

pytestmark = pytest.mark.asyncio(loop_scope="module")

ADDRESSES = [
    "file:///etc/passwd",
    "file:///",
    "view-source:file:///etc/passwd",
    "view-source:http://127.0.0.1/",
    "chrome://version/",
    "chrome://settings/",
    "chrome-untrusted://terminal/",
    "chrome-extension://mhjfbmdgcfjbbpaeojofohoefgiehjai/index.html",
    "devtools://devtools/bundled/inspector.html",
]
NOT_ALONE = "chrome://settings"
"""Playwright refuses what would crash a browser with contexts."""
SCHEMES = ("file:", "view-source:", "chrome:", "chrome-untrusted:", "chrome-extension:", "devtools:")


@pytest.fixture(params=["headless shell", "whole"], scope="module")
def kind(request: pytest.FixtureRequest) -> str:
    """Of browser."""
    name: str = request.param
    return name


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browsers(kind: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pool]:
    """A pool of that kind of browser."""
    path = await demand_whole() if kind == "whole" else await find_browser(None)
    if kind == "headless shell" and "shell" not in path.name:
        pytest.skip("there is no headless shell on this machine")
    folder = tmp_path_factory.mktemp("policy")
    async with open_pool(PoolOptions(folder, browser_path=path, spare=False)) as pool:
        yield pool


@pytest_asyncio.fixture(loop_scope="module")
async def page(browsers: Pool, site: Site) -> AsyncIterator[Page]:
    permit = make_permit(TENANT, site.host)
    async with browsers.lease(permit) as lease:
        yield await lease.open_page("a")
    permit.close()


def lead(address: str) -> str:
    """A page that leads there by every way that pages have."""
    return f"""<title>lead</title><a id=a href='{address}'>a</a><a id=b href='{address}' target=_blank>b</a>
      <iframe src='{address}'></iframe><object data='{address}'></object><embed src='{address}'>
      <iframe src='/go?to={address}'></iframe>
      <iframe srcdoc="<meta http-equiv=refresh content='0;url={address}'>"></iframe>
      <form id=f action='{address}' target=_blank></form>
      <script>const attempt = act => {{ try {{ act() }} catch (e) {{}} }};
      onload = () => setTimeout(() => {{
        attempt(() => window.open('{address}')); attempt(() => window.open('/go?to={address}'));
        attempt(() => f.submit()); attempt(() => location = '{address}');
        attempt(() => location.assign('{address}')); }}, 50)</script>"""


@pytest.mark.parametrize("address", ADDRESSES)
async def test_no_way_of_a_page_leads_there(page: Page, site: Site, address: str) -> None:
    site.pages["/lead"] = lead(address)
    await page.open_url(site.url("/lead"))
    await asyncio.sleep(1.0)
    for link in ("#b", "#a"):
        with contextlib.suppress(BrowserFailure):  # where Chromium has put its error page in the place of this one
            await page.click(link, timeout_s=2)
    await asyncio.sleep(1.0)
    assert f"/go?to={address}" in site.requests, "nobody tried"
    shown = [frame.url for one in page._context.pages for frame in one.frames]
    assert not [url for url in shown if url.startswith(SCHEMES)]
    with pytest.raises(BrowserFailure):
        await page.open_url(site.url(f"/go?to={address}"))


@pytest.mark.parametrize("address", ADDRESSES)
async def test_runtime_sends_no_page_there(page: Page, address: str) -> None:
    with pytest.raises(BrowserFailure, match="is not an http or https address") as caught:
        await page.open_url(address)
    assert caught.value.code is FailureCode.HOST_REFUSED


@pytest.mark.parametrize("address", ADDRESSES)
async def test_chromium_itself_goes_there_for_nobody(browsers: Pool, page: Page, kind: str, address: str) -> None:
    """Past every check of ours: what is left is managed policy, and the jail's files where there is none."""
    found = browsers.figures.confinement
    assert found is not None
    if found.jail is not Jail.NAMESPACE:
        pytest.skip("without a jail, policy and files are those of the machine")
    if address.startswith(NOT_ALONE):
        pytest.skip("Playwright goes there for nobody either")
    if kind == "headless shell" and (address == "file:///" or address.startswith("view-source:http")):
        await page._page.goto(address)
        words = (await page._page.inner_text("body")).split()
        assert {"home", "root", "srv", "work"}.isdisjoint(words)
        return
    with pytest.raises(Error, match="net::ERR_") as caught:
        await page._page.goto(address)
    if kind == "whole" and not address.startswith("view-source:"):  # of which it says only that it was broken off
        assert "ERR_BLOCKED_BY_ADMINISTRATOR" in caught.value.message


async def test_the_policy_is_one_that_chromium_can_read() -> None:
    policy = json.loads(await asyncio.to_thread(POLICY.read_text))
    blocked = {one.split(":")[0] for one in policy["URLBlocklist"]}
    assert blocked == {scheme.removesuffix(":") for scheme in SCHEMES}
    assert all(place.startswith("/etc/") and "/policies/managed/" in place for place in PLACES)
