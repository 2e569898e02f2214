"""How the time that something takes grows with what it is given: a ratio, as a busy machine makes figures worthless."""

import time
from collections.abc import Callable
from typing import Final

FOURFOLD_LIMIT: Final = 8.0
"""Four times as much takes four times as long in proportion, and sixteen times where it takes the square."""
_LEAST_S: Final = 0.01
_ROUNDS: Final = 5


def measure_growth(prepare: Callable[[int], Callable[[], object]], size: int) -> float:
    """Processor time for four times `size` by that for `size`; what is quicker than the clock counts as ten ms.

    Only this thread's: others of the process have work of their own. Both are measured in turns and the best of
    each is taken: a neighbour on the same core slows down single turns.
    """
    small, large = prepare(size), prepare(4 * size)
    took = [(_measure(small), _measure(large)) for _ in range(_ROUNDS)]
    return min(large_s for _, large_s in took) / max(_LEAST_S, min(small_s for small_s, _ in took))


def _measure(work: Callable[[], object]) -> float:
    began = time.thread_time()
    work()
    return time.thread_time() - began
