"""Nodes that go from one page to the next."""

from typing import Annotated

from pydantic import Field

from runtime.browser.page import Visibility
from runtime.handles import NoEdge
from runtime.node import Node, Stage
from runtime.nodes.browser.pages import Address, PageInputs, PageOutputs, Selector, choose_timeout, open_address

_GROUP = "Browser"


class NavigateInputs(PageInputs):
    """Where to go."""

    url: Address = Field(alias="URL", description="Address to go to, with http:// or https://.")


class Navigate(Node[NavigateInputs, PageOutputs]):
    """Goes to another address in the same context."""

    type_id, title, group, icon = "navigate", "Go to address", _GROUP, "arrow-right"
    description = "Goes to another address in the same browser, with its cookies."

    async def run(self, inputs: NavigateInputs, stage: Stage) -> PageOutputs:
        """Load the address."""
        await open_address(stage.page(inputs.web_page), inputs.url, stage)
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


NODES = (Navigate, WaitForElement)
