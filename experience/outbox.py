"""Hands what people asked for to Runtime: at once if it can, else for as long as it takes.

Two ways lead here. A request hands over its own intent before it answers, with a short deadline; what that leaves
undone, and what a process left undone that died in between, is done by `Outbox.run`, of which every process has one.
They share the work through the rows' `next_attempt_at` (see store/intents).
"""

import asyncio
import random
from dataclasses import dataclass
from datetime import timedelta

import structlog

from contracts.errors import ApiError, Code
from contracts.execution import CancelExecution, Execution, ExecutionSummary, Priority, SubmitExecution
from contracts.model import ExecutionId, IntentId, SessionId, TenantId, UserId
from contracts.wiring.tracing import in_trace
from experience.runtime_calls import AWAY, RuntimeCalls
from experience.store.db import SystemDatabase, TenantDatabase, TenantSession
from experience.store.intents import (
    OutboxDepth,
    claim_due,
    mark_cancel_delivered,
    mark_delivered,
    mark_refused,
    measure_outbox,
    postpone,
)
from experience.store.tables import IntentRow

INLINE_S = 2.0
"""How long a request tries to hand over its own intent before it answers anyway."""
INLINE_LEASE = timedelta(seconds=5)
"""How long the outbox leaves an intent to the request that brought it."""
_DELIVERY_S = 5.0
_LEASE = timedelta(seconds=15)
_BATCH = 32
_POLL_S = 1.0
_MEASURE_S = 5.0
_FIRST_DELAY_S = 0.5
_LONGEST_DELAY_S = 15.0

# Not answers about the intent: a fault of Runtime, its overload, keys that don't belong together. All of them pass.
_TRY_AGAIN = AWAY | {Code.INTERNAL, Code.RATE_LIMITED, Code.UNAUTHENTICATED}

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Delivered:
    """Runtime has it."""

    answer: ExecutionSummary | Execution


@dataclass(frozen=True, slots=True)
class Refused:
    """Runtime will not do this, ever."""

    error: ApiError


@dataclass(frozen=True, slots=True)
class Undelivered:
    """Nobody knows whether Runtime has it; delivering it again is the way to find out."""

    error: ApiError


Outcome = Delivered | Refused | Undelivered


class Outbox:
    """Delivers submits and cancels, each until Runtime has answered it.

    A submit says that it is cancelled, so that nothing of it begins. The cancel follows all the same: Runtime may have
    had the submit before, without that word, and its answer been lost.
    """

    def __init__(self, tenants: TenantDatabase, system: SystemDatabase, runtime: RuntimeCalls) -> None:
        self._tenants = tenants
        self._system = system
        self._runtime = runtime
        self._woken = asyncio.Event()
        self.outcomes = {kind.__name__.lower(): 0 for kind in (Delivered, Refused, Undelivered)}
        """Attempts of this process to hand something over, by how they ended."""
        self.depth: OutboxDepth | None = None
        """What waits in the outbox of the installation; None while nobody knows."""

    def wake(self) -> None:
        """There is something to deliver."""
        self._woken.set()

    async def hand_over(self, row: IntentRow, request_id: str, *, timeout_s: float = INLINE_S) -> Outcome:
        """Tell Runtime what it does not know of an intent: that it exists or, when it knows, that it shall end."""
        outcome = await self._tell(row, request_id, timeout_s)
        self.outcomes[type(outcome).__name__.lower()] += 1
        return outcome

    async def _tell(self, row: IntentRow, request_id: str, timeout_s: float) -> Outcome:
        user_id = UserId(row.user_id) if row.user_id else None
        client = self._runtime.speak_for(TenantId(row.tenant_id), user_id, request_id, timeout_s=timeout_s)
        try:
            if row.status == "pending":
                return Delivered(await client.submit_execution(_submit(row)))
            cancel = CancelExecution(execution_id=ExecutionId(row.execution_id), reason=row.cancel_reason)
            return Delivered(await client.cancel_execution(cancel))
        except ApiError as error:
            return Undelivered(error) if error.code in _TRY_AGAIN else Refused(error)

    async def record(self, session: TenantSession, row: IntentRow, outcome: Outcome) -> None:
        """Write down how a delivery of `row` ended; what is still owed stays in the outbox."""
        intent_id = IntentId(row.intent_id)
        match outcome:
            case Undelivered(error):
                delay = timedelta(seconds=_delay(row.attempts))
                await postpone(session, intent_id, f"{error.code}: {error.detail}", delay=delay)
                if row.attempts == 0:
                    self.wake()
            case Delivered() if row.status == "pending":
                if await mark_delivered(session, intent_id):
                    self.wake()
            case Refused(error) if row.status == "pending":
                await mark_refused(session, intent_id, f"{error.code}: {error.detail}")
            case Delivered() | Refused():
                # a refused cancel has nothing left to end
                await mark_cancel_delivered(session, intent_id)

    async def run(self) -> None:
        """Deliver what is due, for ever. A database or a Runtime that is away is waited for."""
        while True:
            self._woken.clear()
            try:
                more = await self._deliver_due()
            except ApiError as error:
                log.warning("outbox can't work", code=error.code, detail=error.detail)
                more = False
            if not more:
                await self._rest()

    async def measure(self) -> None:
        """Count what waits, now and then, for ever."""
        while True:
            self.depth = await self._look()
            await asyncio.sleep(_MEASURE_S)

    async def _look(self) -> OutboxDepth | None:
        try:
            async with self._system.transaction() as session:
                return await measure_outbox(session)
        except ApiError:
            return None  # and the database's own absence is seen elsewhere

    async def _rest(self) -> None:
        # polling, too: another process may have died over its work, and a time to try again may have come
        try:
            async with asyncio.timeout(_POLL_S):
                await self._woken.wait()
        except TimeoutError:
            return

    async def _deliver_due(self) -> bool:
        async with self._system.transaction() as session:
            rows = await claim_due(session, _BATCH, lease=_LEASE)
        async with asyncio.TaskGroup() as deliveries:
            for row in rows:
                deliveries.create_task(self._deliver(row))
        return len(rows) == _BATCH

    async def _deliver(self, row: IntentRow) -> None:
        known = {
            "tenant_id": str(row.tenant_id),
            "execution_id": str(row.execution_id),
            "intent_id": str(row.intent_id),
        }
        with in_trace(row.trace_parent), structlog.contextvars.bound_contextvars(**known):
            outcome = await self.hand_over(row, f"intent-{row.intent_id}", timeout_s=_DELIVERY_S)
            log.info("intent handed over", outcome=type(outcome).__name__.lower(), attempts=row.attempts + 1)
            try:
                async with self._tenants.transaction(TenantId(row.tenant_id)) as session:
                    await self.record(session, row, outcome)
            except ApiError as error:
                # not written down: when the lease is over it is delivered again, and Runtime will know it
                log.warning("delivery not recorded", detail=error.detail)


def _submit(row: IntentRow) -> SubmitExecution:
    return SubmitExecution(
        execution_id=ExecutionId(row.execution_id),
        intent_id=IntentId(row.intent_id),
        session_id=SessionId(row.session_id) if row.session_id else None,
        user_id=UserId(row.user_id) if row.user_id else None,
        realm=row.realm,
        intent=row.intent,
        parameters=row.parameters,
        priority=Priority(row.priority),
        deferred=row.deferred,
        cancelled=row.cancel_reason if row.cancel_requested else None,
        submitted_at=row.created_at,
    )


def _delay(attempts: int) -> float:
    """Seconds until the next attempt: none after the first, then doubling, with jitter against marching in step."""
    if attempts == 0:
        return 0.0
    longest = min(_LONGEST_DELAY_S, _FIRST_DELAY_S * 2.0 ** min(attempts - 1, 10))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311  # spread, not secrecy
