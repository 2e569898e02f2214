"""Which processes a test has left behind."""

import contextlib
import time
from pathlib import Path


def find_marked(mark: str) -> dict[int, str]:
    """Command lines of the processes that inherited `mark`, by process id. Reads /proc, so Linux only."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark.encode() in (process / "environ").read_bytes():
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                if command:  # the unburied dead have none
                    found[int(process.name)] = command
    return found


def wait_until_gone(mark: str, timeout_s: float) -> dict[int, str]:
    """What is still there after `timeout_s`; returns at once when all is gone."""
    deadline = time.monotonic() + timeout_s
    while (left := find_marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left
