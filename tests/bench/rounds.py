"""Ours and the peer in turn: A B, B A, A B …, so that what the machine does meanwhile is done to both."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

ResultT = TypeVar("ResultT")
SETTLE_S = 0.3
"""Between two measurements: what the last one left to do is done."""


@dataclass(frozen=True)
class Effort:
    """How much is measured. The smoke test makes it tiny, so that the benches can't rot."""

    share: float = 1.0

    def count(self, full: int, least: int = 1) -> int:
        """So many of something."""
        return max(least, int(full * self.share))

    def seconds(self, full: float) -> float:
        """So long."""
        return max(0.2, full * self.share)

    def rounds(self, full: int) -> int:
        """So often."""
        return full if self.share >= 1 else 1


async def take_turns(
    rounds: int, ours: Callable[[], Awaitable[ResultT]], peer: Callable[[], Awaitable[ResultT]]
) -> tuple[list[ResultT], list[ResultT]]:
    """Measure both `rounds` times; who comes first changes with each round."""
    mine: list[ResultT] = []
    others: list[ResultT] = []
    for number in range(rounds):
        pair = [(ours, mine), (peer, others)]
        for measure, results in pair if number % 2 == 0 else reversed(pair):
            await asyncio.sleep(SETTLE_S)
            results.append(await measure())
    return mine, others
