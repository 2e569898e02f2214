"""The table that `make bench` prints, the page that people read, and the JSON for programs."""

import inspect
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench.figure import Figure, show_number, show_values

DOCS = Path(__file__).parents[2] / "docs"
PAGE, DATA = "BENCHMARKS.md", "benchmarks.json"

_HEAD = """# Benchmarks

Written by `make bench`; change nothing by hand, run it again. Below the table stands what each line compares.

Every figure is a **ratio of two things measured in turn in the same run on the same machine** (A B, B A, A B …): ours,
and a peer or a bare floor, which is the least that somebody could write who needs nothing else. Absolute values say
more about the machine than about the program, so quote the ratios. Values are medians over the rounds, their range in
brackets; a ratio is the median of the rounds' ratios. Traffic stays on the loopback interface.
"""
_READING = """## How to read it

- **ours / against**: median (lowest–highest) of the rounds. CPU is what the kernel counted for the process itself.
- **ratio**: ours ÷ against. **bar**: what it must reach; with a unit it is meant for our own value.
- A figure measured on a machine that does other things is noise in its absolute values and less so in its ratio; the
  load beside the machine is the one when the run began.
"""


def print_table(figures: Sequence[Figure]) -> None:
    """For the terminal."""
    table = Table(title="ours beside a peer or floor, measured in turn")
    for column in ("", "what", "ours", "against", "ratio", "bar", "met"):
        table.add_column(column, overflow="fold")
    for row in figures:
        table.add_row(*_cells(row))
    Console(width=150).print(table)


def write_documents(
    figures: Sequence[Figure], machine: Mapping[str, Any], explained: Mapping[str, str], remarks: str, docs: Path = DOCS
) -> None:
    """The page and its JSON.

    Args:
        figures: as measured.
        machine: see `machine.describe_machine`.
        explained: what each bench compares, by its name.
        remarks: what is said of figures that miss their bar.
        docs: the folder.
    """
    measured_at = datetime.now(UTC).replace(microsecond=0).isoformat()
    data = {"measured_at": measured_at, "machine": machine, "figures": [figure.to_json() for figure in figures]}
    (docs / DATA).write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    rows = [f"| {' | '.join(cell.replace('|', '/') for cell in _cells(figure))} |" for figure in figures]
    names = {figure.bench for figure in figures}
    parts = [
        _HEAD,
        "| | what | ours | against | ratio | bar | met |\n|---|---|---|---|---|---|---|\n" + "\n".join(rows) + "\n",
        _describe(machine, measured_at),
        _READING,
        "## What is compared\n",
        *(f"**{name}.** {text}\n" for name, text in explained.items() if name in names),
        remarks,
    ]
    (docs / PAGE).write_text("\n".join(part.strip("\n") + "\n" for part in parts if part), encoding="utf-8")


def unfold(text: str | None) -> str:
    """A docstring as one paragraph for each of its own."""
    paragraphs = inspect.cleandoc(text or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _cells(figure: Figure) -> list[str]:
    peer = f"{figure.against}: {show_values(figure.peer, figure.unit)}" if figure.peer else figure.against
    ratio = "–" if figure.ratio is None else show_number(figure.ratio)
    met = {True: "yes", False: "**no**", None: "–"}[figure.met]
    what = f"{figure.what}{f' ({figure.note})' if figure.note else ''}"
    bar = "–" if figure.bar is None else str(figure.bar)
    return [figure.bench, what, show_values(figure.ours, figure.unit), peer, ratio, bar, met]


def _describe(machine: Mapping[str, Any], measured_at: str) -> str:
    packages = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    return (
        f"Measured {measured_at} on {machine['cores']} cores ({machine['processor']}), {machine['memory_gib']} GiB, "
        f"{machine['system']}, load {machine['load']} at the beginning. Python {machine['python']}, {packages}.\n"
    )
