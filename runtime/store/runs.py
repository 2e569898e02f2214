"""What a worker writes. A run is one lease of an execution; its number, the epoch, fences every write.

Whoever claims an execution next raises the epoch, and from then on nothing that an earlier holder sends changes a row:
not after a freeze, not after a network that came back. Each write moves the log's counter on the execution's row, and
puts steps, events and artifacts beside it in the same transaction.
"""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_random_exponential
from uuid_utils.compat import uuid7

from contracts.execution import ExecutionStatus
from contracts.model import ExecutionId, TenantId
from runtime.store.admission import admit_waiting, lock_tenant
from runtime.store.changes import HELD, Change, End, Fenced, Lease, write_change
from runtime.store.checkpoints import read_checkpoints
from runtime.store.claims import Claim, Claimed
from runtime.store.db import Database, DatabaseAway, OfTenant, PlainSession, TenantSession
from runtime.store.dead_letters import add_dead_letter
from runtime.store.moves import move_execution, pause_unclaimed
from runtime.store.queue import Queue
from runtime.store.records import find_execution, read_steps
from runtime.store.statement import Statement
from runtime.store.states import check_execution_move
from runtime.store.tables import SCHEMA, ExecutionRow

SessionT = TypeVar("SessionT", TenantSession, PlainSession)
PATIENCE_S = 60.0
"""How long a write waits for a database that went away before the run gives up."""


@dataclass(frozen=True)
class Signal:
    """What a run should know between its writes."""

    held: bool
    """False: another run has taken over."""
    cancel_reason: str | None
    pause_asked_at: datetime | None
    """Set while somebody wants it paused; another instant is another wish."""


class Runs:
    """Claims executions and records what their runs do."""

    def __init__(self, db: Database, queue: Queue, *, patience_s: float = PATIENCE_S) -> None:
        self._db = db
        self._queue = queue
        self._patience_s = patience_s

    async def claim(
        self,
        tenant_id: TenantId,
        execution_id: ExecutionId,
        worker: str,
        turn: int | None = None,
        *,
        alone: bool = False,
    ) -> Claimed | None:
        """Open the next run and fence all earlier ones; None when there is nothing to do any more.

        Args:
            tenant_id: whose it is.
            execution_id: which.
            worker: who takes it, for people to read.
            turn: of the queue's entry; with another one than the execution has now, the entry is of before a pause.
            alone: whether the worker has nothing else in its hands.

        Raises:
            Suspected: it has lost workers before, and is to be claimed `alone`.

        An earlier run that was never closed counts as a loss. What was to be paused when its worker was lost is paused.
        """
        claim = Claim(self._queue, execution_id, worker, turn, alone=alone)
        try:
            return await self._claim(claim, tenant_id)
        except DatabaseAway:
            async for attempt in self._attempts():
                with attempt:
                    return await self._claim(claim, tenant_id)
            raise AssertionError("the last attempt raises") from None

    async def _claim(self, claim: Claim, tenant_id: TenantId) -> Claimed | None:
        async with self._db.write_plainly(tenant_id) as plain:
            claimed = await claim.open(plain)
        if claim.meets_pause:
            async with self._db.write(tenant_id) as session:
                paused = await claim.pause(session)
            return None if paused else await self._claim(claim, tenant_id)
        if claimed is None or claimed.lease.epoch == 1:
            return claimed
        execution_id = claimed.lease.execution_id
        async with self._db.read(tenant_id) as session:
            # one that is only to be buried may hold what it dies of, such as outputs that can't be read
            steps = await read_steps(session, execution_id, in_flight=claimed.lost_too_often)
            return replace(claimed, steps=steps, checkpoints=await read_checkpoints(session, execution_id))

    async def record(self, lease: Lease, change: Change) -> None:
        """Write steps, events and artifacts together, once, however often the connection breaks.

        Raises:
            Fenced: another run has taken over.
            IllegalMove: a step was to go where it can't.
            DatabaseAway: the database stayed away longer than the run's patience.
        """

        async def write(session: PlainSession, write_id: UUID) -> None:
            await write_change(session, lease, change, write_id)

        await self._persist(lease, write, self._db.write_plainly)

    async def finish(self, lease: Lease, change: Change, end: End) -> None:
        """Write the last change with the end itself, close the run, and admit what waited for its place.

        Raises: as `record`.
        """
        check_execution_move(ExecutionStatus.RUNNING, end.status)

        async def write(session: PlainSession, write_id: UUID) -> None:
            tenant = await lock_tenant(session, lease.tenant_id)  # before the execution's row, see admission.py
            await write_change(session, lease, change, write_id, end)
            if end.dead_letter is not None and end.failure is not None:
                await add_dead_letter(session, lease.execution_id, end.failure, end.losses, end.dead_letter)
            await admit_waiting(session, self._queue, tenant)

        await self._persist(lease, write, self._db.write_plainly)

    async def park(self, lease: Lease, change: Change) -> bool:
        """Pause the execution and let its worker go, with the last change.

        False, and nothing is written, when it was resumed or is to end by now. Raises: as `record`.
        """
        parked = True

        async def write(session: TenantSession, write_id: UUID) -> None:
            nonlocal parked
            tenant = await lock_tenant(session, lease.tenant_id)
            row = await _hold(session, lease)
            parked = row.pause_requested_at is not None and row.cancel_requested_at is None
            if not parked:
                return
            await write_change(session, lease, change, write_id)
            row = await _hold(session, lease)  # again: what was just applied is not in the row that was read before
            await pause_unclaimed(session, row, self._queue)
            await _close(session, lease, "paused")
            await admit_waiting(session, self._queue, tenant)

        await self._persist(lease, write, self._db.write)
        return parked

    async def set_paused(self, lease: Lease, *, paused: bool) -> None:
        """Say that the execution is paused, or goes on, while its worker keeps it. Raises: as `record`."""
        target = ExecutionStatus.PAUSED if paused else ExecutionStatus.RUNNING

        async def write(session: TenantSession, write_id: UUID) -> None:
            row = await _hold(session, lease)
            if row.status is not target:
                await move_execution(session, row, target, (row.pause_reason or "") if paused else None)
            row.last_write = write_id
            await session.flush()

        await self._persist(lease, write, self._db.write)

    async def hand_back(self, lease: Lease, spent_s: float, moved_bytes: int = 0) -> None:
        """Close the run without an end: the next one goes on from the last finished step, and nothing was lost.

        Raises:
            Fenced: another run has taken over; there is nothing to hand back.
        """

        async def write(session: PlainSession, write_id: UUID) -> None:
            values = {"execution_id": lease.execution_id, "tenant_id": lease.tenant_id, "epoch": lease.epoch}
            spent = values | {"spent_s": spent_s, "moved_bytes": moved_bytes, "last_write": write_id}
            if await _SPEND.fetch_one(session, spent) is None:
                raise Fenced(f"run {lease.epoch} of {lease.execution_id} has lost its lease")
            await _close(session, lease, "handed_back")

        await self._persist(lease, write, self._db.write_plainly)

    async def check(self, lease: Lease) -> Signal:
        """Whether the lease still holds, and whether the end was asked for."""
        values = {"id": lease.execution_id, "tenant_id": lease.tenant_id}
        async with self._db.read_plainly(lease.tenant_id) as session:
            row = await _CHECK.fetch_one(session, values)
        if row is None or row["epoch"] != lease.epoch or row["status"] not in HELD:
            return Signal(held=False, cancel_reason=None, pause_asked_at=None)
        return Signal(
            held=True,
            cancel_reason=(row["cancel_reason"] or "") if row["cancel_requested_at"] is not None else None,
            pause_asked_at=row["pause_requested_at"],
        )

    def _attempts(self) -> AsyncRetrying:
        return AsyncRetrying(
            retry=retry_if_exception_type(DatabaseAway),
            wait=wait_random_exponential(multiplier=0.05, max=1.0),
            stop=stop_after_delay(self._patience_s),
            reraise=True,
        )

    async def _persist(
        self,
        lease: Lease,
        write: Callable[[SessionT, UUID], Awaitable[None]],
        begin: Callable[[TenantId], AbstractAsyncContextManager[SessionT]],
    ) -> None:
        """Run one transaction to its commit, once.

        After a broken connection nobody knows whether the commit happened, so each write leaves its id on the
        execution's row, and a repetition looks for it first.
        """
        write_id = uuid7()
        try:
            async with begin(lease.tenant_id) as session:
                await write(session, write_id)
        except DatabaseAway:
            async for attempt in self._attempts():
                with attempt:
                    # In a transaction of its own, and waiting for the row: the first commit may still be under way.
                    async with self._db.write_plainly(lease.tenant_id) as session:
                        if await _is_written(session, lease, write_id):
                            return
                    async with begin(lease.tenant_id) as session:
                        await write(session, write_id)


_CHECK = Statement(f"""
    SELECT epoch, status, cancel_requested_at, cancel_reason, pause_requested_at
    FROM {SCHEMA}.executions WHERE execution_id = :id AND tenant_id = :tenant_id
""")  # noqa: S608 — constants
_SPEND = Statement(f"""
    UPDATE {SCHEMA}.executions SET spent_s = :spent_s, last_write = :last_write,
        moved_bytes = greatest(moved_bytes, cast(:moved_bytes AS bigint))
    WHERE execution_id = :execution_id AND tenant_id = :tenant_id AND epoch = :epoch
    RETURNING execution_id
""")  # noqa: S608
_LAST_WRITE = Statement(f"""
    SELECT last_write FROM {SCHEMA}.executions
    WHERE execution_id = :execution_id AND tenant_id = :tenant_id AND epoch = :epoch FOR NO KEY UPDATE
""")  # noqa: S608
_CLOSE = Statement(f"""
    UPDATE {SCHEMA}.runs SET ended_at = :ended_at, outcome = :outcome
    WHERE execution_id = :execution_id AND tenant_id = :tenant_id AND epoch = :epoch AND ended_at IS NULL
""")  # noqa: S608


async def _hold(session: TenantSession, lease: Lease) -> ExecutionRow:
    """The execution as nobody else can change it until commit. Raises Fenced."""
    row = await find_execution(session, lease.execution_id, lock=True)
    if row is None or row.epoch != lease.epoch or row.status not in HELD:
        raise Fenced(f"run {lease.epoch} of {lease.execution_id} has lost its lease")
    return row


async def _is_written(session: PlainSession, lease: Lease, write_id: UUID) -> bool:
    values = {"execution_id": lease.execution_id, "tenant_id": lease.tenant_id, "epoch": lease.epoch}
    row = await _LAST_WRITE.fetch_one(session, values)
    return row is not None and row["last_write"] == write_id


async def _close(session: OfTenant, lease: Lease, outcome: str) -> None:
    values = {
        "execution_id": lease.execution_id,
        "tenant_id": session.tenant_id,
        "epoch": lease.epoch,
        "ended_at": datetime.now(UTC),
        "outcome": outcome,
    }
    await _CLOSE.fetch(session, values)
