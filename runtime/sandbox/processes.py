"""The processes below one: who they are, and what they hold together. Linux only, as every backend is."""

import os
from collections.abc import Iterator
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")
_HAS_CHILDREN = Path(f"/proc/self/task/{os.getpid()}/children").exists()
BEHIND, LAST = 10, 19
"""Niceness of code of strangers: a tenth of what Runtime gets of a busy CPU; and of many at once, a seventieth each."""
LEAST_LIKELY_TO_STAY = 1_000
"""What oom_score_adj says of a process that the kernel is to end first."""


def list_below(root: int) -> list[int]:
    """Process ids below `root`, parents first, without itself."""
    children = _read_children if _HAS_CHILDREN else _scan_children()
    found: list[int] = []
    waiting = [root]
    while waiting:
        below = list(children(waiting.pop(0)))
        found += below
        waiting += below
    return found


def _read_children(pid: int) -> Iterator[int]:
    for thread in list_threads(pid):
        try:
            text = Path(f"/proc/{pid}/task/{thread}/children").read_text()
        except OSError:
            continue
        yield from map(int, text.split())


class _scan_children:  # noqa: N801 — a function with a memory
    """Where the kernel lists no children: read once who everybody's parent is."""

    def __init__(self) -> None:
        self._below: dict[int, list[int]] = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    after_name = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2]
                except OSError:
                    continue
                self._below.setdefault(int(after_name.split()[1]), []).append(int(entry))

    def __call__(self, pid: int) -> list[int]:
        return self._below.get(pid, [])


def list_threads(pid: int) -> list[int]:
    """Thread ids of a process; none when it is gone."""
    try:
        return [int(entry) for entry in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return []


def count_threads(pids: list[int]) -> int:
    """Of all of them together."""
    return sum(len(list_threads(pid)) for pid in pids)


def count_threads_of(uid: int) -> int:
    """Of every process of an account, as RLIMIT_NPROC counts them."""
    own = [int(entry) for entry in os.listdir("/proc") if entry.isdigit() and _owner(entry) == uid]
    return count_threads(own)


def _owner(entry: str) -> int | None:
    try:
        return os.stat(f"/proc/{entry}").st_uid
    except OSError:
        return None


def measure_memory(pids: list[int], limit: int) -> int:
    """Bytes that the processes hold together.

    What they share is counted for each of them first, since that is cheap; only a sum above `limit` is looked at again
    with shared pages counted once.
    """
    rough = sum(_read_resident(pid) for pid in pids)
    return rough if rough <= limit else sum(_read_share(pid) for pid in pids)


def _read_resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def _read_share(pid: int) -> int:
    """Its proportional share; what is resident where that can't be read."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return _read_resident(pid)
    return next((int(line.split()[1]) * 1_024 for line in text.splitlines() if line.startswith("Pss:")), 0)


def lower_priority(pids: list[int], nice: int) -> None:
    """Let others go first (nice(1)), as far as they don't already. Children inherit it; only root goes back."""
    for pid in pids:
        for thread in list_threads(pid):
            try:
                if os.getpriority(os.PRIO_PROCESS, thread) < nice:
                    os.setpriority(os.PRIO_PROCESS, thread, nice)
            except OSError:
                continue


def restrain(pids: list[int], cpu: int) -> None:
    """Bind processes to one CPU, behind Runtime, and have them ended first when the machine's memory ends.

    Children inherit all of it.
    """
    lower_priority(pids, BEHIND)
    for pid in pids:
        for thread in list_threads(pid):
            try:
                os.sched_setaffinity(thread, {cpu})
            except OSError:
                continue
        try:
            Path(f"/proc/{pid}/oom_score_adj").write_text(str(LEAST_LIKELY_TO_STAY))
        except OSError:
            continue
