"""Shuts one program in by Landlock, seccomp and limits, and ends everything that is left of it. Needs no namespaces.

Started by path with `python -I -S` for every run, so it imports the least it can: of the standard library what is
written in C, and neither json nor signal nor typing, which would double the time it takes. Its argument is a marshalled
dictionary in hexadecimal, from the same interpreter (see landlock.py).
It stays as the parent: descendants that lose theirs become its children, all of them stay in one process group, and
when the program ends, or the control descriptor closes because Runtime is gone, the whole group is killed at once.
"""

import ctypes
import marshal
import os
import resource
import select
import struct
import sys

_SIGKILL = 9
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Spec = dict[str, Any]

NOT_STARTED = 125
_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 22, 36, 38
_SECCOMP_MODE_FILTER = 2
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
REMOVE_DIR, REMOVE_FILE, MAKE_CHAR, MAKE_DIR, MAKE_REG, MAKE_SOCK = 1 << 4, 1 << 5, 1 << 6, 1 << 7, 1 << 8, 1 << 9
MAKE_FIFO, MAKE_BLOCK, MAKE_SYM, REFER, TRUNCATE, IOCTL_DEV = 1 << 10, 1 << 11, 1 << 12, 1 << 13, 1 << 14, 1 << 15
_SINCE = {1: (1 << 13) - 1, 2: REFER, 3: TRUNCATE, 5: IOCTL_DEV}
"""Rights to files by the ABI that brought them (landlock(7))."""
_ON_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
READ = EXECUTE | READ_FILE | READ_DIR
SCRATCH = (
    READ_FILE | READ_DIR | WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | MAKE_FIFO | MAKE_SYM
) | (REFER | TRUNCATE)
DEVICE = READ_FILE | WRITE_FILE
NET_ABI, SCOPE_ABI = 4, 6
_NET = 0b11
"""Binding and connecting TCP."""
_SCOPE = 0b11
"""Abstract unix sockets and signals."""

_libc = ctypes.CDLL(None, use_errno=True)


def find_abi() -> int:
    """The kernel's version of Landlock; 0 where it has none or it is off."""
    return max(0, int(_libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _CREATE_RULESET_VERSION)))


def _check(result: int, what: str) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")
    return result


def restrict(rights: list[tuple[str, int]], abi: int) -> None:
    """Take every right to files, TCP, signals and abstract sockets from this process but those named, for good.

    Args:
        abi: what the kernel can judge; what came later is not asked of it.
    """
    handled = 0
    for since, mask in _SINCE.items():
        handled |= mask if abi >= since else 0
    attributes = struct.pack("=QQQ", handled, _NET if abi >= NET_ABI else 0, _SCOPE if abi >= SCOPE_ABI else 0)
    size = 24 if abi >= SCOPE_ABI else 16 if abi >= NET_ABI else 8
    ruleset = _check(_libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(size), 0), "Landlock")
    for path, wanted in rights:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        allowed = wanted & handled & (-1 if os.path.isdir(path) else _ON_FILES)
        rule = struct.pack("=Qi", allowed, descriptor)
        _check(_libc.syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, 0), f"Landlock: {path}")
        os.close(descriptor)
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    _check(_libc.syscall(_RESTRICT_SELF, ruleset, 0), "Landlock")
    os.close(ruleset)


def _filter(program: bytes) -> None:
    """Put the filter of system calls on: struct sock_fprog { unsigned short len; struct sock_filter *filter; }."""
    buffer = ctypes.create_string_buffer(program, len(program))
    head = struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer))
    _check(_libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, head, 0, 0), "seccomp")


def _become(uid: int) -> None:
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def _run_confined(spec: "Spec", parent: int) -> None:
    """In the child: everything that is taken away, then the program. Does not return."""
    os.setsid()
    os.umask(0o077)
    if spec["uid"] is not None:
        _become(spec["uid"])
    _check(_libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0), "parent")
    if os.getppid() != parent:
        os._exit(NOT_STARTED)
    os.chdir(spec["scratch"])
    for name, value in spec["rlimits"].items():
        number = getattr(resource, f"RLIMIT_{name}")
        most = resource.getrlimit(number)[1]
        least = value if most == resource.RLIM_INFINITY else min(value, most)
        resource.setrlimit(number, (least, least))
    restrict([(path, rights) for path, rights in spec["rights"]], spec["abi"])
    _filter(spec["filter"])
    os.execve(spec["command"][0], spec["command"], spec["environment"])  # noqa: S606 — what this is for


def _watch(child: int, control: int) -> tuple[int, bool]:
    """Until the program has ended or nobody wants it any more; then end its group.

    Answers its exit status, and whether it was still wanted.
    """
    nothing = os.open("/dev/null", os.O_RDWR)
    for descriptor in (0, 1, 2):  # so that Runtime sees the end of what the program writes
        os.dup2(nothing, descriptor)
    handle = os.pidfd_open(child)
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    poll.register(control, select.POLLIN | select.POLLHUP)
    status = None
    while status is None:
        if any(descriptor == control for descriptor, _ in poll.poll(200)):
            break
        status = _reap(child)
    return _end_group(child, status), status is not None


def _reap(child: int) -> int | None:
    """Take leave of whoever has ended; the status of the program itself if it was among them."""
    found = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        if pid == child:
            found = status


def _end_group(child: int, status: int | None) -> int:
    if status is None:
        os.kill(child, _SIGKILL)  # it may not have its group yet
    while True:
        try:  # noqa: SIM105 — contextlib is dear
            os.killpg(child, _SIGKILL)
        except ProcessLookupError:
            pass
        try:
            pid, ended = os.waitpid(-1, 0)
        except ChildProcessError:
            break
        status = ended if pid == child else status
    code = os.waitstatus_to_exitcode(status or 0)
    return code if code >= 0 else 128 - code


def main() -> None:
    """See above."""
    spec = marshal.loads(bytes.fromhex(sys.argv[1]))  # noqa: S302 — Runtime's own
    control = spec["control"]
    os.set_inheritable(control, False)
    _check(_libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "subreaper")
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        try:
            _run_confined(spec, parent)
        except BaseException as error:  # noqa: BLE001 — a fork must not go on as its parent
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
        finally:
            os._exit(NOT_STARTED)
    code, is_wanted = _watch(child, control)
    if not is_wanted:  # Runtime may be gone; otherwise it takes the folder away by itself
        import shutil  # noqa: PLC0415 — takes longer to load than all the rest

        shutil.rmtree(spec["scratch"], ignore_errors=True)
    os._exit(code)


if __name__ == "__main__":
    main()
