"""Filling in, clicking, choosing."""

import pytest
import pytest_asyncio

from contracts.execution import FailureCode
from runtime.browser.pool import Lease
from runtime.node import NodeFailure
from runtime.nodes.browser.act import ClickElement, FillInput, SelectOption
from tests.runtime.nodes.stage import MemoryStage
from tests.support.site import Site

pytestmark = pytest.mark.asyncio(loop_scope="session")

FORM = """<input id=n><select id=s><option value=1>One</option><option value=2>Two</option></select>
<button onclick="document.title = n.value + s.value">go</button>"""
PAGE = {"Web Page": "node-1"}


@pytest_asyncio.fixture(loop_scope="session")
async def stage(lease: Lease, site: Site) -> MemoryStage:
    site.pages["/act"] = FORM
    await (await lease.open_page("node-1")).open_url(site.url("/act"))
    return MemoryStage(lease)


async def test_a_form_is_filled_in_and_sent(stage: MemoryStage) -> None:
    assert await FillInput().perform({"Selector": "#n", "Value": "Ada", **PAGE}, stage) == PAGE
    assert await SelectOption().perform({"Selector": "#s", "Option": "Two", **PAGE}, stage) == PAGE
    assert await ClickElement().perform({"Selector": "text=go", **PAGE}, stage) == PAGE
    assert stage.lease is not None
    assert await stage.lease.page("node-1").read_title() == "Ada2"


async def test_numbers_are_typed_as_text_and_nothing_clears(stage: MemoryStage) -> None:
    for value, title in ((42, "421"), ("", "1")):
        await FillInput().perform({"Selector": "#n", "Value": value, **PAGE}, stage)
        await ClickElement().perform({"Selector": "text=go", **PAGE}, stage)
        assert stage.lease is not None
        assert await stage.lease.page("node-1").read_title() == title


@pytest.mark.usefixtures("playwright_first")
async def test_a_wrong_selector_and_one_that_finds_nothing_are_told_apart(stage: MemoryStage) -> None:
    short = MemoryStage(stage.lease, seconds=0.5)
    for selector, code in (("[[", FailureCode.INVALID_SELECTOR), ("#none", FailureCode.ELEMENT_NOT_FOUND)):
        with pytest.raises(NodeFailure) as caught:
            await ClickElement().perform({"Selector": selector, **PAGE}, short)
        assert (caught.value.code, caught.value.retryable) == (code, False)


async def test_what_was_typed_never_shows_in_a_failure(stage: MemoryStage) -> None:
    with pytest.raises(NodeFailure) as caught:
        await FillInput().perform({"Selector": "button", "Value": "hunter2", **PAGE}, stage)
    assert "hunter2" not in f"{caught.value} {caught.value.hint}"
    with pytest.raises(NodeFailure) as caught:
        await FillInput().perform({"Selector": "#n", "Value": ["hunter2"], **PAGE}, stage)
    assert caught.value.code is FailureCode.INVALID_INPUT
    assert "Value" in caught.value.message
    assert "hunter2" not in f"{caught.value} {caught.value.hint}"
