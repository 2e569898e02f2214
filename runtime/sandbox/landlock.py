"""The fallback without namespaces: Landlock for files, TCP and signals, seccomp for the rest. Works in stock Docker.

The code sees that the machine's files exist and can read none of them. Root becomes an account of the run's own; for
anybody else the code runs under Runtime's account, and what keeps it apart is Landlock, seccomp and the watchdog.
"""

import marshal
import os
import shutil
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from runtime.accounts import Kind, choose_account
from runtime.sandbox import confine
from runtime.sandbox.launch import BackendMissing, Launch, describe_environment, find_open_folder, list_reads
from runtime.sandbox.limits import Limits
from runtime.sandbox.processes import count_threads_of
from runtime.sandbox.programs import Program
from runtime.sandbox.seccomp import build_filter, find_machine

_SPARE = 512
"""Processes and threads that the account's other work may add while code runs; the watchdog counts the run's own."""
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")


@dataclass(frozen=True)
class Landlock:
    """See Backend."""

    name: str = "landlock"
    isolates: bool = False
    newest: int | None = None
    """The version of Landlock that is asked for at most; None: the kernel's. Plays older kernels."""

    @property
    def abi(self) -> int:
        """The version of Landlock that holds; 0 where there is none."""
        found = confine.find_abi()
        return found if self.newest is None else min(found, self.newest)

    def check(self) -> None:
        """See Backend."""
        if sys.platform != "linux" or find_machine() is None:
            raise BackendMissing(f"there is no filter of system calls for {os.uname().machine}")
        if self.abi < 1:
            raise BackendMissing("the kernel has no Landlock, or it is off (it is there since Linux 5.13)")

    def prepare(self, program: Program, limits: Limits) -> Launch:
        """See Backend."""
        machine, abi, uid = find_machine(), self.abi, choose_account(Kind.CODE)
        if machine is None:
            raise BackendMissing("there is no filter of system calls for this machine")
        scratch = _make_scratch(uid)
        processes = None if uid is not None else count_threads_of(os.geteuid()) + limits.processes + _SPARE
        kept_open, control = os.pipe2(os.O_CLOEXEC)
        spec = {
            "command": program.command(limits.memory),
            "environment": dict(describe_environment(program, str(scratch))),
            "scratch": str(scratch),
            "uid": uid,
            "abi": abi,
            "control": kept_open,
            "rlimits": limits.rlimits(address_space=program.limits_address_space, processes=processes),
            "rights": [
                *((str(path), confine.READ) for path in list_reads(program)),
                *((path, confine.DEVICE) for path in _DEVICES if Path(path).exists()),
                (str(scratch), confine.SCRATCH),
            ],
            "filter": build_filter(
                machine,
                same_view=True,
                same_account=uid is None,
                signals=uid is None and abi < confine.SCOPE_ABI,
            ),
        }
        launcher = getattr(sys, "_base_executable", sys.executable)
        return Launch(
            command=[launcher, "-I", "-S", "-B", str(Path(confine.__file__)), marshal.dumps(spec).hex()],
            descriptors=(kept_open,),
            scratch=scratch,
            control=control,
            shares_account=uid is None,
        )


def _make_scratch(uid: int | None) -> Path:
    """A folder of the run's own, named after this process so that a later one knows whose it was."""
    scratch = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=find_open_folder()))
    if uid is not None:
        os.chown(scratch, uid, uid)
    return scratch


_PREFIX = "stagedoor-code-"


def remove_leftovers() -> int:
    """Remove the folders of Runtimes that are gone; answers how many there were."""
    removed = 0
    for folder in Path(find_open_folder()).glob(f"{_PREFIX}*"):
        owner = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            with suppress(OSError):
                shutil.rmtree(folder)
                removed += 1
    return removed
