"""A retry is a new execution that takes over what ended well, costs and all, and goes on from there."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from uuid_utils.compat import uuid7

from contracts.errors import ApiError, Code
from contracts.execution import ExecutionStatus, FailureCode, StepStatus, SubmitExecution
from contracts.model import ExecutionId, IntentId
from contracts.recovery import ListDeadLetters
from runtime.nodes.http import HttpRequest
from runtime.retries import Retries
from runtime.store.dead_letters import DeadLetters
from runtime.store.runs import Runs
from runtime.store.workflows import Workflows
from tests.runtime.staging import Staging, edge, node
from tests.runtime.troupe import TROUPE, Echo, Hang, Stumble
from tests.support.api_site import Api
from tests.support.postgres import Database
from tests.support.sockets import serve


@pytest.fixture
async def staging(own_database: Database, tmp_path: Path) -> AsyncIterator[Staging]:
    Echo.asked.clear()
    Hang.left.clear()
    Stumble.falls.clear()
    made = Staging(own_database, tmp_path, TROUPE, grace_s=0.2)
    yield made
    await made.close()


async def retry(staging: Staging, execution_id: ExecutionId, **how: Any) -> ExecutionId:
    asked = SubmitExecution(
        execution_id=ExecutionId(uuid7()),
        intent_id=IntentId(uuid7()),
        session_id=None,
        user_id=None,
        realm="execution",
        intent="retry",
        parameters={"execution_id": str(execution_id), **how},
        submitted_at=datetime.now(UTC),
    )
    new = await Retries(staging.records, Workflows(staging.db)).prepare(staging.tenant_id, asked)
    await staging.executions.submit(staging.tenant_id, new)
    return asked.execution_id


async def run_to_failure(staging: Staging) -> ExecutionId:
    """Two nodes end well, the third fails at its only attempt and succeeds at the next, the fourth is not reached."""
    nodes = [
        node("flood", "flood"),
        node("first", "measure"),
        node("falls", "stumble", {"Text": "once"}, attempts=1),
        node("last", "echo"),
    ]
    edges = [
        edge("flood", "first", "Value", "Value"),
        edge("first", "falls", "Text", "Text"),
        edge("falls", "last", "Text", "Text"),
    ]
    execution_id = await staging.submit(nodes, edges)
    async with staging.perform():
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.FAILED
    return execution_id


async def test_from_the_failed_node_takes_the_rest_over_with_its_large_outputs(staging: Staging) -> None:
    failed = await run_to_failure(staging)
    again = await retry(staging, failed)
    async with staging.perform():
        assert await staging.wait_for_end(again) is ExecutionStatus.COMPLETED
    row = await staging.executions.get(staging.tenant_id, again)
    assert (row.retry_of, row.result) == (failed, {"last": {"Text": "100000"}})
    steps = await staging.records.list_steps(staging.tenant_id, again)
    assert [(step.node_id, step.reused, step.credits) for step in steps] == [
        ("flood", True, 0),
        ("first", True, 0),
        ("falls", False, 1),
        ("last", False, 1),
    ]
    assert row.credits == 2
    events = await staging.read(again)
    told = [event.node_id for event in events if event.type == "node_update" and event.node_state.status == "success"]
    assert told == ["flood", "first", "falls", "last"]
    # the source stays as it was, and can be pruned: what was taken over is the retry's own
    assert (await staging.executions.get(staging.tenant_id, failed)).status is ExecutionStatus.FAILED
    assert all(one.execution_id == again for one in await staging.records.list_artifacts(staging.tenant_id, again))


async def test_a_retry_survives_its_worker(staging: Staging) -> None:
    done = await staging.submit(
        [node("a", "echo", {"Text": "1"}), node("b", "hang_once", {"Text": "2"})], [edge("a", "b", "Text", "Text")]
    )
    async with staging.perform():
        await staging.wait_until(done, lambda row: row.current_node == "b")
        await staging.executions.request_cancel(staging.tenant_id, done, "")
        await staging.wait_for_end(done)
    Hang.left.clear()
    again = await retry(staging, done)
    async with staging.perform():
        await staging.wait_until(again, lambda row: row.current_node == "b")
    async with staging.perform():
        assert await staging.wait_for_end(again) is ExecutionStatus.COMPLETED
    assert Echo.asked == ["a"]
    steps = await staging.records.list_steps(staging.tenant_id, again)
    assert [step.node_id for step in steps if step.reused] == ["a"]


async def test_from_a_node_and_whole(staging: Staging) -> None:
    nodes = [node("a", "echo", {"Text": "1"}), node("b", "echo"), node("aside", "echo")]
    done = await staging.submit(nodes, [edge("a", "b", "Text", "Text")])
    async with staging.perform():
        await staging.wait_for_end(done)
        Echo.asked.clear()
        await staging.wait_for_end(await retry(staging, done, start_at="node", node_id="b"))
        assert Echo.asked == ["b"]
        await staging.wait_for_end(await retry(staging, done, start_at="beginning"))
        assert sorted(Echo.asked) == ["a", "aside", "b", "b"]


async def test_what_can_not_be_retried_is_refused_with_the_way_out(staging: Staging) -> None:
    running = await staging.submit([node("a", "echo")])
    with pytest.raises(ApiError) as refused:
        await retry(staging, running)
    assert refused.value.code is Code.CONFLICT
    async with staging.perform():
        await staging.wait_for_end(running)
    with pytest.raises(ApiError, match="ended well") as refused:
        await retry(staging, running)
    assert "start_at" in refused.value.hint
    with pytest.raises(ApiError, match="no node") as refused:
        await retry(staging, running, start_at="node", node_id="nowhere")
    assert refused.value.code is Code.INVALID
    with pytest.raises(ApiError) as refused:
        await retry(staging, ExecutionId(uuid7()))
    assert refused.value.code is Code.NOT_FOUND


async def interrupt(staging: Staging) -> ExecutionId:
    """The worker goes while an unsafe node is at work."""
    nodes = [
        node("a", "echo", {"Text": "1"}),
        node("act", "hang_unsafe"),
        node("b", "echo", {"Text": "2"}),
        node("after", "echo"),
    ]
    edges = [edge("a", "act", "Text", "Text"), edge("act", "after", "Text", "Text")]
    execution_id = await staging.submit(nodes, edges)
    async with staging.perform():
        await staging.wait_until(execution_id, lambda row: row.current_node == "act")
    async with staging.perform():
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.FAILED
    return execution_id


async def test_a_question_is_answered_once(staging: Staging) -> None:
    interrupted = await interrupt(staging)
    with pytest.raises(ApiError, match="act happened") as refused:
        await retry(staging, interrupted)
    assert refused.value.code is Code.CONFLICT
    before = len(Hang.left)
    answered = await retry(staging, interrupted, answers={"act": "happened"})
    with pytest.raises(ApiError, match="answered already"):
        await retry(staging, interrupted, answers={"act": "run_again"})
    async with staging.perform():
        assert await staging.wait_for_end(answered) is ExecutionStatus.COMPLETED
    assert len(Hang.left) == before  # it did not run
    steps = {step.node_id: step for step in await staging.records.list_steps(staging.tenant_id, answered)}
    assert (steps["act"].status, steps["act"].reused) == (StepStatus.SUCCESS, True)
    assert (await staging.executions.get(staging.tenant_id, interrupted)).question is None


async def count_accepted(staging: Staging, execution_id: ExecutionId, **how: Any) -> int:
    """Of two people who ask for the same at once, each with an answer."""
    asked = [retry(staging, execution_id, answers={"act": "run_again"}, **how) for _ in range(2)]
    came = await asyncio.gather(*asked, return_exceptions=True)
    refused = [one for one in came if isinstance(one, BaseException)]
    assert all(isinstance(one, ApiError) and one.code is Code.CONFLICT and one.hint for one in refused), refused
    return len(came) - len(refused)


async def test_an_answer_after_a_cancel_is_given_once(staging: Staging) -> None:
    stopped = await staging.submit([node("act", "hang_unsafe"), node("b", "echo")])
    async with staging.perform():
        await staging.wait_until(stopped, lambda row: row.current_node == "act")
        await staging.executions.request_cancel(staging.tenant_id, stopped, "")
        await staging.wait_for_end(stopped)
    assert await count_accepted(staging, stopped) == 1
    for how in ({"answers": {"act": "happened"}}, {}, {"start_at": "node", "node_id": "b"}):
        with pytest.raises(ApiError, match="act happened was answered already") as refused:
            await retry(staging, stopped, **how)
        assert "start_at: node" in refused.value.hint
        assert refused.value.faults == [], "nobody is asked what can't be answered any more"
    await retry(staging, stopped, start_at="node", node_id="act")  # whoever says so wants it once more


@pytest.mark.parametrize("how", [{"start_at": "node", "node_id": "act"}, {"start_at": "beginning"}])
async def test_beginning_at_it_is_an_answer_too(staging: Staging, how: dict[str, str]) -> None:
    interrupted = await interrupt(staging)
    await retry(staging, interrupted, **how)
    assert (await staging.executions.get(staging.tenant_id, interrupted)).question is None
    with pytest.raises(ApiError, match="answered already"):
        await retry(staging, interrupted, answers={"act": "run_again"})


async def test_what_ended_well_and_would_run_again_is_answered_for_once(staging: Staging) -> None:
    falls = node("falls", "stumble", {"Text": "1"}, attempts=1, on_error="use_default", default={"Text": "2"})
    failed = await staging.submit([falls, node("act", "echo_unsafe")], [edge("falls", "act", "Text", "Text")])
    async with staging.perform():
        await staging.wait_for_end(failed)
    assert Echo.asked == ["act"]
    assert await count_accepted(staging, failed) == 1


async def test_what_was_said_before_is_no_answer_of_now(staging: Staging) -> None:
    nodes = [node("act", "hang_unsafe"), node("slips", "slip", {"Text": "nothing"}, attempts=1)]
    stopped = await staging.submit(nodes, max_parallel=1)
    async with staging.perform():
        await staging.wait_until(stopped, lambda row: row.current_node == "act")
        await staging.executions.request_cancel(staging.tenant_id, stopped, "")
        await staging.wait_for_end(stopped)
        again = await retry(staging, stopped, answers={"act": "happened"})
        await staging.wait_for_end(again)
    for _ in range(2):  # it takes over what happened, as often as it is retried
        await retry(staging, again)


async def stop_before_it_begins(staging: Staging, execution_id: ExecutionId) -> ExecutionId:
    await staging.executions.request_cancel(staging.tenant_id, execution_id, "")
    row = await staging.executions.get(staging.tenant_id, execution_id)
    assert (row.status, row.epoch) == (ExecutionStatus.CANCELLED, 0)
    return execution_id


async def test_a_retry_that_never_began_is_done_as_it_was_asked_for(staging: Staging) -> None:
    interrupted = await interrupt(staging)
    before, Echo.asked = len(Hang.left), []
    again = await stop_before_it_begins(staging, await retry(staging, interrupted, answers={"act": "happened"}))
    with pytest.raises(ApiError, match="never began") as refused:
        await retry(staging, again, start_at="node", node_id="b")
    assert "start_at: failed" in refused.value.hint
    third = await retry(staging, await stop_before_it_begins(staging, await retry(staging, again)))
    async with staging.perform():
        assert await staging.wait_for_end(third) is ExecutionStatus.COMPLETED
    assert len(Hang.left) == before, "a person has said that it happened"
    assert "a" not in Echo.asked, "what ended well is taken over"


@pytest.mark.parametrize("how", [{"answers": {"act": "run_again"}}, {"start_at": "node", "node_id": "a"}])
async def test_the_word_of_a_retry_that_never_began_counts_for_one_more(staging: Staging, how: dict[str, Any]) -> None:
    again = await stop_before_it_begins(staging, await retry(staging, await interrupt(staging), **how))
    once_more = await retry(staging, again)
    with pytest.raises(ApiError, match="answered already"):
        await retry(staging, again)
    async with staging.perform():
        await staging.wait_until(once_more, lambda row: row.current_node == "act")
        await staging.executions.request_cancel(staging.tenant_id, once_more, "")
        await staging.wait_for_end(once_more)


async def die(staging: Staging) -> ExecutionId:
    """An execution with an unsafe node at work each time its worker is lost."""
    execution_id = await staging.submit([node("act", "hang_unsafe")])
    async with staging.perform():
        await staging.wait_until(execution_id, lambda row: row.current_node == "act")
    runs = Runs(staging.db, staging.make_queue())
    for _ in range(4):
        assert await runs.claim(staging.tenant_id, execution_id, "doomed", alone=True) is not None
    async with staging.perform():
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.FAILED
    return execution_id


async def test_a_dead_letter_is_answered_once_and_decided_once(staging: Staging) -> None:
    assert await count_accepted(staging, await die(staging)) == 1
    letter = await die(staging)
    assert await count_accepted(staging, letter, dead_letter=True) == 1
    with pytest.raises(ApiError, match="decided already") as refused:
        await retry(staging, letter, start_at="beginning", dead_letter=True)
    assert "Retry its execution" in refused.value.hint
    await retry(staging, letter, start_at="beginning")  # by another door, whoever wants it once more
    discarded = await die(staging)
    await DeadLetters(staging.db).discard(staging.tenant_id, discarded, None, "")
    with pytest.raises(ApiError, match="decided already"):
        await retry(staging, discarded, answers={"act": "run_again"}, dead_letter=True)


@pytest.mark.parametrize("elsewhere", ["after", "b"])
async def test_beginning_elsewhere_is_no_word_for_what_was_cut_short(staging: Staging, elsewhere: str) -> None:
    interrupted = await interrupt(staging)
    with pytest.raises(ApiError, match="act happened") as refused:
        await retry(staging, interrupted, start_at="node", node_id=elsewhere)
    assert [(fault.rule, fault.node_id) for fault in refused.value.faults] == [("answer_needed", "act")]
    assert (await staging.executions.get(staging.tenant_id, interrupted)).question is not None, "it still asks"
    before = len(Hang.left)
    answered = await retry(staging, interrupted, start_at="node", node_id=elsewhere, answers={"act": "happened"})
    async with staging.perform():
        assert await staging.wait_for_end(answered) is ExecutionStatus.COMPLETED
    assert len(Hang.left) == before  # it did not run
    assert (await staging.executions.get(staging.tenant_id, interrupted)).question is None


async def test_naming_a_node_is_a_persons_word_for_it_and_what_follows(staging: Staging) -> None:
    for start in ("act", "a"):
        interrupted = await interrupt(staging)
        again = await retry(staging, interrupted, start_at="node", node_id=start)
        async with staging.perform():
            await staging.wait_until(again, lambda row: row.current_node == "act")
            await staging.executions.request_cancel(staging.tenant_id, again, "")
            await staging.wait_for_end(again)


async def test_what_is_begun_at_can_not_have_happened(staging: Staging) -> None:
    interrupted = await interrupt(staging)
    for how in ({"start_at": "node", "node_id": "act"}, {"start_at": "beginning"}):
        with pytest.raises(ApiError, match="act can't have happened") as refused:
            await retry(staging, interrupted, **how, answers={"act": "happened"})
        assert refused.value.code is Code.INVALID


async def test_it_happened_is_no_answer_where_its_output_is_needed(staging: Staging) -> None:
    nodes = [node("act", "hang_unsafe"), node("m", "measure")]
    stopped = await staging.submit(nodes, [edge("act", "m", "Text", "Value")])
    async with staging.perform():
        await staging.wait_until(stopped, lambda row: row.current_node == "act")
        await staging.executions.request_cancel(staging.tenant_id, stopped, "")
        assert await staging.wait_for_end(stopped) is ExecutionStatus.CANCELLED
    with pytest.raises(ApiError, match="m needs Text of act") as refused:
        await retry(staging, stopped, answers={"act": "happened"})
    assert refused.value.code is Code.CONFLICT
    assert [fault.rule for fault in refused.value.faults] == ["output_unknown"]


async def test_what_was_stopped_in_the_middle_and_must_not_run_twice_is_asked_about(staging: Staging) -> None:
    nodes = [node("a", "echo", {"Text": "1"}), node("act", "hang_unsafe")]
    stopped = await staging.submit(nodes, [edge("a", "act", "Text", "Text")])
    async with staging.perform():
        await staging.wait_until(stopped, lambda row: row.current_node == "act")
        await staging.executions.request_cancel(staging.tenant_id, stopped, "")
        assert await staging.wait_for_end(stopped) is ExecutionStatus.CANCELLED
    with pytest.raises(ApiError, match="act happened") as refused:
        await retry(staging, stopped)
    assert [fault.rule for fault in refused.value.faults] == ["answer_needed"]
    again = await retry(staging, stopped, answers={"act": "happened"})
    async with staging.perform():
        assert await staging.wait_for_end(again) is ExecutionStatus.COMPLETED
    assert Hang.left == ["act"]  # once, and not again


async def test_what_ran_out_of_time_and_must_not_run_twice_asks(staging: Staging) -> None:
    late = await staging.submit([node("act", "hang_unsafe", timeout_s=0.2)])
    async with staging.perform():
        assert await staging.wait_for_end(late) is ExecutionStatus.FAILED
    row = await staging.executions.get(staging.tenant_id, late)
    assert row.question is not None
    assert row.question["node_id"] == "act"
    with pytest.raises(ApiError, match="act happened"):
        await retry(staging, late)
    answered = await retry(staging, late, answers={"act": "run_again"})
    async with staging.perform():
        assert await staging.wait_for_end(answered) is ExecutionStatus.FAILED
    assert Hang.left == ["act", "act"]


@pytest.mark.parametrize(("how", "asks"), [("acted", True), ("fault", True), ("nothing", False)])
async def test_whoever_may_have_acted_is_asked_about(staging: Staging, how: str, *, asks: bool) -> None:
    slipped = await staging.submit([node("act", "slip", {"Text": how}, attempts=1)])
    async with staging.perform():
        assert await staging.wait_for_end(slipped) is ExecutionStatus.FAILED
    row = await staging.executions.get(staging.tenant_id, slipped)
    assert (row.question is not None) is asks
    if asks:
        with pytest.raises(ApiError, match="act happened"):
            await retry(staging, slipped)
    else:
        await retry(staging, slipped)


async def test_what_has_lost_two_workers_runs_beside_nobody(staging: Staging) -> None:
    suspect = await staging.submit([node("a", "delay", {"Duration": 0.5})])
    runs = Runs(staging.db, staging.make_queue())
    for _ in range(3):
        assert await runs.claim(staging.tenant_id, suspect, "doomed", alone=True) is not None
    others = [await staging.submit([node("a", "delay", {"Duration": 0.5})]) for _ in range(2)]
    async with staging.perform():
        for execution_id in (suspect, *others):
            assert await staging.wait_for_end(execution_id) is ExecutionStatus.COMPLETED
    (alone,) = await staging.records.list_steps(staging.tenant_id, suspect)
    beside = [step for one in others for step in await staging.records.list_steps(staging.tenant_id, one)]
    assert alone.started_at is not None
    assert alone.finished_at is not None
    for step in beside:
        assert step.started_at is not None
        assert step.finished_at is not None
        assert step.finished_at <= alone.started_at or alone.finished_at <= step.started_at


async def test_a_worker_that_leaves_begins_no_suspect(staging: Staging) -> None:
    long = await staging.submit([node("a", "delay", {"Duration": 30})])
    suspect = await staging.submit([node("a", "delay", {"Duration": 30})])
    runs = Runs(staging.db, staging.make_queue())
    for _ in range(3):
        assert await runs.claim(staging.tenant_id, suspect, "doomed", alone=True) is not None
    async with staging.perform():
        await staging.wait_until(long, lambda row: row.epoch == 1)
        await asyncio.sleep(0.5)  # the suspect waits for the long one
    row = await staging.executions.get(staging.tenant_id, suspect)
    assert (row.epoch, row.losses) == (3, 2), "nothing was claimed, so nothing can be lost"


async def test_a_dead_letter_is_listed_with_its_suspects_and_resolved_by_its_retry(staging: Staging) -> None:
    execution_id = await staging.submit([node("a", "echo"), node("act", "hang")])
    async with staging.perform():
        await staging.wait_until(execution_id, lambda row: row.progress > 0)
    runs = Runs(staging.db, staging.make_queue())
    for _ in range(4):
        assert await runs.claim(staging.tenant_id, execution_id, "doomed", alone=True) is not None
    async with staging.perform():
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.FAILED
    letters = DeadLetters(staging.db)
    (letter,), _ = await letters.list_page(staging.tenant_id, ListDeadLetters())
    assert (letter.execution_id, letter.losses, letter.failure.code) == (execution_id, 4, FailureCode.WORKER_LOST)
    assert (await letters.get(staging.tenant_id, execution_id)).in_flight == ["act"]
    steps = await staging.records.list_steps(staging.tenant_id, execution_id)
    assert all(step.status.final or step.status is StepStatus.RETRYING for step in steps)
    again = await retry(staging, execution_id)
    assert (await letters.list_page(staging.tenant_id, ListDeadLetters()))[0] == []
    (resolved,), _ = await letters.list_page(staging.tenant_id, ListDeadLetters(resolved=True))
    assert (resolved.resolution, resolved.retried_as) == ("retried", again)


async def test_a_request_with_a_key_that_was_cut_off_is_sent_again_with_the_same_key(
    own_database: Database, tmp_path: Path
) -> None:
    staging = Staging(own_database, tmp_path, [*TROUPE, HttpRequest], grace_s=0.2)
    api = Api()
    async with serve(api.app()) as served:
        staging.hosts = (f"127.0.0.1:{served.port}",)
        wanted = {"Method": "POST", "URL": served.http("/slow?s=3"), "Idempotency Key": True, "Body": "1"}
        execution_id = await staging.submit([node("pay", "http_request", wanted)])
        async with staging.perform():
            async with asyncio.timeout(30):
                while not api.asked:  # noqa: ASYNC110 — the site tells nobody
                    await asyncio.sleep(0.05)
        async with staging.perform():
            assert await staging.wait_for_end(execution_id) is ExecutionStatus.COMPLETED
    first, second = [asked["headers"]["idempotency-key"] for asked in api.asked]
    assert first == second
    await staging.close()
