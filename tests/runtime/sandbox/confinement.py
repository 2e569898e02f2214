"""The tests' side of driver.py."""

import base64
import itertools
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtime.sandbox.limits import Bound, Ended
from runtime.sandbox.programs import Language, Program, find_program

ROOT = Path(__file__).parents[3]
SECRET = "c0ffee-d3adbeef-canary"
ORDINARY = 61_000
"""An account that nobody has."""
ANSWER_S = 100
MIB = 2**20


@dataclass(frozen=True)
class Told(Ended):
    """How a run ended, and what the driver saw afterwards."""

    result: Any = None
    answer: dict[str, Any] = field(default_factory=dict)
    scratch_left: bool = False
    victim: str = ""


class Driver:
    """A driver.py that runs as somebody."""

    def __init__(self, *, ordinary: bool, python: Program | None = None) -> None:
        """`python`: another than the usual one."""
        as_whom: dict[str, Any] = {}
        if ordinary and os.geteuid() == 0:
            as_whom = {"user": ORDINARY, "group": ORDINARY, "extra_groups": []}
        python = python or find_program(Language.PYTHON, for_others=True)
        packages = next(path for path in sys.path if path.endswith("site-packages"))
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{ROOT}:{packages}",
            "STAGEDOOR_SECRET": SECRET,
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        if python.libraries:
            environment["LD_LIBRARY_PATH"] = str(python.libraries)
        self.process = subprocess.Popen(
            [str(python.executable), "-m", "tests.runtime.sandbox.driver"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd="/",
            env=environment,
            text=True,
            **as_whom,
        )
        assert self.process.stdout is not None
        self.bait: dict[str, Any] = json.loads(self.process.stdout.readline())
        self._numbers = itertools.count()
        self._waiting: dict[int, Future[dict[str, Any]]] = {}
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            told = json.loads(line)
            self._waiting.pop(told["number"]).set_result(told)

    def begin(self, backend: str, code: str, **options: Any) -> "Future[dict[str, Any]]":
        """Start a run; the answer comes by and by."""
        number = next(self._numbers)
        asked = {
            "number": number,
            "backend": backend,
            "code": code,
            "language": options.get("language", "python"),
            "inputs": options.get("inputs", self.bait),
            "limits": {"wall_s": 60, "memory": 512 * MIB, "processes": 40} | options.get("limits", {}),
            "stop_after_s": options.get("stop_after_s"),
            "group": options.get("group", False),
        }
        told: Future[dict[str, Any]] = Future()
        self._waiting[number] = told
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        return told

    def run(self, backend: str, code: str, **options: Any) -> Told:
        """Run code and wait for its end."""
        return read(self.begin(backend, code, **options))

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)
        self._reading.join(5)
        assert self.process.stdout is not None
        self.process.stdout.close()


def read(future: "Future[dict[str, Any]]") -> Told:
    """The answer as a value."""
    told = future.result(ANSWER_S)
    assert "failed" not in told, told["failed"]
    del told["number"]
    for name in ("frame", "stdout", "stderr"):
        told[name] = None if told[name] is None else base64.b64decode(told[name])
    told["bound"] = None if told["bound"] is None else Bound(told["bound"])
    answer = json.loads(told["frame"]) if told["frame"] else {}
    return Told(**told, answer=answer, result=answer.get("result"))


@dataclass(frozen=True)
class Confinement:
    """A backend under an account."""

    driver: Driver
    backend: str
    ordinary: bool

    @property
    def bait(self) -> dict[str, Any]:
        return self.driver.bait

    def run(self, code: str, **options: Any) -> Told:
        return self.driver.run(self.backend, code, **options)

    def begin(self, code: str, **options: Any) -> "Future[dict[str, Any]]":
        return self.driver.begin(self.backend, code, **options)

    def list_processes(self, mark: str) -> list[int]:
        """Processes on this machine with `mark` in their command line."""
        found = []
        for entry in os.listdir("/proc"):  # noqa: PTH208 — names are enough
            try:
                command = Path(f"/proc/{entry}/cmdline").read_bytes() if entry.isdigit() else b""
            except OSError:
                continue
            if mark.encode() in command:
                found.append(int(entry))
        return found
