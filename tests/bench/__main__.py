"""`python -m tests.bench [b3 b4 …]`: measure, print the table, write docs/BENCHMARKS.md and docs/benchmarks.json."""

import asyncio
import os
import resource
import sys
import time
import traceback
from collections.abc import Sequence

import structlog
import uvicorn

from contracts.wiring.collector import spare_collector
from tests.bench.benches import BENCHES, REMARKS
from tests.bench.figure import Figure
from tests.bench.ground import Ground
from tests.bench.machine import describe_machine
from tests.bench.report import print_table, unfold, write_documents
from tests.bench.rounds import Effort

SHARE = "STAGEDOOR_BENCH_SHARE"
"""Environment variable: less than 1 measures less, to try a bench out."""
_FILES = 20_000
"""Sockets that one process may hold, ours and its children."""


async def measure(names: Sequence[str], effort: Effort) -> tuple[list[Figure], list[str]]:
    """The figures of some benches, one bench after the other, and the names of those that broke off."""
    figures: list[Figure] = []
    broken: list[str] = []
    async with Ground() as ground:
        for name in names:
            began = time.monotonic()
            print(f"{name} …", end=" ", flush=True)
            try:
                found = await BENCHES[name](ground, effort)
            except Exception:  # noqa: BLE001 — one bench less is no reason to lose the others' figures
                traceback.print_exc()
                broken.append(name)
                continue
            print(f"{time.monotonic() - began:.0f} s", flush=True)
            print_table(found)
            figures += found
    return figures, broken


def main() -> int:
    """Measure what was named, or all of it; only all of it is written down."""
    names = [name.lower() for name in sys.argv[1:]] or list(BENCHES)
    if unknown := [name for name in names if name not in BENCHES]:
        print(f"no such bench: {', '.join(unknown)}; there are {', '.join(BENCHES)}", file=sys.stderr)
        return 2
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_FILES, most), most))
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))  # what runs in here says errors only
    spare_collector()  # as the processes do whose parts run in this one
    machine = describe_machine()
    effort = Effort(float(os.environ.get(SHARE, "1")))
    with asyncio.Runner(loop_factory=uvicorn.Config(app="", log_config=None).get_loop_factory()) as runner:
        figures, broken = runner.run(measure(names, effort))
    print_table(figures)
    if broken:
        print(f"broke off, see above: {', '.join(broken)}", file=sys.stderr)
    elif len(names) == len(BENCHES) and effort.share >= 1:
        shown = {figure.bench.lower(): figure.bench for figure in figures}
        explained = {shown.get(name, name): unfold(bench.__doc__) for name, bench in BENCHES.items()}
        write_documents(figures, machine, explained, REMARKS)
    missed = [figure for figure in figures if figure.met is False]
    return 1 if missed or broken else 0


if __name__ == "__main__":
    sys.exit(main())
