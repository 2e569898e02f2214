"""Nodes that make data from data, without a page."""

import asyncio
from collections.abc import Sequence
from itertools import chain
from typing import Annotated, Any, Literal, assert_never

from pydantic import Field, StringConstraints
from pydantic_core import from_json
from selectolax.lexbor import LexborHTMLParser, SelectolaxError

from contracts.execution import FailureCode
from runtime.handles import Html, JsonData, Merging, Values
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


Strategy = Literal["overwrite", "deep", "append", "first"]
Parts = Annotated[list[JsonData], Merging()]
_MAX_DEPTH = 100
"""Levels of objects within objects that are merged; below, the later value stands whole."""


class MergeInputs(Values):
    """The values, each input's in the order of its edges."""

    data_1: Annotated[list[JsonData], Merging(required=True)] = Field(
        default=[], alias="Data 1", description="The first value. Several edges may end here, as from a branch's sides."
    )
    data_2: Annotated[list[JsonData], Merging(required=True)] = Field(
        default=[], alias="Data 2", description="The second. Needless where two edges end in another of these inputs."
    )
    data_3: Parts = Field(default=[], alias="Data 3", description="Another.")
    data_4: Parts = Field(default=[], alias="Data 4", description="And another.")
    merge_strategy: Strategy = Field(
        default="overwrite",
        alias="Merge Strategy",
        description=(
            "overwrite: one object with the keys of all, where the later value wins. deep: the same, and objects "
            "within them are merged too. append: one list of all; lists are joined, anything else is an item. first: "
            "the first value that is there. A single value is handed on as it is, except that append makes a list."
        ),
    )


class MergeOutputs(Values):
    """What they came to."""

    merged_data: JsonData = Field(alias="Merged Data", description="The values put together.")


class MergeData(Node[MergeInputs, MergeOutputs]):
    """Puts values together. After a branch only the side that was taken brings one, and that is enough."""

    type_id, title, group, icon = "merge_data", "Merge data", "Data", "merge"
    description = "Puts the values together that arrive; behind a branch it goes on with those of the side taken."

    async def run(self, inputs: MergeInputs, stage: Stage) -> MergeOutputs:
        """Merge."""
        values = [*inputs.data_1, *inputs.data_2, *inputs.data_3, *inputs.data_4]
        return MergeOutputs(merged_data=merge(values, inputs.merge_strategy))


def merge(values: Sequence[Any], strategy: Strategy) -> Any:
    """At least one value, merged in order. Raises NodeFailure (invalid_input) for what is no object and has to be."""
    match strategy:
        case "first":
            return values[0]
        case "append":
            return list(chain.from_iterable(value if isinstance(value, list) else [value] for value in values))
        case "overwrite" | "deep" if len(values) == 1:
            return values[0]
        case "overwrite":
            merged: dict[str, Any] = {}
            for number, value in enumerate(values, start=1):
                merged |= _read_object(value, number, len(values))
            return merged
        case "deep":
            merged = {}
            for number, value in enumerate(values, start=1):
                merged = _merge_into(merged, _read_object(value, number, len(values)), _MAX_DEPTH)
            return merged
        case _:
            assert_never(strategy)


def _merge_into(base: dict[str, Any], more: dict[str, Any], depth: int) -> dict[str, Any]:
    merged = dict(base)
    for key, value in more.items():
        known = merged.get(key)
        if depth > 1 and isinstance(known, dict) and isinstance(value, dict):
            merged[key] = _merge_into(known, value, depth - 1)
        else:
            merged[key] = value
    return merged


def _read_object(value: Any, number: int, count: int) -> dict[str, Any]:
    """The object that a value is, or that its JSON text says."""
    found = value
    if isinstance(value, str):
        try:
            found = from_json(value, allow_inf_nan=False)
        except ValueError:
            found = None
    if isinstance(found, dict):
        return found
    kind = {str: "a text", list: "a list", bool: "true or false", type(None): "nothing"}.get(type(value), "a number")
    raise NodeFailure(
        FailureCode.INVALID_INPUT,
        f"Value {number} of the {count} that arrived is {kind}; only objects are merged key by key.",
        "Choose the Merge Strategy “append” to make a list of them, or “first” to take the first.",
    )


NODES = (GetTextFromHtml, MergeData)
