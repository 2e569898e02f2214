"""The queue of admitted executions: a small port, and PgQueuer behind it.

What PgQueuer leaves to us (each found by experiment, see docs/adr/0004):
- its UPDATEs never NOTIFY, so DEQUEUE_TIMEOUT_S bounds how late a handed back entry starts again, and how late the
  place that it leaves is taken;
- it finishes entries by id alone: a worker that lost its lease would delete the entry that another one holds now, so
  `_FencedQueries` lets only the holder write;
- it would end with its connection: store/queue_driver.py reconnects;
- its priorities are four bytes wide, and our turns grow for ever: its own planner widens them, see `_widen`;
- a cancelled dispatch deletes the entry: a drain raises HandBack instead, and nothing here cancels its tasks.
"""

import asyncio
import dataclasses
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

import asyncpg
import structlog
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
from pgqueuer.adapters.persistence import schema_inspect, schema_plan
from pgqueuer.adapters.persistence.qb import DBSettings, QueryBuilderEnvironment, QueryQueueBuilder
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.core.qm import QueueManager
from pgqueuer.domain.errors import RetryRequested
from pgqueuer.domain.models import Job, TracebackRecord
from pgqueuer.domain.schema.declaration import target
from pgqueuer.domain.schema.model import Plan, Table
from pgqueuer.domain.types import JOB_STATUS, JobId, OnConflict, QueueEntrypoint, QueueManagerId, SqlType
from pgqueuer.ports.driver import Driver
from pgqueuer.ports.repository import EntrypointExecutionParameter
from pydantic import BaseModel, Field
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from contracts.model import ExecutionId, TenantId
from runtime.store.queue_driver import ReconnectingDriver
from runtime.store.statement import HasConnection, Statement
from runtime.store.tables import SCHEMA

log = structlog.get_logger()

ENTRYPOINT = "execution"
DEQUEUE_TIMEOUT_S = 2.0
BATCH = 1
MAX_RETRY_DELAY_S = 60.0
LEAST_DEADLINE_S = 0.5
"""Of a command to the queue, however short leases are: a busy server is no dead line."""
# PgQueuer logs every hand-over as an error of its own; ours says what happened.
logging.getLogger("pgqueuer").setLevel(logging.WARNING)


class Entry(BaseModel):
    """What lies in the queue: which execution, and in whose name to load it."""

    tenant_id: TenantId
    execution_id: ExecutionId
    turn: int = Field(default=0, exclude=True)
    """Lower ones are performed first; of equal ones, whichever lies there longer. Kept beside what is said above."""


class HandBack(Exception):  # noqa: N818 — not an error
    """Raised by whoever performs an entry: put it back, another worker takes it after `delay_s`."""

    def __init__(self, delay_s: float = 0.0) -> None:
        super().__init__("handed back")
        self.delay_s = delay_s


@dataclass(frozen=True)
class QueueFigures:
    """How full the queue is."""

    queued: int
    picked: int
    lag_s: float
    """Age of the oldest entry that could start now."""


Perform = Callable[[Entry], Awaitable[None]]


class Queue(Protocol):
    """Everything that Runtime asks of a queue."""

    @staticmethod
    async def install(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        """Create its tables or bring them up to date; the caller is runtime_owner and holds the migration lock."""

    async def enqueue(self, session: HasConnection, entries: Sequence[Entry]) -> None:
        """Put entries in, inside the caller's transaction; one that is queued or being performed already stays one."""

    @staticmethod
    def lacks(execution_id: str) -> str:
        """A condition for a statement in the same database: no entry lies there for the execution that the SQL names.

        Neither one that is queued nor one that is being performed.
        """

    async def hold(self, session: HasConnection, execution_ids: Collection[UUID]) -> set[UUID]:
        """Those of the executions whose entries nobody performs, nor will begin to until the transaction ends."""

    async def move(self, session: HasConnection, entries: Sequence[Entry]) -> None:
        """Give entries that are held other turns, inside the caller's transaction."""

    async def let_go(self, session: HasConnection, execution_id: UUID) -> None:
        """Let another entry of the execution be put in, whatever becomes of the one that is there."""

    async def work(self, perform: Perform) -> None:
        """Lease entries and perform them until `stop`; then return when the last one has ended.

        An entry whose worker falls silent for the heartbeat time goes to another one.
        """

    def rest(self) -> None:
        """Lease nothing until `go_on`; what is leased goes on."""

    def go_on(self) -> None:
        """Lease entries again."""

    def stop(self) -> None:
        """Lease nothing more."""

    async def measure(self, session: AsyncSession) -> QueueFigures:
        """How full it is."""

    async def prune(self, session: AsyncSession, before: datetime, most: int) -> int:
        """Forget at most so many lines of its own history before an instant; returns how many that were."""


class PgQueue:
    """PgQueuer on the system role's database.

    Args:
        dsn: of role runtime_system; used by `work` only, everything else happens in the caller's transaction.
        concurrency: entries performed at once.
        heartbeat_s: silence after which a lease is lost.
    """

    def __init__(self, dsn: str, *, concurrency: int, heartbeat_s: float) -> None:
        self._dsn = dsn
        self._concurrency = concurrency
        self._heartbeat = timedelta(seconds=heartbeat_s)
        self._stopped = asyncio.Event()
        self._manager: QueueManager | None = None
        self._resting = asyncio.Event()

    @staticmethod
    async def install(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        """As the port says."""
        queries = _FencedQueries(AsyncpgDriver(connection))
        plan = await queries.plan_upgrade()
        for statement in plan.statements:
            await connection.execute(statement)
        if plan.statements:
            for statement in _GRANTS:
                await connection.execute(statement)

    async def enqueue(self, session: HasConnection, entries: Sequence[Entry]) -> None:
        """As the port says."""
        if not entries:
            return
        queries = _FencedQueries(AsyncpgDriver(session.raw))
        count = len(entries)
        await queries.enqueue(
            [ENTRYPOINT] * count,
            [entry.model_dump_json().encode() for entry in entries],
            [-entry.turn for entry in entries],
            dedupe_key=[str(entry.execution_id) for entry in entries],
            on_conflict="skip",
        )

    @staticmethod
    def lacks(execution_id: str) -> str:
        """As the port says; as PgQueuer's index of dedupe keys says it."""
        return (
            f"NOT EXISTS (SELECT FROM {SCHEMA}.pgqueuer AS lying WHERE lying.dedupe_key = cast({execution_id} AS text) "
            "AND lying.status IN ('queued', 'picked'))"
        )

    async def hold(self, session: HasConnection, execution_ids: Collection[UUID]) -> set[UUID]:
        """As the port says."""
        keys = [str(execution_id) for execution_id in execution_ids]
        return {UUID(row["dedupe_key"]) for row in await _HOLD.fetch(session, {"keys": keys})}

    async def move(self, session: HasConnection, entries: Sequence[Entry]) -> None:
        """As the port says."""
        values = {
            "keys": [str(entry.execution_id) for entry in entries],
            "priorities": [-entry.turn for entry in entries],
        }
        await _MOVE.fetch(session, values)

    async def let_go(self, session: HasConnection, execution_id: UUID) -> None:
        """As the port says: whoever performs the one that is there finds that its turn has passed."""
        await _LET_GO.fetch(session, {"key": str(execution_id)})

    async def work(self, perform: Perform) -> None:
        """As the port says.

        Raises:
            DatabaseAway: the database went away while stopping.
        """
        # PgQueuer renews at half of the heartbeat time: a dead line costs a quarter, and there is one left to renew
        deadline_s = max(LEAST_DEADLINE_S, self._heartbeat.total_seconds() / 4)
        async with ReconnectingDriver(self._dsn, "stagedoor-queue", self._stopped, deadline_s=deadline_s) as driver:
            queries = _FencedQueries(driver)
            self._manager = QueueManager(queries, channel=queries.qbe.settings.channel)
            queries.holder = self._manager.queue_manager_id
            queries.places = self._concurrency
            queries.resting = self._resting

            async def dispatch(job: Job) -> None:
                try:
                    await _perform(job, perform, self._stopped)
                finally:
                    queries.taken.discard(job.id)

            self._manager.entrypoint(ENTRYPOINT, accepts_context=False)(dispatch)
            if self._stopped.is_set():
                return
            await self._manager.run(
                dequeue_timeout=timedelta(seconds=DEQUEUE_TIMEOUT_S),
                batch_size=BATCH,
                # what PgQueuer insists on: it is `places` that keeps a worker of one from a second entry
                max_concurrent_tasks=max(2 * BATCH, self._concurrency),
                heartbeat_timeout=self._heartbeat,
                log_aggregation_interval=timedelta(0),  # its statistics table is not read by anybody
            )

    def rest(self) -> None:
        """As the port says."""
        self._resting.set()

    def go_on(self) -> None:
        """As the port says."""
        self._resting.clear()

    def stop(self) -> None:
        """As the port says."""
        self._stopped.set()
        if self._manager is not None:
            self._manager.shutdown.set()

    async def measure(self, session: AsyncSession) -> QueueFigures:
        """As the port says."""
        row = (await (await session.connection()).execute(_MEASURE)).one()
        return QueueFigures(queued=row.queued, picked=row.picked, lag_s=float(row.lag_s))

    async def prune(self, session: AsyncSession, before: datetime, most: int) -> int:
        """As the port says."""
        done = await (await session.connection()).execute(_PRUNE, {"before": before, "most": most})
        return int(done.rowcount)


_MEASURE = text(f"""
    SELECT count(*) FILTER (WHERE status = 'queued') AS queued,
           count(*) FILTER (WHERE status = 'picked') AS picked,
           coalesce(extract(epoch FROM now() - min(execute_after) FILTER (
               WHERE status = 'queued' AND execute_after <= now())), 0) AS lag_s
    FROM {SCHEMA}.pgqueuer
""")  # noqa: S608 — constants
_HOLD = Statement(f"""
    SELECT dedupe_key FROM {SCHEMA}.pgqueuer
    WHERE dedupe_key = ANY(cast(:keys AS text[])) AND status = 'queued' FOR UPDATE SKIP LOCKED
""")  # noqa: S608
_MOVE = Statement(f"""
    UPDATE {SCHEMA}.pgqueuer SET priority = moved.priority
    FROM unnest(cast(:keys AS text[]), cast(:priorities AS bigint[])) AS moved (key, priority)
    WHERE dedupe_key = moved.key AND status = 'queued'
""")  # noqa: S608
_NO_TURN = -1
"""Less than any: what has it comes first, and whoever performs it finds that it is nobody's turn."""
_LET_GO = Statement(f"""
    UPDATE {SCHEMA}.pgqueuer SET dedupe_key = NULL, priority = {-_NO_TURN} WHERE dedupe_key = :key
""")  # noqa: S608
_PRUNE = text(f"""
    DELETE FROM {SCHEMA}.pgqueuer_log WHERE id = ANY(ARRAY(
        SELECT id FROM {SCHEMA}.pgqueuer_log WHERE created < :before
        ORDER BY created LIMIT :most FOR UPDATE SKIP LOCKED))
""")  # noqa: S608


# Whoever serves requests may put an entry in, see whether it is there and say when its turn is, not read or change
# what others put in.
_GRANTS = (
    f"REVOKE ALL ON {SCHEMA}.pgqueuer, {SCHEMA}.pgqueuer_log FROM runtime_app",
    f"REVOKE ALL ON {SCHEMA}.pgqueuer_statistics, {SCHEMA}.pgqueuer_schedules FROM runtime_app",
    f"GRANT INSERT, SELECT (id, entrypoint, priority, dedupe_key, status) ON {SCHEMA}.pgqueuer TO runtime_app",
    f"GRANT UPDATE (priority, dedupe_key) ON {SCHEMA}.pgqueuer TO runtime_app",
    f"GRANT INSERT ON {SCHEMA}.pgqueuer_log TO runtime_app",
)


async def _perform(job: Job, perform: Perform, stopped: asyncio.Event) -> None:
    """Perform one entry. Returning removes it; RetryRequested keeps it for later."""
    if stopped.is_set():
        raise RetryRequested(timedelta(0))
    try:
        entry = Entry.model_validate_json(job.payload or b"")
        await perform(entry.model_copy(update={"turn": -job.priority}))
    except HandBack as back:
        raise RetryRequested(timedelta(seconds=back.delay_s)) from None
    except Exception as error:
        delay_s = min(MAX_RETRY_DELAY_S, 2.0 ** min(job.attempts, 10))
        log.exception("an entry of the queue could not be performed", job_id=job.id, again_in_s=delay_s)
        raise RetryRequested(timedelta(seconds=delay_s)) from error


class _Names(DBSettings):
    """PgQueuer's names without its habit of reading the environment."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 — the base class's signature
        init_settings: PydanticBaseSettingsSource,
        *_: Any,
        **__: Any,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what the code says."""
        return (init_settings,)


class _WideBuilder(QueryQueueBuilder):
    """Takes priorities of eight bytes."""

    def build_enqueue_query(self, on_conflict: OnConflict = "raise") -> str:
        """PgQueuer's, but for the type of its first argument."""
        narrow, wide = "$1::int[]", "$1::bigint[]"
        query = super().build_enqueue_query(on_conflict)
        if query.count(narrow) != 1:
            raise RuntimeError("PgQueuer passes priorities in another way than it did: look at _WideBuilder again")
        return query.replace(narrow, wide)


_NAMES = _Names(db_schema=SCHEMA, channel="stagedoor_runtime_queue")
_BUILDER = _WideBuilder(_NAMES)
_ENVIRONMENT = QueryBuilderEnvironment(_NAMES)
_END = f"DELETE FROM {SCHEMA}.pgqueuer WHERE id = ANY($1::bigint[]) AND queue_manager_id = $2"  # noqa: S608
_PUT_BACK = f"""
    UPDATE {SCHEMA}.pgqueuer SET status = 'queued', queue_manager_id = NULL, execute_after = now() + $2::interval,
        attempts = attempts + 1, updated = now()
    WHERE id = $1::bigint AND queue_manager_id = $3
"""  # noqa: S608
_BEAT = (
    f"UPDATE {SCHEMA}.pgqueuer SET heartbeat = now() "  # noqa: S608
    "WHERE id = ANY($1::bigint[]) AND queue_manager_id = $2"
)


class _FencedQueries(Queries):
    """Writes only to entries that this process still holds, and asks for none while it has no place for one."""

    def __init__(self, driver: Driver) -> None:
        super().__init__(driver, qbe=_ENVIRONMENT, qbq=_BUILDER)
        self.holder: QueueManagerId | None = None
        self.places = 1
        """Entries that may be performed here at once; BATCH divides it."""
        self.taken: set[JobId] = set()
        """Those that are, from being leased on: who waits here for a place could begin elsewhere. An ended one has left
        before it is taken from the table, whose NOTIFY has the next one asked for."""
        self.resting: asyncio.Event | None = None
        """Set while nothing may be leased although there is a place."""

    @property
    def _takes_none(self) -> bool:
        return len(self.taken) >= self.places or (self.resting is not None and self.resting.is_set())

    async def dequeue(
        self,
        batch_size: int,
        entrypoints: dict[QueueEntrypoint, EntrypointExecutionParameter],
        queue_manager_id: QueueManagerId,
        global_concurrency_limit: int | None,
        heartbeat_timeout: timedelta,
    ) -> list[Job]:
        """Lease entries. PgQueuer counts in SQL how many this process has, at a multiple of what knowing it costs."""
        if self._takes_none:
            return []
        jobs = await super().dequeue(
            batch_size, entrypoints, queue_manager_id, global_concurrency_limit, heartbeat_timeout
        )
        self.taken.update(job.id for job in jobs)  # one of our own, whose heartbeat was late, is there already
        return jobs

    async def eligible_queued_work(self, entrypoints: list[QueueEntrypoint]) -> int:
        """How many entries could begin now: a reason to ask again soon, and none for whoever is full."""
        return 0 if self._takes_none else await super().eligible_queued_work(entrypoints)

    async def next_deferred_eta(self, entrypoints: list[QueueEntrypoint]) -> timedelta | None:
        """When the next entry is due; as above."""
        return None if self._takes_none else await super().next_deferred_eta(entrypoints)

    async def queued_work(self, entrypoints: list[QueueEntrypoint]) -> int:
        """How many entries wait; as above."""
        return 0 if self._takes_none else await super().queued_work(entrypoints)

    async def plan_upgrade(self) -> Plan:
        """PgQueuer's, towards tables whose priorities are eight bytes wide."""
        settings = self.qbe.settings
        wanted = target(settings)
        wanted = dataclasses.replace(wanted, tables=tuple(_widen(table) for table in wanted.tables))
        return schema_plan.plan(await schema_inspect.inspect(self.driver, settings), wanted, settings)

    async def log_jobs(self, job_status: list[tuple[Job, JOB_STATUS, TracebackRecord | None]]) -> None:
        """End entries: those that somebody else holds now are left to them. Nobody reads a log of it."""
        await self.driver.execute(_END, [job.id for job, _, _ in job_status], self.holder)

    async def retry_job(self, job: Job, delay: timedelta, traceback_record: TracebackRecord | None) -> None:
        """Put an entry back, unless somebody else holds it now: in one statement, for the driver may repeat it."""
        await self.driver.execute(_PUT_BACK, job.id, delay, self.holder)

    async def update_heartbeat(self, job_ids: list[JobId]) -> None:
        """Renew leases; a lost one stays lost."""
        await self.driver.execute(_BEAT, list(set(job_ids)), self.holder)


def _widen(table: Table) -> Table:
    """The table with every priority as wide as a turn."""
    return dataclasses.replace(
        table,
        columns=tuple(
            dataclasses.replace(column, type=SqlType("bigint")) if column.name == "priority" else column
            for column in table.columns
        ),
    )


def entry_of(tenant_id: UUID, execution_id: UUID, turn: int) -> Entry:
    """The entry of an execution."""
    return Entry(tenant_id=TenantId(tenant_id), execution_id=ExecutionId(execution_id), turn=turn)
