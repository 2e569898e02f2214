"""What code may use up: bombs of every kind, each ended or refused, and nothing of them left."""

import time
from typing import Any

import pytest

from runtime.sandbox.limits import Bound
from tests.runtime.sandbox.confinement import MIB, Confinement, Told, read

LATE_S = 50.0
"""A bomb is ended within three seconds (see the bench); a machine that stands still gets more, and yet less than what
would end it otherwise takes."""

GROW = """
import os
for _ in range(20):
    if os.fork() == 0:
        held = b"x" * (100 << 20)
        import time; time.sleep(60)
import time; time.sleep(60)
"""
FORK_BOMB = """
import os, time
ends = time.monotonic() + 2
while time.monotonic() < ends:
    try:
        os.fork()
    except OSError:
        time.sleep(0.01)
"""


def test_one_allocation_beyond_the_limit_fails(confinement: Confinement) -> None:
    told = confinement.run("bytearray(inputs)", inputs=1_024 * MIB)
    assert (told.answer["error"], told.frame is not None) == ("memory", True)


def test_shared_memory_is_counted_too(confinement: Confinement) -> None:
    told = confinement.run("import mmap; m = mmap.mmap(-1, 1 << 30); m.write(b'x' * (1 << 29)); result = True")
    assert not told.result


@pytest.mark.parametrize("group", [True, False], ids=["cgroup", "watchdog"])
def test_memory_of_many_processes_is_counted_together(confinement: Confinement, *, group: bool) -> None:
    told = confinement.run(GROW, group=group)
    assert told.bound is Bound.MEMORY
    assert told.seconds < LATE_S
    assert told.frame is None


def test_what_waits_in_sockets_is_counted(confinement: Confinement) -> None:
    code = """
import os, socket, time
for _ in range(16):
    if os.fork() == 0:
        held = []
        try:
            while True:
                held += socket.socketpair()
                for one in held[-2:]:
                    one.setblocking(False)
                    try:
                        while True:
                            one.send(b"x" * 32_768)
                    except BlockingIOError:
                        pass
        except OSError:
            pass
        time.sleep(60)
time.sleep(60)
"""
    told = confinement.run(code, inputs=None)
    assert told.bound is Bound.MEMORY
    assert told.peak > 512 * MIB


def test_a_bomb_leaves_a_neighbour_unharmed(confinement: Confinement) -> None:
    code = """
import os, time
child = os.fork()
if child == 0:
    time.sleep(3); os._exit(7)
result = [sum(range(2_000_000)), os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])]
"""
    neighbour = confinement.begin(code, inputs=None)
    bombs = [confinement.begin(GROW), confinement.begin(FORK_BOMB)]
    assert read(neighbour).result == [1_999_999_000_000, 7]
    assert read(bombs[0]).bound is Bound.MEMORY
    read(bombs[1])


def test_processes_are_counted(confinement: Confinement) -> None:
    code = """
import os, time
children = 0
try:
    while children < 500:
        if os.fork() == 0:
            time.sleep(30); os._exit(0)
        children += 1
except OSError:
    pass
time.sleep(0.5)
result = children
"""
    told = confinement.run(code, inputs=None)
    assert told.bound is Bound.PROCESSES or told.result <= 40


def test_threads_are_counted(confinement: Confinement) -> None:
    code = """
import threading, time
started = 0
try:
    while started < 500:
        threading.Thread(target=time.sleep, args=(30,), daemon=True).start()
        started += 1
except RuntimeError:
    pass
time.sleep(0.5)
result = started
"""
    told = confinement.run(code, inputs=None)
    assert told.bound is Bound.PROCESSES or told.result <= 40


def test_many_at_once_come_last(confinement: Confinement) -> None:
    code = """
import os, time
for _ in range(20):
    if os.fork() == 0:
        time.sleep(20); os._exit(0)
ends = time.monotonic() + 10
while os.getpriority(os.PRIO_PROCESS, 0) < 19 and time.monotonic() < ends:
    time.sleep(0.05)
child = os.fork()
if child == 0:
    os._exit(os.getpriority(os.PRIO_PROCESS, 0))
result = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
"""
    assert confinement.run(code, inputs=None).result == 19


def test_a_fork_bomb_is_gone_afterwards(confinement: Confinement) -> None:
    mark = f"fork-bomb-below-{confinement.driver.process.pid}"
    told = confinement.run(show(mark, f"{FORK_BOMB}time.sleep(60)"), limits={"wall_s": 3})
    assert told.late or told.bound is Bound.PROCESSES
    assert nothing_left(confinement, mark)
    assert nothing_left(confinement, "")


def test_processes_that_are_always_somebody_new_are_caught(confinement: Confinement) -> None:
    code = """
import os, time
if os.fork():
    time.sleep(60)
while True:
    try:
        if os.fork():
            os._exit(0)
    except OSError:
        pass
"""
    mark = f"comet-below-{confinement.driver.process.pid}"
    told = confinement.run(show(mark, code), limits={"wall_s": 2})
    assert told.late or told.bound is Bound.PROCESSES, "it came to no end by itself"
    assert nothing_left(confinement, mark)
    assert nothing_left(confinement, "")


def test_survivors_of_a_double_fork_are_ended(confinement: Confinement) -> None:
    code = """
import os, signal, sys, time
if os.fork() == 0:
    try:
        os.setsid()
    except OSError:
        pass
    if os.fork() == 0:
        for number in range(1, 65):
            try:
                signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError):
                pass
        code = f"import time; '{inputs}'; time.sleep(300)"
        os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", code])
    os._exit(0)
time.sleep(0.5)
result = True
"""
    mark = f"survivor-below-{confinement.driver.process.pid}"
    told = confinement.run(code, inputs=mark)
    assert told.result is True, told
    assert nothing_left(confinement, mark)


def test_no_zombies_stay(confinement: Confinement) -> None:
    for _ in range(3):
        confinement.run("import os\nfor _ in range(5):\n    os.fork() or os._exit(0)", inputs=None)
    assert nothing_left(confinement, "")


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_output_is_cut_and_the_flood_ended(confinement: Confinement, stream: str) -> None:
    told = confinement.run(f"import sys\nwhile True: sys.{stream}.write('x' * 65536)", inputs=None)
    assert told.bound is Bound.OUTPUT
    assert len(told.stdout) + len(told.stderr) <= MIB


def test_a_result_is_cut(confinement: Confinement) -> None:
    told = confinement.run("result = 'x' * (5 << 20)", inputs=None)
    assert (told.bound, told.frame) == (Bound.RESULT, None)


def test_a_result_that_fits_once_and_not_as_json_is_a_limit(confinement: Confinement) -> None:
    told = confinement.run("result = 'x' * (300 << 20)", inputs=None)
    assert told.answer.get("error") == "memory" or told.bound is Bound.MEMORY


IGNORES_SIGNALS = """
import signal
for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
while True:
    pass
"""
ENDLESS = {
    "sleep": "import time; time.sleep(3600)",
    "loop": "while True: pass",
    "ignores signals": IGNORES_SIGNALS,
    "silent": "import os; os.close(1); os.close(2); os.fork()\nwhile True: pass",
    "stopped": "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)",
    "regular expression": "import re; re.match(r'(a+)+$', 'a' * 40 + '!')",
    "large number": "9 ** 9 ** 9",
}


@pytest.mark.parametrize("what", ENDLESS)
def test_the_wall_clock_ends_it(confinement: Confinement, what: str) -> None:
    told = confinement.run(ENDLESS[what], limits={"wall_s": 1.5}, inputs=None)
    assert told.late
    assert 1.5 <= told.seconds < LATE_S


def test_whoever_asked_can_stop_it(confinement: Confinement) -> None:
    told = confinement.run("import time; time.sleep(60)", stop_after_s=2.0, inputs=None)
    assert (told.stopped, told.late, told.bound) == (True, False, None)


FILL = """
import os, tempfile
def fill(make, chunk=b"x" * (1 << 20)):
    written = 0
    try:
        while written < 400 << 20:
            with make() as file:
                for _ in range(4):
                    file.write(chunk); file.flush()
                    written += len(chunk)
    except OSError:
        pass
    return written
"""


def is_bounded(told: Told, most: int) -> bool:
    return told.bound in (Bound.SCRATCH, Bound.MEMORY) or (told.result is not None and told.result <= most)


def test_files_in_its_own_folder_are_counted(confinement: Confinement) -> None:
    code = FILL + "result = fill(lambda: tempfile.NamedTemporaryFile(delete=False))"
    assert is_bounded(confinement.run(code, inputs=None), 80 * MIB)


def test_files_without_names_are_counted(confinement: Confinement) -> None:
    code = (
        FILL
        + """
kept = []
class Kept:
    def __enter__(self):
        self.file = tempfile.TemporaryFile(); kept.append(self.file); return self.file
    def __exit__(self, *_): pass
result = fill(Kept)
import time; time.sleep(1)
"""
    )
    assert is_bounded(confinement.run(code, inputs=None), 80 * MIB)


def test_one_huge_file_is_refused(confinement: Confinement) -> None:
    code = """
import os
path = os.environ["TMPDIR"] + "/huge"
written = 0
try:
    with open(path, "wb") as file:
        while written < 400 << 20:
            written += file.write(b"x" * (1 << 20)); file.flush()
except OSError:
    pass
try:
    os.truncate(path, 1 << 40)
    written = 1 << 40
except OSError:
    pass
result = written
"""
    assert is_bounded(confinement.run(code, inputs=None), 66 * MIB)


@pytest.mark.parametrize("folder", ["TMPDIR", "/dev/shm"])
def test_many_small_files_are_refused(confinement: Confinement, folder: str) -> None:
    if folder != "TMPDIR" and confinement.backend == "landlock":
        pytest.skip("it has no such folder")
    code = """
import os, time
made = 0
try:
    while made < 300_000:
        os.mkdir(f"{os.environ.get(inputs, inputs)}/{made}")
        made += 1
except OSError:
    pass
time.sleep(0.5)
result = made
"""
    assert confinement.run(code, inputs=folder).bound is Bound.SCRATCH


def test_shared_memory_files_are_few(confinement: Confinement) -> None:
    code = FILL + "result = fill(lambda: tempfile.NamedTemporaryFile(dir='/dev/shm', delete=False))"
    told = confinement.run(code, inputs=None)
    assert told.result is None or told.result <= 9 * MIB


def test_open_files_are_counted(confinement: Confinement) -> None:
    code = "import os\nkept = []\ntry:\n    while True: kept.append(os.pipe())\nexcept OSError: result = len(kept) * 2"
    assert confinement.run(code, inputs=None).result <= 256


def test_its_folder_is_gone_afterwards(confinement: Confinement) -> None:
    for limits in ({}, {"wall_s": 1}):
        code = "import os, time\nfor n in range(50): open(f\"{os.environ['TMPDIR']}/{n}\", 'w').write('x')\n"
        told = confinement.run(f"{code}time.sleep(2)", inputs=None, limits=limits)
        assert told.scratch_left is False


def test_node_is_counted_by_what_it_holds(confinement: Confinement) -> None:
    buffers = "const held = []; for (;;) held.push(Buffer.alloc(50 << 20, 1));"
    objects = "const held = []; for (;;) held.push(new Array(1000).fill({}));"
    for code in (buffers, objects):
        told = confinement.run(code, language="node", inputs=None)
        assert told.bound is Bound.MEMORY or (told.status == 134 and b"heap out of memory" in told.stderr), told


def show(mark: str, code: str) -> str:
    """`code` with `mark` in its command line: since code comes in by a pipe, it starts itself anew as an argument."""
    return f"import os, sys\nos.execv(sys.executable, [sys.executable, '-I', '-S', '-c', {f'{code}  # {mark}'!r}])"


def nothing_left(confinement: Confinement, mark: str) -> bool:
    """Whether no process is left of what has run; some time is given to those that are being taken away."""
    ends = time.monotonic() + 60
    left: list[Any] = []
    while time.monotonic() < ends:
        left = confinement.list_processes(mark) if mark else list_children(confinement)
        if not left:
            return True
        time.sleep(0.1)
    raise AssertionError(left)


def list_children(confinement: Confinement) -> list[str]:
    """What the driver has below itself besides the victim, dead or alive."""
    pid, victim = confinement.driver.process.pid, str(confinement.bait["victim"])
    found: list[str] = []
    for thread in __import__("os").listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/children") as children:  # noqa: PTH123
            found += [child for child in children.read().split() if child != victim]
    return found
