"""What scenes of the machine share: a short plan, and readings of what it commands."""

from contracts.execution import Failure, FailureCode
from contracts.workflow import JsonObject
from runtime.engine.commands import Command, Finish, SkipNode, SkipReason, StartNode
from tests.runtime.engine.drawn import PAGE, edge, node, plan


def fail(code: FailureCode = FailureCode.NAVIGATION_FAILED) -> Failure:
    return Failure(code=code, message="It broke.", hint="Mend it.")


def started(commands: list[Command]) -> list[str]:
    return [command.node_id for command in commands if isinstance(command, StartNode)]


def skipped(commands: list[Command]) -> dict[str, SkipReason]:
    return {command.node_id: command.reason for command in commands if isinstance(command, SkipNode)}


def end(commands: list[Command]) -> Finish:
    assert isinstance(commands[-1], Finish)
    return commands[-1]


def page(name: str, out: object = None) -> JsonObject:
    return {PAGE: name} if out is None else {PAGE: name, "Out": out}


BROWSE = plan(
    [node("open", "open"), node("fill", "touch"), node("read", "touch")],
    [edge(f"open.{PAGE}", f"fill.{PAGE}"), edge(f"fill.{PAGE}", f"read.{PAGE}")],
)

TWO = plan([node("a", "work", attempts=1), node("b", "work"), node("c", "need")], [edge("a.Out", "c.Must")])
