"""What walls cost: code in the sandbox beside the same interpreter bare, and how soon a memory bomb is over."""

import asyncio
import os
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from runtime.sandbox.launch import Backend
from runtime.sandbox.limits import Bound, Limits
from runtime.sandbox.programs import Language, Program, find_program
from runtime.sandbox.sandbox import BACKENDS, Sandbox
from tests.bench.figure import Bar, Figure, percentile
from tests.bench.ground import Ground
from tests.bench.rounds import Effort, take_turns

ROUNDS = 3
RUNS = 12
MORE_BAR_MS = 25.0
BOMB_BAR_S = 3.0
SPARE_S = 20.0
_CODE = {Language.PYTHON: "print(1)", Language.NODE: "console.log(1)"}
_FLAGS = {Language.PYTHON: ["-I", "-S", "-c"], Language.NODE: ["-e"]}
_LIMITS = Limits(wall_s=30)
_BOMB_LIMITS = {"of 512 MiB": Limits(wall_s=30, memory=512 * 2**20), "as it is unless told": Limits(wall_s=30)}
_BOMB = """
import os, time
for _ in range(40):
    if os.fork() == 0:
        held = b"x" * (100 << 20)
        time.sleep(60)
time.sleep(60)
"""
_NEIGHBOUR = "import time\ntime.sleep(2)\nresult = sum(range(1_000_000))"


async def measure(ground: Ground, effort: Effort) -> list[Figure]:
    """From asking for a run that prints one number to its end, in each backend that works here and each language, less
    what the same interpreter takes bare in the same round (medians of 12 runs each): once as workers do it, where a
    program stands behind its walls already, and once where none does, as in a burst of runs. Then 40 processes that
    take 100 MB each, more than they may, until all of them are gone, while a neighbour's run goes on and has to end
    well.
    """
    figures: list[Figure] = []
    for backend in BACKENDS:
        async with _open(backend, spares=True) as ready, _open(backend, spares=False) as cold:
            if ready.state.backend is not None:
                for language in ready.state.programs:
                    figures += [await _measure_start(one, language, effort) for one in (ready, cold)]
                figures += [await _measure_bomb(cold, limit, effort) for limit in _BOMB_LIMITS]
    return figures


@asynccontextmanager
async def _open(backend: Backend, *, spares: bool) -> AsyncIterator[Sandbox]:
    sandbox = Sandbox(backends=[backend], for_others=os.geteuid() == 0, spares=spares)
    try:
        await sandbox.choose()
        yield sandbox
    finally:
        sandbox.close()


async def _measure_start(sandbox: Sandbox, language: Language, effort: Effort) -> Figure:
    program = find_program(language, for_others=os.geteuid() == 0)
    runs = effort.count(RUNS, 3)
    await _time_confined(sandbox, language)
    has_spares = await _wait_for_spare(sandbox, language)

    async def ours() -> float:
        took = []
        for _ in range(runs):
            await _wait_for_spare(sandbox, language)
            took.append(await _time_confined(sandbox, language))
        return percentile(took, 0.5)

    async def peer() -> float:
        return percentile([await asyncio.to_thread(_time_bare, program) for _ in range(runs)], 0.5)

    mine, bare = await take_turns(effort.rounds(ROUNDS), ours, peer)
    return Figure(
        bench="sandbox",
        what=f"{sandbox.state.name}: {'' if has_spares else 'cold '}start and end of {language}, more than bare",
        unit="ms",
        ours=[one - other for one, other in zip(mine, bare, strict=True)],
        against="the interpreter bare",
        peer=bare,
        bar=Bar(limit=MORE_BAR_MS, absolute=True, unit="ms") if has_spares else None,
        note=f"{percentile(mine, 0.5):.0f} ms in all",
    )


async def _wait_for_spare(sandbox: Sandbox, language: Language) -> bool:
    """Whether one stands, after the moment that it takes to start."""
    ends = time.monotonic() + SPARE_S
    while sandbox.keeps_spares and not sandbox.stands_ready(language):
        assert time.monotonic() < ends
        await asyncio.sleep(0.01)
    return sandbox.keeps_spares


async def _time_confined(sandbox: Sandbox, language: Language) -> float:
    began = time.perf_counter()
    ended = await sandbox.run(language, _CODE[language], None, _LIMITS)
    assert ended.stdout == b"1\n", ended
    return (time.perf_counter() - began) * 1_000


def _time_bare(program: Program) -> float:
    began = time.perf_counter()
    command = [str(program.executable), *_FLAGS[program.language], _CODE[program.language]]
    done = subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL, env=program.environment)
    assert done.stdout == b"1\n"
    return (time.perf_counter() - began) * 1_000


async def _measure_bomb(sandbox: Sandbox, limit: str, effort: Effort) -> Figure:
    took: list[float] = []
    for _ in range(effort.rounds(ROUNDS)):
        neighbour = asyncio.create_task(sandbox.run(Language.PYTHON, _NEIGHBOUR, None, _LIMITS))
        began = time.perf_counter()
        ended = await sandbox.run(Language.PYTHON, _BOMB, None, _BOMB_LIMITS[limit])
        took.append(time.perf_counter() - began)
        assert ended.bound is Bound.MEMORY, ended
        assert (await neighbour).frame == b'{"result": 499999500000}'
    return Figure(
        bench="sandbox",
        what=f"{sandbox.state.name}: end of a memory bomb, limit {limit}, its neighbour unharmed",
        unit="s",
        ours=took,
        against="nothing",
        bar=Bar(limit=BOMB_BAR_S, absolute=True, unit="s"),
    )
