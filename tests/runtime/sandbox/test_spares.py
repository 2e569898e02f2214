"""Programs that stand ready: each is given one code, stands behind the same walls, and leaves nothing when unused."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from runtime.sandbox.canary import LIMITS, lay_bait
from runtime.sandbox.launch import Backend, Launch
from runtime.sandbox.limits import Bound, Ended, Limits
from runtime.sandbox.programs import Language, Program, find_program
from runtime.sandbox.sandbox import Sandbox
from runtime.sandbox.spares import Spares
from runtime.sandbox.warden import Parked, Stop
from tests.runtime.sandbox.driver import BACKENDS

SUSPECT = Path(__file__).parents[3] / "runtime" / "sandbox" / "suspect.py"
USUAL = Limits(wall_s=60)


@dataclass(frozen=True)
class Counting:
    """A backend that remembers how often it was asked for a launch."""

    inner: Backend
    launches: list[Launch] = field(default_factory=list, hash=False)
    name: str = "counting"
    isolates: bool = True

    def check(self) -> None:
        self.inner.check()

    def prepare(self, program: Program, limits: Limits) -> Launch:
        self.launches.append(self.inner.prepare(program, limits))
        return self.launches[-1]


@pytest.fixture
def python() -> Program:
    return find_program(Language.PYTHON, for_others=os.geteuid() == 0)


@pytest.fixture
def spares() -> Iterator[Spares]:
    made = Spares()
    yield made
    made.close()


@pytest.fixture
def counting(backend: str) -> Counting:
    return Counting(BACKENDS[backend])


@pytest.fixture
def strangers() -> set[int]:
    """Processes of other tests."""
    return children()


def take(spares: Spares, backend: Backend, program: Program) -> Parked:
    spares.order(backend, program)
    parked = spares.take(backend, program, USUAL)
    assert parked is not None
    return parked


def go(parked: Parked, program: Program, code: str, inputs: Any = None) -> Ended:
    stop = Stop()
    try:
        return parked.go(program.encode(code, inputs), USUAL, stop)
    finally:
        stop.close()


def test_code_is_given_to_what_stands(spares: Spares, counting: Counting, python: Program) -> None:
    parked = take(spares, counting, python)
    assert (parked.stands, len(counting.launches)) == (True, 1)
    ended = go(parked, python, "print('hello')\nresult = inputs + 1", 1)
    assert (ended.frame, ended.stdout, len(counting.launches)) == (b'{"result": 2}', b"hello\n", 1)
    assert spares.take(counting, python, USUAL) is None  # each serves one run


def test_it_stands_behind_the_same_walls(spares: Spares, counting: Counting, python: Program) -> None:
    parked = take(spares, counting, python)
    with lay_bait() as bait:
        ended = go(parked, python, SUSPECT.read_text(), bait.ask("ways") | {"memory": 4 * USUAL.memory})
    assert json.loads(ended.frame or b"null") == {"result": []}
    forked = go(take(spares, counting, python), python, SUSPECT.read_text(), bait.ask("forks") | {"processes": 500})
    assert forked.bound is Bound.PROCESSES or json.loads(forked.frame or b"")["result"] <= USUAL.processes


def test_its_time_begins_when_the_code_is_handed_in(spares: Spares, counting: Counting, python: Program) -> None:
    parked = take(spares, counting, python)
    time.sleep(1)
    stop = Stop()
    handed_in = time.monotonic()
    ended = parked.go(python.encode("import time; time.sleep(600)", None), Limits(wall_s=1.5), stop)
    stop.close()
    assert ended.late
    assert 1.5 <= ended.seconds <= time.monotonic() - handed_in


def test_whoever_asked_can_stop_it(spares: Spares, counting: Counting, python: Program) -> None:
    stop = Stop()
    stop.now()
    ended = take(spares, counting, python).go(python.encode("import time; time.sleep(60)", None), USUAL, stop)
    stop.close()
    assert (ended.stopped, ended.broken) == (True, False)


def test_one_that_has_died_is_given_to_nobody(
    spares: Spares, counting: Counting, python: Program, strangers: set[int]
) -> None:
    spares.order(counting, python)
    wait_until(lambda: spares.has(Language.PYTHON))
    parked = children() - strangers
    assert parked
    for pid in parked:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: all(map(is_dead, parked)))
    assert spares.take(counting, python, USUAL) is None


@pytest.mark.parametrize("limits", [Limits(wall_s=61), Limits(memory=LIMITS.memory), Limits(processes=3)])
def test_other_limits_are_not_served(spares: Spares, counting: Counting, python: Program, limits: Limits) -> None:
    spares.order(counting, python)
    assert spares.take(counting, python, limits) is None


def test_another_backend_or_program_is_not_served(spares: Spares, counting: Counting, python: Program) -> None:
    spares.order(counting, python)
    assert spares.take(Counting(counting.inner, name="another"), python, USUAL) is None
    moved = Program(Language.PYTHON, Path("/elsewhere/python"), python.reads)
    assert spares.take(counting, moved, USUAL) is None


@pytest.mark.parametrize("early", [True, False])
def test_nothing_is_left_of_those_that_nobody_took(
    counting: Counting, python: Program, strangers: set[int], *, early: bool
) -> None:
    spares = Spares()
    begin = spares.order(counting, python)
    assert begin is not None
    begin.set()
    wait_until(lambda: early or spares.has(Language.PYTHON))
    spares.close()
    assert children() - strangers == set()
    assert not [launch.scratch for launch in counting.launches if launch.scratch and launch.scratch.exists()]
    assert spares.order(counting, python) is None
    assert spares.take(counting, python, USUAL) is None


async def test_a_run_finds_what_the_last_look_has_started(counting: Counting, strangers: set[int]) -> None:
    sandbox = Sandbox(backends=[counting], for_others=os.geteuid() == 0, spares=True)
    try:
        await sandbox.choose()
        looked = len(counting.launches)
        await asyncio.to_thread(wait_until, lambda: sandbox.stands_ready(Language.PYTHON))
        assert not sandbox.stands_ready(Language.NODE)  # nobody has asked for it
        assert len(counting.launches) == looked + 1
        assert (await sandbox.run(Language.PYTHON, "result = 1", None, USUAL)).frame == b'{"result": 1}'
        await asyncio.to_thread(wait_until, lambda: sandbox.stands_ready(Language.PYTHON))
        assert len(counting.launches) == looked + 2
        before = children() - strangers
        await sandbox.choose()  # walls that were tried anew are those that the next code meets
        await asyncio.to_thread(wait_until, lambda: sandbox.stands_ready(Language.PYTHON))
        assert before
        assert not before & children()
    finally:
        sandbox.close()
    assert children() - strangers == set()


def children() -> set[int]:
    """Of this process."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError):  # a thread that has ended meanwhile
            found |= set(map(int, (task / "children").read_text().split()))
    return found


def wait_until(holds: Callable[[], bool]) -> None:
    ends = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.01)


def is_dead(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True
