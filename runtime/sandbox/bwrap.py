"""Namespaces by bubblewrap: nothing of the machine is there but what is mounted, nobody else, and no network.

Root becomes an account of its own first: run by root, bwrap maps to root, and what escaped would be root. bwrap itself
gets no environment, since its pid 1 keeps whatever it was given where the code can read it. Limits on processes are set
inside: outside they would count namespaces that the kernel has not freed yet.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from runtime.accounts import Kind, choose_account
from runtime.sandbox.launch import (
    BackendMissing,
    Launch,
    describe_environment,
    list_reads,
)
from runtime.sandbox.limits import Limits
from runtime.sandbox.programs import Program
from runtime.sandbox.seccomp import build_filter, find_machine

INSTALL: Final = "Install bubblewrap: apt-get install bubblewrap."
_SCRATCH: Final = "/tmp"  # noqa: S108 — inside, where it is private
_SHARED_MEMORY: Final = 8 * 2**20
_SHARED_MEMORY_FOLDER: Final = "/dev/shm"  # noqa: S108 — inside, too
_INSIDE_UID: Final = "65534"


@dataclass(frozen=True)
class Bwrap:
    """bubblewrap, with or without a /proc of the sandbox's own.

    Where the machine's /proc is partly hidden, as in containers, the kernel lets nobody mount a fresh one; nor can
    bwrap then forbid further user namespaces by sysctl, which the filter of system calls does anyway.
    """

    with_proc: bool = True

    @property
    def name(self) -> str:
        """See Backend."""
        return "bwrap" if self.with_proc else "bwrap-noproc"

    @property
    def isolates(self) -> bool:
        """See Backend."""
        return True

    def check(self) -> None:
        """See Backend."""
        if find_machine() is None:
            raise BackendMissing(f"there is no filter of system calls for {os.uname().machine}")
        if shutil.which("bwrap") is None:
            raise BackendMissing(f"bwrap is not installed. {INSTALL}")
        if shutil.which("prlimit") is None:
            raise BackendMissing("prlimit is not installed. Install util-linux.")

    def prepare(self, program: Program, limits: Limits) -> Launch:
        """See Backend."""
        machine, bwrap, prlimit = find_machine(), shutil.which("bwrap"), shutil.which("prlimit")
        if machine is None or bwrap is None or prlimit is None:
            raise BackendMissing("bwrap, prlimit or the filter is missing")
        descriptor = _hold(build_filter(machine))
        rlimits = limits.rlimits(address_space=program.limits_address_space)
        command = [
            bwrap,
            *("--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"),
            *("--unshare-cgroup-try", "--uid", _INSIDE_UID, "--gid", _INSIDE_UID, "--hostname", "sandbox"),
            *("--die-with-parent", "--new-session", "--cap-drop", "ALL", "--clearenv"),
            *(["--disable-userns"] if self.with_proc else []),
            *_mount(program, Path(os.path.realpath(prlimit)), limits, with_proc=self.with_proc),
            *_set_environment(program),
            *("--chdir", _SCRATCH, "--seccomp", str(descriptor), "--", os.path.realpath(prlimit)),
            *(f"--{name.lower()}={value}" for name, value in rlimits.items()),
            *program.command(limits.memory),
        ]
        return Launch(
            command=command,
            descriptors=(descriptor,),
            uid=choose_account(Kind.CODE),
            memory_folders=(_SCRATCH, _SHARED_MEMORY_FOLDER),
        )


def _mount(program: Program, prlimit: Path, limits: Limits, *, with_proc: bool) -> list[str]:
    # every tmpfs has a size; this one comes first, because the checkout itself may lie below /tmp
    parts = ["--size", str(limits.scratch), "--perms", "0700", "--tmpfs", _SCRATCH]
    for path in [*list_reads(program), prlimit]:
        if path.is_symlink() and path.parent == Path("/"):
            parts += ["--symlink", os.readlink(path), str(path)]  # /lib → usr/lib
        else:
            parts += ["--ro-bind", str(path), str(path)]
    parts += ["--proc", "/proc"] if with_proc else []
    # whatever needs not be written can't be: /, /dev and /dev/shm are by default
    parts += ["--dev", "/dev", "--size", str(_SHARED_MEMORY), "--perms", "1777"]
    parts += ["--tmpfs", _SHARED_MEMORY_FOLDER]
    return [*parts, "--remount-ro", "/dev", "--remount-ro", "/"]


def _set_environment(program: Program) -> list[str]:
    environment = describe_environment(program, _SCRATCH)
    return [part for name, value in environment.items() for part in ("--setenv", name, value)]


def _hold(data: bytes) -> int:
    """A descriptor from which `data` is read."""
    descriptor = os.memfd_create("filter", os.MFD_CLOEXEC)
    os.write(descriptor, data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
