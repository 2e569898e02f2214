"""B14 and the stack at rest: what the whole product costs a machine that only runs it."""

import asyncio
import time

from experience.cli.ports import find_free_port
from tests.bench.figure import Bar, Figure
from tests.bench.ground import Ground
from tests.bench.rounds import Effort
from tests.bench.usage import list_tree, read_command, read_pss
from tests.e2e.conftest import Stack

STARTS = 2
"""Counted ones; the first of all makes the database and is not."""
REST_S = 8.0
BROWSER_S = 60.0
START_BAR_S = 5.0
REST_BAR_MIB = 1.2 * 1024
_MIB = 2**20
_PARTS = {
    "Chromium": ("chrom", "headless_shell"),
    "Playwright's driver": ("playwright/driver",),
    "PostgreSQL": ("postgres",),
    "Traefik": ("traefik",),
    "Experience": ("-m experience serve",),
    "Runtime": ("-m runtime",),
    "demo shop": ("experience.demo",),
}
"""How processes are told apart, by a piece of their command line; the first that fits counts."""


async def measure(ground: Ground, effort: Effort) -> list[Figure]:
    """`stagedoor up` on a data folder that exists: from its start to the moment at which `/ready` answers 200 through
    Traefik; nothing stands beside it. Then the same stack, demo shop and all, left alone for some seconds with its one
    warm Chromium: PSS of every process below it, so that what they share counts once.
    """
    stack = Stack(find_free_port(), ground.make_folder("stack") / "data")
    await asyncio.to_thread(_start, stack)
    took = []
    weights: dict[str, int] = {}
    for number in range(effort.rounds(STARTS)):
        await asyncio.to_thread(stack.stop)
        took.append(await asyncio.to_thread(_start, stack))
        if number == 0:
            await _wait_for_browser(stack)
            await asyncio.sleep(effort.seconds(REST_S))
            weights = _weigh(stack)
    await asyncio.to_thread(stack.stop)
    return [
        Figure(
            bench="B14",
            what="start of the whole local stack, not the first",
            unit="s",
            ours=took,
            against="nothing",
            bar=Bar(limit=START_BAR_S, absolute=True, unit="s"),
        ),
        Figure(
            bench="rest",
            what="the whole stack at rest with one warm browser, PSS",
            unit="MiB",
            ours=[sum(weights.values()) / _MIB],
            against="nothing",
            bar=Bar(limit=REST_BAR_MIB, absolute=True, unit="MiB"),
            note=", ".join(f"{name} {weight / _MIB:.0f}" for name, weight in weights.items()),
        ),
    ]


def _start(stack: Stack) -> float:
    began = time.monotonic()
    stack.start()
    return time.monotonic() - began


async def _wait_for_browser(stack: Stack) -> None:
    """The spare Chromium is started once the stack is ready, so that nobody waits for it."""
    assert stack.process is not None
    async with asyncio.timeout(BROWSER_S):
        while not any("--type=renderer" in read_command(pid) for pid in list_tree(stack.process.pid)):  # noqa: ASYNC110
            await asyncio.sleep(0.2)


def _weigh(stack: Stack) -> dict[str, int]:
    assert stack.process is not None
    weights: dict[str, int] = {}
    for pid in list_tree(stack.process.pid):
        command = read_command(pid)
        name = next((name for name, marks in _PARTS.items() if any(mark in command for mark in marks)), "supervisor")
        weights[name] = weights.get(name, 0) + read_pss(pid)
    return dict(sorted(weights.items(), key=lambda part: -part[1]))
