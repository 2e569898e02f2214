"""Every bench by its name, in the order in which they run."""

from collections.abc import Awaitable, Callable

from tests.bench import actions, append, execution_rate, fanout, first_word, growth, idle, latency, proxied, start
from tests.bench.figure import Figure
from tests.bench.ground import Ground
from tests.bench.rounds import Effort

Bench = Callable[[Ground, Effort], Awaitable[list[Figure]]]

BENCHES: dict[str, Bench] = {
    "b14": start.measure,
    "b1": actions.measure,
    "b2": first_word.measure,
    "b3": execution_rate.measure,
    "b4": fanout.measure,
    "b5": idle.measure_idle,
    "b6": latency.measure_proxied,
    "b7": latency.measure_pushed,
    "b8": proxied.measure,
    "b9": latency.measure_beside_stalled,
    "b11": append.measure,
    "b13": growth.measure,
    "10k": idle.measure_many,
}

REMARKS = ""
"""What is said of figures that miss their bar."""
