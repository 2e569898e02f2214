"""Pausing: nothing starts, the worker goes free where it can, and resuming goes on where it stood."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from contracts.errors import ApiError, Code
from contracts.execution import ExecutionStatus, StepStatus
from contracts.model import ExecutionId
from runtime.engine.commands import StartNode
from runtime.run import driver
from runtime.run.outputs import TOO_DEEP
from runtime.run.signals import DrainBegun, Due, PauseAsked, Signal, Waiting
from runtime.store.changes import Change
from runtime.store.runs import Runs
from tests.runtime.staging import Staging, edge, node
from tests.runtime.troupe import TROUPE, Echo, Hang, Ponder, Stroll, Stumble
from tests.support.postgres import Database


@pytest.fixture
async def staging(own_database: Database, tmp_path: Path) -> AsyncIterator[Staging]:
    Echo.asked.clear()
    Hang.left.clear()
    Stumble.falls.clear()
    made = Staging(own_database, tmp_path, TROUPE, grace_s=1)
    yield made
    await made.close()


async def statuses(staging: Staging, execution_id: ExecutionId) -> list[str]:
    told = [event.status.value for event in await staging.read(execution_id) if event.type == "status"]
    return [status for place, status in enumerate(told) if place == 0 or told[place - 1] != status]


async def pause(staging: Staging, execution_id: ExecutionId) -> None:
    await staging.executions.request_pause(staging.tenant_id, execution_id, "lunch")


async def resume(staging: Staging, execution_id: ExecutionId) -> None:
    await staging.executions.request_resume(staging.tenant_id, execution_id)


async def test_what_has_not_begun_is_paused_at_once_and_resumed(staging: Staging) -> None:
    execution_id = await staging.submit([node("a", "echo", {"Text": "x"})])
    await pause(staging, execution_id)
    await pause(staging, execution_id)
    row = await staging.executions.get(staging.tenant_id, execution_id)
    assert (row.status, row.admitted_at, row.ready) == (ExecutionStatus.PAUSED, None, False)
    async with staging.perform():
        other = await staging.submit([node("a", "echo")])
        await staging.wait_for_end(other)  # a worker is there and leaves the paused one alone
        assert (await staging.executions.get(staging.tenant_id, execution_id)).status is ExecutionStatus.PAUSED
        await resume(staging, execution_id)
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.COMPLETED
    assert await statuses(staging, execution_id) == ["paused", "running", "completed"]


async def test_a_wait_is_interrupted_and_the_worker_goes_free(staging: Staging) -> None:
    nodes = [node("wait", "delay", {"Duration": 0.5}), node("a", "echo", {"Text": "x"})]
    execution_id = await staging.submit([*nodes, node("long", "delay", {"Duration": 300})])
    async with staging.perform():
        await staging.wait_until(execution_id, lambda row: row.progress > 0.5)
        await pause(staging, execution_id)
        await staging.wait_until(execution_id, lambda row: row.status is ExecutionStatus.PAUSED)
        row = await staging.executions.get(staging.tenant_id, execution_id)
        assert (row.ready, row.admitted_at, row.losses) == (False, None, 0)
        await resume(staging, execution_id)
        await staging.wait_until(execution_id, lambda row: row.epoch == 2)
        await staging.executions.request_cancel(staging.tenant_id, execution_id, "enough")
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.CANCELLED
    assert Echo.asked == ["a"]
    assert (await staging.executions.get(staging.tenant_id, execution_id)).losses == 0


async def test_outputs_of_any_depth_are_read_by_the_next_run(staging: Staging) -> None:
    execution_id = await staging.submit([node("dig", "dig", {"Text": "220"}), node("long", "delay", {"Duration": 300})])
    async with staging.perform():
        await staging.wait_until(execution_id, lambda row: row.progress == 0.5)
        await pause(staging, execution_id)
        await staging.wait_until(execution_id, lambda row: row.status is ExecutionStatus.PAUSED)
        await resume(staging, execution_id)
        await staging.wait_until(execution_id, lambda row: row.epoch == 2 and row.current_node == "long")
        await staging.executions.request_cancel(staging.tenant_id, execution_id, "enough")
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.CANCELLED
    told = [event for event in await staging.read(execution_id) if event.type == "node_update"]
    assert TOO_DEEP in str([event.node_state.output for event in told])
    assert (await staging.executions.get(staging.tenant_id, execution_id)).losses == 0


async def test_a_wait_that_was_paused_ends_when_it_was_due(staging: Staging) -> None:
    execution_id = await staging.submit([node("long", "delay", {"Duration": 300})])
    async with staging.perform():
        await staging.wait_until(execution_id, lambda row: row.current_node == "long")
        await pause(staging, execution_id)
        await staging.wait_until(execution_id, lambda row: row.status is ExecutionStatus.PAUSED)
        await staging.shift(execution_id, 200)
        await resume(staging, execution_id)
        await staging.wait_until(execution_id, lambda row: row.epoch == 2 and row.current_node == "long")
        await pause(staging, execution_id)  # it was not due yet: there is something to interrupt
        await staging.wait_until(execution_id, lambda row: row.status is ExecutionStatus.PAUSED)
        await staging.shift(execution_id, 100)
        await resume(staging, execution_id)
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.COMPLETED
    steps = await staging.records.list_steps(staging.tenant_id, execution_id)
    assert [step.status for step in steps] == [StepStatus.RETRYING, StepStatus.RETRYING, StepStatus.SUCCESS]


async def test_a_wait_goes_on_with_another_worker(staging: Staging) -> None:
    execution_id = await staging.submit([node("long", "delay", {"Duration": 300})])
    async with staging.perform():
        await staging.wait_until(execution_id, lambda row: row.current_node == "long")
    await staging.shift(execution_id, 300)
    async with staging.perform():
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.COMPLETED


async def test_a_node_at_work_comes_to_its_end_before_the_pause(
    staging: Staging, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stroll, "seconds", 3)
    nodes = [node("a", "stroll", {"Text": "1"}), node("b", "echo", {"Text": "2"})]
    execution_id = await staging.submit(nodes, [edge("a", "b", "Text", "Text")])
    async with staging.perform():
        await staging.wait_until(execution_id, lambda row: row.current_node == "a")
        await pause(staging, execution_id)
        await staging.wait_until(execution_id, lambda row: row.status is ExecutionStatus.PAUSED)
        steps = await staging.records.list_steps(staging.tenant_id, execution_id)
        assert [(step.node_id, step.status) for step in steps] == [("a", StepStatus.SUCCESS)]
        await resume(staging, execution_id)
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.COMPLETED
    assert Echo.asked == ["b"]
    assert await statuses(staging, execution_id) == ["running", "paused", "running", "completed"]


async def test_a_resume_at_once_is_as_if_nothing_was(staging: Staging, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stroll, "seconds", 3)
    nodes = [node("a", "stroll", {"Text": "1"}), node("b", "echo", {"Text": "2"})]
    execution_id = await staging.submit(nodes, [edge("a", "b", "Text", "Text")])
    async with staging.perform():
        await staging.wait_until(execution_id, lambda row: row.current_node == "a")
        await pause(staging, execution_id)
        await resume(staging, execution_id)
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.COMPLETED
    assert Echo.asked == ["b"]


async def test_a_paused_one_can_be_cancelled(staging: Staging) -> None:
    execution_id = await staging.submit([node("a", "echo")])
    await pause(staging, execution_id)
    await staging.executions.request_cancel(staging.tenant_id, execution_id, "never mind")
    row = await staging.executions.get(staging.tenant_id, execution_id)
    assert row.status is ExecutionStatus.CANCELLED
    assert [event.type for event in await staging.read(execution_id)][-1] == "cancelled"
    for ask in (pause, resume):
        with pytest.raises(ApiError) as refused:
            await ask(staging, execution_id)
        assert refused.value.code is Code.CONFLICT


async def test_a_lost_worker_of_one_that_was_to_pause_leaves_it_paused(staging: Staging) -> None:
    execution_id = await staging.submit([node("a", "echo")])
    runs = Runs(staging.db, staging.make_queue())
    claimed = await runs.claim(staging.tenant_id, execution_id, "gone")
    assert claimed is not None
    await pause(staging, execution_id)
    assert await runs.claim(staging.tenant_id, execution_id, "next") is None
    row = await staging.executions.get(staging.tenant_id, execution_id)
    assert (row.status, row.losses, row.ready) == (ExecutionStatus.PAUSED, 1, False)


async def test_a_cancel_is_not_lost_to_a_pause(staging: Staging) -> None:
    execution_id = await staging.submit([node("a", "echo")])
    runs = Runs(staging.db, staging.make_queue())
    claimed = await runs.claim(staging.tenant_id, execution_id, "here")
    assert claimed is not None
    await pause(staging, execution_id)
    await staging.executions.request_cancel(staging.tenant_id, execution_id, "enough")
    assert not await runs.park(claimed.lease, Change())
    after_a_loss = await runs.claim(staging.tenant_id, execution_id, "next")
    assert after_a_loss is not None
    assert after_a_loss.cancel_reason == "enough"


async def test_cancelling_a_paused_wait_leaves_no_step_open(staging: Staging) -> None:
    execution_id = await staging.submit([node("a", "echo"), node("long", "delay", {"Duration": 300})])
    async with staging.perform():
        await staging.wait_until(execution_id, lambda row: row.progress > 0)
        await pause(staging, execution_id)
        await staging.wait_until(execution_id, lambda row: row.status is ExecutionStatus.PAUSED)
    await staging.executions.request_cancel(staging.tenant_id, execution_id, "enough")
    steps = await staging.records.list_steps(staging.tenant_id, execution_id)
    assert {step.node_id: step.status for step in steps} == {"a": StepStatus.SUCCESS, "long": StepStatus.RETRYING}
    told = [event for event in await staging.read(execution_id) if event.type == "node_update"]
    assert (told[-1].node_id, told[-1].node_state.status) == ("long", StepStatus.RETRYING)


async def test_what_was_resumed_and_has_no_place_yet_is_cancelled_and_paused_at_once(staging: Staging) -> None:
    first, second = [await staging.submit([node("wait", "delay", {"Duration": 300})]) for _ in range(2)]
    async with staging.perform():
        for execution_id in (first, second):
            await staging.wait_until(execution_id, lambda row: row.status is ExecutionStatus.RUNNING)
            await pause(staging, execution_id)
            await staging.wait_until(execution_id, lambda row: not row.ready)
    for _ in range(4):  # all that a tenant gets at once
        await staging.submit([node("a", "echo")])
    await resume(staging, first)
    await resume(staging, second)
    assert (await staging.executions.get(staging.tenant_id, first)).admitted_at is None
    await staging.executions.request_cancel(staging.tenant_id, first, "enough")
    assert (await staging.executions.get(staging.tenant_id, first)).status is ExecutionStatus.CANCELLED
    await pause(staging, second)
    assert not (await staging.executions.get(staging.tenant_id, second)).ready


async def test_an_entry_of_before_a_pause_never_begins_anything(staging: Staging) -> None:
    execution_id = await staging.submit([node("a", "echo")])
    runs = Runs(staging.db, staging.make_queue())
    turns = []
    for _ in range(8):
        row = await staging.executions.get(staging.tenant_id, execution_id)
        turns.append(row.turn)
        await pause(staging, execution_id)
        await resume(staging, execution_id)
    assert len(set(turns)) == len(turns)
    for _ in range(4):  # and while it waits for a place again, the last one begins nothing either
        await staging.submit([node("a", "echo")])
    turn = (await staging.executions.get(staging.tenant_id, execution_id)).turn
    await pause(staging, execution_id)
    await resume(staging, execution_id)
    for old in (*turns, turn):
        assert await runs.claim(staging.tenant_id, execution_id, "late", old) is None
    async with staging.perform():
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.COMPLETED
    row = await staging.executions.get(staging.tenant_id, execution_id)
    assert (row.epoch, row.losses, Echo.asked.count("a")) == (1, 0, 5)


async def test_a_turn_that_comes_while_it_is_held_back_is_taken_once(
    staging: Staging, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = driver.RunDriver._report
    drained: list[driver.RunDriver] = []

    async def report(self: driver.RunDriver, start: StartNode, work: Coroutine[Any, Any, Signal]) -> None:
        if start.delay_s > 0 and not drained:
            drained.append(self)
            work.close()
            self._inbox.put_nowait(DrainBegun())
            self._inbox.put_nowait(Due(start))
            return
        await whole(self, start, work)

    monkeypatch.setattr(driver.RunDriver, "_report", report)
    execution_id = await staging.submit([node("falls", "stumble", {"Text": "x"}), node("b", "stroll")])
    async with staging.perform():
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.COMPLETED
    row = await staging.executions.get(staging.tenant_id, execution_id)
    assert (drained != [], row.losses, row.epoch, Stumble.falls["x"]) == (True, 0, 2, 2)


async def test_a_pause_right_after_a_resume_is_heard(staging: Staging, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stroll, "seconds", 3)
    nodes = [node("a", "stroll"), node("b", "stroll"), node("c", "echo")]
    execution_id = await staging.submit(nodes, [edge("a", "b", "Text", "Text"), edge("b", "c", "Text", "Text")])
    park = Runs.park
    asked: list[Any] = []

    async def resumed_meanwhile(self: Runs, *args: Any) -> bool:
        if asked:
            return await park(self, *args)
        asked.append(args)
        async with staging.system.write() as session:  # both between two looks of the run
            again = text("UPDATE runtime.executions SET pause_requested_at = clock_timestamp()")
            await (await session.connection()).execute(again)
        return False

    monkeypatch.setattr(Runs, "park", resumed_meanwhile)
    async with staging.perform():
        await staging.wait_until(execution_id, lambda row: row.current_node == "a")
        await pause(staging, execution_id)
        await staging.wait_until(execution_id, lambda row: row.status is ExecutionStatus.PAUSED)
        await resume(staging, execution_id)
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.COMPLETED
    assert Echo.asked == ["c"]


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch) -> list[tuple[type[Signal], driver.Verdict | None]]:
    """Each time that a run wanted to leave: after which signal, and how it did. After the first, the node may wait."""
    Ponder.let_go = asyncio.Event()
    take, leave = driver.RunDriver._take, driver.RunDriver._leave
    taken: list[type[Signal]] = []
    tried: list[tuple[type[Signal], driver.Verdict | None]] = []

    async def note(self: driver.RunDriver, signal: Signal, group: asyncio.TaskGroup) -> bool:
        taken.append(type(signal))
        return await take(self, signal, group)

    async def let_go(self: driver.RunDriver, group: asyncio.TaskGroup) -> driver.Verdict | None:
        verdict = await leave(self, group)
        tried.append((taken[-1], verdict))
        Ponder.let_go.set()
        return verdict

    monkeypatch.setattr(driver.RunDriver, "_take", note)
    monkeypatch.setattr(driver.RunDriver, "_leave", let_go)
    return tried


async def test_a_pause_is_heard_that_came_before_the_wait(staging: Staging, left: list[Any]) -> None:
    execution_id = await staging.submit([node("a", "ponder")])
    async with staging.perform():
        await staging.wait_until(execution_id, lambda row: row.current_node == "a")
        await pause(staging, execution_id)
        await staging.wait_until(execution_id, lambda row: row.status is ExecutionStatus.PAUSED)
    assert left == [(PauseAsked, None), (Waiting, driver.Verdict.PARKED)]


async def test_a_worker_that_leaves_need_not_stay_for_a_wait_that_begins_then(
    own_database: Database, tmp_path: Path, left: list[Any]
) -> None:
    staging = Staging(own_database, tmp_path, TROUPE, grace_s=60)
    execution_id = await staging.submit([node("a", "ponder")])
    async with staging.perform():
        await staging.wait_until(execution_id, lambda row: row.current_node == "a")
    await staging.close()
    assert left == [(DrainBegun, None), (Waiting, driver.Verdict.HANDED_BACK)]
