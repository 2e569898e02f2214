"""Ports of this machine: which are free, and who holds the one that is not."""

import contextlib
import errno
import itertools
import secrets
import shutil
import socket
import subprocess
from pathlib import Path

LOOPBACK = "127.0.0.1"
QUIET_PORTS = range(20_000, 32_000)
"""Below the ports of outgoing connections: from 32768 on Linux, from 49152 on macOS."""
PORTS_TRIED = 50
LSOF_TIMEOUT_S = 5


def find_free_ports(count: int) -> list[int]:
    """Different ports that are free on the loopback address now.

    Not asked of the kernel: it would name one out of the range from which every outgoing connection takes its own, and
    seconds pass until a server of ours listens. Two that ask at once hardly ever meet in QUIET_PORTS.
    """
    candidates = secrets.SystemRandom().sample(QUIET_PORTS, len(QUIET_PORTS))
    return list(itertools.islice(filter(is_free, candidates), count))


def find_free_port() -> int:
    """One such port."""
    return find_free_ports(1)[0]


def is_free(port: int) -> bool:
    """Whether nobody listens on `port` of either loopback address.

    Browsers turn `localhost` into ::1 first, so a listener there alone would get our visitors.
    """
    return _can_bind(socket.AF_INET, LOOPBACK, port) and _can_bind(socket.AF_INET6, "::1", port)


def find_next_free(port: int) -> int | None:
    """The first free port from `port` on, within a short distance; None when all of those are taken."""
    last = min(port + PORTS_TRIED, 65_536)
    return next((candidate for candidate in range(port, last) if is_free(candidate)), None)


def find_holder(port: int) -> str | None:
    """Who listens on `port`, as "name (pid 123)", where this user may know it."""
    pid = _find_listener_in_proc(port) or _find_listener_by_lsof(port)
    if pid is None:
        return None
    return f"{_find_name(pid)} (pid {pid})"


def _can_bind(family: socket.AddressFamily, address: str, port: int) -> bool:
    if family == socket.AF_INET6 and not socket.has_ipv6:
        return True
    try:
        with socket.socket(family) as probe:
            # As servers do: a port in TIME_WAIT is free, a listened one is not.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, port))
    except PermissionError:
        return False
    except OSError as problem:
        # No ::1 on this machine: nobody can listen there either.
        return family == socket.AF_INET6 and problem.errno != errno.EADDRINUSE
    return True


def _find_listener_in_proc(port: int) -> int | None:
    """Linux: the socket's inode from /proc/net, then the process that has it open."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and int(fields[1].rsplit(":", 1)[1], 16) == port:
                    inodes.add(f"socket:[{fields[9]}]")
    if not inodes:
        return None
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if any(inodes & {str(link.readlink())} for link in (process / "fd").iterdir()):
                return int(process.name)
    return None


def _find_listener_by_lsof(port: int) -> int | None:
    """For macOS, which has no /proc."""
    lsof = shutil.which("lsof")
    if lsof is None:
        return None
    asked = [lsof, "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-t"]
    try:
        found = subprocess.run(asked, check=False, capture_output=True, text=True, timeout=LSOF_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return None
    pids = found.stdout.split()
    return int(pids[0]) if pids else None


def _find_name(pid: int) -> str:
    asked = ["ps", "-o", "comm=", "-p", str(pid)]
    try:
        found = subprocess.run(asked, check=False, capture_output=True, text=True, timeout=LSOF_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        return "a process"
    return found.stdout.strip() or "a process"
