"""`stagedoor link`: another link that signs the owner in, for a stack that already runs."""

import asyncio
import os
from pathlib import Path
from typing import TextIO

from contracts.errors import ApiError
from experience.cli.console import Console
from experience.cli.data_dir import DataDir
from experience.cli.failure import StackError
from experience.cli.first_visit import Visit, prepare_visit
from experience.cli.readiness import probe_readiness


def show_link(folder: Path, console: Console, out: TextIO) -> int:
    """Write a new link to `out`, alone on its line for whoever pipes it on, and what to do with it to `console`.

    Returns the exit status: 1 when there is none.
    """
    try:
        data = DataDir(folder.resolve())
        visit = make_link(data)
    except StackError as failure:
        console.complain(failure.problem, failure.way_out)
        return 1
    console.say(f"Open this within {visit.valid_s // 60} minutes; it signs you in. It works once.")
    out.write(f"{visit.url}\n")
    return 0


def make_link(data: DataDir) -> Visit:
    """A link to the stack that runs on `data`.

    Raises:
        StackError: none runs there, it can't do that yet, or its owner has another password by now.
    """
    port = find_stack(data)
    try:
        visit = asyncio.run(prepare_visit(f"http://localhost:{port}", data.find_admin(os.environ), None))
    except ApiError as failure:
        # asked only now: a stack that lacks something may sign people in all the same
        missing = probe_readiness(port)
        if not missing:
            raise StackError(failure.detail, failure.hint) from failure
        words = ", ".join(f"{name}: {reason}" for name, reason in missing.items())
        raise StackError(
            f"The stack on {data.root} is not ready: {words}", "Ask again when `up` says that it is."
        ) from failure
    if visit.problem:
        raise StackError(visit.problem, f"Here: {visit.url}")
    return visit


def find_stack(data: DataDir) -> int:
    """The port of the stack that runs on `data`; StackError when none does."""
    if not data.is_in_use():
        raise StackError(
            f"No stack runs on {data.root}",
            "Start one with `make run` or `stagedoor up`; for one that runs elsewhere, name its folder with --data.",
        )
    port = data.read_ports().get("web")
    if port is None:
        raise StackError(
            f"The stack on {data.root} has not said yet where it listens", "Ask again when `up` says that it is ready."
        )
    return port
