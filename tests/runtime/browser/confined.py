"""What the kernel says of a browser's processes."""

import os
from pathlib import Path

from runtime.browser.chromium import Chromium


def list_processes(leader: int | None) -> list[Path]:
    """Of the group of a process."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(folder.name)) == leader:
                found.append(folder)
        except ProcessLookupError:
            continue
    return found


def find_renderer(chromium: Chromium) -> Path:
    """A process that a page lives in."""
    return next(one for one in list_processes(chromium.pid) if b"--type=renderer" in (one / "cmdline").read_bytes())


def read_status(process: Path, field: str) -> list[str]:
    """A field of a process's status."""
    lines = (process / "status").read_text().splitlines()
    return next(line.split()[1:] for line in lines if line.startswith(f"{field}:"))
