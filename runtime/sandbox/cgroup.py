"""A control group for one run, where the machine lets us make one: the kernel then counts and ends by itself."""

import contextlib
import itertools
import os
import time
from pathlib import Path
from typing import Final, Protocol

_V1: Final = Path("/sys/fs/cgroup/memory")
_V2: Final = Path("/sys/fs/cgroup")
_HOME: Final = "stagedoor-sandbox"
_numbers = itertools.count()


class Group(Protocol):
    """What the warden does with a group."""

    def admit(self, pids: list[int]) -> None:
        """Put processes in; their children follow."""
        ...

    def measure(self) -> int:
        """Bytes that it holds, files in memory included."""
        ...

    def has_overflowed(self) -> bool:
        """Whether the kernel has refused it memory."""
        ...

    def remove(self) -> None:
        """When all of it has ended."""
        ...


class NoGroup:
    """Where none can be had: the watchdog is alone."""

    def admit(self, pids: list[int]) -> None:
        """See Group."""

    def measure(self) -> int:
        """See Group."""
        return 0

    def has_overflowed(self) -> bool:
        """See Group."""
        return False

    def remove(self) -> None:
        """See Group."""


class MemoryGroup:
    """See Group."""

    def __init__(self, path: Path, *, v2: bool) -> None:
        self._path = path
        self._v2 = v2
        self._overflowed = False

    def admit(self, pids: list[int]) -> None:
        """See Group."""
        for pid in pids:
            with contextlib.suppress(OSError):
                (self._path / "cgroup.procs").write_text(str(pid))

    def measure(self) -> int:
        """See Group."""
        try:
            return int((self._path / ("memory.current" if self._v2 else "memory.usage_in_bytes")).read_text())
        except (OSError, ValueError):
            return 0

    def has_overflowed(self) -> bool:
        """See Group."""
        name = "memory.events" if self._v2 else "memory.oom_control"
        with contextlib.suppress(OSError):
            lines = (self._path / name).read_text().splitlines()
            self._overflowed |= any(line.startswith("oom_kill ") and not line.endswith(" 0") for line in lines)
        return self._overflowed

    def remove(self) -> None:
        """See Group."""
        self.has_overflowed()
        for _ in range(20):
            try:
                self._path.rmdir()
            except FileNotFoundError:
                return
            except OSError:
                time.sleep(0.01)
            else:
                return


def make_group(memory: int) -> Group:
    """A group of at most `memory` bytes; NoGroup where we may not make one."""
    name = f"{os.getpid()}-{next(_numbers)}"
    try:
        if (_V2 / "cgroup.controllers").exists():
            return _make_v2(_V2 / _HOME, name, memory)
        if (_V1 / "memory.limit_in_bytes").exists():
            return _make_v1(_V1 / _HOME, name, memory)
    except OSError:
        pass
    return NoGroup()


def remove_leftovers() -> None:
    """Remove the groups of Runtimes that are gone."""
    for home in (_V1 / _HOME, _V2 / _HOME):
        for group in home.glob("*-*"):
            owner = group.name.partition("-")[0]
            if owner.isdigit() and not Path(f"/proc/{owner}").exists():
                with contextlib.suppress(OSError):  # somebody is in it
                    group.rmdir()


def _make_v1(home: Path, name: str, memory: int) -> Group:
    path = home / name
    path.mkdir(parents=True, exist_ok=True)
    (path / "memory.limit_in_bytes").write_text(str(memory))
    return MemoryGroup(path, v2=False)


def _make_v2(home: Path, name: str, memory: int) -> Group:
    if not home.exists():
        home.mkdir()
        (home / "cgroup.subtree_control").write_text("+memory")
    path = home / name
    path.mkdir()
    try:
        (path / "memory.max").write_text(str(memory))
        (path / "memory.swap.max").write_text("0")
    except OSError:
        path.rmdir()
        raise
    return MemoryGroup(path, v2=True)
