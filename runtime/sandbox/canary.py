"""Lays out bait and sends a suspect into a backend: what comes back says whether its walls stand.

A backend is used only while its canary lives. The bait is real: a listener, a file that everybody may write and a
socket that everybody may open, a word in our own environment; outside of the sandbox the suspect takes all of it (the
tests let it).
"""

import contextlib
import json
import os
import secrets
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from runtime.sandbox.launch import Backend, BackendMissing, find_open_folder
from runtime.sandbox.limits import Bound, Ended, Limits
from runtime.sandbox.programs import Program
from runtime.sandbox.warden import Stop, watch

_MIB: Final = 2**20
LIMITS: Final = Limits(wall_s=10, memory=256 * _MIB, processes=24, scratch=4 * _MIB, files=128)
_TOO_MUCH: Final = 4
"""The suspect asks for so many times what it may."""
VARIABLE: Final = "STAGEDOOR_CANARY"
_SUSPECT: Final = Path(__file__).with_name("suspect.py")
_SAID: Final = 500
"""Characters of what a program said that are passed on."""


class CanaryDead(Exception):  # noqa: N818 — as BackendMissing
    """The walls don't stand, or nothing runs within them; the text says what was seen."""


@dataclass(frozen=True)
class Bait:
    """What the suspect is told to look for."""

    port: int
    file: str
    socket: str
    environment: str

    def ask(self, what: str) -> dict[str, Any]:
        """The suspect's inputs."""
        return {
            "ask": what,
            "port": self.port,
            "file": self.file,
            "socket": self.socket,
            "environment": self.environment,
            "memory": LIMITS.memory * _TOO_MUCH,
            "processes": LIMITS.processes * _TOO_MUCH,
            "entries": LIMITS.entries * _TOO_MUCH,
        }


@contextlib.contextmanager
def lay_bait() -> Iterator[Bait]:
    """Bait that is gone afterwards."""
    word = secrets.token_hex(16)
    home = tempfile.TemporaryDirectory(prefix="stagedoor-canary-", dir=find_open_folder())
    with home as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)  # it is to be the sandbox that stands in the way
        secret, path = folder / "secret", folder / "socket"
        secret.write_text(word)
        secret.chmod(0o666)
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        named = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        named.bind(str(path))
        path.chmod(0o777)
        named.listen()
        os.environ[VARIABLE] = word
        stack.callback(os.environ.pop, VARIABLE, None)
        yield Bait(listener.getsockname()[1], str(secret), str(path), word)


def send_canary(backend: Backend, python: Program, stop: Stop) -> None:
    """Return when the backend's walls stand.

    Args:
        stop: ends it early, as if the canary had died.

    Raises:
        CanaryDead: they don't, or it does not work at all.
    """
    try:
        backend.check()
        with lay_bait() as bait:
            suspect = _SUSPECT.read_text(encoding="utf-8")
            ways = _answer(_send(backend, python, suspect, bait.ask("ways"), stop))
            forked = _send(backend, python, suspect, bait.ask("processes"), stop)
            filled = _send(backend, python, suspect, bait.ask("entries"), stop)
    except (BackendMissing, OSError) as error:
        raise CanaryDead(str(error)) from error
    if ways != []:
        raise CanaryDead(f"code could reach what it must not: {', '.join(map(str, ways))}")
    if forked.bound is not Bound.PROCESSES and int(_answer(forked)) > LIMITS.processes:
        raise CanaryDead("code could start more processes than it may")
    if filled.bound is not Bound.SCRATCH and int(_answer(filled)) > LIMITS.entries:
        raise CanaryDead("code could make more files than it may")


def try_program(backend: Backend, program: Program, code: str, stop: Stop) -> None:
    """Return when `code` of that language ends with true; CanaryDead otherwise."""
    try:
        answer = _answer(_send(backend, program, code, {}, stop))
    except (BackendMissing, OSError) as error:
        raise CanaryDead(str(error)) from error
    if answer is not True:
        raise CanaryDead(f"{program.executable} does not work in the sandbox")


def _send(backend: Backend, program: Program, code: str, inputs: dict[str, Any], stop: Stop) -> Ended:
    return watch(backend.prepare(program, LIMITS), program.encode(code, inputs), LIMITS, stop)


def _answer(ended: Ended) -> Any:
    if ended.frame is None:
        said = ended.stderr.decode(errors="replace").strip()[-_SAID:]
        raise CanaryDead(said or f"it ended with status {ended.status}, and said nothing")
    answer = json.loads(ended.frame)
    if "result" not in answer:
        raise CanaryDead(f"code failed in it: {answer.get('message')}")
    return answer["result"]
