"""Nothing of the stack outlives the process that started it, not even after a kill -9."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


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
