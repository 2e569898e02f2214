"""Waiting."""

import pytest

from contracts.execution import FailureCode
from runtime.node import NodeFailure
from runtime.nodes.flow import Delay
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
