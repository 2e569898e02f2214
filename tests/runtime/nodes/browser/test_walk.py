"""Opening pages, going on, waiting."""

import socket
from pathlib import Path

import pytest

from contracts.execution import FailureCode
from runtime.browser.pool import Lease, Pool, PoolOptions
from runtime.egress.egress import Egress
from runtime.node import NodeFailure
from runtime.nodes.browser.launch import LaunchStandardBrowser
from runtime.nodes.browser.walk import Navigate, WaitForElement
from tests.runtime.egress.played import Internet
from tests.runtime.nodes.stage import MemoryStage
from tests.support.browsers import TENANT, make_permit
from tests.support.site import Site

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_launch_opens_a_page_that_others_can_take_up(lease: Lease, site: Site) -> None:
    site.pages["/home"] = "<title>Home</title>"
    stage = MemoryStage(lease)
    outputs = await LaunchStandardBrowser().perform({"Website URL": f" {site.url('/home')} "}, stage)
    assert outputs == {"Web Page": "node-1"}
    assert lease.page("node-1").url == site.url("/home")
    site.pages["/next"] = "<title>Next</title>"
    assert await Navigate().perform({"URL": site.url("/next"), **outputs}, stage) == outputs
    assert await lease.page("node-1").read_title() == "Next"
    assert stage.lines == []


async def test_a_page_that_is_not_found_is_open_and_noted(lease: Lease, site: Site) -> None:
    stage = MemoryStage(lease)
    await LaunchStandardBrowser().perform({"Website URL": site.url("/none")}, stage)
    assert stage.lines == [("warning", f"{site.url('/none')} answered 404; the page it came with is open.")]


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://192.168.1.1/", FailureCode.HOST_REFUSED),
        ("shop", FailureCode.INVALID_INPUT),
        ("", FailureCode.INVALID_INPUT),
    ],
)
async def test_addresses_that_can_not_be_opened(lease: Lease, url: str, code: FailureCode) -> None:
    with pytest.raises(NodeFailure) as caught:
        await LaunchStandardBrowser().perform({"Website URL": url}, MemoryStage(lease))
    assert (caught.value.code, caught.value.retryable) == (code, False)
    assert caught.value.hint


async def test_a_busy_site_is_worth_another_attempt(lease: Lease, site: Site) -> None:
    with pytest.raises(NodeFailure) as caught:
        await LaunchStandardBrowser().perform({"Website URL": site.url("/status/503")}, MemoryStage(lease))
    assert (caught.value.code, caught.value.retryable) == (FailureCode.NAVIGATION_FAILED, True)
    assert caught.value.page_url == site.url("/status/503")


@pytest.mark.usefixtures("playwright_first")
async def test_waiting_takes_what_time_the_node_has_and_no_more(lease: Lease, site: Site) -> None:
    site.pages["/later"] = "<script>setTimeout(() => document.body.append('here'), 300)</script><body>"
    stage = MemoryStage(lease)
    page = await LaunchStandardBrowser().perform({"Website URL": site.url("/later")}, stage)
    assert await WaitForElement().perform({"Selector": "text=here", "Visibility": "visible", **page}, stage) == page
    with pytest.raises(NodeFailure) as caught:
        await WaitForElement().perform(
            {"Selector": "#never", "Visibility": "visible", **page}, MemoryStage(lease, seconds=0.5)
        )
    assert caught.value.code is FailureCode.ELEMENT_NOT_FOUND


async def test_a_page_nobody_has_opened_is_worth_bringing_back(lease: Lease) -> None:
    with pytest.raises(NodeFailure) as caught:
        await Navigate().perform({"URL": "http://x/", "Web Page": "gone"}, MemoryStage(lease))
    assert (caught.value.code, caught.value.retryable) == (FailureCode.PAGE_CLOSED, True)


@pytest.mark.parametrize(
    ("silence", "code", "retryable"),
    [(0, FailureCode.HOST_NOT_FOUND, False), (socket.EAI_AGAIN, FailureCode.NAVIGATION_FAILED, True)],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_host_that_does_not_exist_is_said_at_once_and_a_silent_resolver_is_waited_for(
    tmp_path: Path, scheme: str, silence: int, code: FailureCode, *, retryable: bool
) -> None:
    door = Internet(silence=silence).door()
    permit = make_permit(TENANT)
    async with (
        Egress(door=door) as egress,
        Pool(PoolOptions(tmp_path, spare=False), egress.proxy) as pool,
        pool.lease(permit) as lease,
    ):
        with pytest.raises(NodeFailure) as caught:
            await LaunchStandardBrowser().perform({"Website URL": f"{scheme}://nosuch.example/"}, MemoryStage(lease))
        assert (caught.value.code, caught.value.retryable) == (code, retryable)
        assert "nosuch.example" in caught.value.message
    permit.close()
