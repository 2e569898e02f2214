"""Ends a Chromium whose pages come to hold too much memory (spec I5).

Only what a page can make grow counts: memory of its own and shared memory, not the program's files, which all browsers
of a machine hold once. A page may fill it in a second or two, so those in use are looked at four times a second, and by
a thread of its own: no queue of other work may come before it. Linux only; elsewhere nothing is measured.
"""

import asyncio
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Protocol

import structlog

from runtime.browser.failure import BrowserFailure
from runtime.browser.processes import find_driver
from runtime.browser.translate import explain_memory

LOOK_S: Final = 0.25
"""Between two looks."""
_ROUGH: Final = ("RssAnon:", "RssShmem:")
_EXACT: Final = ("Pss_Anon:", "Pss_Shmem:")
"""Fields of /proc/PID/smaps_rollup that count a shared page once, and take a thousand times as long to read."""
_log = structlog.get_logger(__name__)


class Watched(Protocol):
    """A browser."""

    @property
    def pid(self) -> int | None:
        """Of the leader of its group of processes."""
        ...

    def lose(self, explain: Callable[[str], BrowserFailure]) -> None:
        """End it; its pages fail with what `explain` says for an address."""
        ...


class Watchdog:
    """Watches the browsers of one pool."""

    def __init__(self, limit: int, list_busy: Callable[[], Iterable[Watched]]) -> None:
        """`limit` in bytes for each browser; `list_busy` answers those that somebody uses now."""
        self._limit = limit
        self._list_busy = list_busy
        self.ended = 0
        """Browsers that held too much."""

    async def watch(self) -> None:
        """Look for as long as nobody cancels it."""
        with ThreadPoolExecutor(1, "watchdog") as thread:
            loop = asyncio.get_running_loop()
            while True:
                await asyncio.sleep(LOOK_S)
                busy = {pid: one for one in self._list_busy() if (pid := one.pid) is not None}
                if not busy:
                    continue
                held = await loop.run_in_executor(thread, measure_growth, set(busy), self._limit)
                for pid, size in held.items():
                    if size > self._limit:
                        self._end(busy[pid], size)

    def _end(self, browser: Watched, size: int) -> None:
        _log.warning("a browser held too much memory and was ended", pid=browser.pid, bytes=size, limit=self._limit)
        self.ended += 1
        browser.lose(lambda url: explain_memory(self._limit, url))


def measure_growth(leaders: set[int], limit: int) -> dict[int, int]:
    """Bytes that a browser's group of processes and its driver have come to hold, by the group's leader.

    Pages that several of them share are counted for each first, since that is cheap; only a sum above `limit` is looked
    at again with those counted once.
    """
    groups = _find_groups(leaders)
    found = {}
    for leader, pids in groups.items():
        rough = {pid: _sum_up(pid, "status", _ROUGH) or 0 for pid in pids}
        found[leader] = sum(rough.values())
        if found[leader] > limit:
            found[leader] = sum(_measure_exactly(pid, size) for pid, size in rough.items())
    return found


def _measure_exactly(pid: int, rough: int) -> int:
    """Shared pages counted once; roughly for a process of another account that we may not look into."""
    exact = _sum_up(pid, "smaps_rollup", _EXACT)
    return rough if exact is None else exact


def _find_groups(leaders: set[int]) -> dict[int, list[int]]:
    groups: dict[int, list[int]] = {leader: [] for leader in leaders}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            leader = os.getpgid(int(folder.name))
        except ProcessLookupError:
            continue
        if leader in groups:
            groups[leader].append(int(folder.name))
    for leader, pids in groups.items():
        if (driver := find_driver(leader)) is not None:  # it keeps what pages write to their consoles
            pids.append(driver)
    return groups


def _sum_up(pid: int, file: str, fields: tuple[str, ...]) -> int | None:
    try:
        text = Path(f"/proc/{pid}/{file}").read_text()
    except PermissionError:
        return None
    except OSError:
        return 0  # it has ended
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith(fields)) * 1_024
