"""What benches stand on, started when the first one asks and ended with the run: PostgreSQL, databases, processes."""

import asyncio
import http.client
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self, TypeVar

from experience.cli.orphans import die_with_parent
from experience.cli.ports import find_free_port
from experience.store.migrate import migrate as migrate_experience
from runtime.store.schema import migrate as migrate_runtime
from tests.support.postgres import Database, Postgres, run_postgres

OpenedT = TypeVar("OpenedT")

START_S = 60.0
STOP_S = 10.0
AS_SHIPPED = ("max_connections=200",)
"""PostgreSQL as the product runs it, fsync and all; connections for many tiers at once."""


@dataclass(frozen=True)
class Process:
    """A server of ours or a peer's, in a process of its own."""

    port: int
    child: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.child.pid

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"


class Ground:
    """Use it as an asynchronous context manager."""

    def __init__(self) -> None:
        self._stack = AsyncExitStack()
        self._shared: dict[object, Any] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def share(self, start: Callable[["Ground"], AbstractAsyncContextManager[OpenedT]]) -> OpenedT:
        """What `start` opens, opened once for all benches and closed with the run."""
        if start not in self._shared:
            self._shared[start] = await self._stack.enter_async_context(start(self))
        found: OpenedT = self._shared[start]
        return found

    def make_folder(self, name: str) -> Path:
        """A folder of that name."""
        made = self.folder / name
        made.mkdir(exist_ok=True)
        return made

    @cached_property
    def folder(self) -> Path:
        """A folder that is gone afterwards."""
        return Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="stagedoor-bench-")))

    @cached_property
    def postgres(self) -> Postgres:
        """One server for all benches."""
        return self._stack.enter_context(run_postgres(AS_SHIPPED))

    @cached_property
    def _blueprint(self) -> Database:
        return self.postgres.create_database()

    async def make_database(self) -> Database:
        """A fresh database with both tiers' tables."""
        if "_blueprint" not in self.__dict__:
            await migrate_runtime(self._blueprint.dsn("runtime_owner"))
            await migrate_experience(self._blueprint.dsn("experience_owner"))
        return await asyncio.to_thread(self.postgres.create_database, self._blueprint)


@contextmanager
def start_process(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str] | None = None,
    *,
    port: int | None = None,
    probe: str = "/health",
) -> Iterator[Process]:
    """Run a server until the block ends; `{port}` in the command stands for its port, `probe` is what it answers."""
    port = port or find_free_port()
    name = "-".join(part for part in command[1:3] if not part.startswith("-"))
    log = folder / f"{name}-{port}.log"
    kept = {key: value for key, value in os.environ.items() if not key.startswith("STAGEDOOR_")}
    with log.open("wb") as output:
        child = subprocess.Popen(
            [sys.executable, *(part.format(port=port) for part in command)],
            env=kept | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=die_with_parent(),  # noqa: PLW1509  # the callable allocates nothing
        )
    try:
        _wait_until_up(child, port, probe, log)
        yield Process(port, child)
    finally:
        child.terminate()
        try:
            child.wait(STOP_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _wait_until_up(child: subprocess.Popen[bytes], port: int, probe: str, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while True:
        if child.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"a server did not come up:\n{log.read_text(errors='replace')[-3_000:]}")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        try:
            connection.request("GET", probe)
            if connection.getresponse().status == http.HTTPStatus.OK:
                return
        except (OSError, http.client.HTTPException):
            time.sleep(0.05)
        finally:
            connection.close()
