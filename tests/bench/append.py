"""B11: how many events one writer records."""

import time

from uuid_utils.compat import uuid7

from contracts.model import ExecutionId, TenantId
from tests.bench.figure import Bar, Figure
from tests.bench.floor import Floor
from tests.bench.ground import Ground
from tests.bench.rounds import Effort, take_turns
from tests.bench.tiers import begin_log, make_event
from tests.support.postgres import Database

EVENTS = 10_000
FLOOR_EVENTS = 1_000
BATCH = 200
"""Log lines of a chatty node that come within the 10 ms for which they are gathered."""
ROUNDS = 3


async def measure(ground: Ground, effort: Effort) -> list[Figure]:
    """One writer of one execution, 330-byte events. Ours gathers two hundred log lines into one transaction, as a run
    does with what a node says within 10 ms: numbered under the fence, rendered, checked by row-level security, readers
    woken. Beside it stands one INSERT for each event, hand-written on asyncpg: number, row and wake-up in one
    prepared statement.
    """
    count, fewer = effort.count(EVENTS, BATCH), effort.count(FLOOR_EVENTS, 5)
    database = await ground.make_database()
    async with Floor.open(database) as floor:
        body = make_event(ExecutionId(uuid7())).model_dump_json()
        ours, theirs = await take_turns(
            effort.rounds(ROUNDS), lambda: _append(database, count), lambda: floor.append(fewer, body)
        )
    return [
        Figure(
            bench="B11",
            what=f"event append, {BATCH} a transaction",
            unit="/s",
            ours=ours,
            against="one INSERT for each event",
            peer=theirs,
            bar=Bar(limit=10, at_least=True),
        )
    ]


async def _append(database: Database, count: int) -> float:
    async with begin_log(database, TenantId(uuid7())) as scribe:
        await scribe.write(BATCH)
        events = [make_event(scribe.execution_id) for _ in range(BATCH)]  # as the floor has its text beforehand
        began = time.perf_counter()
        for _ in range(count // BATCH):
            await scribe.record(events)
        return count // BATCH * BATCH / (time.perf_counter() - began)
