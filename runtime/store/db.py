"""Connections and transactions. One transaction per request or step; it commits at the edge of the `with`.

    async with db.write(tenant_id) as session:         TenantSession, of role runtime_app
    async with db.write_plainly(tenant_id) as session: PlainSession, the same without SQLAlchemy
    async with system.write() as session:              SystemSession, of role runtime_system

A function that takes a TenantSession can only be called with one tenant in view, and names it in every statement
(tests/architecture/test_tenancy.py reads the source for that); row-level security stands behind it.
"""

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
from pydantic_core import from_json, to_json
from sqlalchemy import TextClause, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import PoolProxiedConnection, QueuePool
from sqlmodel.ext.asyncio.session import AsyncSession

from contracts.errors import ApiError, Code
from contracts.model import TenantId

CONNECT_TIMEOUT_S = 5.0
COMMAND_TIMEOUT_S = 20.0
"""Without it a black-holed connection hangs for as long as TCP likes (operations chapter, O4)."""
IDLE_IN_TRANSACTION_S = 10.0
"""A process that froze between two statements must not keep its locks: the server ends its transaction. Below the
lease of a worker, so that whoever takes its execution over finds the row free."""
POOL_WAIT_S = 10.0

# Set per transaction, so that nothing of one tenant is left on a pooled connection for the next.
_ENTER = text("SELECT 1")
_ENTER_TENANT = text("SELECT set_config('app.tenant_id', :tenant, true)")
_ENTER_TENANT_READING = text(
    "SELECT set_config('app.tenant_id', :tenant, true), set_config('transaction_read_only', 'on', true)"
)

# One round trip each. What is put in is a UUID, so that nothing of a stranger's gets into the text.
_ENTER_PLAINLY = "BEGIN; SELECT set_config('app.tenant_id', '{}', true)"
_ENTER_READING_PLAINLY = "BEGIN READ ONLY; SELECT set_config('app.tenant_id', '{}', true)"


class DatabaseAway(ApiError):  # noqa: N818 — what it is called in the sentence that catches it
    """PostgreSQL can't be reached, hung up in the middle, or can't write now. Whether a commit happened is unknown."""

    def __init__(self, reason: str) -> None:
        super().__init__(Code.UNAVAILABLE, f"The database can't be reached ({reason}).", retry_after=2)


class TenantSession(AsyncSession):
    """A transaction that sees the rows of one tenant."""

    raw: "asyncpg.Connection[asyncpg.Record]"
    tenant_id: TenantId
    events_appended: int = 0
    woken: set[UUID] | None = None
    """Executions to ring for after the commit; None where NOTIFY does it, inside the transaction."""


class SystemSession(AsyncSession):
    """A transaction that sees the rows of all tenants: for the modules named in tests/architecture/test_tenancy.py."""

    raw: "asyncpg.Connection[asyncpg.Record]"


@dataclass(slots=True)
class PlainSession:
    """As TenantSession, for Statements only: what every step sends takes SQLAlchemy longer than PostgreSQL."""

    raw: "asyncpg.Connection[asyncpg.Record]"
    tenant_id: TenantId
    woken: set[UUID] | None
    events_appended: int = 0


OfTenant = TenantSession | PlainSession
AnySession = OfTenant | SystemSession
_SessionT = TypeVar("_SessionT", TenantSession, SystemSession)

Ring = Callable[[Collection[UUID]], None]
"""Told after a commit which logs may have grown; returns at once and never fails."""


class Database:
    """Transactions of role runtime_app, each as one tenant. Row-level security shows it nothing else.

    Args:
        dsn: where to.
        size: connections at most; they are opened when they are needed, and kept.
        ring: what wakes readers after a commit; None: NOTIFY does it, inside the transaction.
    """

    def __init__(self, dsn: str, *, size: int = 8, ring: Ring | None = None) -> None:
        self._engine = _make_engine(dsn, "stagedoor-runtime", size)
        self._ring = ring
        self.events_appended = 0
        """To any log, by transactions of this process that were committed."""

    @asynccontextmanager
    async def read(self, tenant_id: TenantId) -> AsyncIterator[TenantSession]:
        """A transaction that can't write.

        Raises:
            DatabaseAway: the connection failed.
        """
        entry = _ENTER_TENANT_READING, {"tenant": str(tenant_id)}
        async with _transaction(self._engine, TenantSession, *entry, reads=True) as session:
            session.tenant_id = tenant_id
            yield session

    @asynccontextmanager
    async def write(self, tenant_id: TenantId) -> AsyncIterator[TenantSession]:
        """A transaction that commits when the block ends and leaves nothing when it raises.

        Raises:
            DatabaseAway: the connection failed; a commit may or may not have happened.
        """
        woken: set[UUID] = set()
        try:
            async with _transaction(self._engine, TenantSession, _ENTER_TENANT, {"tenant": str(tenant_id)}) as session:
                session.tenant_id = tenant_id
                session.woken = None if self._ring is None else woken
                yield session
            self.events_appended += session.events_appended
        finally:
            # Also when it failed: whether the commit happened is unknown then, and a wake-up too many costs one look.
            if self._ring is not None and woken:
                self._ring(woken)

    @asynccontextmanager
    async def read_plainly(self, tenant_id: TenantId) -> AsyncIterator[PlainSession]:
        """As `read`, without SQLAlchemy. Raises DatabaseAway."""
        async with _plain_transaction(self._engine, _ENTER_READING_PLAINLY, tenant_id, reads=True) as raw:
            yield PlainSession(raw, tenant_id, None)

    @asynccontextmanager
    async def write_plainly(self, tenant_id: TenantId) -> AsyncIterator[PlainSession]:
        """As `write`, without SQLAlchemy. Raises DatabaseAway, as `write`."""
        woken: set[UUID] = set()
        try:
            async with _plain_transaction(self._engine, _ENTER_PLAINLY, tenant_id) as raw:
                session = PlainSession(raw, tenant_id, None if self._ring is None else woken)
                yield session
            self.events_appended += session.events_appended
        finally:
            if self._ring is not None and woken:
                self._ring(woken)

    @property
    def connections_in_use(self) -> int:
        """Of its pool."""
        return count_in_use(self._engine)

    async def ping(self) -> None:
        """Return when the database answers.

        Raises:
            DatabaseAway: it does not.
        """
        async with _transaction(self._engine, SystemSession, _ENTER):
            pass

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()


class SystemDatabase:
    """Transactions of role runtime_system, across tenants: reconciler, pruning, adopting, metrics. Nothing else."""

    def __init__(self, dsn: str, *, size: int = 2) -> None:
        self._engine = _make_engine(dsn, "stagedoor-runtime-system", size)

    @asynccontextmanager
    async def write(self) -> AsyncIterator[SystemSession]:
        """A transaction that sees every tenant.

        Raises:
            DatabaseAway: the connection failed.
        """
        async with _transaction(self._engine, SystemSession, _ENTER) as session:
            yield session

    @property
    def connections_in_use(self) -> int:
        """Of its pool."""
        return count_in_use(self._engine)

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()


def count_in_use(engine: AsyncEngine) -> int:
    """Connections of a pool that somebody has now."""
    pool = engine.pool
    return pool.checkedout() if isinstance(pool, QueuePool) else 0


async def connect(
    dsn: str, name: str, *, command_timeout_s: float | None = COMMAND_TIMEOUT_S
) -> "asyncpg.Connection[asyncpg.Record]":
    """One connection outside the pools, for LISTEN, the queue and migrations.

    Args:
        dsn: where to.
        name: for people to read.
        command_timeout_s: of each command; opening may not take longer either. None: commands take what they take.

    Raises:
        DatabaseAway: it can't be had now.
    """
    try:
        return await asyncpg.connect(
            dsn,
            timeout=min(CONNECT_TIMEOUT_S, command_timeout_s or CONNECT_TIMEOUT_S),
            command_timeout=command_timeout_s,
            server_settings={
                "application_name": name,
                "idle_in_transaction_session_timeout": f"{IDLE_IN_TRANSACTION_S * 1_000:.0f}",
            },
        )
    except Exception as error:
        if is_away(error):
            raise DatabaseAway(type(error).__name__) from error
        raise


def is_away(error: BaseException, *, reads: bool = False) -> bool:
    """Whether the error is about the server and the way to it rather than about what was asked.

    Args:
        error: any.
        reads: the transaction was told not to write; being refused it then is our own fault.
    """
    if isinstance(error, DBAPIError):
        wrapped = error.orig
        inner = getattr(wrapped, "driver_exception", None) or getattr(wrapped, "__cause__", None) or wrapped
        return error.connection_invalidated or (inner is not None and is_away(inner, reads=reads))
    if reads and isinstance(error, asyncpg.ReadOnlySQLTransactionError):
        return False
    return isinstance(error, _AWAY) and not isinstance(error, asyncpg.DataError)


_AWAY = (
    OSError,  # includes TimeoutError: asyncpg's command_timeout, refused and reset connections
    EOFError,
    PoolTimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a backend that was terminated in the middle of an answer
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # class 57: stopping, starting, told to go
    asyncpg.InsufficientResourcesError,  # class 53: no connection, memory or disk left
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,  # a server that was the primary until just now
)


def _make_engine(dsn: str, name: str, size: int) -> AsyncEngine:
    async def open_connection(*_: Any, **__: Any) -> "asyncpg.Connection[asyncpg.Record]":
        return await connect(dsn, name)

    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=open_connection,
        pool_size=size,
        max_overflow=0,
        pool_timeout=POOL_WAIT_S,
        hide_parameters=True,  # an error's message goes into the log, and parameters are what people typed
        json_serializer=lambda value: to_json(value).decode(),
        json_deserializer=from_json,
    )


@asynccontextmanager
async def _transaction(
    engine: AsyncEngine,
    kind: type[_SessionT],
    entry: TextClause,
    values: dict[str, str] | None = None,
    *,
    reads: bool = False,
) -> AsyncIterator[_SessionT]:
    """A transaction, entered by a first statement."""
    try:
        async with await _begin(engine, kind, entry, values) as session:
            try:
                yield session
                await session.commit()
            except Exception as error:
                if is_away(error, reads=reads):
                    await session.invalidate()  # the next one shall not meet a dead line, nor a server that can't write
                raise
    except DatabaseAway:
        raise
    except Exception as error:
        if is_away(error, reads=reads):
            raise DatabaseAway(type(error).__name__) from error
        raise


async def _begin(
    engine: AsyncEngine, kind: type[_SessionT], entry: TextClause, values: dict[str, str] | None
) -> _SessionT:
    try:
        return await _enter(engine, kind, entry, values)
    except Exception as error:
        if not is_away(error) or isinstance(error, TimeoutError | PoolTimeoutError):
            raise
    # The first statement met a connection that died in the pool (a restarted server): the pool has thrown all of its
    # kind away by now, and nothing of the caller's was sent yet, so once more is safe. Asking each connection before it
    # is used would be three more round trips for every transaction.
    return await _enter(engine, kind, entry, values)


async def _enter(
    engine: AsyncEngine, kind: type[_SessionT], entry: TextClause, values: dict[str, str] | None
) -> _SessionT:
    session = kind(engine, expire_on_commit=False, autoflush=False)
    try:
        connection = await session.connection()
        await connection.execute(entry, values)
        pooled: Any = await connection.get_raw_connection()
        session.raw = pooled.driver_connection
    except BaseException as error:
        if is_away(error):
            await session.invalidate()
        await session.close()
        raise
    return session


@asynccontextmanager
async def _plain_transaction(
    engine: AsyncEngine, entry: str, tenant_id: TenantId, *, reads: bool = False
) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A transaction on a connection of the pool, of which SQLAlchemy does not hear."""
    try:
        pooled = await _enter_plainly(engine, entry.format(UUID(str(tenant_id))))
        try:
            raw: Any = pooled.driver_connection
            yield raw
            await raw.execute("COMMIT")
        except BaseException as error:
            await _undo(pooled, whole=isinstance(error, Exception) and not is_away(error, reads=reads))
            raise
        pooled.close()
    except DatabaseAway:
        raise
    except Exception as error:
        if is_away(error, reads=reads):
            raise DatabaseAway(type(error).__name__) from error
        raise


async def _undo(pooled: PoolProxiedConnection, *, whole: bool) -> None:
    """Give the connection back as it was, or throw it away: nobody may find an open transaction on it.

    One who is cancelled does not wait for an answer, and the server's must not be taken for the next one's.
    """
    if whole:
        raw: Any = pooled.driver_connection
        try:
            await raw.execute("ROLLBACK")
        except BaseException:
            pooled.invalidate()
            raise
        pooled.close()
    else:
        pooled.invalidate()


async def _enter_plainly(engine: AsyncEngine, entry: str) -> PoolProxiedConnection:
    tries = engine.pool.size() + 1 if isinstance(engine.pool, QueuePool) else 2  # all of the pool may have died
    while True:
        tries -= 1
        pooled = await engine.raw_connection()
        raw: Any = pooled.driver_connection
        try:
            await raw.execute(entry)
        except BaseException as error:
            pooled.invalidate()
            if tries == 0 or not is_away(error) or isinstance(error, TimeoutError):
                raise
        else:
            return pooled
