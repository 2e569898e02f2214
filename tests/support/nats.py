"""The real nats-server for tests: on one port, so that it can be killed and come back."""

import signal
import socket
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from experience.cli.orphans import die_with_parent
from experience.cli.ports import find_free_port

START_TIMEOUT_S = 60
BINARY = Path(sysconfig.get_path("scripts")) / "nats-server"


class NatsServer:
    """One server without a disk. `options` as its command line takes them."""

    def __init__(self, *options: str) -> None:
        self.port = find_free_port()
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Without credentials."""
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, and return when it says hello."""
        self._process = subprocess.Popen(
            [str(BINARY), "--addr", "127.0.0.1", "--port", str(self.port), *self._options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=die_with_parent(),  # noqa: PLW1509  # the callable allocates nothing
        )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._says_hello():
            assert self._process.poll() is None, "nats-server ended"
            assert time.monotonic() < deadline, "nats-server does not answer"
            time.sleep(0.02)

    def kill(self) -> None:
        """As a crash does. Again is fine."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(60)
            self._process = None

    def freeze(self) -> None:
        """It keeps its connections and says nothing more."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _says_hello(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                return connection.recv(4) == b"INFO"
        except OSError:
            return False


@contextmanager
def run_nats(*options: str) -> Iterator[NatsServer]:
    """A server of one test; whatever happened to it, nothing of it is left."""
    server = NatsServer(*options)
    server.start()
    try:
        yield server
    finally:
        server.kill()
