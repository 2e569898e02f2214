"""Nodes that open pages and go from one to the next."""

from typing import Annotated

from pydantic import Field

from runtime.browser.page import NAVIGATION_S, Page, Visibility
from runtime.handles import NoEdge, Values
from runtime.node import Node, Stage
from runtime.nodes.browser.pages import Address, PageInputs, PageOutputs, Selector, choose_timeout

_FIRST_FAULTY_STATUS = 400
_GROUP = "Browser"


class LaunchInputs(Values):
    """Where to begin."""

    website_url: Annotated[Address, NoEdge()] = Field(
        alias="Website URL", description="Address of the first page, with http:// or https://."
    )


class LaunchStandardBrowser(Node[LaunchInputs, PageOutputs]):
    """Opens a browser context of its own, so that two of them share no cookies and no storage."""

    type_id, title, group, icon = "launch_standard_browser", "Launch browser", _GROUP, "globe"
    description = "Opens a fresh browser on a page. Each one has cookies and storage of its own."
    credits = 5
    can_be_start_node = True

    async def run(self, inputs: LaunchInputs, stage: Stage) -> PageOutputs:
        """Open a page and load the address."""
        ref = await stage.open_page()
        await _open(stage.page(ref), inputs.website_url, stage)
        return PageOutputs(web_page=ref)


class NavigateInputs(PageInputs):
    """Where to go."""

    url: Address = Field(alias="URL", description="Address to go to, with http:// or https://.")


class Navigate(Node[NavigateInputs, PageOutputs]):
    """Goes to another address in the same context."""

    type_id, title, group, icon = "navigate", "Go to address", _GROUP, "arrow-right"
    description = "Goes to another address in the same browser, with its cookies."

    async def run(self, inputs: NavigateInputs, stage: Stage) -> PageOutputs:
        """Load the address."""
        await _open(stage.page(inputs.web_page), inputs.url, stage)
        return PageOutputs(web_page=inputs.web_page)


class WaitInputs(PageInputs):
    """What to wait for."""

    selector: Selector = Field(alias="Selector", description="CSS, XPath (//…), text=… or role=…: what to wait for.")
    visibility: Annotated[Visibility, NoEdge()] = Field(
        alias="Visibility", description="Wait until it can be seen (visible), or until it can't any more (hidden)."
    )


class WaitForElement(Node[WaitInputs, PageOutputs]):
    """Waits for as long as the node may take."""

    type_id, title, group, icon = "wait_for_element", "Wait for element", _GROUP, "eye"
    description = "Waits until something appears on the page, or until it is gone."

    async def run(self, inputs: WaitInputs, stage: Stage) -> PageOutputs:
        """Wait."""
        timeout_s = choose_timeout(stage, stage.seconds_left)
        await stage.page(inputs.web_page).wait_for(inputs.selector, inputs.visibility, timeout_s=timeout_s)
        return PageOutputs(web_page=inputs.web_page)


async def _open(page: Page, url: str, stage: Stage) -> None:
    status = await page.open_url(url, timeout_s=choose_timeout(stage, NAVIGATION_S))
    if status is not None and status >= _FIRST_FAULTY_STATUS:
        await stage.log("warning", f"{page.url} answered {status}; the page it came with is open.")


NODES = (LaunchStandardBrowser, Navigate, WaitForElement)
