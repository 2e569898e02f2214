"""A worker told to leave while the commit of a step is on its way: what the step did counts once, told or not.

The commit is struck at the proxy in front of PostgreSQL, with the SIGTERM at the same instant. Grace time is 3 s here.
"""

import asyncio
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import asyncpg

from tests.chaos.checker import check_now
from tests.chaos.documents import BUYING_NODES, TICKET_TEXT, UNSAFE_NODE, buy_once, read_the_ticket
from tests.chaos.fixtures import SetStage
from tests.chaos.proxy import Moment, Trip, step_written
from tests.chaos.rig import Rig
from tests.chaos.snapshot import Snapshot, read_snapshot
from tests.chaos.test_every_position import comparable
from tests.chaos.test_workers import has_epoch
from tests.chaos.visitors import Visitor
from tests.chaos.waiting import until

SPRUNG_S = 90.0
HELD_S = 1.5
"""Less than the grace time."""


class Way(StrEnum):
    """What becomes of the commit."""

    HELD = "it arrives a moment later, within the grace time"
    CUT = "it never arrives, and the worker writes it again while it leaves"
    UNHEARD = "it happens, and the worker is not told"
    LATE = "it arrives when the worker has gone"
    OVERTAKEN = "it is still on its way when another run begins"

    @property
    def moment(self) -> Moment:
        """Where the trap strikes."""
        return {Way.CUT: Moment.BEFORE_COMMIT, Way.UNHEARD: Moment.AFTER_COMMIT}.get(self, Moment.HELD)


async def test_an_unsafe_click_whose_commit_is_in_flight_lands_once(set_stage: SetStage) -> None:
    async with set_stage(own_line=True) as rig, rig.visit() as ada:
        for way in Way:
            workflow_id = await ada.save(buy_once(rig.shop, way.name))
            drained = await drain_at(rig, ada, workflow_id, UNSAFE_NODE, way)
            ended = drained.status
            assert rig.shop.orders[way.name] == 1, way
            snapshot = await check_now(rig)
            row = snapshot.executions[drained.execution_id]
            if not drained.landed:  # nobody knows of the click: a person is asked
                assert (ended["status"], ended["error"]["code"]) == ("failed", "interrupted_unsafe"), way
            else:
                assert ended["status"] == "completed", (way, ended["error"])
                assert count_ends(snapshot, drained.execution_id, UNSAFE_NODE) == 1, way
            assert row["losses"] == int(way in (Way.LATE, Way.OVERTAKEN)), way
        await ada.seen()


async def test_a_safe_step_whose_commit_is_in_flight_ends_alike(set_stage: SetStage) -> None:
    async with set_stage(own_line=True) as rig, rig.visit() as ada:
        workflow_id = await ada.save(read_the_ticket(rig.shop))
        expected = comparable(await ada.ended(await ada.run(workflow_id)))
        for way in (Way.HELD, Way.OVERTAKEN):
            drained = await drain_at(rig, ada, workflow_id, "n3-pick", way)
            assert comparable(drained.status) == expected, way
            assert drained.status["result"]["n8-text"]["Text"] == TICKET_TEXT, way
            await check_now(rig)
        await ada.seen()


async def test_an_end_whose_commit_is_in_flight_is_told_once(set_stage: SetStage) -> None:
    async with set_stage(own_line=True) as rig, rig.visit() as ada:
        for way in (Way.UNHEARD, Way.LATE):
            workflow_id = await ada.save(buy_once(rig.shop, way.name))
            drained = await drain_at(rig, ada, workflow_id, BUYING_NODES[-1], way)
            ended = drained.status
            assert ended["status"] == "completed", (way, ended["error"])
            assert rig.shop.orders[way.name] == 1, way
            snapshot = await check_now(rig)
            assert count_ends(snapshot, drained.execution_id, UNSAFE_NODE) == 1, way
            outcomes = [run["outcome"] for run in snapshot.runs[drained.execution_id]]
            assert outcomes == (["finished"] if drained.landed else ["lost", "finished"]), way
        await ada.seen()


@dataclass(frozen=True)
class Drained:
    """An execution whose worker left, at its end."""

    execution_id: str
    status: dict[str, Any]
    landed: bool
    """Whether the commit had happened before another worker began."""


async def drain_at(rig: Rig, visitor: Visitor, workflow_id: str, node_id: str, way: Way) -> Drained:
    """Run it, tell the worker to leave with the commit of a node's end, have another go on, and see how it ends."""
    (worker,), (line,) = rig.workers, rig.worker_lines
    trip = line.trip = Trip(step_written(node_id, "success"), way.moment, worker.terminate)
    try:
        execution_id = await visitor.run(workflow_id)
        visitor.watch(execution_id)
        async with asyncio.timeout(SPRUNG_S):
            await trip.sprung.wait()
        if way is Way.HELD:
            await asyncio.sleep(HELD_S)
            line.trip = None
        assert await worker.ended() == 0, way
        await check_now(rig)
        if way is Way.OVERTAKEN:
            worker.start()
            await until(lambda: has_epoch(rig, execution_id, 2), "another run begins")
    finally:
        line.trip = None
    landed = way is not Way.OVERTAKEN and await has_landed(rig, execution_id, node_id)
    assert landed or way in (Way.LATE, Way.OVERTAKEN), way
    if not worker.alive:
        worker.start()
    await worker.ready()
    return Drained(execution_id, await visitor.ended(execution_id), landed)


async def has_landed(rig: Rig, execution_id: str, node_id: str) -> bool:
    """Whether the node's end is on record, once no transaction is left that could still bring it there.

    PostgreSQL itself ends what stands open for 10 s: on a busy machine that may be before the worker has gone.
    """
    await until(lambda: is_quiet(rig), "no transaction is left open")
    steps = (await read_snapshot(rig.database)).steps[execution_id]
    return any(step["node_id"] == node_id and step["status"] == "success" for step in steps)


async def is_quiet(rig: Rig) -> bool:
    """Whether nobody leaves a transaction open."""
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND state LIKE 'idle in transaction%' AND now() - state_change > interval '1 second'"
    )
    connection = await asyncpg.connect(rig.database.superuser_dsn)
    try:
        return int(await connection.fetchval(query)) == 0
    finally:
        await connection.close()


def count_ends(snapshot: Snapshot, execution_id: str, node_id: str) -> int:
    """How often the log tells of a node that it succeeded."""
    steps = [event["body"]["step"] for event in snapshot.events[execution_id] if event["type"] == "step_update"]
    return sum((step["node_id"], step["status"]) == (node_id, "success") for step in steps)
