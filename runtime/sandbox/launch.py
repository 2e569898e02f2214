"""What a backend is: it knows how to start a program behind walls, and what holds those walls up."""

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from runtime.sandbox.limits import Limits
from runtime.sandbox.programs import Program


class BackendMissing(Exception):  # noqa: N818 — as ProgramMissing
    """A backend can't work here; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Launch:
    """A program to start. It inherits no environment."""

    command: list[str]
    descriptors: tuple[int, ...] = ()
    """Open ones that it inherits; closed here once it has started."""
    uid: int | None = None
    """Who it becomes before it is anything else; None: it stays who we are, or sees to it by itself."""
    scratch: Path | None = None
    """A private folder on disk, to be measured while it runs and removed afterwards."""
    memory_folders: tuple[str, ...] = ()
    """Private file systems in memory, by what they are called inside: their size is limited, their entries are not."""
    control: int | None = None
    """Closing it ends everything."""
    shares_account: bool = False
    """Whether RLIMIT_NPROC also counts processes that are not the run's."""
    cleanup: Callable[[], None] = field(default=lambda: None)


class Backend(Protocol):
    """A way to shut code in."""

    @property
    def name(self) -> str:
        """As metrics and logs say it."""
        ...

    @property
    def isolates(self) -> bool:
        """Whether the code gets namespaces of its own, rather than rules about the machine's."""
        ...

    def check(self) -> None:
        """Raise BackendMissing where it is plain without an attempt that this can't work here."""
        ...

    def prepare(self, program: Program, limits: Limits) -> Launch:
        """What to start. Raises BackendMissing or OSError."""
        ...


LIBRARIES: Final = tuple(Path(path) for path in ("/usr/lib", "/usr/lib64", "/lib", "/lib64"))
"""The system's libraries, those that are there."""
DATA: Final = tuple(Path(path) for path in ("/etc/ld.so.cache", "/usr/share/zoneinfo"))
"""What libraries look for besides."""


def list_reads(program: Program) -> list[Path]:
    """Everything that a program may read, those that are there."""
    return [path for path in (*LIBRARIES, *DATA, program.executable, *program.reads) if path.exists()]


def describe_environment(program: Program, scratch: str) -> Mapping[str, str]:
    """All that the code's environment holds."""
    return {"HOME": scratch, "TMPDIR": scratch, "LANG": "C.UTF-8", "TZ": "UTC"} | program.environment


def find_open_folder() -> str:
    """Where an account without rights can walk to what we make: TMPDIR may be ours alone, and long."""
    usual = tempfile.gettempdir()
    return next((path for path in ("/tmp", "/var/tmp", usual) if os.access(path, os.W_OK | os.X_OK)), usual)  # noqa: S108
