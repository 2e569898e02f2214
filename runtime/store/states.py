"""Which states may follow which (spec E2). Pure; asked before every write of a state."""

from typing import Final

from contracts.execution import ExecutionStatus, StepStatus

_E = ExecutionStatus
_ENDS: Final = frozenset(status for status in _E if status.final)
_EXECUTION: Final[dict[ExecutionStatus, frozenset[ExecutionStatus]]] = {
    _E.PENDING: _ENDS - {_E.COMPLETED} | {_E.RUNNING, _E.PAUSED},
    _E.RUNNING: _ENDS | {_E.PAUSED, _E.WAITING},
    _E.PAUSED: _ENDS - {_E.COMPLETED} | {_E.RUNNING},
    _E.WAITING: _ENDS - {_E.COMPLETED} | {_E.RUNNING},
    **{end: frozenset() for end in _ENDS},
}

_S = StepStatus
_STEP: Final[dict[StepStatus, frozenset[StepStatus]]] = {
    _S.QUEUED: frozenset({_S.RUNNING, _S.SKIPPED, _S.FAILED}),
    _S.RUNNING: frozenset({_S.SUCCESS, _S.RETRYING, _S.FAILED}),
    _S.RETRYING: frozenset(),
    _S.SUCCESS: frozenset(),
    _S.FAILED: frozenset(),
    _S.SKIPPED: frozenset(),
}


class IllegalMove(Exception):  # noqa: N818 — names what was tried
    """A state was to follow one that it can't follow: a fault of the program, nothing a user can cause."""

    def __init__(self, thing: str, before: str, after: str) -> None:
        super().__init__(f"{thing} can't go from {before} to {after}")


def check_execution_move(before: ExecutionStatus, after: ExecutionStatus) -> None:
    """Raise IllegalMove unless an execution may go from `before` to `after`."""
    if after not in _EXECUTION[before]:
        raise IllegalMove("execution", before, after)


def check_step_move(before: StepStatus, after: StepStatus) -> None:
    """Raise IllegalMove unless one attempt at a node may go from `before` to `after`."""
    if after not in _STEP[before]:
        raise IllegalMove("step", before, after)


def step_moves() -> list[tuple[StepStatus, StepStatus]]:
    """Every move of an attempt that there is."""
    return [(before, after) for before in _STEP for after in StepStatus if after in _STEP[before]]
