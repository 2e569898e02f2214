"""What a node type is: one class that says all."""

from typing import Any, ClassVar

import pytest
from pydantic import Field

from contracts.execution import FailureCode
from runtime.browser.failure import BrowserFailure
from runtime.handles import Values
from runtime.node import Node, NodeFailure, Stage
from tests.runtime.nodes.stage import MemoryStage


class In(Values):
    text: str = Field(alias="The Text", description="A text.")


class Out(Values):
    left: str = Field(default="", alias="Left", description="One way.")
    right: str | None = Field(default=None, alias="Right", description="The other way.")


class Echo(Node[In, Out]):
    type_id, title, group, icon = "echo", "Echo", "Test", "box"
    description = "Says it again."
    raises: ClassVar[Exception | None] = None

    async def run(self, inputs: In, stage: Stage) -> Out:
        if self.raises:
            raise self.raises
        return Out(right=inputs.text)


async def test_values_go_in_and_out_by_display_name_and_what_was_not_set_is_dead() -> None:
    assert await Echo().perform({"The Text": "x"}, MemoryStage()) == {"Right": "x"}


async def test_a_browsers_failure_becomes_the_nodes() -> None:
    class Broken(Echo):
        raises = BrowserFailure(FailureCode.TIMEOUT, "Too slow.", "Wait.", retryable=True, page_url="http://x/")

    with pytest.raises(NodeFailure) as caught:
        await Broken().perform({"The Text": "x"}, MemoryStage())
    described = caught.value.describe("n1")
    assert caught.value.retryable
    assert (described.code, described.message, described.hint) == (FailureCode.TIMEOUT, "Too slow.", "Wait.")
    assert (described.node_id, described.page_url) == ("n1", "http://x/")


@pytest.mark.parametrize("values", [{}, {"The Text": ["secret"]}, {"The Text": "x", "Secret": "secret"}])
async def test_inputs_that_do_not_fit_are_named_without_their_value(values: dict[str, Any]) -> None:
    with pytest.raises(NodeFailure) as caught:
        await Echo().perform(values, MemoryStage())
    assert caught.value.code is FailureCode.INVALID_INPUT
    assert "secret" not in caught.value.message


def test_a_class_that_lacks_a_fact_is_refused() -> None:
    with pytest.raises(TypeError, match="lacks title, group, icon, description"):

        class Nameless(Node[In, Out]):
            type_id = "nameless"

    with pytest.raises(TypeError, match=r"must say Node\[Inputs, Outputs\]"):

        class Untyped(Node):  # type: ignore[type-arg]
            type_id, title, group, icon, description = "untyped", "Untyped", "Test", "box", "None."
