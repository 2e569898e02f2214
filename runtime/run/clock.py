"""How long an execution has worked: every run adds to it, and waits stand outside (spec W1)."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Clock:
    """Counts from what earlier runs took, and stands still while a node waits."""

    def __init__(self, spent_s: float, read: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._began = read() - spent_s
        self._waiting = 0
        self._stopped = 0.0

    @property
    def spent_s(self) -> float:
        """Seconds of work so far, in all runs together."""
        return (self._stopped if self._waiting else self._read()) - self._began

    @contextmanager
    def stand_still(self) -> Iterator[None]:
        """Count nothing while the block runs; of several at once, from the first's begin to the last's end."""
        if not self._waiting:
            self._stopped = self._read()
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._began += self._read() - self._stopped
