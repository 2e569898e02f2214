"""The real PostgreSQL for tests: one server per test process, as many fresh databases in it as tests ask for."""

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from experience.cli.orphans import die_with_parent
from experience.cli.postgres import SUPERUSER, Cluster, prepare_cluster, run_as

START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 60
THROW_AWAY = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=200")


@dataclass(frozen=True)
class Database:
    """One fresh database with the roles and schemas of Stagedoor and no tables."""

    cluster: Cluster
    name: str

    def dsn(self, role: str) -> str:
        """For example `dsn("experience_app")`; see deploy/postgres/roles.sql for the six roles."""
        return self.cluster.dsn(role, self.name)

    @property
    def superuser_dsn(self) -> str:
        """For looking behind row-level security in a test."""
        return self.dsn(SUPERUSER)

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """While the block runs, connections are opened that can't write, as to a server that is the primary no more."""
        self._alter("SET default_transaction_read_only = on")
        try:
            yield
        finally:
            self._alter("RESET default_transaction_read_only")

    def _alter(self, change: str) -> None:
        self.cluster.run_sql(f'ALTER DATABASE "{self.name}" {change}', "postgres")

    def drop(self) -> None:
        """Remove it, also while connections are open."""
        self.cluster.run_sql(f'DROP DATABASE IF EXISTS "{self.name}" WITH (FORCE)', "postgres", in_transaction=False)


@dataclass(frozen=True)
class Postgres:
    """A running server."""

    cluster: Cluster
    process: subprocess.Popen[bytes]
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def create_database(self, template: Database | None = None) -> Database:
        """A new database: with roles and schemas only, or a copy of `template`, which nobody may be connected to."""
        database = Database(self.cluster, f"stagedoor_{next(self._numbers)}")
        if template is not None:
            copied = f'CREATE DATABASE "{database.name}" TEMPLATE "{template.name}"'
            self.cluster.run_sql(copied, "postgres", in_transaction=False)
        # Also after a copy: what PUBLIC may do with a database is not copied with it.
        self.cluster.ensure_database(database.name)
        return database


@contextmanager
def run_postgres(settings: Sequence[str] = THROW_AWAY) -> Iterator[Postgres]:
    """Start a server on throw-away data and leave nothing of it behind."""
    folder = Path(tempfile.mkdtemp(prefix="stagedoor-test-pg-"))
    cluster = prepare_cluster(folder / "data", sync=False)
    log = folder / "log"
    try:
        with log.open("wb") as output:
            process = subprocess.Popen(
                cluster.command(*settings),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                start_new_session=True,
                pass_fds=cluster.inherits,
                preexec_fn=die_with_parent(),  # noqa: PLW1509  # the callable allocates nothing
                **run_as(cluster.account),
            )
        try:
            cluster.wait_until_accepting(process, START_TIMEOUT_S)
            yield Postgres(cluster, process)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(STOP_TIMEOUT_S)
            for handle in cluster.inherits:
                os.close(handle)
    finally:
        shutil.rmtree(folder)
        shutil.rmtree(cluster.sockets, ignore_errors=True)
