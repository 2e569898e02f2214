"""Waiting, and taking one of two ways."""

from typing import Any

import pytest

from contracts.execution import FailureCode
from runtime.node import NodeFailure
from runtime.nodes.flow import Branch, Delay, Operator, holds
from tests.runtime.nodes.stage import MemoryStage


@pytest.mark.parametrize("duration", [90, "90"])
async def test_it_waits_as_the_stage_lets_it_and_hands_the_page_on(duration: object) -> None:
    stage = MemoryStage(seconds=2)
    assert await Delay().perform({"Duration": duration, "Web Page": "node-1"}, stage) == {"Web Page": "node-1"}
    assert stage.waited == 90


async def test_without_a_page_nothing_goes_on() -> None:
    assert await Delay().perform({"Duration": 0}, MemoryStage()) == {}


@pytest.mark.parametrize("duration", [-1, 4_000, "soon", None])
async def test_waits_that_can_not_be(duration: object) -> None:
    stage = MemoryStage()
    with pytest.raises(NodeFailure) as caught:
        await Delay().perform({"Duration": duration}, stage)
    assert caught.value.code is FailureCode.INVALID_INPUT
    assert stage.waited == 0


@pytest.mark.parametrize(
    ("left", "how", "right", "so"),
    [
        ("Sold out", "equals", "Sold out", True),
        ("Sold out", "equals", "sold out", False),
        ("10.0", "equals", 10, True),
        (0.1, "equals", "0.1", True),
        ("1e2", "equals", "100", True),
        (9007199254740993, "equals", "9007199254740992", False),
        ("007", "equals", "7", False),
        ("+1", "equals", 1, False),
        (True, "equals", "true", True),
        (True, "equals", 1, False),
        (None, "equals", "", True),
        ([1, {"a": 2}], "equals", '[1, {"a": 2}]', True),
        ({"a": 1}, "not equals", {"a": 2}, True),
        ("9", "less than", "10", True),
        (9, "greater than", " 10 ", False),
        ("-3", "less than or equal", -3.0, True),
        (3, "greater than or equal", "3.00", True),
        ("2026-11-28", "greater than", "2026-02-01", True),
        ("b", "less than", "a", False),
        ("Lamp, 20 left", "contains", "20", True),
        (12345, "contains", 34, True),
        ("Lamp", "does not contain", "lamp", True),
        (["a", 2], "contains", "2", True),
        (["ab"], "contains", "a", False),
        ({"sku": 1}, "contains", "sku", True),
        ("In stock", "starts with", "In", True),
        ("In stock", "ends with", "in", False),
        (1.0, "ends with", "1", True),
        ("", "is empty", None, True),
        (" \n", "is empty", None, True),
        (None, "is empty", None, True),
        ([], "is empty", None, True),
        ({}, "is not empty", None, False),
        (0, "is empty", None, False),
        (False, "is not empty", None, True),
    ],
)
def test_comparisons(left: Any, how: Operator, right: Any, so: bool) -> None:  # noqa: FBT001
    assert holds(left, how, right) is so


@pytest.mark.parametrize(
    ("left", "how", "right", "said"),
    [
        ("$ 19.99", "greater than", 10, "Left Value is a text that is no number, Right Value a number"),
        (5, "less than", [1], "Left Value is a number, Right Value a list"),
        (True, "less than", False, "Left Value is true or false, Right Value true or false"),
        (None, "greater than or equal", 1, "Left Value is nothing, Right Value a number"),
        (None, "contains", "a", "Left Value is nothing"),
        ({"a": 1}, "starts with", "a", "Left Value is an object"),
        ("a", "does not contain", ["a"], "Right Value is a list"),
    ],
)
def test_what_can_not_be_compared_is_said_without_its_value(left: Any, how: Operator, right: Any, said: str) -> None:
    with pytest.raises(NodeFailure, match=said) as caught:
        holds(left, how, right)
    assert (caught.value.code, caught.value.retryable) == (FailureCode.INVALID_INPUT, False)
    assert "19.99" not in caught.value.message


async def test_exactly_one_way_is_live_and_the_left_value_goes_on() -> None:
    values = {"Left Value": ["x"], "Operator": "contains", "Right Value": "x"}
    taken = await Branch().perform(values, MemoryStage())
    assert taken == {"True Path": "taken", "Result": True, "Data": ["x"]}
    other = await Branch().perform({**values, "Right Value": "y"}, MemoryStage())
    assert other == {"False Path": "taken", "Result": False, "Data": ["x"]}


async def test_emptiness_needs_no_right_value_and_an_operator_must_be_one() -> None:
    outputs = await Branch().perform({"Left Value": None, "Operator": "is empty"}, MemoryStage())
    assert outputs == {"True Path": "taken", "Result": True, "Data": None}
    with pytest.raises(NodeFailure) as caught:
        await Branch().perform({"Left Value": 1, "Operator": "is", "Right Value": 1}, MemoryStage())
    assert caught.value.code is FailureCode.INVALID_INPUT
