"""Our two tiers as processes over a database of their own, somebody who may watch, and the hands of a worker."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import httpx
from uuid_utils.compat import uuid7

from contracts.events import Event, LogEntry, Logged
from contracts.model import ExecutionId, TenantId
from experience.cli.ports import find_free_port
from experience.settings import PREFIX as EXPERIENCE
from runtime.settings import PREFIX as RUNTIME
from runtime.store.changes import Change, Lease
from runtime.store.db import Database as TenantDatabase
from runtime.store.executions import Executions
from runtime.store.queue import PgQueue
from runtime.store.runs import Runs
from tests.bench.ground import Ground, Process, start_process
from tests.runtime.made import make_execution
from tests.support.front import PASSWORD, write_keys
from tests.support.postgres import Database

EVENT_BYTES = 330
"""Of an event as clients get it."""
STAMP = b'"message":"'
STAMP_DIGITS = 20


@dataclass(frozen=True)
class Person:
    """Somebody registered, with a tenant of their own."""

    tenant_id: TenantId
    token: str

    @property
    def bearer(self) -> dict[str, str]:
        """The header that proves it."""
        return {"authorization": f"Bearer {self.token}"}


@dataclass(frozen=True)
class Tiers:
    """Experience and Runtime."""

    database: Database
    folder: Path
    runtime: Process
    experience: Process

    def replica(self) -> AbstractContextManager[Process]:
        """Another Experience, with nothing in its memory yet."""
        return start_experience(self.database, self.folder, self.runtime.url)

    async def register(self) -> Person:
        """Somebody new."""
        return await register(self.experience.url)


@asynccontextmanager
async def run_tiers(ground: Ground) -> AsyncIterator[Tiers]:
    """Both tiers, without a worker, while the block runs; benches share them with `ground.share(run_tiers)`."""
    database = await ground.make_database()
    folder = ground.make_folder(database.name)
    keys = write_keys(folder)
    public = str(keys["internal_key_file"].with_suffix(".pub"))
    with (
        start_runtime(database, folder, "serve", INTERNAL_PUBLIC_KEY_FILE=public) as runtime,
        start_experience(database, folder, runtime.url) as experience,
    ):
        yield Tiers(database, folder, runtime, experience)


@contextmanager
def start_runtime(database: Database, folder: Path, command: str, **settings: str) -> Iterator[Process]:
    """One process of Runtime: `serve`, or `work` as one that performs what others have submitted."""
    port = find_free_port()
    environment = {
        "DATABASE_URL": database.dsn("runtime_app"),
        "SYSTEM_DATABASE_URL": database.dsn("runtime_system"),
        "ARTIFACT_DIR": str(folder / "artifacts"),
        "SCRATCH_DIR": str(folder / "scratch"),
        "PORT": str(port),
    }
    prefixed = {f"{RUNTIME}{name}": value for name, value in (environment | settings).items()}
    with start_process(["-m", "runtime", command], folder, prefixed, port=port, probe="/ready") as process:
        yield process


@contextmanager
def start_experience(database: Database, folder: Path, runtime_url: str) -> Iterator[Process]:
    """One process of Experience."""
    keys = write_keys(folder)
    port = find_free_port()
    environment = {
        "STAGEDOOR_PUBLIC_URL": "http://localhost:8080",
        f"{EXPERIENCE}PORT": str(port),
        f"{EXPERIENCE}DATABASE_URL": database.dsn("experience_app"),
        f"{EXPERIENCE}SYSTEM_DATABASE_URL": database.dsn("experience_system"),
        f"{EXPERIENCE}RUNTIME_URL": runtime_url,
        f"{EXPERIENCE}INTERNAL_KEY_FILE": str(keys["internal_key_file"]),
        f"{EXPERIENCE}TOKEN_KEY_FILE": str(keys["token_key_file"]),
        f"{EXPERIENCE}DRAIN_S": "1",
    }
    with start_process(["-m", "experience", "serve"], folder, environment, port=port) as process:
        yield process


async def register(url: str) -> Person:
    """Somebody new behind `url`."""
    async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as http:
        body = {"email": f"{uuid4().hex[:12]}@example.com", "password": PASSWORD}
        answer = (await http.post("/api/auth/register", json=body)).raise_for_status().json()
    return Person(TenantId(UUID(answer["tenant"]["tenant_id"])), answer["access_token"])


class Scribe:
    """Writes to the log of one execution as the worker that runs it would."""

    def __init__(self, runs: Runs, lease: Lease, head: int) -> None:
        self._runs = runs
        self._lease = lease
        self.head = head
        """Number of the last event."""

    @property
    def execution_id(self) -> ExecutionId:
        """Of the log."""
        return self._lease.execution_id

    async def write(self, count: int = 1, size: int = EVENT_BYTES) -> None:
        """Record `count` events of `size` bytes in one transaction; each says when it was made."""
        await self.record([make_event(self.execution_id, size) for _ in range(count)])

    async def record(self, events: Sequence[Event]) -> None:
        """Record events in one transaction."""
        await self._runs.record(self._lease, Change(events=events))
        self.head += len(events)

    async def write_at(self, rate: float, seconds: float) -> int:
        """Record events one by one, `rate` a second; returns how many."""
        count = max(1, int(rate * seconds))
        began = time.monotonic()
        for number in range(count):
            await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
            await self.write()
        return count


@asynccontextmanager
async def begin_log(database: Database, tenant_id: TenantId) -> AsyncIterator[Scribe]:
    """An execution that nobody else runs. Only where no worker does: it would take it."""
    db = TenantDatabase(database.dsn("runtime_app"))
    try:
        queue = PgQueue("", concurrency=1, heartbeat_s=15)
        row = await Executions(db, queue).submit(tenant_id, make_execution(plan=None))
        runs = Runs(db, queue)
        claimed = await runs.claim(tenant_id, ExecutionId(row.execution_id), "bench")
        assert claimed is not None, "somebody else runs it"
        yield Scribe(runs, claimed.lease, head=2)
    finally:
        await db.close()


def make_event(execution_id: ExecutionId, size: int = EVENT_BYTES) -> Event:
    """A log line whose text is the time it was made, padded to `size` bytes."""
    now = datetime.now(UTC)
    bare = f"{time.monotonic_ns():0{STAMP_DIGITS}d}"
    entry = LogEntry(level="info", message=bare, node_id=None, timestamp=now)
    event = Logged(execution_id=execution_id, seq=0, timestamp=now, log=entry)
    padding = " ." * max(0, (size - len(event.model_dump_json())) // 2)
    return event.model_copy(update={"log": entry.model_copy(update={"message": bare + padding})})


def new_id() -> str:
    """An id that nothing has."""
    return str(uuid7())
