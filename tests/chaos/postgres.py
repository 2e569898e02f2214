"""A PostgreSQL of the chaos tests' own: it may be killed and started again, and it keeps what it has acknowledged.

The server of the other tests answers a commit before it is in the log (`synchronous_commit=off`), which a kill would
turn into a broken promise of the test's making. This one writes first; only the disk's own cache is trusted.
"""

import asyncio
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg

from experience.cli.failure import StackError
from experience.cli.orphans import die_with_parent
from experience.cli.postgres import Cluster, prepare_cluster, run_as
from experience.store.migrate import migrate as migrate_experience
from runtime.store.schema import migrate as migrate_runtime
from tests.support.postgres import Database, Postgres

START_S = 60.0
STOP_S = 30.0
_SETTINGS = ("fsync=off", "synchronous_commit=on", "full_page_writes=off", "max_connections=300")


@dataclass
class Server:
    """A server that tests break."""

    cluster: Cluster
    folder: Path
    process: "subprocess.Popen[bytes] | None" = None
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def start(self) -> None:
        """Begin, and return once it answers: after a kill that means after its recovery."""
        deadline = time.monotonic() + START_S
        self._spawn()
        while not self._answers(deadline):
            self._spawn()

    async def come_up(self) -> None:
        """As `start`, while everything else goes on.

        Only the waiting is given to another thread: the kernel ends a child with the thread that started it.
        """
        deadline = time.monotonic() + START_S
        self._spawn()
        while not await asyncio.to_thread(self._answers, deadline):
            self._spawn()

    def kill(self) -> None:
        """SIGKILL to the postmaster; the kernel tells its children."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(STOP_S)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Fast and clean by default; SIGQUIT at once and without a checkpoint."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(STOP_S)

    async def restart(self, how: signal.Signals = signal.SIGINT) -> None:
        """Down and up again."""
        await asyncio.to_thread(self.stop, how)
        await self.come_up()

    def await_recovery(self) -> None:
        """Return once it accepts connections again, after it has ended all of them by itself."""
        deadline = time.monotonic() + START_S
        while True:
            try:
                self.cluster.run_sql("SELECT 1", "postgres")
            except StackError:
                assert time.monotonic() < deadline, self.tail()
                time.sleep(0.1)
            else:
                return

    def make_database(self, template: Database | None = None) -> Database:
        """A new database, or a copy of one that nobody is connected to."""
        assert self.process is not None
        return Postgres(self.cluster, self.process, self._numbers).create_database(template)

    def tail(self) -> str:
        """The end of its log."""
        return (self.folder / "log").read_text(errors="replace")[-3_000:]

    def _answers(self, deadline: float) -> bool:
        """Wait until it does; False when it has ended and is to be started again."""
        assert self.process is not None
        try:
            self.cluster.wait_until_accepting(self.process, deadline - time.monotonic())
        except StackError:
            # the children of a killed one may still hold its memory; the next start is let in when they are gone
            assert self.process.poll() is not None, "PostgreSQL does not answer"
            assert time.monotonic() < deadline, self.tail()
            time.sleep(0.1)
            return False
        return True

    def _spawn(self) -> None:
        with (self.folder / "log").open("ab") as output:
            self.process = subprocess.Popen(
                self.cluster.command(*_SETTINGS),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                start_new_session=True,
                pass_fds=self.cluster.inherits,
                preexec_fn=die_with_parent(),  # noqa: PLW1509  # the callable allocates nothing
                **run_as(self.cluster.account),
            )


@contextmanager
def run_server() -> Iterator[Server]:
    """Start a server on throw-away data and leave nothing of it behind."""
    folder = Path(tempfile.mkdtemp(prefix="stagedoor-chaos-pg-"))
    cluster = prepare_cluster(folder / "data", sync=False)
    server = Server(cluster, folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        for handle in cluster.inherits:
            os.close(handle)
        shutil.rmtree(folder)
        shutil.rmtree(cluster.sockets, ignore_errors=True)


def make_blueprint(server: Server) -> Database:
    """A database with both schemas in place, to be copied."""
    made = server.make_database()
    asyncio.run(migrate_experience(made.dsn("experience_owner")))
    asyncio.run(migrate_runtime(made.dsn("runtime_owner")))
    return made


@dataclass(frozen=True)
class Backends:
    """The server's processes behind the connections to one database."""

    database: Database

    async def list_pids(self, role: str = "%") -> list[int]:
        """Process ids of the connections whose role is like `role`, those that work first."""
        query = (
            "SELECT pid FROM pg_stat_activity WHERE usename LIKE $1 AND datname = current_database() "
            "AND pid <> pg_backend_pid() ORDER BY (state = 'idle'), pid"
        )
        connection = await asyncpg.connect(self.database.superuser_dsn)
        try:
            return [row["pid"] for row in await connection.fetch(query, role)]
        finally:
            await connection.close()

    async def terminate(self, pid: int) -> bool:
        """What an administrator does to one backend."""
        connection = await asyncpg.connect(self.database.superuser_dsn)
        try:
            return bool(await connection.fetchval("SELECT pg_terminate_backend($1)", pid))
        finally:
            await connection.close()

    async def kill(self, pid: int) -> None:
        """SIGKILL to one backend: PostgreSQL ends all of them and recovers."""
        os.kill(pid, signal.SIGKILL)
