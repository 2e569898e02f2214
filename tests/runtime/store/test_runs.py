"""A worker's writes: numbered without gaps, fenced by the epoch, repeated safely, never against the state machine."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime

import pytest
from uuid_utils.compat import uuid7

from contracts.execution import Artifact, ArtifactKind, ExecutionStatus, Failure, FailureCode, StepStatus
from contracts.model import ArtifactId, ExecutionId, StepId, TenantId
from experience.realtime.subscription import TAIL_SIZE
from runtime.store.changes import Change, End, Fenced
from runtime.store.claims import Claimed, Suspected
from runtime.store.db import Database, DatabaseAway, PlainSession, TenantSession
from runtime.store.events import EventLog
from runtime.store.executions import Executions
from runtime.store.records import Records, StoredBlob
from runtime.store.runs import Runs
from runtime.store.states import IllegalMove
from tests.runtime.conftest import Killer
from tests.runtime.made import make_execution, make_log, make_step

FAILURE = Failure(code=FailureCode.TIMEOUT, message="Too slow.", hint="Wait longer.")


async def start(executions: Executions, runs: Runs, tenant_id: TenantId) -> Claimed:
    row = await executions.submit(tenant_id, make_execution())
    claimed = await runs.claim(tenant_id, ExecutionId(row.execution_id), "worker-1")
    assert claimed is not None
    return claimed


async def test_what_was_moved_is_carried_over_and_never_shrinks(
    executions: Executions, runs: Runs, tenant_id: TenantId
) -> None:
    claimed = await start(executions, runs, tenant_id)
    assert claimed.moved_bytes == 0
    lease = claimed.lease
    await runs.record(lease, Change(moved_bytes=5_000_000_000))
    await runs.record(lease, Change(events=[make_log(lease.execution_id, "of an older worker")]))
    for handed_back, known in ((0, 5_000_000_000), (6_000_000_000, 6_000_000_000)):
        await runs.hand_back(lease, 1, handed_back)
        again = await runs.claim(tenant_id, lease.execution_id, "worker-2")
        assert again is not None
        assert again.moved_bytes == known
        lease = again.lease


async def test_many_writers_leave_no_gap(
    executions: Executions, runs: Runs, events: EventLog, tenant_id: TenantId
) -> None:
    lease = (await start(executions, runs, tenant_id)).lease

    async def write(number: int) -> None:
        drafts = [make_log(lease.execution_id, f"{number}.{place}") for place in range(number % 3 + 1)]
        await runs.record(lease, Change(events=drafts))

    async with asyncio.TaskGroup() as group:
        for number in range(40):
            group.create_task(write(number))
    page = await events.read_after(tenant_id, lease.execution_id, 0, 1_000)
    assert [event.seq for event in page.events] == list(range(1, page.head_seq + 1))
    assert page.head_seq == 2 + sum(number % 3 + 1 for number in range(40))


async def test_a_reader_gets_pages_in_order_and_the_end_only_with_the_last(
    executions: Executions, runs: Runs, events: EventLog, tenant_id: TenantId
) -> None:
    lease = (await start(executions, runs, tenant_id)).lease
    await runs.record(lease, Change(events=[make_log(lease.execution_id, str(n)) for n in range(5)]))
    await runs.finish(
        lease, Change(events=[make_log(lease.execution_id, "end")]), End(status=ExecutionStatus.COMPLETED)
    )
    first = await events.read_raw_after(tenant_id, lease.execution_id, 0, 3)
    assert (first.last_seq, first.head_seq, first.terminal) == (3, 8, False)
    rest = await events.read_raw_after(tenant_id, lease.execution_id, first.last_seq, 100)
    assert (rest.last_seq, len(rest.bodies), rest.terminal) == (8, 5, True)
    beyond = await events.read_raw_after(tenant_id, lease.execution_id, 99, 10)
    assert (beyond.last_seq, beyond.bodies, beyond.terminal) == (99, [], True)


async def test_a_page_is_bounded_in_bytes_but_never_empty(
    executions: Executions, runs: Runs, events: EventLog, tenant_id: TenantId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.store.events.PAGE_BYTES", 1)
    lease = (await start(executions, runs, tenant_id)).lease
    page = await events.read_raw_after(tenant_id, lease.execution_id, 0, 10)
    assert (page.last_seq, len(page.bodies)) == (1, 1)


async def test_a_page_is_no_more_than_a_slow_client_may_cost(
    executions: Executions, runs: Runs, events: EventLog, tenant_id: TenantId
) -> None:
    lease = (await start(executions, runs, tenant_id)).lease
    long = [make_log(lease.execution_id, "x" * 60_000) for _ in range(40)]
    await runs.record(lease, Change(events=long))
    seen, after = 0, 0
    while seen < 42:
        page = await events.read_raw_after(tenant_id, lease.execution_id, after, 200)
        assert sum(map(len, page.bodies)) <= TAIL_SIZE
        assert page.last_seq > after
        seen, after = seen + len(page.bodies), page.last_seq
    assert after == 42


async def test_a_fenced_run_writes_nothing(
    executions: Executions, runs: Runs, events: EventLog, db: Database, tenant_id: TenantId
) -> None:
    old = (await start(executions, runs, tenant_id)).lease
    new = await runs.claim(tenant_id, old.execution_id, "worker-2")
    assert new is not None
    assert (new.lease.epoch, new.losses) == (2, 1)
    before = await events.read_raw_after(tenant_id, old.execution_id, 0, 100)
    change = Change(
        events=[make_log(old.execution_id, "ghost")],
        steps=[make_step("a", StepStatus.RUNNING)],
        blobs=[StoredBlob(make_artifact(old.execution_id), "x/y")],
    )
    for attempt in (
        runs.record(old, change),
        runs.finish(old, change, End(status=ExecutionStatus.FAILED, failure=FAILURE)),
    ):
        with pytest.raises(Fenced):
            await attempt
    with pytest.raises(Fenced):
        await runs.hand_back(old, 9)
    assert await events.read_raw_after(tenant_id, old.execution_id, 0, 100) == before
    assert await Records(db).list_steps(tenant_id, old.execution_id) == []
    assert await Records(db).list_artifacts(tenant_id, old.execution_id) == []
    assert (await runs.check(old)).held is False
    assert (await runs.check(new.lease)).held is True


async def test_a_run_that_was_handed_back_was_not_lost(executions: Executions, runs: Runs, tenant_id: TenantId) -> None:
    claimed = await start(executions, runs, tenant_id)
    for _ in range(5):
        await runs.hand_back(claimed.lease, 7)
        again = await runs.claim(tenant_id, claimed.lease.execution_id, "worker-2")
        assert again is not None
        claimed = again
    assert (claimed.losses, claimed.lost_too_often) == (0, False)
    assert claimed.spent_s == 7


async def test_the_fourth_loss_is_too_many(executions: Executions, runs: Runs, tenant_id: TenantId) -> None:
    claimed: Claimed | None = await start(executions, runs, tenant_id)
    verdicts = []
    for _ in range(4):
        assert claimed is not None
        claimed = await runs.claim(tenant_id, claimed.lease.execution_id, "worker-2", alone=True)
        assert claimed is not None
        verdicts.append(claimed.lost_too_often)
    assert verdicts == [False, False, False, True]


async def test_what_is_to_be_buried_is_claimed_whatever_its_steps_hold(
    executions: Executions, runs: Runs, tenant_id: TenantId
) -> None:
    """Here outputs of an older release: it wrote deeper ones than anybody reads."""
    lease = (await start(executions, runs, tenant_id)).lease
    deep: list[object] = []
    for _ in range(220):
        deep = [deep]
    done = make_step("a", StepStatus.SUCCESS, outputs={"Value": deep})
    await runs.record(lease, Change(steps=[done, make_step("b", StepStatus.RUNNING)]))
    for _ in range(3):
        with pytest.raises(ValueError, match="recursion limit"):
            await runs.claim(tenant_id, lease.execution_id, "worker-2", alone=True)
    claimed = await runs.claim(tenant_id, lease.execution_id, "worker-2", alone=True)
    assert claimed is not None
    assert claimed.lost_too_often
    assert [step.node_id for step in claimed.steps] == ["b"], "of whose loss its end has to tell"


async def test_what_has_lost_two_workers_is_claimed_by_one_who_does_nothing_else(
    executions: Executions, runs: Runs, tenant_id: TenantId
) -> None:
    first = await start(executions, runs, tenant_id)
    assert await runs.claim(tenant_id, first.lease.execution_id, "worker-2") is not None
    for _ in range(2):
        with pytest.raises(Suspected):
            await runs.claim(tenant_id, first.lease.execution_id, "worker-3")
    claimed = await runs.claim(tenant_id, first.lease.execution_id, "worker-3", alone=True)
    assert claimed is not None
    assert (claimed.lease.epoch, claimed.losses, claimed.newly_lost) == (3, 2, 1), "being refused has changed nothing"
    await runs.hand_back(claimed.lease, 0)
    again = await runs.claim(tenant_id, first.lease.execution_id, "worker-4")
    assert again is not None, "it has lost nobody since"
    assert again.losses == 2


async def test_a_suspect_that_is_only_to_be_ended_need_not_be_alone(
    executions: Executions, runs: Runs, tenant_id: TenantId
) -> None:
    first = await start(executions, runs, tenant_id)
    await runs.claim(tenant_id, first.lease.execution_id, "worker-2")
    await executions.request_cancel(tenant_id, first.lease.execution_id, "enough")
    claimed = await runs.claim(tenant_id, first.lease.execution_id, "worker-3")
    assert claimed is not None
    assert claimed.cancel_reason == "enough"


async def test_a_step_is_one_row_per_attempt_and_its_end_is_final(
    executions: Executions, runs: Runs, db: Database, tenant_id: TenantId
) -> None:
    lease = (await start(executions, runs, tenant_id)).lease
    step_id = StepId(uuid7())
    await runs.record(lease, Change(steps=[make_step("a", StepStatus.RUNNING, step_id=step_id)]))
    done = make_step("a", StepStatus.SUCCESS, step_id=step_id, outputs={"Text": "nul \u0000 kept"}, credits=3)
    await runs.record(lease, Change(steps=[done]))
    with pytest.raises(IllegalMove, match="attempt 1 at a can't go from its recorded end to running"):
        await runs.record(lease, Change(steps=[make_step("a", StepStatus.RUNNING, step_id=step_id)]))
    steps = await Records(db).list_steps(tenant_id, lease.execution_id)
    assert [(step.step_id, step.status, step.outputs) for step in steps] == [
        (step_id, StepStatus.SUCCESS, {"Text": "nul \u0000 kept"})
    ]
    assert (await executions.get(tenant_id, lease.execution_id)).credits == 3


async def test_the_next_run_gets_what_was_recorded(executions: Executions, runs: Runs, tenant_id: TenantId) -> None:
    lease = (await start(executions, runs, tenant_id)).lease
    await runs.record(lease, Change(steps=[make_step("a", StepStatus.SUCCESS), make_step("b", StepStatus.RUNNING)]))
    claimed = await runs.claim(tenant_id, lease.execution_id, "worker-2")
    assert claimed is not None
    assert [(step.node_id, step.status) for step in claimed.steps] == [
        ("a", StepStatus.SUCCESS),
        ("b", StepStatus.RUNNING),
    ]


async def test_an_end_follows_only_what_it_may(executions: Executions, runs: Runs, tenant_id: TenantId) -> None:
    lease = (await start(executions, runs, tenant_id)).lease
    with pytest.raises(IllegalMove, match="execution can't go from running to pending"):
        await runs.finish(lease, Change(), End(status=ExecutionStatus.PENDING))
    await runs.finish(lease, Change(), End(status=ExecutionStatus.COMPLETED, result={"a": 1}))
    with pytest.raises(Fenced):
        await runs.finish(lease, Change(), End(status=ExecutionStatus.FAILED))
    row = await executions.get(tenant_id, lease.execution_id)
    assert (row.status, row.result, row.error) == (ExecutionStatus.COMPLETED, {"a": 1}, None)


async def test_two_states_of_one_attempt_in_one_change_are_the_later_one(
    executions: Executions, runs: Runs, db: Database, tenant_id: TenantId
) -> None:
    lease = (await start(executions, runs, tenant_id)).lease
    step_id = StepId(uuid7())
    begun, done = (make_step("a", status, step_id=step_id) for status in (StepStatus.RUNNING, StepStatus.SUCCESS))
    await runs.record(lease, Change(steps=[begun, done]))
    (step,) = await Records(db).list_steps(tenant_id, lease.execution_id)
    assert step.status is StepStatus.SUCCESS
    with pytest.raises(IllegalMove):
        await runs.record(lease, Change(steps=[make_step("b", StepStatus.SUCCESS), make_step("b", StepStatus.FAILED)]))
    assert len(await Records(db).list_steps(tenant_id, lease.execution_id)) == 1


async def test_a_lost_commit_is_repeated_and_a_lost_answer_is_not(
    executions: Executions, runs: Runs, events: EventLog, db: Database, tenant_id: TenantId
) -> None:
    lease = (await start(executions, runs, tenant_id)).lease
    for when, transactions in (("before the commit", 3), ("during the commit", 2), ("after the commit", 2)):
        flaky = FlakyDatabase(db, when)
        await Runs(flaky, runs._queue, patience_s=60).record(lease, Change(events=[make_log(lease.execution_id, when)]))
        assert flaky.attempts == transactions
    page = await events.read_after(tenant_id, lease.execution_id, 2, 100)
    assert [event.log.message for event in page.events if event.type == "log"] == [
        "before the commit",
        "during the commit",
        "after the commit",
    ]


@pytest.mark.parametrize("when", ["before the commit", "during the commit", "after the commit"])
async def test_a_claim_whose_answer_is_lost_is_no_loss(
    executions: Executions, runs: Runs, events: EventLog, db: Database, tenant_id: TenantId, when: str
) -> None:
    lease = (await start(executions, runs, tenant_id)).lease
    await runs.hand_back(lease, 1)
    flaky = Runs(FlakyDatabase(db, when), runs._queue, patience_s=60)
    claimed = await flaky.claim(tenant_id, lease.execution_id, "worker-2")
    assert claimed is not None
    assert (claimed.lease.epoch, claimed.losses, claimed.spent_s) == (2, 0, 1)
    page = await events.read_after(tenant_id, lease.execution_id, 2, 100)
    assert [event.type for event in page.events] == ["log"]
    assert (await runs.check(claimed.lease)).held


async def test_a_claim_that_is_repeated_too_late_leaves_it_to_the_other_worker(
    executions: Executions, runs: Runs, db: Database, tenant_id: TenantId
) -> None:
    lease = (await start(executions, runs, tenant_id)).lease
    late = Runs(
        OvertakenDatabase(db, lambda: runs.claim(tenant_id, lease.execution_id, "worker-3", alone=True)), runs._queue
    )
    assert await late.claim(tenant_id, lease.execution_id, "worker-2") is None
    again = await runs.claim(tenant_id, lease.execution_id, "worker-4", alone=True)
    assert again is not None
    assert again.lease.epoch == 4, "the second was opened, the third overtook it"


async def test_a_pause_whose_answer_is_lost_and_that_is_over_by_then_begins_nothing(
    executions: Executions, runs: Runs, db: Database, tenant_id: TenantId
) -> None:
    lease = (await start(executions, runs, tenant_id)).lease
    turn = (await executions.get(tenant_id, lease.execution_id)).turn
    await executions.request_pause(tenant_id, lease.execution_id, "lunch")
    late = Runs(ResumedDatabase(db, lambda: executions.request_resume(tenant_id, lease.execution_id)), runs._queue)
    assert await late.claim(tenant_id, lease.execution_id, "worker-2", turn) is None
    row = await executions.get(tenant_id, lease.execution_id)
    assert (row.status, row.pause_requested_at, row.epoch) == (ExecutionStatus.PAUSED, None, 1)
    assert row.turn != turn, "its new entry is another worker's"


async def test_backends_terminated_in_the_middle_lose_nothing(
    executions: Executions, runs: Runs, events: EventLog, tenant_id: TenantId, superuser: Killer
) -> None:
    lease = (await start(executions, runs, tenant_id)).lease
    async with asyncio.TaskGroup() as group:
        for number in range(10):
            change = Change(events=[make_log(lease.execution_id, str(number))])
            group.create_task(runs.record(lease, change))
            await superuser.terminate_backends("runtime_app")
            await asyncio.sleep(0.02)
    page = await events.read_after(tenant_id, lease.execution_id, 2, 100)
    assert sorted(event.log.message for event in page.events if event.type == "log") == [str(n) for n in range(10)]


class FlakyDatabase(Database):
    """Loses its connection once, at the moment asked for."""

    def __init__(self, inner: Database, when: str) -> None:
        vars(self).update(vars(inner))
        self._inner = inner
        self._when = when
        self.attempts = 0

    @asynccontextmanager
    async def write_plainly(self, tenant_id: TenantId) -> AsyncIterator[PlainSession]:
        self.attempts += 1
        if self.attempts == 1 and self._when == "during the commit":
            committing = self._inner.write_plainly(tenant_id)
            yield await committing.__aenter__()
            self.ending = asyncio.create_task(self._end_late(committing))
            raise DatabaseAway("test")
        async with self._inner.write_plainly(tenant_id) as session:
            yield session
            if self.attempts == 1 and self._when == "before the commit":
                raise DatabaseAway("test")
        if self.attempts == 1:
            raise DatabaseAway("test")

    async def _end_late(self, committing: AbstractAsyncContextManager[PlainSession]) -> None:
        await asyncio.sleep(0.3)
        await committing.__aexit__(None, None, None)


class OvertakenDatabase(Database):
    """Loses the answer to its first commit, and by then something else has happened."""

    def __init__(self, inner: Database, meanwhile: Callable[[], Awaitable[object]]) -> None:
        vars(self).update(vars(inner))
        self._inner = inner
        self._meanwhile: Callable[[], Awaitable[object]] | None = meanwhile

    @asynccontextmanager
    async def write_plainly(self, tenant_id: TenantId) -> AsyncIterator[PlainSession]:
        async with self._inner.write_plainly(tenant_id) as session:
            yield session
        meanwhile, self._meanwhile = self._meanwhile, None
        if meanwhile is not None:
            await meanwhile()
            raise DatabaseAway("test")


class ResumedDatabase(Database):
    """Loses the answer to the commit of a pause, and by then something else has happened."""

    def __init__(self, inner: Database, meanwhile: Callable[[], Awaitable[object]]) -> None:
        vars(self).update(vars(inner))
        self._inner = inner
        self._meanwhile = meanwhile

    @asynccontextmanager
    async def write(self, tenant_id: TenantId) -> AsyncIterator[TenantSession]:
        async with self._inner.write(tenant_id) as session:
            yield session
        await self._meanwhile()
        raise DatabaseAway("test")


def make_artifact(execution_id: ExecutionId) -> Artifact:
    return Artifact(
        artifact_id=ArtifactId(uuid7()),
        execution_id=execution_id,
        node_id="a",
        kind=ArtifactKind.FILE,
        name="x.txt",
        media_type="text/plain",
        size=1,
        sha256="0" * 64,
        created_at=datetime.now(UTC),
    )
