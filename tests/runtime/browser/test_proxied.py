"""A browser context whose traffic goes on through a proxy that its launch names."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from contracts.credential import CredentialKind
from contracts.execution import FailureCode
from runtime.browser.failure import BrowserFailure
from runtime.browser.options import ContextOptions
from runtime.browser.pool import Lease, Pool
from runtime.egress.upstream import Upstream
from runtime.node import NodeFailure, Opened
from runtime.nodes.browser.launch import LaunchStandardBrowser
from tests.runtime.nodes.stage import MemoryStage
from tests.support.browsers import TENANT, make_permit
from tests.support.relay import Relay
from tests.support.site import Site
from tests.support.socks import SocksRelay

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def relay() -> AsyncIterator[Relay]:
    async with Relay() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def near(pool: Pool, site: Site, relay: Relay) -> AsyncIterator[Lease]:
    """A run that may reach the site and the proxy."""
    permit = make_permit(TENANT, site.host, relay.host)
    async with pool.lease(permit) as lease:
        yield lease
    permit.close()


async def test_pages_come_through_it_and_a_neighbours_do_not(near: Lease, site: Site, relay: Relay) -> None:
    site.pages["/via"] = "<title>via</title><img src='/picture'>"
    page = await near.open_page("node-1", ContextOptions(proxy=Upstream("http", "127.0.0.1", relay.port)))
    await page.open_url(site.url("/via"))
    assert await page.read_title() == "via"
    assert set(relay.asked) == {site.host}
    asked = len(relay.asked)
    neighbour = await near.open_page("node-2")
    await neighbour.open_url(site.url("/via"))
    assert len(relay.asked) == asked
    with pytest.raises(BrowserFailure) as caught:
        await page.open_url("http://127.0.0.1:9/")
    assert caught.value.code is FailureCode.HOST_REFUSED


async def test_a_page_that_is_opened_again_goes_through_it_again(near: Lease, site: Site, relay: Relay) -> None:
    site.pages["/via"] = "<title>via</title>"
    page = await near.open_page("node-1", ContextOptions(proxy=Upstream("http", "127.0.0.1", relay.port)))
    await page.open_url(site.url("/via"))
    state = await page.read_state()
    assert state is not None
    asked = len(relay.asked)
    await near.reopen_page("node-1", state)
    assert len(relay.asked) > asked


async def test_a_proxy_that_may_not_be_reached_is_refused_at_once(lease: Lease, relay: Relay) -> None:
    with pytest.raises(BrowserFailure) as caught:
        await lease.open_page("node-1", ContextOptions(proxy=Upstream("http", "127.0.0.1", relay.port)))
    assert (caught.value.code, caught.value.retryable) == (FailureCode.HOST_REFUSED, False)
    assert lease.permit.find_refusal("127.0.0.1", relay.port) is not None


async def test_why_a_proxy_leads_nowhere_is_said(near: Lease, site: Site, relay: Relay) -> None:
    relay.answer = b"HTTP/1.1 502 Bad Gateway\r\n\r\n"
    page = await near.open_page("node-1", ContextOptions(proxy=Upstream("http", "127.0.0.1", relay.port)))
    with pytest.raises(BrowserFailure, match="its proxy answered 502") as caught:
        await page.open_url(site.url("/"))
    assert caught.value.code is FailureCode.NAVIGATION_FAILED


async def test_a_launch_names_proxy_and_credential(near: Lease, site: Site, relay: Relay) -> None:
    site.pages["/via"] = "<title>via</title>"
    relay.login = ("ada", "canary-31")
    stage = MemoryStage(near)
    stage.opened = Opened(CredentialKind.LOGIN, {"username": "ada", "password": "canary-31"})
    proxy = f"http://{relay.host}"
    inputs = {"Website URL": site.url("/via"), "Proxy": proxy, "Proxy Credential": "out"}
    await LaunchStandardBrowser().perform(inputs, stage)
    assert stage.revealed == [("Proxy Credential", proxy)]
    assert relay.asked


async def test_a_launch_names_a_socks_proxy(pool: Pool, site: Site) -> None:
    site.pages["/via"] = "<title>via</title>"
    async with SocksRelay(login=("ada", "canary-31")) as socks:
        permit = make_permit(TENANT, site.host, socks.host)
        async with pool.lease(permit) as lease:
            stage = MemoryStage(lease)
            stage.opened = Opened(CredentialKind.LOGIN, {"username": "ada", "password": "canary-31"})
            inputs = {"Website URL": site.url("/via"), "Proxy": f"socks5://{socks.host}", "Proxy Credential": "out"}
            await LaunchStandardBrowser().perform(inputs, stage)
        permit.close()
        assert set(socks.asked) == {site.host}


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"Proxy Credential": "out"}, "no proxy"),
        ({"Proxy": "http://ada:pw@proxy.example:8080"}, "user's name or password"),
        ({"Proxy": "http://proxy.example:8080", "Proxy Credential": "out"}, "no login"),
    ],
)
async def test_what_can_not_be_meant(lease: Lease, site: Site, inputs: dict[str, str], said: str) -> None:
    stage = MemoryStage(lease)
    stage.opened = Opened(CredentialKind.TOKEN, {"token": "t"}) if "Proxy Credential" in inputs else None
    with pytest.raises(NodeFailure, match=said) as caught:
        await LaunchStandardBrowser().perform({"Website URL": site.url("/"), **inputs}, stage)
    assert caught.value.code is FailureCode.INVALID_INPUT
