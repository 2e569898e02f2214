"""Text out of markup."""

import pytest

from contracts.execution import FailureCode
from runtime.node import NodeFailure
from runtime.nodes.data import GetTextFromHtml
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
