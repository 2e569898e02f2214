"""What a process does before it becomes a Chromium: it goes into its jail, and lets go of root.

Started by launcher.sh with the plan of `jail.Plan` in its environment, and nothing but the standard library. In a
network of its own the process can reach nobody. The one thing that listens there is made here and handed out to
Runtime, whose proxy serves it: a socket belongs to the network it was made in, whoever accepts on it.
"""

import ctypes
import fcntl
import json
import os
import resource
import socket
import struct
import sys
from pathlib import Path
from typing import Any, NoReturn

PROFILE = "--user-data-dir="
_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000
_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 0x1
_WAITING = 512
_GATE_S = 10
_RUNTIMES = "STAGEDOOR_"
_SCRATCH_BYTES = str(2**30)
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64")
_DATA = (
    "/etc/ld.so.cache",
    "/etc/fonts",
    "/etc/ssl",
    "/etc/pki",
    "/etc/ca-certificates",
    "/etc/localtime",
    "/etc/alternatives",
    "/var/cache/fontconfig",
)
"""What Chromium and its libraries look for; nothing of it is anybody's."""


def main() -> NoReturn:
    """Become the browser, or end with a line that says why not."""
    plan = json.loads(os.environ["STAGEDOOR_BROWSER_PLAN"])
    arguments = sys.argv[1:]
    profile = next((one.removeprefix(PROFILE) for one in arguments if one.startswith(PROFILE)), None)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if plan["uid"] is not None and profile is not None:
        os.chown(profile, plan["uid"], plan["uid"], follow_symlinks=False)
    if plan["port"] is not None:
        _enter_network(plan)
    command = [plan["executable"], *arguments]
    if plan["uid"] is not None:
        command = [*_become(plan), *command]
    if plan["bwrap"] is not None:
        command = [plan["bwrap"], *_hide_machine(plan, profile), "--", *command]
    left = {name: value for name, value in os.environ.items() if not name.startswith(_RUNTIMES)}
    os.execve(command[0], command, left)  # noqa: S606 — no shell is wanted


def _become(plan: dict[str, Any]) -> list[str]:
    uid = str(plan["uid"])
    only_here = ["--no-new-privs", "--bounding-set=-all"] if plan["bwrap"] is not None else []
    return [plan["setpriv"], f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--inh-caps=-all", *only_here, "--"]


def _enter_network(plan: dict[str, Any]) -> None:
    folder = os.open(plan["gate"], os.O_PATH)
    gate = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    gate.settimeout(_GATE_S)
    gate.connect(f"/proc/self/fd/{folder}/gate")  # the path itself may be longer than such an address can be
    os.close(folder)
    uid, gid = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_NETWORK | (_NEW_USER if uid != 0 else 0)) != 0:
        raise OSError(ctypes.get_errno(), "no network of its own can be had")
    if uid != 0:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        found = fcntl.ioctl(listener, _GET_FLAGS, struct.pack("16sh14x", b"lo", 0))
        flags = struct.unpack("16sh14x", found)[1] | _UP
        fcntl.ioctl(listener, _SET_FLAGS, struct.pack("16sh14x", b"lo", flags))
        listener.bind(("127.0.0.1", plan["port"]))
        listener.listen(_WAITING)
        socket.send_fds(gate, [plan["mark"].encode()], [listener.fileno()])
        if gate.recv(1) != b"+":
            raise OSError("Runtime did not take what listens here")
    gate.close()


def _hide_machine(plan: dict[str, Any], profile: str | None) -> list[str]:
    """The arguments of bwrap for a root folder that has the system's programs, and what is this browser's."""
    parts = ["--unshare-ipc", "--unshare-uts", "--hostname", "browser", "--die-with-parent"]
    parts += ["--cap-drop", "ALL"] if plan["uid"] is None else []
    parts += ["--size", _SCRATCH_BYTES, "--perms", "1777", "--tmpfs", "/tmp"]  # noqa: S108 — inside, where it is private
    places = [(path, path, "--ro-bind") for path in (*_SYSTEM, *_DATA) if os.path.lexists(path)]
    places += [(path, path, "--ro-bind") for path in plan["reads"]]
    places += [(plan["policy"], path, "--ro-bind") for path in plan["policy_places"]]
    places += [(path, path, "--bind") for path in (*plan["writes"], profile) if path is not None]
    made = {"/", "/tmp"}  # noqa: S108
    for source, target, how in places:
        for folder in reversed(Path(target).parents):
            if str(folder) not in made and not any(str(folder).startswith(f"{one}/") for one in _SYSTEM):
                parts += ["--perms", "0755", "--dir", str(folder)]
            made.add(str(folder))
        if source == target and Path(source).is_symlink():
            parts += ["--symlink", str(Path(source).readlink()), target]  # /lib → usr/lib
        else:
            parts += [how, source, target]
    parts += ["--unshare-pid", "--proc", "/proc", "--dev", "/dev"]
    shared = ["--size", _SCRATCH_BYTES, "--perms", "1777", "--tmpfs", "/dev/shm"]  # noqa: S108 — as /tmp
    return [*parts, *shared, "--remount-ro", "/"]


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        sys.stderr.write(f"ERROR: {error.strerror or error} (the browser's jail)\n")
        sys.exit(1)
