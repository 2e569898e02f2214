"""The two doors to PostgreSQL: one tenant's rows as `experience_app`, everything as `experience_system`.

A transaction is a `with` block: it commits when the block ends well and rolls back otherwise; nobody commits inside.

    async with tenants.transaction(principal.tenant_id) as session:   TenantSession
    async with system.transaction() as session:                       SystemSession

The two session types have nothing in common that a store function could ask for by mistake: a function that takes a
TenantSession can only be called with rows of one tenant in view, and row-level security stands behind it.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

import asyncpg
import structlog
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import QueuePool
from sqlmodel.ext.asyncio.session import AsyncSession

from contracts.errors import ApiError, Code
from contracts.model import TenantId

CONNECT_TIMEOUT_S = 5
COMMAND_TIMEOUT_S = 10
"""Deadline of each statement: without it a blackholed server holds a request for minutes."""
IDLE_IN_TRANSACTION_S = 10.0
"""A process that froze between two statements must not keep its locks: the server ends its transaction."""
POOL_SIZE = 10
POOL_TIMEOUT_S = 5

_ENTER = text("SELECT set_config('app.tenant_id', :tenant_id, true)")
# asyncpg's own names for a server that is starting, stopping, full, gone, the primary no more, or another than the one
# we were set up for
_AWAY = (
    OSError,
    TimeoutError,
    PoolTimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.InsufficientResourcesError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InternalClientError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidAuthorizationSpecificationError,
)

log = structlog.get_logger()

SessionT = TypeVar("SessionT", bound=AsyncSession)


class TenantSession(AsyncSession):
    """A transaction that sees the rows of one tenant."""

    tenant_id: TenantId


class SystemSession(AsyncSession):
    """A transaction that sees the rows of all tenants: for the modules named in tests/architecture/test_tenancy.py."""


class _Door(Generic[SessionT]):
    def __init__(self, dsn: str, session_type: type[SessionT], *, pool_size: int = POOL_SIZE) -> None:
        self._engine = open_engine(dsn, pool_size=pool_size)
        self._session_type = session_type

    @property
    def connections_in_use(self) -> int:
        """Of its pool."""
        pool = self._engine.pool
        return pool.checkedout() if isinstance(pool, QueuePool) else 0

    async def close(self) -> None:
        """Close the pool; transactions under way are waited for by their own blocks."""
        await self._engine.dispose()

    @asynccontextmanager
    async def _transaction(self, tenant_id: TenantId | None) -> AsyncIterator[SessionT]:
        try:
            async with await self._begin(tenant_id) as session:
                try:
                    yield session
                    await session.commit()
                except Exception as error:
                    if _is_away(error):  # the next one shall not meet a dead line, nor a server that can't write
                        await session.invalidate()
                    raise
        except Exception as error:
            if _is_away(error):
                log.warning("database away", reason=str(error).partition("\n")[0], kind=type(error).__name__)
                raise ApiError(Code.UNAVAILABLE, "The database can't be reached now.") from error
            raise

    async def _begin(self, tenant_id: TenantId | None) -> SessionT:
        try:
            return await self._enter(tenant_id)
        except Exception as error:
            if not _is_away(error):
                raise
        # The first statement found a connection that died in the pool (a restarted server): the pool has thrown all
        # of its kind away by now, and nothing of the caller's has been sent yet, so once more is safe.
        return await self._enter(tenant_id)

    async def _enter(self, tenant_id: TenantId | None) -> SessionT:
        session = self._session_type(self._engine, expire_on_commit=False, autoflush=False)
        try:
            connection = await session.connection()
            await connection.execute(_ENTER, {"tenant_id": "" if tenant_id is None else str(tenant_id)})
        except BaseException as error:
            if _is_away(error):
                await session.invalidate()
            await session.close()
            raise
        return session


class TenantDatabase(_Door[TenantSession]):
    """The door for everything that serves one tenant (role experience_app)."""

    def __init__(self, dsn: str, *, pool_size: int = POOL_SIZE) -> None:
        super().__init__(dsn, TenantSession, pool_size=pool_size)

    @asynccontextmanager
    async def transaction(self, tenant_id: TenantId) -> AsyncIterator[TenantSession]:
        """One transaction of one tenant; raises ApiError(UNAVAILABLE) when the database is away."""
        async with self._transaction(tenant_id) as session:
            session.tenant_id = tenant_id
            yield session


class SystemDatabase(_Door[SystemSession]):
    """The door for work across tenants (role experience_system)."""

    def __init__(self, dsn: str, *, pool_size: int = POOL_SIZE) -> None:
        super().__init__(dsn, SystemSession, pool_size=pool_size)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[SystemSession]:
        """One transaction over all tenants; raises ApiError(UNAVAILABLE) when the database is away."""
        async with self._transaction(None) as session:
            yield session


def open_engine(dsn: str, *, pool_size: int = POOL_SIZE) -> AsyncEngine:
    """An engine for `postgresql://role@host/database` or `postgresql://role@/database?host=/socket/dir`.

    asyncpg reads the address, as it does in Runtime: SQLAlchemy writes several hosts in another way.
    """

    async def connect(*_: Any, **__: Any) -> "asyncpg.Connection[asyncpg.Record]":
        return await asyncpg.connect(
            dsn,
            timeout=CONNECT_TIMEOUT_S,
            command_timeout=COMMAND_TIMEOUT_S,
            server_settings={"idle_in_transaction_session_timeout": f"{IDLE_IN_TRANSACTION_S * 1_000:.0f}"},
        )

    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=POOL_TIMEOUT_S,
        hide_parameters=True,  # an error's message goes into the log, and parameters are what people typed
    )


def _is_away(error: BaseException) -> bool:
    if isinstance(error, DBAPIError):
        cause = error.orig.__cause__ if error.orig is not None else None
        return error.connection_invalidated or isinstance(cause, _AWAY)
    return isinstance(error, _AWAY)
