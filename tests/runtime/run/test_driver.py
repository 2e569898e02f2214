"""Executions end to end in one process: recorded in order, cancelled in time, resumed, handed back, never lost."""

import asyncio
import errno
import os
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from contracts.events import TERMINAL
from contracts.execution import ExecutionStatus, FailureCode, StepStatus
from runtime.run.watch import LOOK_S, PAUSE_S
from runtime.store.changes import Change, Lease
from runtime.store.runs import Runs
from tests.runtime.conftest import Killer
from tests.runtime.made import make_execution
from tests.runtime.staging import Staging, edge, node
from tests.runtime.troupe import TROUPE, Echo, Hang, Stumble
from tests.support.postgres import Database
from tests.support.wakeups import Way, any_way, both_ways, listening

SOON_S = 20.0
"""A cancel takes effect within 1 s (spec E10); a machine that stands still gets more before a test calls it broken."""


@pytest.fixture
async def staging(own_database: Database, tmp_path: Path, way: Way) -> AsyncIterator[Staging]:
    Echo.asked.clear()
    Hang.left.clear()
    Stumble.falls.clear()
    made = Staging(own_database, tmp_path, TROUPE, grace_s=0.5, way=way)
    yield made
    await made.close()


async def test_a_workflow_runs_to_its_end_and_its_log_tells_it_in_order(staging: Staging) -> None:
    nodes = [node("a", "echo", {"Text": "hello"}), node("b", "echo")]
    execution_id = await staging.submit(nodes, [edge("a", "b", "Text", "Text")])
    async with staging.perform():
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.COMPLETED
    row = await staging.executions.get(staging.tenant_id, execution_id)
    assert (row.result, row.credits, row.progress) == ({"b": {"Text": "hello"}}, 2, 1.0)
    log = await staging.read(execution_id)
    told = [
        event.type if event.type != "node_update" else f"{event.node_id} {event.node_state.status}" for event in log
    ]
    assert [line for line in told if line != "step_update"] == [
        "accepted",
        "status",
        "a running",
        "log",
        "a success",
        "b running",
        "status",
        "log",
        "b success",
        "usage",
        "status",
        "completion",
    ]
    assert [event.type for event in log if event.type in TERMINAL] == ["completion"]


@pytest.mark.parametrize(("kind", "waits"), [("echo", False), ("echo_unsafe", True)])
async def test_only_what_must_not_run_twice_waits_until_its_beginning_is_written(
    staging: Staging, monkeypatch: pytest.MonkeyPatch, kind: str, *, waits: bool
) -> None:
    begun_before_written: list[bool] = []
    record = Runs.record

    async def record_late(self: Runs, lease: Lease, change: Change) -> None:
        if any(step.status is StepStatus.RUNNING for step in change.steps):
            if waits:
                await asyncio.sleep(0.1)
            else:
                await until_asked(["a"])
            begun_before_written.append(bool(Echo.asked))
        await record(self, lease, change)

    monkeypatch.setattr(Runs, "record", record_late)
    execution_id = await staging.submit([node("a", kind, {"Text": "hello"})], [])
    async with staging.perform():
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.COMPLETED
    assert begun_before_written == [not waits]


@pytest.mark.parametrize("ahead_s", [0.0, 60.0])
async def test_safe_steps_run_ahead_of_a_database_that_answers_and_of_no_other(
    staging: Staging, monkeypatch: pytest.MonkeyPatch, ahead_s: float
) -> None:
    monkeypatch.setattr("runtime.run.driver._AHEAD_S", ahead_s)
    record, hung = Runs.record, asyncio.Event()

    async def record_late(self: Runs, lease: Lease, change: Change) -> None:
        await hung.wait()
        await record(self, lease, change)

    monkeypatch.setattr(Runs, "record", record_late)
    names = ["a", "b", "c", "d"]
    edges = [edge(one, other, "Text", "Text") for one, other in pairwise(names)]
    execution_id = await staging.submit(
        [node(name, "echo", {"Text": "x"} if name == "a" else {}) for name in names], edges
    )
    async with staging.perform():
        await until_asked(names if ahead_s else ["a"])
        await asyncio.sleep(1)
        asked = list(Echo.asked)
        hung.set()
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.COMPLETED
    assert asked == (names if ahead_s else ["a"])


async def until_asked(names: list[str]) -> None:
    """Until Echo has been, by nodes of these names."""
    async with asyncio.timeout(60):
        while Echo.asked != names:  # noqa: ASYNC110 — the node type has no event
            await asyncio.sleep(0.01)


@any_way
async def test_cancel_stops_a_running_step_within_a_second_and_keeps_what_was_done(staging: Staging) -> None:
    nodes = [node("a", "echo", {"Text": "kept"}), node("b", "hang"), node("c", "echo")]
    edges = [edge("a", "b", "Text", "Text"), edge("b", "c", "Text", "Text")]
    execution_id = await staging.submit(nodes, edges)
    async with staging.perform(), listening(staging.wakeups):
        await staging.wait_until(execution_id, lambda row: row.current_node == "b")
        asked = time.monotonic()
        await staging.executions.request_cancel(staging.tenant_id, execution_id, "enough")
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.CANCELLED
        assert time.monotonic() - asked < SOON_S
    assert Hang.left == ["b"]
    steps = await staging.records.list_steps(staging.tenant_id, execution_id)
    assert [(step.node_id, step.status) for step in steps] == [
        ("a", StepStatus.SUCCESS),
        ("b", StepStatus.FAILED),
        ("c", StepStatus.SKIPPED),
    ]
    assert steps[1].error is not None
    assert steps[1].error["code"] == FailureCode.STOPPED
    assert (await staging.read(execution_id))[-1].type == "cancelled"


@both_ways
async def test_a_cancel_is_heard_where_nobody_looks(staging: Staging, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("runtime.run.watch.LOOK_S", "runtime.store.wakeups.POLL_S", "runtime.store.wakeups.BLIND_POLL_S"):
        monkeypatch.setattr(name, 600)
    execution_id = await staging.submit([node("a", "hang")])
    async with staging.perform(), listening(staging.wakeups):
        await staging.wait_until(execution_id, lambda row: row.current_node == "a")
        await asyncio.sleep(3 * PAUSE_S)  # the run's own writes ring the bell, too: let that fall silent
        await staging.executions.request_cancel(staging.tenant_id, execution_id, "")
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.CANCELLED


async def test_a_cancel_whose_wake_up_is_lost_is_seen_all_the_same(
    staging: Staging, monkeypatch: pytest.MonkeyPatch
) -> None:
    execution_id = await staging.submit([node("a", "hang")])
    async with staging.perform():
        await staging.wait_until(execution_id, lambda row: row.current_node == "a")
        assert LOOK_S + PAUSE_S < 1, "what is promised; below is only whether it looks at all"
        await asyncio.sleep(3 * PAUSE_S)  # the run's own writes ring the bell, too: let that fall silent
        async with staging.db.write(staging.tenant_id) as session:
            silent = text("UPDATE runtime.executions SET cancel_requested_at = now()")
            await (await session.connection()).execute(silent)
        asked = time.monotonic()
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.CANCELLED
        assert time.monotonic() - asked < SOON_S


async def test_an_execution_has_a_time_limit(staging: Staging) -> None:
    execution_id = await staging.submit([node("a", "hang")], timeout_s=0.4)
    async with staging.perform():
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.FAILED
    row = await staging.executions.get(staging.tenant_id, execution_id)
    assert row.error is not None
    assert row.error["code"] == FailureCode.DEADLINE_EXCEEDED


async def test_waits_count_against_no_time_limit(staging: Staging) -> None:
    nodes = [node("pause", "delay", {"Duration": 8}, timeout_s=4), node("say", "echo", {"Text": "still here"})]
    execution_id = await staging.submit(nodes, timeout_s=7)
    async with staging.perform():
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.COMPLETED
    steps = await staging.records.list_steps(staging.tenant_id, execution_id)
    assert {step.node_id: step.status for step in steps} == {"pause": StepStatus.SUCCESS, "say": StepStatus.SUCCESS}


async def test_a_node_has_a_time_limit_and_its_failure_is_retried(staging: Staging) -> None:
    execution_id = await staging.submit([node("a", "hang", timeout_s=0.2, attempts=2)])
    async with staging.perform():
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.FAILED
    steps = await staging.records.list_steps(staging.tenant_id, execution_id)
    assert [(step.attempt, step.status, step.error and step.error["code"]) for step in steps] == [
        (1, StepStatus.RETRYING, FailureCode.TIMEOUT),
        (2, StepStatus.FAILED, FailureCode.TIMEOUT),
    ]


async def test_cancel_reaches_a_node_that_waits_for_its_next_attempt(
    staging: Staging, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.engine.retry._DELAYS_S", (0.0, *[600.0] * 4))
    execution_id = await staging.submit([node("a", "stumble", {"Text": "once"})])
    async with staging.perform():
        await staging.wait_for_event(execution_id, "step_update")
        await staging.wait_until(execution_id, lambda row: row.head_seq > 5)
        await staging.executions.request_cancel(staging.tenant_id, execution_id, "")
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.CANCELLED


async def test_what_a_node_type_raises_never_leaves_the_server(staging: Staging) -> None:
    execution_id = await staging.submit([node("a", "break")])
    async with staging.perform():
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.FAILED
    row = await staging.executions.get(staging.tenant_id, execution_id)
    assert row.error is not None
    assert row.error["code"] == FailureCode.INTERNAL
    assert "secret" not in str([event.model_dump_json() for event in await staging.read(execution_id)])


async def test_large_outputs_become_artifacts_and_come_back_whole(staging: Staging) -> None:
    nodes = [node("a", "flood"), node("b", "measure"), node("c", "flood")]
    execution_id = await staging.submit(nodes, [edge("a", "b", "Value", "Value")])
    async with staging.perform():
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.COMPLETED
    row = await staging.executions.get(staging.tenant_id, execution_id)
    assert row.result is not None
    assert row.result["b"] == {"Text": "100000"}
    kept = row.result["c"]["Value"]
    assert set(kept) == {"$artifact", "size", "preview"}
    steps = {step.node_id: step for step in await staging.records.list_steps(staging.tenant_id, execution_id)}
    assert steps["c"].outputs == {"Value": kept}
    assert max(len(event.model_dump_json()) for event in await staging.read(execution_id)) < 70_000
    artifacts = await staging.records.list_artifacts(staging.tenant_id, execution_id)
    blob = await staging.records.get_blob(staging.tenant_id, artifacts[0].artifact_id)
    stored = (await staging.folder.read_whole(blob.path)).decode()
    assert '"odd":"\ufffd' in stored
    assert '"number":null' in stored


async def test_lines_are_gathered_and_stand_before_the_end_of_their_step(staging: Staging) -> None:
    execution_id = await staging.submit([node("a", "chatter")])
    async with staging.perform():
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.COMPLETED
    log = await staging.read(execution_id)
    lines = [event.log.message for event in log if event.type == "log"]
    assert lines == [f"line {number}" for number in range(200)]
    kinds = [event.type for event in log]
    assert kinds.index("artifact") > len(kinds) - 1 - kinds[::-1].index("log")


async def test_a_full_disk_fails_the_node_and_the_log_stays_right(
    staging: Staging, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fill)
    ids = [await staging.submit([node("a", kind)]) for kind in ("chatter", "flood")]
    async with staging.perform():
        for execution_id in ids:
            assert await staging.wait_for_end(execution_id) is ExecutionStatus.FAILED
            row = await staging.executions.get(staging.tenant_id, execution_id)
            assert row.error is not None
            assert row.error["code"] == FailureCode.ARTIFACT_STORE
            assert (await staging.read(execution_id))[-1].type == "error"
    assert [path for path in staging.artifact_dir.rglob("*") if path.is_file()] == []


async def test_a_drain_hands_back_and_the_next_worker_goes_on_from_the_last_finished_step(staging: Staging) -> None:
    nodes = [node("a", "echo", {"Text": "once"}), node("b", "hang"), node("c", "echo")]
    execution_id = await staging.submit(nodes, [edge("a", "b", "Text", "Text"), edge("b", "c", "Text", "Text")])
    async with staging.perform():
        await staging.wait_until(execution_id, lambda row: row.current_node == "b")
    row = await staging.executions.get(staging.tenant_id, execution_id)
    assert (row.status, row.epoch, row.losses) == (ExecutionStatus.RUNNING, 1, 0)
    assert 0 < row.spent_s < (datetime.now(UTC) - row.created_at).total_seconds()
    async with staging.perform():
        await staging.wait_until(execution_id, lambda row: row.epoch == 2)
        await staging.executions.request_cancel(staging.tenant_id, execution_id, "")
        await staging.wait_for_end(execution_id)
    row = await staging.executions.get(staging.tenant_id, execution_id)
    assert row.losses == 0
    assert Echo.asked == ["a"]


async def test_a_worker_that_stood_still_for_a_lease_lets_go_of_what_nobody_has_taken_over(
    staging: Staging, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = staging.make_queue()  # whose leases are long: nobody takes over meanwhile
    monkeypatch.setattr(staging, "make_queue", lambda: queue)
    monkeypatch.setattr(staging, "_heartbeat_s", 1.0)
    execution_id = await staging.submit([node("a", "hang_once", {"Text": "done"})])
    async with staging.perform():
        await staging.wait_until(execution_id, lambda row: row.current_node == "a")
        await asyncio.sleep(1.0)  # it has looked at its lease
        time.sleep(2.5)  # noqa: ASYNC251 — the worker's loop, which is this one, stands still
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.COMPLETED
    row = await staging.executions.get(staging.tenant_id, execution_id)
    assert (row.epoch, row.losses) == (2, 0), "it was handed back, not lost"


async def test_a_drain_lets_short_steps_end(staging: Staging) -> None:
    execution_id = await staging.submit([node("a", "stumble", {"Text": "x"}), node("b", "echo")])
    async with staging.perform() as worker:
        await staging.wait_for_event(execution_id, "step_update")
        worker.leave()
    row = await staging.executions.get(staging.tenant_id, execution_id)
    steps = await staging.records.list_steps(staging.tenant_id, execution_id)
    assert all(step.status is not StepStatus.RUNNING for step in steps)
    async with staging.perform():
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.COMPLETED
    assert row.losses == 0


async def test_what_was_done_when_the_worker_left_is_on_record(staging: Staging) -> None:
    nodes = [node("a", "part_unsafe", {"Text": "done"}), node("b", "echo")]
    execution_id = await staging.submit(nodes, [edge("a", "b", "Text", "Text")])
    async with staging.perform():
        await staging.wait_until(execution_id, lambda row: row.current_node == "a")
    async with staging.perform():
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.COMPLETED
    row = await staging.executions.get(staging.tenant_id, execution_id)
    assert (row.result, row.losses, row.epoch) == ({"b": {"Text": "done"}}, 0, 2)
    assert Hang.left == ["a"], "nobody did it again, and nobody had to be asked"


async def test_an_unsafe_step_in_flight_is_never_repeated(staging: Staging) -> None:
    execution_id = await staging.submit([node("a", "hang_unsafe")])
    async with staging.perform():
        await staging.wait_until(execution_id, lambda row: row.current_node == "a")
    async with staging.perform():
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.FAILED
    row = await staging.executions.get(staging.tenant_id, execution_id)
    assert row.error is not None
    assert row.error["code"] == FailureCode.INTERRUPTED_UNSAFE
    assert Hang.left == ["a"]


async def test_whoever_is_fenced_stops_and_writes_nothing(staging: Staging) -> None:
    execution_id = await staging.submit([node("a", "hang")])
    async with staging.perform():
        await staging.wait_until(execution_id, lambda row: row.current_node == "a")
        stolen = await Runs(staging.db, staging.make_queue()).claim(staging.tenant_id, execution_id, "thief")
        assert stolen is not None
        before = len(await staging.read(execution_id))
        async with asyncio.timeout(60):
            while not Hang.left:  # noqa: ASYNC110 — the node type has no event
                await asyncio.sleep(0.02)
        assert len(await staging.read(execution_id)) == before


async def test_an_execution_that_kills_its_workers_is_buried(staging: Staging) -> None:
    execution_id = await staging.submit([node("a", "echo")])
    runs = Runs(staging.db, staging.make_queue())
    for _ in range(4):
        claimed = await runs.claim(staging.tenant_id, execution_id, "doomed", alone=True)
        assert claimed is not None
    async with staging.perform():
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.FAILED
    row = await staging.executions.get(staging.tenant_id, execution_id)
    assert row.error is not None
    assert row.error["code"] == FailureCode.WORKER_LOST
    assert Echo.asked == []
    assert (await staging.read(execution_id))[-1].type == "error"


async def test_a_worker_that_leaves_a_run_that_is_ending_loses_nothing(staging: Staging) -> None:
    nodes = [
        node("waits", "stumble", {"Text": "late"}),
        node("fails", "hang", timeout_s=0.6, attempts=1),
        node("runs", "hang"),
    ]
    execution_id = await staging.submit(nodes)
    async with staging.perform() as worker:
        async with asyncio.timeout(60):
            while "failed" not in {  # noqa: ASYNC110 — the store has no bell for tests
                event.node_state.status for event in await staging.read(execution_id) if event.type == "node_update"
            }:
                await asyncio.sleep(0.05)
        worker.leave()
    async with staging.perform():
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.FAILED
    row = await staging.executions.get(staging.tenant_id, execution_id)
    assert row.losses == 0


async def test_finished_steps_are_reused_and_their_large_outputs_too(staging: Staging) -> None:
    """The first worker leaves between two steps: what the first one handed out lies in the artifact folder."""
    nodes = [node("a", "flood"), node("b", "hang_once"), node("c", "measure")]
    execution_id = await staging.submit(nodes, [edge("a", "c", "Value", "Value")])
    async with staging.perform():
        await staging.wait_until(execution_id, lambda row: row.progress > 0)
    async with staging.perform():
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.COMPLETED
    steps = await staging.records.list_steps(staging.tenant_id, execution_id)
    assert [(step.node_id, step.attempt, step.epoch, step.status) for step in steps] == [
        ("a", 1, 1, StepStatus.SUCCESS),
        ("b", 1, 1, StepStatus.RETRYING),
        ("b", 2, 2, StepStatus.SUCCESS),
        ("c", 1, 2, StepStatus.SUCCESS),
    ]
    assert steps[-1].outputs == {"Text": "100000"}


async def test_terminated_backends_do_not_end_a_run(staging: Staging, own_database: Database) -> None:
    nodes = [node("a", "echo", {"Text": "1"}), node("b", "stumble", {"Text": "2"}), node("c", "echo")]
    execution_id = await staging.submit(nodes, [edge("b", "c", "Text", "Text")])
    killer = Killer(own_database)
    async with staging.perform():
        await staging.wait_for_event(execution_id, "step_update")
        for role in ("runtime_app", "runtime_system"):
            await killer.terminate_backends(role)
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.COMPLETED
    row = await staging.executions.get(staging.tenant_id, execution_id)
    assert row.losses == 0


async def test_a_plan_that_is_gone_ends_the_execution(staging: Staging) -> None:
    new = make_execution(plan=None)
    await staging.executions.submit(staging.tenant_id, new)
    async with staging.perform():
        assert await staging.wait_for_end(new.execution_id) is ExecutionStatus.FAILED


async def test_several_executions_run_side_by_side(staging: Staging) -> None:
    hanging = [await staging.submit([node("a", "hang")]) for _ in range(3)]
    async with staging.perform():
        for execution_id in hanging:
            await staging.wait_until(execution_id, lambda row: row.current_node == "a")
        quick = await staging.submit([node("a", "echo")])
        assert await staging.wait_for_end(quick) is ExecutionStatus.COMPLETED
        for execution_id in hanging:
            await staging.executions.request_cancel(staging.tenant_id, execution_id, "")
            await staging.wait_for_end(execution_id)
