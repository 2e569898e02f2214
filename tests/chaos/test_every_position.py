"""kill -9 of the worker at every boundary between two steps and inside every step: the position never shows.

A boundary is a transaction: the end of one step and the beginning of the next are recorded together, quick safe steps
with them. So it is struck twice, with the commit held back and with its answer held back. Inside means: the step is
recorded as begun, the worker knows it, and is killed at once or after half of the time that the step took when nobody
disturbed it.
"""

import asyncio
from contextlib import ExitStack
from typing import Any

import pytest

from tests.chaos.checker import check_now
from tests.chaos.documents import (
    BUYING_NODES,
    SAFE_NODES,
    TICKET_TEXT,
    UNSAFE_NODE,
    buy_once,
    read_the_ticket,
)
from tests.chaos.fixtures import SetStage
from tests.chaos.proxy import Moment, Trip, step_written
from tests.chaos.rig import Rig
from tests.chaos.snapshot import Snapshot, read_snapshot
from tests.chaos.visitors import Questioned, Visitor

SPRUNG_S = 90.0

Blow = tuple[str, str, Moment, float]
"""At which node and status, at which moment, and after which share of the step's time."""


def list_blows(nodes: tuple[str, ...], moment: Moment, share: float) -> list[Blow]:
    """One for each step; boundaries have one more, before the first step begins."""
    if moment is Moment.INSIDE:
        return [(node, "running", moment, share) for node in nodes]
    return [(nodes[0], "running", moment, 0.0), *((node, "success", moment, 0.0) for node in nodes)]


MOMENTS = [
    pytest.param(Moment.BEFORE_COMMIT, 0.0, True, id="commit held back"),
    pytest.param(Moment.BEFORE_COMMIT, 0.0, False, id="commit held back, no checkpoints"),
    pytest.param(Moment.AFTER_COMMIT, 0.0, True, id="answer held back"),
    pytest.param(Moment.INSIDE, 0.0, True, id="as it begins"),
    pytest.param(Moment.INSIDE, 0.5, True, id="half-way"),
    pytest.param(Moment.INSIDE, 0.5, False, id="half-way, no checkpoints"),
]


@pytest.mark.parametrize(("moment", "share", "checkpoints"), MOMENTS)
async def test_safe_steps_end_alike_wherever_the_worker_dies(
    set_stage: SetStage, moment: Moment, share: float, *, checkpoints: bool
) -> None:
    async with set_stage(own_line=True, heartbeat_s=1, checkpoints=checkpoints) as rig, rig.visit() as ada:
        workflow_id = await ada.save(read_the_ticket(rig.shop))
        undisturbed = await ada.run(workflow_id)
        expected = comparable(await ada.ended(undisturbed))
        durations = await measure_steps(rig, undisturbed)
        for blow in list_blows(SAFE_NODES, moment, share):
            ended = await strike(rig, ada, workflow_id, blow, durations)
            assert comparable(ended) == expected, blow
            assert ended["result"]["n8-text"]["Text"] == TICKET_TEXT, blow
            await check_now(rig)
        await ada.seen()


@pytest.mark.parametrize(("moment", "share", "checkpoints"), MOMENTS)
async def test_an_unsafe_click_lands_once_or_asks_a_person(
    set_stage: SetStage, moment: Moment, share: float, *, checkpoints: bool
) -> None:
    async with set_stage(own_line=True, heartbeat_s=1, checkpoints=checkpoints) as rig, rig.visit() as ada:
        undisturbed = await ada.start(buy_once(rig.shop, "undisturbed"))
        assert (await ada.ended(undisturbed))["status"] == "completed"
        durations = await measure_steps(rig, undisturbed)
        for number, blow in enumerate(list_blows(BUYING_NODES, moment, share)):
            who = f"customer-{number}"
            workflow_id = await ada.save(buy_once(rig.shop, who))
            ended = await strike(rig, ada, workflow_id, blow, durations)
            assert_bought_once_or_asked(rig, ended, who, blow, await has_begun(rig, ended["execution_id"], UNSAFE_NODE))
            if checkpoints and blow[0] in BUYING_NODES[BUYING_NODES.index(UNSAFE_NODE) + 1 :]:
                assert ended["status"] == "completed", f"the receipt had a checkpoint of its own: {blow}, {ended}"
            await check_now(rig)
        await ada.seen()


async def test_a_worker_killed_while_the_order_is_on_its_way(set_stage: SetStage) -> None:
    async with set_stage(heartbeat_s=1) as rig, rig.visit() as ada:
        arrived = rig.shop.hold("POST /stage")
        bought = await ada.start(buy_once(rig.shop, "ada"))
        ada.watch(bought)
        assert await asyncio.to_thread(arrived.wait, SPRUNG_S)
        rig.workers[0].kill()
        rig.shop.release()
        rig.workers[0].start()
        ended = await ada.ended(bought)
        assert (ended["status"], ended["error"]["code"]) == ("failed", "interrupted_unsafe")
        assert rig.shop.orders == {"ada": 1}
        with pytest.raises(Questioned):
            await ada.retry(bought, "failed")
        goes_on = await ada.answer(bought, "happened")
        ada.watch(goes_on)
        await ada.ended(goes_on)
        assert rig.shop.orders == {"ada": 1}
        await ada.seen()


async def test_an_order_that_was_cancelled_on_its_way_is_not_sent_again_unasked(set_stage: SetStage) -> None:
    async with set_stage() as rig, rig.visit() as ada:
        arrived = rig.shop.hold("POST /stage")
        bought = await ada.start(buy_once(rig.shop, "ada"))
        ada.watch(bought)
        assert await asyncio.to_thread(arrived.wait, SPRUNG_S)
        await ada.cancel(bought)
        assert (await ada.ended(bought))["status"] == "cancelled"
        rig.shop.release()
        with pytest.raises(Questioned, match=UNSAFE_NODE):
            await ada.retry(bought, "failed")
        assert rig.shop.orders == {"ada": 1}
        await ada.seen()


def assert_bought_once_or_asked(rig: Rig, ended: dict[str, Any], who: str, blow: Blow, begun: bool) -> None:  # noqa: FBT001
    orders = rig.shop.orders[who]
    if ended["status"] == "completed":
        assert orders == 1, blow
    else:
        assert (ended["status"], ended["error"]["code"]) == ("failed", "interrupted_unsafe"), (blow, ended)
        assert orders <= 1, blow
        assert begun, f"asked about a step that nobody had begun: {blow}"
        before = BUYING_NODES.index(blow[0]) < BUYING_NODES.index(UNSAFE_NODE) - 1
        assert not before or blow[2] is not Moment.BEFORE_COMMIT, f"no unsafe step had begun at {blow}"


async def has_begun(rig: Rig, execution_id: str, node_id: str) -> bool:
    """Whether an attempt at the node was recorded as begun."""
    steps = (await read_snapshot(rig.database)).steps[execution_id]
    return any(step["node_id"] == node_id and step["started_at"] is not None for step in steps)


async def strike(
    rig: Rig, visitor: Visitor, workflow_id: str, blow: Blow, durations: dict[str, float]
) -> dict[str, Any]:
    """Run it, kill the worker at that position, start another, and see how it ends."""
    node_id, status, moment, share = blow
    (worker,), (line,) = rig.workers, rig.worker_lines
    struck = asyncio.Event()

    def kill() -> None:
        worker.kill()
        struck.set()

    with ExitStack() as stack:
        line.trip = Trip(step_written(node_id, status), moment, kill, delay_s=share * durations[node_id])
        stack.callback(setattr, line, "trip", None)
        execution_id = await visitor.run(workflow_id)
        visitor.watch(execution_id)
        async with asyncio.timeout(SPRUNG_S):
            await struck.wait()
    worker.start()
    ended = await visitor.ended(execution_id)
    snapshot = await read_snapshot(rig.database)
    # with the last step comes the end: once that is committed there is nothing left to lose
    was_over = moment is not Moment.BEFORE_COMMIT and snapshot.runs[execution_id][0]["outcome"] == "finished"
    assert snapshot.executions[execution_id]["losses"] == int(not was_over), blow
    return ended


def comparable(status: dict[str, Any]) -> dict[str, Any]:
    """What must not depend on what happened on the way: all but times, ids of files, and how often it was tried."""
    nodes = {node["node_id"]: node["status"] for node in status["nodes"]}
    result = {
        node_id: {handle: describe(value) for handle, value in values.items()}
        for node_id, values in status["result"].items()
    }
    return {"status": status["status"], "progress": status["progress"], "nodes": nodes, "result": result}


def describe(value: Any) -> Any:
    """A file by its kind: each run takes a picture of its own."""
    return value["media_type"] if isinstance(value, dict) and "artifact_id" in value else value


async def measure_steps(rig: Rig, execution_id: str) -> dict[str, float]:
    """Seconds that each step took."""
    snapshot: Snapshot = await read_snapshot(rig.database)
    return {step["node_id"]: step["duration_ms"] / 1_000 for step in snapshot.steps[execution_id]}
