"""The real Traefik binary for tests, with the configuration that the product writes."""

import json
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

from experience.cli.executables import find_traefik
from experience.cli.orphans import die_with_parent
from experience.cli.ports import find_free_port
from traefik.configuration import Place, Profile, build_static, render
from traefik.files import DYNAMIC_DIR, write_dynamic
from traefik.routes import Tier

START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 60
ANSWER_TIMEOUT_S = 60

Servers = Mapping[Tier, Sequence[str]]


@dataclass(frozen=True)
class Traefik:
    """A running Traefik."""

    port: int
    folder: Path
    process: subprocess.Popen[bytes]

    def ask(self, path: str, headers: Sequence[tuple[str, str]] = (), host: str = "localhost") -> "Answer":
        """GET `path` exactly as written: nothing is normalised or escaped on the way."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_TIMEOUT_S)
        try:
            connection.putrequest("GET", path, skip_host=True, skip_accept_encoding=True)
            for name, value in (("Host", host), *headers):
                connection.putheader(name, value)
            connection.endheaders()
            return Answer.read(connection.getresponse())
        finally:
            connection.close()

    def read_access_log(self) -> list[dict[str, object]]:
        """One record per answered request, oldest first."""
        return [json.loads(line) for line in (self.folder / "access.log").read_text().splitlines()]


@dataclass(frozen=True)
class Answer:
    """What came back; `echo` is what an echo backend saw, empty when Traefik answered itself."""

    status: int
    echo: dict[str, object]

    @classmethod
    def read(cls, response: HTTPResponse) -> "Answer":
        """Read a whole response."""
        body = response.read()
        is_echo = response.headers.get_content_type() == "application/json"
        return cls(response.status, json.loads(body) if is_echo else {})

    @property
    def header_names(self) -> set[str]:
        """The names of the headers that reached the backend, in lower case."""
        headers = self.echo["headers"]
        assert isinstance(headers, list)
        return {name for name, _ in headers}


@contextmanager
def run_traefik(
    folder: Path, servers: Servers, profile: Profile = Profile.DEFAULT, *, watched: bool = False
) -> Iterator[Traefik]:
    """Start the binary on a port of its own. `watched`, for tests that replace routes, takes an inotify instance."""
    port = find_free_port()
    place = Place(address=f"127.0.0.1:{port}", dynamic_dir=folder / DYNAMIC_DIR, grace="1s", watched=watched)
    access_log = {"accessLog": {"format": "json", "filePath": str(folder / "access.log")}}
    write_dynamic(folder, servers)
    with start_traefik(folder, render(build_static(place, profile) | access_log), port) as running:
        yield running


@contextmanager
def start_traefik(folder: Path, static: str, port: int, within: Sequence[str] = ()) -> Iterator[Traefik]:
    """Start the binary with this static file, to listen on `port`, and wait until it has routes.

    `within` is a command that executes the one that follows it.
    """
    (folder / "traefik.yml").write_text(static)
    with (folder / "traefik.log").open("wb") as output:
        process = subprocess.Popen(
            [*within, str(find_traefik()), f"--configFile={folder / 'traefik.yml'}"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=die_with_parent(),  # noqa: PLW1509  # the callable allocates nothing
        )
    running = Traefik(port, folder, process)
    try:
        _wait_for_routes(running)
        yield running
    finally:
        process.kill()  # asked to end, it would wait for idle connections, and with ACME for whatever it awaits there
        process.wait(STOP_TIMEOUT_S)


def _wait_for_routes(running: Traefik) -> None:
    """Ask for the page: /ping answers before there are routes."""
    deadline = time.monotonic() + START_TIMEOUT_S
    seen: object = None
    while True:
        try:
            seen = running.ask("/").status
        except OSError as problem:
            seen = problem
        if seen in {200, 301}:
            return
        log = (running.folder / "traefik.log").read_text()
        assert running.process.poll() is None, f"Traefik ended: {log}"
        assert time.monotonic() < deadline, f"Traefik has no routes, it answers {seen}: {log}"
        time.sleep(0.05)
