"""Nodes that make data from data, without a page."""

import asyncio
from typing import Annotated

from pydantic import Field, StringConstraints
from selectolax.lexbor import LexborHTMLParser, SelectolaxError

from contracts.execution import FailureCode
from runtime.handles import Html, Values
from runtime.node import Node, NodeFailure, Stage

_MAX_HTML = 5_000_000
_LARGE = 100_000
"""Characters above which parsing leaves the event loop: it takes about 20 ms per million."""
_UNSEEN = ("script", "style", "template")
"""Elements whose text nobody sees; read only where the selector asks for them."""


class TextInputs(Values):
    """What to read, and where from."""

    html: Html = Field(alias="Html", description="Markup, such as Get HTML puts out.")
    selector: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2_000)] = Field(
        alias="Selector", description="CSS: whose text to read."
    )


class TextOutputs(Values):
    """The text."""

    text: str = Field(alias="Text", description="The text of every match, one a line.")


class GetTextFromHtml(Node[TextInputs, TextOutputs]):
    """Reads text out of markup that is already here, so it needs no page."""

    type_id, title, group, icon = "get_text_from_html", "Get text from HTML", "Extraction", "text"
    description = "Reads the text of the elements that a CSS selector finds in markup."
    credits = 2

    async def run(self, inputs: TextInputs, stage: Stage) -> TextOutputs:
        """Parse and read."""
        if len(inputs.html) > _MAX_HTML:
            raise NodeFailure(
                FailureCode.OUTPUT_TOO_LARGE,
                f"The markup has {len(inputs.html)} characters; at most {_MAX_HTML} are read.",
                "Read a part of the page instead, with Extract list.",
            )
        if len(inputs.html) > _LARGE:
            found = await asyncio.to_thread(_read_texts, inputs.html, inputs.selector)
        else:
            found = _read_texts(inputs.html, inputs.selector)
        if not found:
            raise NodeFailure(
                FailureCode.ELEMENT_NOT_FOUND,
                f"Nothing in the markup matched “{inputs.selector}”.",
                "Check the selector against the markup, or wait for the element before reading the page.",
            )
        return TextOutputs(text="\n".join(found))


def _read_texts(html: str, selector: str) -> list[str]:
    tree = LexborHTMLParser(html)
    if not any(tag in selector for tag in _UNSEEN):
        tree.strip_tags(list(_UNSEEN))
    try:
        return [" ".join(node.text(separator=" ").split()) for node in tree.css(selector)]
    except SelectolaxError as error:
        raise NodeFailure(
            FailureCode.INVALID_SELECTOR,
            f"“{selector}” is not a CSS selector.",
            "Markup is read with CSS only: h1, .price, table td:nth-child(2).",
        ) from error


NODES = (GetTextFromHtml,)
