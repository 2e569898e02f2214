"""An interpreter that belongs to Runtime's own account, as uv and pyenv install it: code changes nothing about it."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.sandbox.launch import find_open_folder
from runtime.sandbox.programs import Language, Program, _copy_into, _point_at, find_program
from tests.runtime.sandbox.confinement import ORDINARY, Driver
from tests.runtime.sandbox.test_walls import HEAD

CHANGES = """
import fcntl, sys
def change(target):
    handle = os.open(target, os.O_RDONLY)
    by_handle = f"/proc/self/fd/{handle}"
    flags = (ctypes.c_long * 1)(0x80)
    return {
        "fchmod": lambda: os.chmod(handle, 0o4777),
        "fchown": lambda: os.chown(handle, -1, os.getgid()),
        "futimens": lambda: os.utime(handle, (1, 1)),
        "fsetxattr": lambda: os.setxattr(handle, "user.x", b"1"),
        "fremovexattr": lambda: os.removexattr(handle, "user.x"),
        "FS_IOC_SETFLAGS": lambda: fcntl.ioctl(handle, 0x40086602, flags),
        "FS_IOC_FSSETXATTR": lambda: fcntl.ioctl(handle, 0x401C5820, bytes(28)),
        "chmod": lambda: os.chmod(target, 0o4777),
        "chmod by /proc": lambda: os.chmod(by_handle, 0o4777),
        "chown": lambda: os.chown(target, -1, os.getgid()),
        "utime": lambda: os.utime(target, (1, 1)),
        "setxattr": lambda: os.setxattr(target, "user.x", b"1"),
        "truncate": lambda: os.truncate(target, 0),
        "O_TRUNC": lambda: os.open(target, os.O_RDONLY | os.O_TRUNC),
        "fchmodat2": lambda: calls(452, 452, handle, b"", 0o4777, 0x1000) or os.stat("/nowhere"),
        "rename": lambda: os.rename(target, target + "x"),
        # last: who opens the file afterwards is told by a signal
        "F_SETLEASE": lambda: fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_RDLCK) == 0,
    }
result = []
for target in inputs["targets"]:
    for name, attempt in change(target).items():
        if works(lambda: attempt() or True):
            result.append([name, target])
"""


@pytest.fixture(scope="module")
def python() -> Iterator[Program]:
    """A copy that the ordinary account owns."""
    with tempfile.TemporaryDirectory(prefix="stagedoor-python-", dir=find_open_folder()) as name:
        Path(name).chmod(0o755)
        usual, home = find_program(Language.PYTHON, for_others=False), Path(name, "python")
        _copy_into(usual, home)
        if os.geteuid() == 0:
            for folder, folders, files in os.walk(home):
                for entry in (".", *folders, *files):
                    shutil.chown(Path(folder, entry), ORDINARY, ORDINARY)
        yield _point_at(usual, home)


@pytest.fixture(scope="module")
def driver(python: Program) -> Iterator[Driver]:
    made = Driver(ordinary=True, python=python)
    yield made
    made.close()


@pytest.fixture
def targets(python: Program) -> list[Path]:
    """What the code may read of it: a folder, a module that nobody needs, the interpreter itself."""
    library = next(path for path in python.reads if path.is_dir())
    return [library / "this.py", library, python.executable]


def describe(target: Path) -> tuple[int, ...]:
    found = target.stat()
    return found.st_mode, found.st_uid, found.st_gid, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@pytest.mark.parametrize("older", ["", "-abi1", "-abi3", "-abi5"])
def test_code_changes_nothing_about_its_interpreter(
    backend: str, older: str, driver: Driver, targets: list[Path]
) -> None:
    if older and backend != "landlock":
        pytest.skip("has nothing to do with Landlock")
    before = list(map(describe, targets))
    told = driver.run(backend + older, HEAD + CHANGES, inputs={"targets": list(map(str, targets))})
    assert told.answer.get("result") == [], (told.answer, told.stderr)
    assert list(map(describe, targets)) == before


def test_without_walls_it_would(driver: Driver, targets: list[Path]) -> None:
    told = driver.run("bare", HEAD + CHANGES, inputs={"targets": [str(targets[0])]})
    assert {name for name, _ in told.result} >= {
        "fchmod",
        "fchown",
        "futimens",
        "chmod",
        "utime",
        "O_TRUNC",
        "rename",
        "F_SETLEASE",
    }
