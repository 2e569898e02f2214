"""Why the local stack could not start or go on, in words for the person at the terminal."""


class StackError(Exception):
    """The stack cannot start or had to end. `problem` says what happened, `way_out` what to do about it."""

    def __init__(self, problem: str, way_out: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.way_out = way_out
