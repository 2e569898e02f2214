"""The filter of system calls, put together by hand: classic BPF over `struct seccomp_data` (seccomp(2)).

What is denied fails with EPERM and what has not been judged with ENOSYS, so that libraries fall back instead of dying.
Sockets are denied whole: the brokered API, when it comes, is handed in as an open descriptor.
"""

import errno
import platform
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from runtime.sandbox.syscalls import AARCH64, LAST_KNOWN, X86_64

DENIED: Final = (
    # out of the walls: namespaces, mounts, handles that ask no path
    *("unshare", "setns", "mount", "umount2", "pivot_root", "chroot", "open_tree", "move_mount", "fsopen", "fsconfig"),
    *("fsmount", "fspick", "mount_setattr", "name_to_handle_at", "open_by_handle_at", "fanotify_init", "fanotify_mark"),
    # into other processes
    *("ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "process_mrelease", "kcmp", "pidfd_getfd"),
    *("perf_event_open", "setpriority", "ioprio_set", "sched_setparam", "sched_setscheduler", "sched_setattr"),
    *("sched_setaffinity", "migrate_pages", "move_pages", "mbind", "set_mempolicy", "set_mempolicy_home_node"),
    # the kernel's wide and young doors; io_uring would open sockets unseen
    *(
        "io_uring_setup",
        "io_uring_enter",
        "io_uring_register",
        "bpf",
        "userfaultfd",
        "add_key",
        "request_key",
        "keyctl",
    ),
    *("personality", "modify_ldt", "iopl", "ioperm", "uselib", "ustat", "sysfs", "_sysctl", "remap_file_pages"),
    # the machine itself
    *("init_module", "finit_module", "delete_module", "create_module", "get_kernel_syms", "query_module", "kexec_load"),
    *("kexec_file_load", "reboot", "swapon", "swapoff", "acct", "quotactl", "quotactl_fd", "nfsservctl", "syslog"),
    *("settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "sethostname", "setdomainname", "vhangup"),
    "lookup_dcookie",
    # memory and queues that belong to no process, so that no limit of a process counts them
    *("memfd_create", "memfd_secret", "shmget", "shmat", "shmctl", "shmdt", "msgget", "msgsnd", "msgrcv", "msgctl"),
    *("semget", "semop", "semctl", "semtimedop", "mq_open", "mq_unlink", "mq_timedsend", "mq_timedreceive"),
    *("mq_notify", "mq_getsetattr"),
    # attributes of files: what a file system keeps for them in memory is counted nowhere
    *("setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr"),
    # the network, and every socket that has an address
    *("socket", "connect", "bind", "listen", "accept", "accept4"),
    # larger buffers than the warden reckons with
    "setsockopt",
)
ABSENT: Final = ("clone3", "openat2")
"""Their flags lie in memory, where a filter can't look; told ENOSYS, the C library uses clone and openat."""
SAME_VIEW: Final = (
    # all of a run stays in one process group, which is ended at one stroke
    *("setsid", "setpgid"),
    # Landlock does not judge who changes a file's mode, owner and times, or hears of changes
    *("chmod", "fchmodat", "chown", "lchown", "fchownat", "utime", "utimes", "futimesat"),
    *("inotify_init", "inotify_init1", "inotify_add_watch"),
    # before ABI 3 it does not judge who empties a file; see _OPENS, too
    "truncate",
)
"""Denied besides where the code sees the machine's own processes and files (no namespaces)."""
SAME_ACCOUNT: Final = ("fchmod", "fchown", "utimensat")
"""Denied besides where the code sees the machine's files and its account may own some that it reads, its interpreter's
above all: an open descriptor is enough for these."""
SIGNALS: Final = ("kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal")
"""Denied besides where it shares an account with others and the kernel's Landlock does not scope signals."""

_CLONE_NEW: Final = 0x7E02_0000
"""Every flag of clone(2) that makes a namespace; CLONE_NEWTIME exists for clone3 and unshare only."""
_AF_UNIX, _SOCK_STREAM, _TYPE_MASK = 1, 1, 0xF
_IOCTLS: Final = (0x5412, 0x541C, 0x8901, 0x8902)
"""TIOCSTI and TIOCLINUX type into a terminal; FIOSETOWN and SIOCSPGRP aim signals."""
_HARMLESS_IOCTLS: Final = (0x5401, 0x540F, 0x5411, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
"""All that is left where the code sees the machine's files, since file systems change flags, keys and snapshots by
others: TCGETS, TIOCGPGRP, TIOCOUTQ, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX."""
_FCNTLS: Final = (8, 10, 15, 1_024, 1_026, 1_031)
"""F_SETOWN, F_SETSIG, F_SETOWN_EX aim signals; F_SETLEASE makes others wait for a file of the same account, F_NOTIFY
hears of changes, and F_SETPIPE_SZ makes pipes hold more."""
_PRCTLS: Final = (4,)
"""PR_SET_DUMPABLE hides a process's descriptors from the warden."""

_ACCESS, _TRUNCATE, _NO_ACCESS = 0o3, 0o1000, 0o3
_OPENS: Final = (_TRUNCATE, _NO_ACCESS, _NO_ACCESS | _TRUNCATE)
"""Of O_ACCMODE and O_TRUNC (open(2)): emptying a file that is opened to be read, for which Landlock asks no right to
write before ABI 3; and access mode 3, neither reading nor writing, for which it asks no right at all."""

_LOAD, _JUMP_EQUAL, _JUMP_GREATER, _JUMP_SET, _AND, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x54, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF_0000, 0x8000_0000, 0x0005_0000
_NUMBER, _ARCHITECTURE = 0, 4
_X32 = 0x4000_0000

Instruction = tuple[int, int, int, int]
_PASS: Final[Instruction] = (_RETURN, 0, 0, _ALLOW)


@dataclass(frozen=True)
class Machine:
    """An architecture as the kernel names it."""

    audit: int
    numbers: Mapping[str, int]
    x32: bool = False
    """Whether calls have a second door with numbers of its own."""


MACHINES: Final[Mapping[str, Machine]] = {
    "x86_64": Machine(0xC000_003E, X86_64, x32=True),
    "aarch64": Machine(0xC000_00B7, AARCH64),
}


def find_machine() -> Machine | None:
    """This one; None where the filter has no numbers for it."""
    return MACHINES.get(platform.machine())


def build_filter(
    machine: Machine, *, same_view: bool = False, same_account: bool = False, signals: bool = False
) -> bytes:
    """The program as an array of `struct sock_filter`, in this machine's byte order.

    Args:
        same_view: no namespaces stand around the code; see SAME_VIEW.
        same_account: nor has it an account of its own; see SAME_ACCOUNT.
        signals: it may not send any; see SIGNALS.
    """
    further = ((SAME_VIEW, same_view), (SAME_ACCOUNT, same_account), (SIGNALS, signals))
    denied = [*DENIED, *(name for names, is_denied in further if is_denied for name in names)]
    program = [*_check_door(machine)]
    for names, error in ((denied, errno.EPERM), (ABSENT, errno.ENOSYS)):
        for name in names:
            if name in machine.numbers:
                program += [_jump(_JUMP_EQUAL, machine.numbers[name], 0, 1), _fail(error)]
    program += _check_arguments(machine.numbers, same_view=same_view)
    program.append(_PASS)
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def _check_door(machine: Machine) -> Iterator[Instruction]:
    yield (_LOAD, 0, 0, _ARCHITECTURE)
    yield _jump(_JUMP_EQUAL, machine.audit, 1, 0)
    yield (_RETURN, 0, 0, _KILL)  # int 0x80 has other numbers
    yield (_LOAD, 0, 0, _NUMBER)
    if machine.x32:
        yield _jump(_JUMP_SET, _X32, 0, 1)
        yield _fail(errno.ENOSYS)
    yield _jump(_JUMP_GREATER, LAST_KNOWN, 0, 1)
    yield _fail(errno.ENOSYS)


def _check_arguments(numbers: Mapping[str, int], *, same_view: bool) -> list[Instruction]:
    """Calls that depend on what they are told; each block ends in a verdict."""
    blocks = [
        (numbers["clone"], [_load(0), _jump(_JUMP_SET, _CLONE_NEW, 0, 1), _refuse()]),
        # a datagram socket could be sent to any address with sendto
        (
            numbers["socketpair"],
            [
                *(_load(0), _jump(_JUMP_EQUAL, _AF_UNIX, 1, 0), _refuse()),
                *(_load(1), (_AND, 0, 0, _TYPE_MASK), _jump(_JUMP_EQUAL, _SOCK_STREAM, 1, 0), _refuse()),
            ],
        ),
        (numbers["ioctl"], [_load(1), *(_allow_only(_HARMLESS_IOCTLS) if same_view else _refuse_any(_IOCTLS))]),
        (numbers["fcntl"], [_load(1), *_refuse_any(_FCNTLS)]),
        (numbers["prctl"], [_load(0), *_refuse_any(_PRCTLS)]),
        # of another process: its limits are not the code's to lower
        (numbers["prlimit64"], [_load(0), _jump(_JUMP_EQUAL, 0, 1, 0), _refuse()]),
    ]
    if same_view:  # by descriptor only
        block = [_load(1), _jump(_JUMP_EQUAL, 0, 1, 0), _refuse(), _load(1, 4), _jump(_JUMP_EQUAL, 0, 1, 0), _refuse()]
        blocks.append((numbers["utimensat"], block))
        for name, flags in (("open", 1), ("openat", 2)):
            if name in numbers:
                check = [_load(flags), (_AND, 0, 0, _ACCESS | _TRUNCATE), *_refuse_any(_OPENS)]
                blocks.append((numbers[name], check))
    return [
        instruction
        for number, block in blocks
        for instruction in (_jump(_JUMP_EQUAL, number, 0, len(block) + 1), *block, _PASS)
    ]


def _refuse_any(values: tuple[int, ...]) -> Iterator[Instruction]:
    for value in values:
        yield _jump(_JUMP_EQUAL, value, 0, 1)
        yield _refuse()


def _allow_only(values: tuple[int, ...]) -> Iterator[Instruction]:
    for value in values:
        yield _jump(_JUMP_EQUAL, value, 0, 1)
        yield _PASS
    yield _refuse()


def _load(argument: int, offset: int = 0) -> Instruction:
    """Half of an argument; both machines are little-endian, so the low half comes first."""
    return (_LOAD, 0, 0, 16 + 8 * argument + offset)


def _jump(kind: int, value: int, if_so: int, if_not: int) -> Instruction:
    return (kind, if_so, if_not, value)


def _fail(error: int) -> Instruction:
    return (_RETURN, 0, 0, _ERRNO | error)


def _refuse() -> Instruction:
    return _fail(errno.EPERM)
