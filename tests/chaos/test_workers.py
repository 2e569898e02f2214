"""Workers that die, freeze, thaw and are taken down by what they run."""

import asyncio
import time
from uuid import uuid4

import pytest

from runtime.store.claims import MAX_LOSSES
from tests.chaos.checker import check_now, open_runs
from tests.chaos.documents import wait_in_turn, wait_then_buy
from tests.chaos.fixtures import SetStage
from tests.chaos.parts import Part
from tests.chaos.proxy import Moment, Trip, step_written
from tests.chaos.rig import Rig
from tests.chaos.snapshot import read_snapshot
from tests.chaos.waiting import until

PICKED_UP_S = 20.0
"""Promised (spec E10), with the settings that the product ships."""


@pytest.mark.parametrize("nats", [False, True], ids=["notify", "nats"])
async def test_a_lost_workers_executions_go_on_within_20_s(set_stage: SetStage, *, nats: bool) -> None:
    async with set_stage(workers=2, heartbeat_s=None, nats=nats) as rig, rig.visit() as ada:
        going = [await ada.start(wait_in_turn(6, steps=3)) for _ in range(3)]
        for execution_id in going:
            ada.watch(execution_id)
        victim = await find_worker(rig, going[0])
        lost = [one for one in going if victim.pid in await open_runs(rig, one)]
        victim.kill()
        killed = time.monotonic()
        for execution_id in lost:
            await until(lambda one=execution_id: has_epoch(rig, one, 2), f"{execution_id} goes on", 60)
        waited = time.monotonic() - killed
        assert waited <= PICKED_UP_S, f"{waited:.1f} s"
        for execution_id in going:
            assert (await ada.ended(execution_id))["status"] == "completed"
        await ada.seen()


async def test_a_frozen_worker_that_thaws_writes_nothing_and_clicks_nothing(set_stage: SetStage) -> None:
    async with set_stage(workers=2) as rig, rig.visit() as ada:
        bought = await ada.start(wait_then_buy(rig.shop, "ada", 4))
        ada.watch(bought)
        await until(lambda: is_at(rig, bought, "w2-wait"), "it waits before the click")
        frozen = await find_worker(rig, bought)
        frozen.freeze()
        await until(lambda: has_epoch(rig, bought, 2), "the other worker takes over")
        assert (await ada.ended(bought))["status"] == "completed"
        before = (await read_snapshot(rig.database)).executions[bought]
        await check_now(rig)
        frozen.thaw()
        await until(lambda: '"verdict": "fenced"' in frozen.tail(20_000), "the thawed one notices")
        assert (await read_snapshot(rig.database)).executions[bought] == before
        assert rig.shop.orders == {"ada": 1}
        # and it is as good as before
        other = next(worker for worker in rig.workers if worker is not frozen)
        await other.stop()
        again = await ada.start(wait_then_buy(rig.shop, "again", 0.1))
        assert (await ada.ended(again))["status"] == "completed"
        await ada.seen()


async def test_a_worker_frozen_in_the_middle_of_a_transaction_holds_nobody_up(set_stage: SetStage) -> None:
    """Its connection is alive and its locks are held: of the execution's row, and at the end of the tenant's."""
    async with set_stage(workers=2, own_line=True) as rig, rig.visit() as ada:
        for node_id, status in (("d1", "running"), ("d2", "success")):
            for worker, line in zip(rig.workers, rig.worker_lines, strict=True):
                line.trip = Trip(step_written(node_id, status), Moment.HELD, worker.freeze)
            held = await ada.start(wait_in_turn(0.2, steps=3))
            await until(lambda: any(worker.frozen for worker in rig.workers), "one is frozen with open hands")
            for line in rig.worker_lines:
                if line.trip is not None and not line.trip.sprung.is_set():
                    line.trip = None
            frozen_at = time.monotonic()
            await until(lambda one=held: has_epoch(rig, one, 2), "the other worker takes over", 60)
            waited = time.monotonic() - frozen_at
            assert waited <= PICKED_UP_S, f"{waited:.1f} s"
            assert (await ada.ended(held))["status"] == "completed"
            beside = await ada.start(wait_in_turn(0.05, steps=1))
            assert (await ada.ended(beside))["status"] == "completed"
            for worker, line in zip(rig.workers, rig.worker_lines, strict=True):
                line.trip = None
                worker.thaw()
            await check_now(rig)


async def test_what_kills_its_worker_each_time_ends_after_the_fourth_loss_and_others_go_on(set_stage: SetStage) -> None:
    async with set_stage(workers=2) as rig, rig.visit() as ada, rig.visit() as bob:
        poison = await ada.start(wait_in_turn(60, steps=1))
        ada.watch(poison)
        others = [await bob.start(wait_in_turn(0.3, steps=3)) for _ in range(8)]
        for execution_id in others:
            bob.watch(execution_id)
        for loss in range(1, MAX_LOSSES + 2):
            await until(lambda epoch=loss: has_epoch(rig, poison, epoch), f"run {loss} begins", 90)
            victim = await find_worker(rig, poison)
            victim.kill()
            victim.start()
        ended = await ada.ended(poison)
        assert (ended["status"], ended["error"]["code"]) == ("failed", "worker_lost")
        assert (await read_snapshot(rig.database)).executions[poison]["losses"] == MAX_LOSSES + 1
        for execution_id in others:
            assert (await bob.ended(execution_id))["status"] == "completed"
        await ada.seen()
        await bob.seen()


async def test_50_submits_with_one_key_are_one_execution(set_stage: SetStage) -> None:
    async with set_stage(experiences=2, runtimes=2, workers=2) as rig, rig.visit() as ada:
        workflow_id = await ada.save(wait_in_turn(0.1, steps=1))
        key = uuid4().hex
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(ada.run(workflow_id, key)) for _ in range(50)]
        (execution_id,) = {task.result() for task in asked}
        assert (await ada.ended(execution_id))["status"] == "completed"
        assert list((await read_snapshot(rig.database)).executions) == [execution_id]


async def find_worker(rig: Rig, execution_id: str) -> Part:
    """The one that runs it, as soon as one does."""
    pids: list[int] = []

    async def look() -> bool:
        pids[:] = await open_runs(rig, execution_id)
        return len(pids) == 1 and any(worker.alive and worker.pid == pids[0] for worker in rig.workers)

    await until(look, f"somebody runs {execution_id}")
    return next(worker for worker in rig.workers if worker.pid == pids[0])


async def has_epoch(rig: Rig, execution_id: str, epoch: int) -> bool:
    row = (await read_snapshot(rig.database)).executions.get(execution_id)
    return row is not None and row["epoch"] >= epoch


async def is_at(rig: Rig, execution_id: str, node_id: str) -> bool:
    row = (await read_snapshot(rig.database)).executions.get(execution_id)
    return row is not None and row["current_node"] == node_id
