"""The canary lives behind walls and dies where one is missing."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from runtime.sandbox import seccomp
from runtime.sandbox.canary import CanaryDead, lay_bait, send_canary, try_program
from runtime.sandbox.landlock import Landlock
from runtime.sandbox.launch import Backend, BackendMissing, Launch
from runtime.sandbox.limits import Limits
from runtime.sandbox.programs import Language, Program, find_program
from runtime.sandbox.warden import Stop
from tests.runtime.sandbox.driver import BACKENDS


@pytest.fixture(scope="module")
def python() -> Program:
    return find_program(Language.PYTHON, for_others=True)


@pytest.fixture
def stop() -> Iterator[Stop]:
    one = Stop()
    yield one
    one.close()


def test_it_lives_in_every_backend(backend: str, python: Program, stop: Stop) -> None:
    send_canary(BACKENDS[backend], python, stop)


def test_it_dies_without_walls_and_says_which_are_missing(python: Program, stop: Stop) -> None:
    with pytest.raises(CanaryDead) as dead:
        send_canary(BACKENDS["bare"], python, stop)
    for way in ("file", "network", "unix socket", "memory", "file to be emptied", "mode of a file"):
        assert way in str(dead.value)


@pytest.mark.parametrize("left_out", ["truncate", "open"])
def test_it_dies_where_the_kernel_lets_files_be_emptied(
    monkeypatch: pytest.MonkeyPatch, python: Program, stop: Stop, left_out: str
) -> None:
    old = Landlock(newest=2)
    send_canary(old, python, stop)
    if left_out == "truncate":
        monkeypatch.setattr(seccomp, "SAME_VIEW", [name for name in seccomp.SAME_VIEW if name != left_out])
    else:
        monkeypatch.setattr(seccomp, "_OPENS", ())
    with pytest.raises(CanaryDead, match="file to be emptied"):
        send_canary(old, python, stop)


@dataclass(frozen=True)
class Broken:
    """A backend that can't start, in one way or another."""

    command: list[str]
    name: str = "broken"
    isolates: bool = True

    def check(self) -> None:
        """See Backend."""

    def prepare(self, program: Program, limits: Limits) -> Launch:
        return Launch(command=self.command)


@dataclass(frozen=True)
class Absent(Broken):
    """A backend that is not installed."""

    def check(self) -> None:
        raise BackendMissing("bwrap is not installed")


@pytest.mark.parametrize(
    ("backend", "said"),
    [
        (Broken(["/bin/sh", "-c", "echo no namespaces >&2; exit 1"]), "no namespaces"),
        (Broken(["/bin/false"]), "status 1"),
        (Broken(["/nowhere/bwrap"]), "No such file"),
        (Absent([]), "not installed"),
    ],
)
def test_it_dies_where_nothing_starts_and_says_why(backend: Backend, said: str, python: Program, stop: Stop) -> None:
    with pytest.raises(CanaryDead, match=said):
        send_canary(backend, python, stop)


def test_it_can_be_called_back(python: Program, stop: Stop) -> None:
    stop.now()
    with pytest.raises(CanaryDead):
        send_canary(Landlock(), python, stop)


def test_a_language_is_tried_too(python: Program, stop: Stop) -> None:
    try_program(Landlock(), python, "result = True", stop)
    with pytest.raises(CanaryDead):
        try_program(Landlock(), python, "result = False", stop)


def test_bait_is_where_everybody_can_walk_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    long = tmp_path / ("x" * 120)
    long.mkdir(mode=0o700)
    monkeypatch.setattr("tempfile.tempdir", str(long))
    with lay_bait() as bait:
        assert not bait.socket.startswith(str(long))


def test_the_bait_is_gone_afterwards() -> None:
    import os  # noqa: PLC0415

    with lay_bait() as bait:
        assert bait.environment in os.environ.values()
    assert bait.environment not in os.environ.values()
