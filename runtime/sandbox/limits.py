"""What code in the sandbox may use up, and how it ended."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

_MIB: Final = 2**20
_RESERVED: Final = 1_024 * _MIB


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Per run (spec T3: one CPU, 2 GB, 60 s)."""

    wall_s: float = 60.0
    """From the moment at which the code is handed in."""
    memory: int = 2_048 * _MIB
    """Bytes, of all its processes together; shared parts count once."""
    processes: int = 64
    """Threads count, too: Node has about a dozen from the start."""
    output: int = _MIB
    """Bytes on standard output and standard error together."""
    result: int = 4 * _MIB
    """Bytes of the result's JSON."""
    scratch: int = 64 * _MIB
    """Bytes in its private folder for temporary files, and of any one file."""
    files: int = 256
    """Open at once in one process; twenty times as many may lie in the private folder."""

    @property
    def entries(self) -> int:
        """Files and folders in the private folder."""
        return 20 * self.files

    def rlimits(self, *, address_space: bool, processes: int | None = None) -> dict[str, int]:
        """The limits that the kernel keeps per process, by the name after `RLIMIT_`.

        Args:
            address_space: whether memory is limited by address space, which also holds shared mappings. Node reserves
                far more than it uses; it gets a limit on its data instead, with room for what it only reserves.
            processes: what stands for the own limit where the account has other processes, too.
        """
        return {
            **({"AS": self.memory} if address_space else {"DATA": self.memory + _RESERVED}),
            "CORE": 0,
            "CPU": int(self.wall_s) + 5,
            "FSIZE": self.scratch,
            "MEMLOCK": 0,
            "NICE": 0,
            "NOFILE": self.files,
            "NPROC": processes or self.processes,
        }


class Bound(StrEnum):
    """The limit that a run was ended by."""

    MEMORY = "memory"
    PROCESSES = "processes"
    OUTPUT = "output"
    RESULT = "result"
    SCRATCH = "scratch"


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a run ended, and what is left of it. At most one of `bound`, `late`, `stopped` and `broken` says why."""

    status: int
    """Exit status; 128 and the signal's number where a signal ended it."""
    frame: bytes | None
    """What the code handed back; None where it ended before."""
    stdout: bytes
    stderr: bytes
    seconds: float
    """Since the code was handed in."""
    peak: int = 0
    """Bytes of memory, as far as they were measured."""
    bound: Bound | None = None
    late: bool = False
    """The wall clock ended it."""
    stopped: bool = False
    """Whoever asked for it wanted it ended."""
    broken: bool = False
    """It never came as far as the code: `stderr` says why."""
