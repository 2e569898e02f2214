"""Nothing of the stack outlives the process that started it, not even after a kill -9.

On Linux the kernel kills each child when its parent dies. What those children had started, and everything on other
systems, is left to a watchdog: it holds the read end of a pipe whose write end only the parent has, and end of file
means that the parent is gone, however it went.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from typing import IO, cast

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
WATCHDOG_GRACE_S = 3.0


def die_with_parent(last_signal: signal.Signals = signal.SIGKILL) -> Callable[[], None] | None:
    """For `preexec_fn`: has the kernel send `last_signal` to the child when its parent ends. None but on Linux.

    "Parent" is the thread that forked (prctl(2)), so long-lived children are started from the main one.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl  # looked up before the fork: nothing may be loaded after it
    parent = os.getpid()

    def ask_kernel() -> None:
        prctl(PR_SET_PDEATHSIG, int(last_signal), 0, 0, 0)
        if os.getppid() != parent:  # it ended between fork and here, and the kernel will not tell
            os._exit(1)

    return ask_kernel


class Watchdog:
    """A process that ends the process groups it was told of as soon as this process is gone."""

    def __init__(self) -> None:
        asked = [sys.executable, "-P", "-m", "experience.cli.orphans"]
        self._process = subprocess.Popen(asked, stdin=subprocess.PIPE, start_new_session=True)

    def add(self, group: int) -> None:
        """End this group if we vanish."""
        self._tell(f"+{group}")

    def remove(self, group: int) -> None:
        """This group has ended; its number may belong to somebody else soon."""
        self._tell(f"-{group}")

    def stop(self) -> None:
        """Let it go. Groups that were not removed are ended."""
        self._process.communicate(timeout=WATCHDOG_GRACE_S * 2)

    def _tell(self, line: str) -> None:
        pipe = cast("IO[bytes]", self._process.stdin)
        with contextlib.suppress(OSError):  # a watchdog that died is no reason to end the stack
            pipe.write(f"{line}\n".encode())
            pipe.flush()


def watch(lines: Iterable[str]) -> None:
    """The watchdog itself: keep the list that `lines` tells of, and at their end stop what is still on it."""
    groups: set[int] = set()
    for line in lines:
        (groups.add if line.startswith("+") else groups.discard)(int(line[1:]))
    end_groups(groups, signal.SIGTERM)
    deadline = time.monotonic() + WATCHDOG_GRACE_S
    while groups and time.monotonic() < deadline:
        time.sleep(0.05)
        groups = end_groups(groups, None)
    end_groups(groups, signal.SIGKILL)


def end_groups(groups: Iterable[int], with_signal: signal.Signals | None) -> set[int]:
    """Signal process groups (None: only look) and return those that are still there."""
    left = set()
    for group in groups:
        # macOS says "not permitted" of a group that consists of the unburied dead.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, with_signal or 0)
            left.add(group)
    return left


if __name__ == "__main__":
    watch(sys.stdin)
