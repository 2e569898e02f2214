"""Nodes that say when things happen, and whether."""

import operator
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic_core import from_json

from contracts.execution import FailureCode
from runtime.engine.casts import apply_cast
from runtime.handles import Condition, PageRef, Unless, Values
from runtime.node import Node, NodeFailure, Stage

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


Operator = Literal[
    "equals",
    "not equals",
    "greater than",
    "greater than or equal",
    "less than",
    "less than or equal",
    "contains",
    "does not contain",
    "starts with",
    "ends with",
    "is empty",
    "is not empty",
]


class BranchInputs(Values):
    """What is compared with what."""

    left_value: Any = Field(alias="Left Value", description="What to look at; it goes on as Data.")
    operator: Operator = Field(
        alias="Operator",
        description=(
            "How to compare. Two numbers compare as numbers, also where a text says them; everything else as text, in "
            "which capitals count. Lists contain items, objects contain keys."
        ),
    )
    right_value: Annotated[Any, Unless("Operator", ("is empty", "is not empty"))] = Field(
        default=None, alias="Right Value", description="What to compare with; needless for “is empty”."
    )


class BranchOutputs(Values):
    """The one way that is taken, and what it was taken for."""

    true_path: Condition | None = Field(default=None, alias="True Path", description="Taken when it is so.")
    false_path: Condition | None = Field(default=None, alias="False Path", description="Taken when it is not so.")
    result: bool = Field(alias="Result", description="Whether it is so.")
    data: Any = Field(alias="Data", description="The left value.")


class Branch(Node[BranchInputs, BranchOutputs]):
    """Takes one of two ways. What hangs on the other is skipped, and a join behind both goes on without it."""

    type_id, title, group, icon = "branch", "Branch", "Flow", "split"
    description = "Compares two values and takes one of two ways; each ends in an Execute Condition."

    async def run(self, inputs: BranchInputs, stage: Stage) -> BranchOutputs:
        """Compare."""
        taken = Condition("taken")
        if holds(inputs.left_value, inputs.operator, inputs.right_value):
            return BranchOutputs(true_path=taken, result=True, data=inputs.left_value)
        return BranchOutputs(false_path=taken, result=False, data=inputs.left_value)


def holds(left: Any, how: Operator, right: Any) -> bool:
    """Whether `left how right` is so. Raises NodeFailure (invalid_input) where the two can't be compared that way."""
    match how:
        case "not equals" | "does not contain" | "is not empty":
            return not holds(left, _OPPOSITES[how], right)
        case "equals":
            return _are_equal(left, right)
        case "contains":
            return _contains(left, right)
        case "is empty":
            return not left.strip() if isinstance(left, str) else left is None or left in ([], {})
        case "starts with" | "ends with":
            text, part = _read_text(left, "Left Value", how), _read_text(right, "Right Value", how)
            return text.startswith(part) if how == "starts with" else text.endswith(part)
        case _:
            return _are_ordered(left, how, right)


_OPPOSITES: Mapping[Operator, Operator] = MappingProxyType(
    {"not equals": "equals", "does not contain": "contains", "is not empty": "is empty"}
)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,99})(?:\.[0-9]{1,99})?(?:[eE][+-]?[0-9]{1,3})?", re.ASCII)
"""As JSON writes one: 007 and +1 are texts, a code or a telephone number."""
_ORDERS: Mapping[Operator, Callable[[Any, Any], bool]] = MappingProxyType(
    {
        "greater than": operator.gt,
        "greater than or equal": operator.ge,
        "less than": operator.lt,
        "less than or equal": operator.le,
    }
)


def _read_number(value: Any) -> Decimal | None:
    """The number that a value is, or that a text says; decimal, so that 0.1 in a text is the 0.1 of a page's data."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    written = value.strip() if isinstance(value, str) else str(value)
    return Decimal(written) if _NUMBER.fullmatch(written) else None


def _are_equal(left: Any, right: Any) -> bool:
    if isinstance(left, dict | list) or isinstance(right, dict | list):
        return bool(_read_json(left) == _read_json(right))
    if (one := _read_number(left)) is not None and (other := _read_number(right)) is not None:
        return one == other
    return _to_text(left) == _to_text(right)


def _are_ordered(left: Any, how: Operator, right: Any) -> bool:
    one, other = _read_number(left), _read_number(right)
    if one is not None and other is not None:
        return _ORDERS[how](one, other)
    if one is None and other is None and isinstance(left, str) and isinstance(right, str):
        return _ORDERS[how](left, right)
    raise NodeFailure(
        FailureCode.INVALID_INPUT,
        f"“{how}” compares two numbers or two texts; Left Value is {_name(left)}, Right Value {_name(right)}.",
        "Read the number alone, without a currency or a unit, or compare with “equals” or “contains”.",
    )


def _contains(left: Any, right: Any) -> bool:
    if isinstance(left, list):
        return any(_are_equal(item, right) for item in left)
    if isinstance(left, dict):
        return _read_text(right, "Right Value", "contains") in left
    return _read_text(right, "Right Value", "contains") in _read_text(left, "Left Value", "contains")


def _read_text(value: Any, handle: str, how: str) -> str:
    if value is None or isinstance(value, dict | list):
        raise NodeFailure(
            FailureCode.INVALID_INPUT,
            f"“{how}” looks for a text in a text; {handle} is {_name(value)}.",
            "Give it a text or a number, or compare with “equals” or “is empty”.",
        )
    return _to_text(value)


def _to_text(value: Any) -> str:
    return "" if value is None else str(apply_cast("text", value))


def _read_json(value: Any) -> Any:
    """A form holds lists and objects as their JSON text."""
    if isinstance(value, str):
        try:
            return from_json(value, allow_inf_nan=False)
        except ValueError:
            return value
    return value


def _name(value: Any) -> str:
    """What a value is, without the value: it may be a secret."""
    if _read_number(value) is not None:
        return "a number"
    names = {str: "a text that is no number", bool: "true or false", list: "a list", dict: "an object"}
    return names.get(type(value), "nothing")


NODES = (Delay, Branch)
