"""Text out of markup, and values put together."""

from typing import Any

import pytest

from contracts.execution import FailureCode
from runtime.node import NodeFailure
from runtime.nodes.data import GetTextFromHtml, MergeData
from runtime.nodes.data import merge as merge_values
from tests.runtime.nodes.stage import MemoryStage

HTML = "<h1> Big  <b>sale</b> </h1><p>one<script>hide()</script></p><p>two</p><style>p {}</style>"


async def read(html: str, selector: str) -> str:
    text: str = (await GetTextFromHtml().perform({"Html": html, "Selector": selector}, MemoryStage()))["Text"]
    return text


async def test_every_match_is_a_line_without_what_nobody_sees() -> None:
    assert await read(HTML, "h1") == "Big sale"
    assert await read(HTML, "p") == "one\ntwo"
    assert await read(HTML, "script") == "hide()"


async def test_large_markup_is_read_off_the_loop_with_the_same_result() -> None:
    assert await read("<i>x</i>" * 20_000 + "<h1>end</h1>", "h1") == "end"


@pytest.mark.parametrize(
    ("html", "selector", "code"),
    [
        (HTML, "h2", FailureCode.ELEMENT_NOT_FOUND),
        (HTML, "//h1", FailureCode.INVALID_SELECTOR),
        (HTML, "a[", FailureCode.INVALID_SELECTOR),
        (HTML, " ", FailureCode.INVALID_INPUT),
        ("x" * 5_000_001, "h1", FailureCode.OUTPUT_TOO_LARGE),
    ],
)
async def test_what_can_not_be_read(html: str, selector: str, code: FailureCode) -> None:
    with pytest.raises(NodeFailure) as caught:
        await read(html, selector)
    assert (caught.value.code, caught.value.retryable) == (code, False)


async def merge(strategy: str | None = None, **data: list[Any]) -> Any:
    values: dict[str, Any] = {name.replace("_", " ").title(): values for name, values in data.items()}
    if strategy:
        values["Merge Strategy"] = strategy
    return (await MergeData().perform(values, MemoryStage()))["Merged Data"]


NESTED = {"a": {"b": 1, "c": [1]}, "d": 1}


@pytest.mark.parametrize(
    ("strategy", "merged"),
    [
        (None, {"a": {"c": [2]}, "d": 1, "e": 3}),
        ("overwrite", {"a": {"c": [2]}, "d": 1, "e": 3}),
        ("deep", {"a": {"b": 1, "c": [2]}, "d": 1, "e": 3}),
        ("append", [NESTED, {"a": {"c": [2]}}, {"e": 3}]),
        ("first", NESTED),
    ],
)
async def test_values_are_merged_in_the_order_of_inputs_and_edges(strategy: str | None, merged: Any) -> None:
    assert (
        await merge(strategy, data_1=[NESTED, {"a": {"c": [2]}}], data_3=['{"e": 3}' if strategy is None else {"e": 3}])
        == merged
    )


@pytest.mark.parametrize("data", [{"data_1": ["only"]}, {"data_2": ["only"]}, {"data_4": ["only"]}])
async def test_the_one_value_of_a_branchs_side_is_handed_on_as_it_is(data: dict[str, list[Any]]) -> None:
    assert [await merge(strategy, **data) for strategy in ("overwrite", "deep", "first")] == ["only"] * 3
    assert await merge("append", **data) == ["only"]


async def test_appending_joins_lists_and_takes_anything_else_as_an_item() -> None:
    assert await merge("append", data_1=[[1, [2]], "[3]"], data_2=[None, {"a": 1}]) == [1, [2], "[3]", None, {"a": 1}]


@pytest.mark.parametrize("strategy", ["overwrite", "deep"])
@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("secret", "a text"),
        ([1], "a list"),
        (7, "a number"),
        (None, "nothing"),
        (True, "true or false"),
        ("[" * 9_999, "a text"),
    ],
)
async def test_what_is_no_object_is_not_merged_by_key(strategy: str, value: Any, kind: str) -> None:
    with pytest.raises(NodeFailure) as caught:
        await merge(strategy, data_1=[{}], data_2=[value])
    assert (caught.value.code, caught.value.retryable) == (FailureCode.INVALID_INPUT, False)
    assert caught.value.message.startswith(f"Value 2 of the 2 that arrived is {kind};")


def test_objects_within_objects_end_somewhere() -> None:
    one: dict[str, Any] = {}
    other: dict[str, Any] = {"x": 1}
    for _ in range(5_000):
        one, other = {"o": one}, {"o": other}
    merged = merge_values([one, other], "deep")
    for _ in range(5_000):
        merged = merged["o"]
    assert merged == {"x": 1}
