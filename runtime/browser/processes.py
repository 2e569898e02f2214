"""The processes and folders of browsers: recorded while they live, ended and removed when their Runtime is gone.

Each pool has a folder of its own under the scratch directory and holds a lock on it for as long as it lives; the lock
ends with the process, however it ends. A folder whose lock can be had belongs to nobody any more: what its records
name is ended, if it still is what was recorded, and the folder is removed.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import structlog

LAUNCHER = Path(__file__).with_name("launcher.sh")
MARK = "--stagedoor-browser="
"""An argument that means nothing to Chromium and tells ours from all others."""

_HOME = "browsers"
_RUN = "run-"
_LOCK = "lock"
_SUFFIX = ".pid"
_REMOVE_S = 2.0
_log = structlog.get_logger(__name__)


class RunFolder:
    """The folder of one pool. Make it with `claim`, leave it with `release`."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def claim(cls, scratch: Path, name: str) -> "RunFolder":
        """Make and lock a folder of that name. Raises OSError where the scratch directory can't be written."""
        path = scratch / _HOME / f"{_RUN}{name}"
        unseen = path.with_name(f"new-{name}")  # locked before anybody who reaps can see it
        # root's browsers have accounts of their own, which have to walk to what is theirs in it
        unseen.mkdir(parents=True, mode=0o711 if os.geteuid() == 0 else 0o700)
        lock = _try_lock(unseen)
        unseen.rename(path)
        if lock is None:
            raise OSError(f"{path} is in use by another process")
        return cls(path, lock)

    def record(self, mark: str) -> Path:
        """Where the browser of that mark notes its process id."""
        return self.path / f"{mark}{_SUFFIX}"

    def home(self, mark: str) -> Path:
        """Where the browser of that mark keeps what it writes, besides its profile."""
        return self.path / f"{mark}.home"

    def release(self) -> None:
        """End what still runs of its browsers, and remove the folder with all that is left in it."""
        for record in self.path.glob(f"*{_SUFFIX}"):
            end_browser(record)
        _remove(self.path)
        os.close(self._lock)


def reap_orphans(scratch: Path) -> int:
    """End the browsers that a killed Runtime left behind, and remove their profiles; answers how many it ended."""
    ended = 0
    for path in sorted((scratch / _HOME).glob(f"{_RUN}*/")):
        lock = _try_lock(path)
        if lock is None:
            continue
        try:
            ended += sum(end_browser(record) for record in path.glob(f"*{_SUFFIX}"))
            _remove(path)
        finally:
            os.close(lock)
    if ended:
        _log.warning("orphaned browsers ended", count=ended)
    return ended


def _remove(path: Path) -> None:
    """Remove a folder into which those who were killed a moment ago may still write."""
    deadline = time.monotonic() + _REMOVE_S
    while True:
        shutil.rmtree(path, ignore_errors=True)
        if not path.exists():
            return
        if time.monotonic() > deadline:
            _log.warning("a folder of browsers can't be removed", path=str(path))
            return
        time.sleep(0.05)


def end_browser(record: Path) -> bool:
    """Kill the browser of a record with all its children; False when it has ended by itself. Forgets the record."""
    pid = read_pid(record)
    record.unlink(missing_ok=True)
    if pid is None or not _is_ours(pid, record.stem):
        return False
    try:
        # Playwright starts a browser as the leader of a group, to which all its children belong.
        if os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def read_pid(record: Path) -> int | None:
    """The process id of a record; None while it is not written."""
    try:
        return int(record.read_text())
    except (OSError, ValueError):
        return None


def measure_memory(leader: int) -> int:
    """Bytes of memory that a browser's processes hold, shared parts counted once; 0 where it can't be told."""
    return sum(_read_pss(pid) for pid in _list_group(leader))


def find_driver(leader: int) -> int | None:
    """The child of ours that has started a browser and drives it; None where that can't be told."""
    parent = _read_parent(leader)
    return parent if parent is not None and _read_parent(parent) == os.getpid() else None


def _read_parent(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return None


def _list_group(leader: int) -> Iterator[int]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(folder.name)) == leader:
                yield int(folder.name)
        except ProcessLookupError:
            continue


def _read_pss(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    line = next((line for line in text.splitlines() if line.startswith("Pss:")), "Pss: 0 kB")
    return int(line.split()[1]) * 1_024


def _is_ours(pid: int, mark: str) -> bool:
    """Whether the process is still the browser that was recorded: ids are given out again."""
    return f"{MARK}{mark}" in _read_command(pid)


def _read_command(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
    except FileNotFoundError:
        if Path("/proc/self").exists():
            return []
    except OSError:
        return []
    return _ask_ps(pid)


def _ask_ps(pid: int) -> list[str]:
    """Where there is no /proc (macOS)."""
    try:
        answer = subprocess.run(  # noqa: S603 — nothing of a stranger's is in it
            ["/bin/ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return answer.stdout.split()


def _try_lock(path: Path) -> int | None:
    """An open, locked file descriptor, or None when somebody else holds the lock. Children don't inherit it."""
    descriptor = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
