"""One task that wakes thousands of sockets when they are due, instead of a timer or a task for each."""

import asyncio
import math
from typing import Protocol

import structlog

log = structlog.get_logger()


class Timed(Protocol):
    """Something with a timetable."""

    def on_time(self, now: float) -> float | None:
        """Do what is due at `now`, in seconds of the loop's clock; when to come again, or None for never."""


class Wheel:
    """Calls on those who are due, at most one tick early and, as long as the loop runs, never late.

    Entries lie in slots of one tick. Nothing is taken out before its time: who has left says so when it is called.
    """

    def __init__(self, tick_s: float) -> None:
        self._tick_s = tick_s
        self._slots: dict[int, list[Timed]] = {}
        self._served = 0

    def add(self, timed: Timed, at: float) -> None:
        """Call on `timed` at `at`."""
        slot = max(math.floor(at / self._tick_s), self._served + 1)
        self._slots.setdefault(slot, []).append(timed)

    async def run(self) -> None:
        """Turn until cancelled."""
        clock = asyncio.get_running_loop().time
        self._served = min([math.floor(clock() / self._tick_s), *(slot - 1 for slot in self._slots)])
        while True:
            await asyncio.sleep((self._served + 1) * self._tick_s - clock())
            now = clock()
            # a slot's end is the latest moment at which its entries are due
            for slot in range(self._served + 1, math.floor(now / self._tick_s) + 1):
                self._served = slot
                self._serve(self._slots.pop(slot, []), now)

    def _serve(self, due: list[Timed], now: float) -> None:
        for timed in due:
            try:
                again = timed.on_time(now + self._tick_s)
            except Exception:  # the socket loop's shell: one client's failure must not stop everybody's clock
                log.exception("a timed call failed")
                continue
            if again is not None:
                self.add(timed, again)
