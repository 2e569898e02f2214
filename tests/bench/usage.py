"""What processes use, read from /proc: CPU time and memory, of one or of a whole tree."""

from collections.abc import Iterable, Iterator
from pathlib import Path

_PROC = Path("/proc")


def read_cpu_s(pid: int) -> float:
    """CPU seconds of a process so far, all its threads, to the nanosecond where the kernel counts them."""
    total = 0
    for task in (_PROC / str(pid) / "task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def read_pss(pid: int) -> int:
    """Bytes that a process holds, what it shares with others counted in part. 0 when it has gone."""
    return _read_rollup(pid, "Pss:")


def read_private(pid: int) -> int:
    """Bytes that nobody else holds."""
    return _read_rollup(pid, "Private_Clean:") + _read_rollup(pid, "Private_Dirty:")


def _read_rollup(pid: int, field: str) -> int:
    try:
        lines = (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(field)), 0)


def list_tree(root: int) -> list[int]:
    """A process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for pid, parent in _list_parents():
        children.setdefault(parent, []).append(pid)
    found = [root]
    for pid in found:  # grows while it is walked
        found += children.get(pid, [])
    return found


def read_command(pid: int) -> str:
    """The command line, or nothing when the process has gone."""
    try:
        return (_PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def sum_pss(pids: Iterable[int]) -> int:
    """Bytes that processes hold together."""
    return sum(read_pss(pid) for pid in pids)


def _list_parents() -> Iterator[tuple[int, int]]:
    for entry in _PROC.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        yield int(entry.name), int(stat.rpartition(")")[2].split()[1])
