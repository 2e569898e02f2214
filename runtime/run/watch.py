"""What happens around a run while it goes on: a cancel, a lost lease, the time limit, the worker's leaving."""

import asyncio
import time
from asyncio import Queue
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import structlog

from runtime.run.clock import Clock
from runtime.run.signals import (
    CancelAsked,
    DrainBegun,
    DrainNearlyOver,
    DrainOver,
    LeaseLost,
    PauseAsked,
    ResumeAsked,
    Signal,
    Stalled,
    TimeIsUp,
)
from runtime.store.changes import Lease
from runtime.store.db import DatabaseAway
from runtime.store.runs import Runs
from runtime.store.wakeups import Wakeups

log = structlog.get_logger()

LOOK_S: Final = 0.5
"""A cancel is seen at the latest after this, also when its wake-up was lost (spec: within 1 s)."""
TICK_S: Final = 0.05
"""The least between two looks at a clock that may stand still."""
PAUSE_S: Final = 0.2
"""Between two looks: the run's own writes ring the same bell."""
STORE_SHARE: Final = 1 / 3
"""Of the grace time, kept for storing what was recorded."""
MAX_STORE_S: Final = 10.0
"""And no more than this of a long one."""


@dataclass(frozen=True)
class Drain:
    """A worker that is leaving: from `begun` on nothing starts, and `grace_s` later nothing runs."""

    grace_s: float
    begun: asyncio.Event = field(default_factory=asyncio.Event)


async def watch_lease(runs: Runs, wakeups: Wakeups, lease: Lease, lease_s: float, inbox: "Queue[Signal]") -> None:
    """Say what people ask of the execution, and end by saying that the lease is lost, or may be.

    Args:
        runs: asked whether the lease still holds.
        wakeups: ring when it is time to ask.
        lease: the run's.
        lease_s: silence after which a lease goes to another worker (spec E10).
        inbox: where the signals go.
    """
    cancelled = False
    pause_asked_at: datetime | None = None
    looked = time.monotonic()
    with wakeups.subscribe(lease.execution_id) as bell:
        await asyncio.sleep(PAUSE_S)  # claiming it was a look, too
        while True:
            if time.monotonic() - looked > lease_s:
                inbox.put_nowait(Stalled())
                return
            looked = time.monotonic()
            try:
                asked = await runs.check(lease)
            except DatabaseAway as error:
                log.warning("the lease can't be checked now", reason=error.detail)
                looked = time.monotonic()  # it was the database that stood still, not this process
            else:
                if not asked.held:
                    inbox.put_nowait(LeaseLost())
                    return
                if asked.cancel_reason is not None and not cancelled:
                    cancelled = True
                    inbox.put_nowait(CancelAsked(asked.cancel_reason))
                if asked.pause_asked_at != pause_asked_at:
                    if pause_asked_at is not None:  # also between two looks: else the next wish would go unheard
                        inbox.put_nowait(ResumeAsked())
                    if asked.pause_asked_at is not None:
                        inbox.put_nowait(PauseAsked())
                    pause_asked_at = asked.pause_asked_at
            asked_at = time.monotonic()
            await bell.wait(LOOK_S)
            await asyncio.sleep(max(0.0, asked_at + PAUSE_S - time.monotonic()))


async def watch_clock(timeout_s: float, clock: Clock, inbox: "Queue[Signal]") -> None:
    """Say when the execution's time is up."""
    while (left_s := timeout_s - clock.spent_s) > 0:  # noqa: ASYNC110 — time has no event
        await asyncio.sleep(max(left_s, TICK_S))
    inbox.put_nowait(TimeIsUp())


async def watch_drain(drain: Drain, inbox: "Queue[Signal]") -> None:
    """Say when the worker begins to leave and when it must be gone, and when it is time to get ready for that."""
    await drain.begun.wait()
    inbox.put_nowait(DrainBegun())
    store_s = min(drain.grace_s * STORE_SHARE, MAX_STORE_S)
    await asyncio.sleep(drain.grace_s - store_s)
    inbox.put_nowait(DrainNearlyOver())
    await asyncio.sleep(store_s)
    inbox.put_nowait(DrainOver())
