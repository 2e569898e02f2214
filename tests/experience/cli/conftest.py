"""A stack of stand-in tiers with the real PostgreSQL and the real Traefik, as a person starts it."""

import os
import queue
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path

import pytest

from experience.cli.ports import find_free_port
from experience.cli.postgres import find_socket_dir, prepare_cluster
from tests.support.processes import find_marked, wait_until_gone

START_TIMEOUT_S = 180


@dataclass
class Stack:
    """A running `up`."""

    data: Path
    port: int
    mark: str
    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    _ended: bool = False
    _incoming: "queue.Queue[str | None]" = field(default_factory=queue.Queue)

    def __post_init__(self) -> None:
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self._incoming.put(line.rstrip("\n"))
        self._incoming.put(None)

    def read_until(self, text: str) -> None:
        """Take lines until one holds `text`."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            line = self._incoming.get(timeout=max(0.1, deadline - time.monotonic()))
            assert line is not None, f"ended without {text!r}: {self.lines}"
            self.lines.append(line)
            if text in line:
                return

    def read_rest(self) -> str:
        """Everything until the end, with what was read before."""
        if self._ended:
            return "\n".join(self.lines)
        while (line := self._incoming.get(timeout=START_TIMEOUT_S)) is not None:
            self.lines.append(line)
        self._ended = True
        return "\n".join(self.lines)

    def ask(self, path: str, port: int | None = None) -> int | None:
        """Status of GET `path` through the front door; None when nobody answers."""
        connection = HTTPConnection("127.0.0.1", port or self.port, timeout=60)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except OSError:
            return None
        finally:
            connection.close()

    def find(self, words: str) -> int:
        """The process of this stack whose command line holds `words`."""
        return next(pid for pid, command in find_marked(self.mark).items() if words in command)

    def interrupt(self, with_signal: signal.Signals = signal.SIGINT) -> float:
        """Ask it to stop; returns how many seconds it took."""
        started = time.monotonic()
        self.process.send_signal(with_signal)
        self.process.wait(90)
        return time.monotonic() - started


StartStack = Callable[..., Stack]


@pytest.fixture(scope="session")
def fresh_cluster() -> Iterator[Path]:
    """A data directory of PostgreSQL straight from initdb, to copy: making one takes a second and more."""
    folder = Path(tempfile.mkdtemp(prefix="stagedoor-test-pg-"))
    cluster = prepare_cluster(folder / "postgres", sync=False)
    cluster.sockets.rmdir()
    for handle in cluster.inherits:
        os.close(handle)
    yield cluster.data
    shutil.rmtree(folder)


@pytest.fixture
def start_stack(fresh_cluster: Path) -> Iterator[StartStack]:
    """Start stacks. `data` and `port` are made up, `options` are the stand-in's. Kills whatever a test leaves."""
    folder = Path(tempfile.mkdtemp(prefix="stagedoor-test-up-"))
    # Every process of the stack inherits this variable. Not STAGEDOOR_…: those are for single processes.
    mark = f"TEST_MARK_{uuid.uuid4().hex}"
    started: list[Stack] = []

    def start(
        data: Path | None = None,
        port: int | None = None,
        through: str | None = None,
        *,
        initialised: bool = True,
        real: bool = False,
        **options: float,
    ) -> Stack:
        port = port or find_free_port()
        if data is None:
            data = folder / "data"
            data.mkdir(mode=0o700)
            if initialised:
                subprocess.run(["cp", "-a", fresh_cluster, data / "postgres"], check=True)
        program = ["experience.cli", "up"] if real and not options else ["tests.support.standin_stack"]
        command = [sys.executable, "-m", *program, "--data", str(data), "--port", str(port)]
        command += [f"--{name}={value}" for name, value in options.items()]
        command += ["--real"] if real and options else []
        if through:
            command = ["bash", "-c", f"{shlex.join(command)} | {through}; exit ${{PIPESTATUS[0]}}"]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {mark: "1", "PYTHONPATH": str(Path(__file__).parents[3])},
        )
        started.append(Stack(data, port, mark, process))
        return started[-1]

    yield start
    for stack in started:
        stack.process.kill()
        stack.process.wait()
        stack.read_rest()
    left = wait_until_gone(mark, 60)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    shutil.rmtree(find_socket_dir(folder / "data" / "postgres"), ignore_errors=True)
    shutil.rmtree(folder)
    assert not left, "the stack left processes behind"
