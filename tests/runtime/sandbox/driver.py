"""Runs code in a backend on behalf of a test, in a process of its own that may belong to an ordinary user.

Lines of JSON on standard input ask, lines of JSON on standard output answer. Started, it lays bait that everybody may
take who is not shut in, and names it in its first line. Imports what an interpreter without packages has.
"""

import base64
import contextlib
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

from runtime.sandbox import warden
from runtime.sandbox.bwrap import Bwrap
from runtime.sandbox.cgroup import make_group
from runtime.sandbox.landlock import Landlock
from runtime.sandbox.launch import Backend, Launch
from runtime.sandbox.limits import Limits
from runtime.sandbox.programs import Language, Program, find_program
from runtime.sandbox.warden import Stop, watch

PATIENCE_S = 60.0
"""For a program to come up: the machine may stand still, and a run that is broken by that says nothing of its walls."""


class Bare:
    """No walls at all: shows that the bait can be taken."""

    name, isolates = "bare", False

    def check(self) -> None:
        """See Backend."""

    def prepare(self, program: Program, limits: Limits) -> Launch:
        return Launch(command=program.command(limits.memory))


BACKENDS: dict[str, Backend] = {
    "bare": Bare(),
    "bwrap": Bwrap(),
    "bwrap-noproc": Bwrap(with_proc=False),
    "landlock": Landlock(),
    **{f"landlock-abi{abi}": Landlock(f"landlock-abi{abi}", newest=abi) for abi in range(1, 6)},
}


def lay_bait() -> dict[str, Any]:
    """What code in the sandbox must not reach; it all lives as long as this process."""
    folder = Path(tempfile.mkdtemp(prefix="stagedoor-bait-"))
    folder.chmod(0o755)
    secret, path, full = folder / "secret", folder / "socket", folder / "full"
    secret.write_text("kept from strangers")
    secret.chmod(0o644)
    full.write_text("not to be emptied")
    full.chmod(0o666)
    tcp = socket.create_server(("127.0.0.1", 0))
    unix, abstract = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
    unix.bind(str(path))
    path.chmod(0o777)
    abstract.bind(f"\0stagedoor-bait-{os.getpid()}")
    datagram = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    datagram.bind(str(folder / "datagram"))
    (folder / "datagram").chmod(0o777)
    for listener in (unix, abstract):
        listener.listen(100)
    victim = subprocess.Popen(["sleep", "3600"], stdin=subprocess.DEVNULL)
    inherited = os.open(secret, os.O_RDONLY)
    os.set_inheritable(inherited, True)  # noqa: FBT003
    BAIT.extend((tcp, unix, abstract, datagram))
    return {
        "folder": str(folder),
        "secret": str(secret),
        "full": str(full),
        "port": tcp.getsockname()[1],
        "socket": str(path),
        "datagram": str(folder / "datagram"),
        "abstract": f"stagedoor-bait-{os.getpid()}",
        "victim": victim.pid,
        "driver": os.getpid(),
        "inherited": inherited,
    }


BAIT: list[socket.socket] = []
writing = threading.Lock()


def perform(asked: dict[str, Any]) -> dict[str, Any]:
    backend, limits = BACKENDS[asked["backend"]], Limits(**asked["limits"])
    program = find_program(Language(asked["language"]), for_others=os.geteuid() == 0)
    payload = program.encode(asked["code"], asked["inputs"])
    stop = Stop()
    if asked["stop_after_s"] is not None:
        timer = threading.Timer(asked["stop_after_s"], stop.now)
        timer.start()
    group = make_group(limits.memory) if asked["group"] else None
    with contextlib.closing(stop):
        launch = backend.prepare(program, limits)
        ended = dataclasses.asdict(watch(launch, payload, limits, stop, group))
    for name in ("frame", "stdout", "stderr"):
        ended[name] = None if ended[name] is None else base64.b64encode(ended[name]).decode()
    left = launch.scratch is not None and launch.scratch.exists()
    return ended | {"scratch_left": left, "victim": look_at(asked["inputs"])}


def look_at(inputs: Any) -> str:
    """What became of the victim."""
    pid = inputs.get("victim") if isinstance(inputs, dict) else None
    if pid is None:
        return ""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def answer(line: str) -> None:
    asked = json.loads(line)
    try:
        told = perform(asked)
    except Exception as error:  # noqa: BLE001 — the test is told
        told = {"failed": f"{type(error).__name__}: {error}"}
    with writing:
        sys.stdout.write(json.dumps(told | {"number": asked["number"]}) + "\n")
        sys.stdout.flush()


def main() -> None:
    bait = lay_bait()
    sys.stdout.write(json.dumps(bait) + "\n")
    sys.stdout.flush()
    with ThreadPoolExecutor(8) as pool:
        for line in sys.stdin:
            pool.submit(answer, line)
    os.kill(bait["victim"], signal.SIGKILL)


if __name__ == "__main__":
    with mock.patch.object(warden, "START_S", PATIENCE_S):
        main()
