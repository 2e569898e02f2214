"""Children after the end of their parent: by the kernel, and by the watchdog alone as on macOS."""

import subprocess
import sys
import time

import pytest

from experience.cli import orphans
from tests.support.processes import wait_until_gone

PARENT = """
import os, subprocess, sys, time
from experience.cli.orphans import Watchdog, die_with_parent
way = sys.argv[1]
watchdog = Watchdog() if way == "watchdog" else None
sleep = [sys.executable, "-c", "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(300)"]
child = subprocess.Popen(sleep, start_new_session=True, preexec_fn=die_with_parent() if way == "kernel" else None)
if watchdog:
    watchdog.add(child.pid)
print(child.pid, flush=True)
time.sleep(300)
"""


@pytest.mark.parametrize("way", ["kernel", "watchdog"])
def test_child_is_gone_after_kill_9_of_its_parent(way: str) -> None:
    mark = f"TEST_MARK_orphan_{way}_{time.monotonic_ns()}"
    parent = subprocess.Popen([sys.executable, "-c", PARENT, way], stdout=subprocess.PIPE, env={mark: "1"})
    with parent:
        assert parent.stdout is not None
        assert parent.stdout.readline()
        parent.kill()
    assert wait_until_gone(mark, 60) == {}


def test_watchdog_leaves_groups_alone_that_were_taken_off_its_list() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], start_new_session=True)
    watchdog = orphans.Watchdog()
    watchdog.add(child.pid)
    watchdog.remove(child.pid)
    watchdog.stop()
    assert child.poll() is None
    child.kill()
    child.wait()
