"""The failures that the machine itself finds, in words for a person."""

from typing import Final

from contracts.execution import Failure, FailureCode
from runtime.engine.plan import PlannedNode

_LOOK: Final = "Look whether it happened, then answer: it happened, or run it again."


def ask_about(node: PlannedNode, failure: Failure) -> Failure:
    """The failure of an attempt that was ended from outside; where the node must not run twice, with the question.

    Nobody knows then whether it had its effect, so doing the execution once more needs a person's answer.
    """
    if node.safe:
        return failure
    return failure.model_copy(update={"asks_about": node.id, "hint": _LOOK})


def explain_lost_attempt(node: PlannedNode) -> Failure:
    """An attempt that was in flight when its worker was lost, and that may run again."""
    return Failure(
        code=FailureCode.WORKER_LOST,
        message=f"The worker was stopped or lost while “{node.name}” ran.",
        hint="Nothing to do: the node may run twice, so it runs again.",
        node_id=node.id,
    )


def explain_pause(node: PlannedNode) -> Failure:
    """An attempt that only let time pass when the execution was paused."""
    return Failure(
        code=FailureCode.STOPPED,
        message=f"The execution was paused while “{node.name}” waited.",
        hint="Nothing to do: it goes on when the execution is resumed, and is over when it was due.",
        node_id=node.id,
    )


def explain_interruption(node: PlannedNode) -> Failure:
    """An attempt that was in flight when its worker was lost, and that must not run twice."""
    return Failure(
        code=FailureCode.INTERRUPTED_UNSAFE,
        message=f"The worker was stopped or lost while “{node.name}” ran, and it is not known whether it happened.",
        hint=_LOOK,
        node_id=node.id,
        asks_about=node.id,
    )


def explain_lost_page(node: PlannedNode, blocker: PlannedNode) -> Failure:
    """A page that can't be brought back, because a node on the way to it must not run twice."""
    return Failure(
        code=FailureCode.INTERRUPTED_UNSAFE,
        message=f"The page for “{node.name}” was lost, and “{blocker.name}”, which led to it, must not run twice.",
        hint=f"Look at what was done so far, then answer for “{blocker.name}”: it happened, or run it again.",
        node_id=node.id,
        asks_about=blocker.id,
    )


def explain_nothing(node: PlannedNode) -> Failure:
    """A failure that was recorded without its reason."""
    return Failure(
        code=FailureCode.INTERNAL,
        message=f"“{node.name}” failed, and why was not recorded.",
        hint="Start the workflow again.",
        node_id=node.id,
    )
