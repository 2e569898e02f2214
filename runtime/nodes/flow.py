"""Nodes that say when things happen."""

from typing import Annotated

from pydantic import Field

from runtime.handles import PageRef, Values
from runtime.node import Node, Stage

_MAX_S = 3_600


class DelayInputs(Values):
    """How long."""

    duration: Annotated[float, Field(ge=0, le=_MAX_S)] = Field(alias="Duration", description="Seconds to wait.")
    web_page: PageRef | None = Field(
        default=None, alias="Web Page", description="A page to hold meanwhile, for the node after the wait."
    )


class DelayOutputs(Values):
    """The page, if there is one."""

    web_page: PageRef | None = Field(default=None, alias="Web Page", description="The page that came in.")


class Delay(Node[DelayInputs, DelayOutputs]):
    """Waits; the node's time limit and the execution's stand still meanwhile."""

    type_id, title, group, icon = "delay", "Delay", "Flow", "timer"
    description = "Waits for a number of seconds."
    can_be_start_node = True

    async def run(self, inputs: DelayInputs, stage: Stage) -> DelayOutputs:
        """Wait."""
        await stage.wait(inputs.duration)
        return DelayOutputs(web_page=inputs.web_page) if inputs.web_page is not None else DelayOutputs()


NODES = (Delay,)
