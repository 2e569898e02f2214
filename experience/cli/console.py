"""What `up` shows: each process's lines behind its name, and a few words of its own."""

import collections
import os
import sys
import threading
from typing import TextIO

from experience.cli.routine import RoutineFilter

RESET = "\033[0m"
BOLD = "\033[1m"
DIM = "\033[2m"
RED = "\033[31m"
COLOURS = {"postgres": "\033[34m", "traefik": "\033[36m", "runtime": "\033[35m", "experience": "\033[32m"}
OTHER_COLOUR = "\033[33m"
NAME_WIDTH = 10


class Console:
    """Whole lines to one terminal from many threads.

    When nobody reads any more (`up | head`) it falls silent and becomes `closed`, which ends the stack.
    """

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._lock = threading.Lock()
        self._coloured = _wants_colour(self._out)
        self.closed = False
        self._routine = collections.defaultdict[str, RoutineFilter](RoutineFilter)
        self.hides_routine = False
        """Set where the link that a person is to open would soon scroll away. Log files keep every line."""

    def show_line(self, name: str, line: str) -> None:
        """A line that process `name` wrote."""
        if self._routine[name].is_routine(line) and self.hides_routine:
            return
        self._write(f"{self._paint(f'{name:<{NAME_WIDTH}} │', COLOURS.get(name, OTHER_COLOUR))} {line}")

    def say(self, text: str) -> None:
        """What the stack is doing, in passing."""
        self._write(self._paint(text, DIM))

    def announce(self, text: str) -> None:
        """What a person should see; `**…**` stands out on a terminal."""
        parts = text.split("**")
        self._write("".join(self._paint(part, BOLD) if number % 2 else part for number, part in enumerate(parts)))

    def complain(self, problem: str, way_out: str = "") -> None:
        """What went wrong, and what to do about it."""
        self._write(self._paint(problem, RED + BOLD))
        if way_out:
            self._write(way_out)

    def _paint(self, text: str, colour: str) -> str:
        return f"{colour}{text}{RESET}" if self._coloured else text

    def _write(self, line: str) -> None:
        with self._lock:
            if self.closed:
                return
            try:
                self._out.write(f"{line}\n")
                self._out.flush()
            except (OSError, ValueError):  # the pipe broke, the terminal went away, the file was closed
                self.closed = True
                self._silence_exit()

    def _silence_exit(self) -> None:
        """Python flushes stdout once more when it ends, and would complain about the same broken pipe."""
        if self._out is sys.stdout:
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123  # stays open until the end


def _wants_colour(out: TextIO) -> bool:
    """https://no-color.org, and FORCE_COLOR for terminals behind a pipe."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or out.isatty()
