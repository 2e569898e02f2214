"""Nodes that do to a page what a person's hands would."""

from typing import Annotated

from pydantic import Field, StringConstraints

from runtime.browser.page import ACTION_S
from runtime.handles import MayHoldSecret
from runtime.node import Node, Stage
from runtime.nodes.browser.pages import PageInputs, PageOutputs, Selector, choose_timeout

_GROUP = "Browser"


class FillInputs(PageInputs):
    """Which field, and what goes in."""

    selector: Selector = Field(alias="Selector", description="CSS, XPath (//…), text=… or role=…: the field.")
    value: Annotated[str, StringConstraints(max_length=100_000), MayHoldSecret()] = Field(
        alias="Value",
        description=(
            "The text that replaces what is in the field; empty clears it. {{credential.NAME.FIELD}} stands for a "
            "credential's field, and is typed on that credential's domains only."
        ),
    )


class FillInput(Node[FillInputs, PageOutputs]):
    """Replaces the value of a field; doing it twice is doing it once."""

    type_id, title, group, icon = "fill_input", "Fill in field", _GROUP, "text-cursor-input"
    description = "Types a text into a field of the page, in place of what is there."
    edits = True

    async def run(self, inputs: FillInputs, stage: Stage) -> PageOutputs:
        """Fill it in."""
        page, timeout_s = stage.page(inputs.web_page), choose_timeout(stage, ACTION_S)
        if not stage.holds_credentials("Value"):
            await page.fill(inputs.selector, inputs.value, timeout_s=timeout_s)
            return PageOutputs(web_page=inputs.web_page)

        async def reveal(url: str) -> str:
            return str(await stage.reveal("Value", inputs.value, url))

        await page.fill_secret(inputs.selector, reveal, timeout_s=timeout_s)
        await stage.log("info", f"Typed a credential on {page.url}.")
        return PageOutputs(web_page=inputs.web_page)


class ClickInputs(PageInputs):
    """What to click."""

    selector: Selector = Field(
        alias="Selector", description="CSS, XPath (//…), text=… or role=…: the first match is clicked."
    )


class ClickElement(Node[ClickInputs, PageOutputs]):
    """Clicks once. Not safe: a click may buy something."""

    type_id, title, group, icon = "click_element", "Click", _GROUP, "mouse-pointer-click"
    description = "Clicks an element, once it can be clicked. It is tried once only, as a click may order something."
    safe = False

    async def run(self, inputs: ClickInputs, stage: Stage) -> PageOutputs:
        """Click it."""
        await stage.page(inputs.web_page).click(inputs.selector, timeout_s=choose_timeout(stage, ACTION_S))
        return PageOutputs(web_page=inputs.web_page)


class SelectInputs(PageInputs):
    """Which list, and which of its options."""

    selector: Selector = Field(alias="Selector", description="CSS, XPath (//…) or role=…: the list (a select element).")
    option: Annotated[str, StringConstraints(min_length=1, max_length=2_000)] = Field(
        alias="Option", description="The option's value, or the text it shows."
    )


class SelectOption(Node[SelectInputs, PageOutputs]):
    """Chooses from a drop-down list; doing it twice is doing it once."""

    type_id, title, group, icon = "select_option", "Select option", _GROUP, "list-checks"
    description = "Chooses an option of a drop-down list."
    edits = True

    async def run(self, inputs: SelectInputs, stage: Stage) -> PageOutputs:
        """Choose it."""
        page = stage.page(inputs.web_page)
        await page.select(inputs.selector, inputs.option, timeout_s=choose_timeout(stage, ACTION_S))
        return PageOutputs(web_page=inputs.web_page)


NODES = (FillInput, ClickElement, SelectOption)
