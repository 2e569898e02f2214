"""The executions' endpoints, from the client that Experience uses down to the database."""

from datetime import UTC, datetime
from typing import Any

import pytest
from uuid_utils.compat import uuid7

from contracts.errors import ApiError, Code
from contracts.execution import (
    ArtifactKind,
    CancelExecution,
    ExecutionRef,
    ExecutionStatus,
    Failure,
    FailureCode,
    ListExecutions,
    Question,
    ReadEvents,
    ReadExecution,
    StepStatus,
    SubmitExecution,
    TenantState,
)
from contracts.model import ExecutionId, IntentId, SessionId, TenantId, UserId
from contracts.wiring.client import RuntimeClient
from runtime.app import Ground
from runtime.artifacts import ArtifactWriter
from runtime.store.changes import Change, End
from runtime.store.executions import Executions
from runtime.store.runs import Runs
from tests.runtime.api.conftest import MakeClient
from tests.runtime.made import make_step


def ask(**changes: Any) -> SubmitExecution:
    values: dict[str, Any] = {
        "execution_id": ExecutionId(uuid7()),
        "intent_id": IntentId(uuid7()),
        "session_id": SessionId(uuid7()),
        "user_id": UserId(uuid7()),
        "realm": "browser",
        "intent": "visit",
        "parameters": {"url": "http://shop.test/tea", "selector": "h1"},
        "submitted_at": datetime.now(UTC),
    }
    return SubmitExecution(**values | changes)


async def test_a_visit_becomes_a_workflow_of_its_own(client: RuntimeClient) -> None:
    asked = ask()
    summary = await client.submit_execution(asked)
    assert await client.submit_execution(asked) == summary
    assert (summary.name, summary.status) == ("Visit shop.test", ExecutionStatus.PENDING)
    execution = await client.get_execution(ReadExecution(execution_id=asked.execution_id, include_visuals=True))
    assert [phase.nodes for phase in execution.phases] == [["open"], ["wait"], ["html"], ["text", "picture"]]
    assert {node.status for node in execution.nodes} == {StepStatus.QUEUED}
    assert (execution.head_seq, execution.artifacts) == (1, None)
    assert execution.visuals is not None
    assert execution.visuals.latest is None
    page = await client.read_events(ReadEvents(execution_id=asked.execution_id))
    assert [event.type for event in page.events] == ["accepted"]


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"realm": "nowhere"}, "body.intent"),
        ({"intent": "stroll"}, "body.intent"),
        ({"parameters": {}}, "body.parameters"),
        ({"parameters": {"url": "ftp://x"}}, "body.parameters.url"),
        ({"parameters": {"url": "http://x", "more": 1}}, "body.parameters"),
        ({"parameters": {"url": "http://x", "selector": 5}}, "body.parameters.selector"),
        ({"realm": "workflow", "intent": "run", "parameters": {"workflow_id": "none"}}, "body.parameters.workflow_id"),
    ],
)
async def test_what_does_not_fit_the_schema_is_refused(
    client: RuntimeClient, changes: dict[str, Any], where: str
) -> None:
    with pytest.raises(ApiError) as refused:
        await client.submit_execution(ask(**changes))
    assert refused.value.code is Code.INVALID
    assert refused.value.faults[0].where == where
    assert await client.list_executions(ListExecutions()) == await client.list_executions(ListExecutions())
    assert (await client.list_executions(ListExecutions())).items == []


async def test_what_comes_too_late_to_be_refused_is_recorded_as_failed(client: RuntimeClient) -> None:
    missing = {"realm": "workflow", "intent": "run", "parameters": {"workflow_id": str(uuid7())}}
    with pytest.raises(ApiError) as refused:
        await client.submit_execution(ask(**missing))
    assert refused.value.code is Code.NOT_FOUND
    summary = await client.submit_execution(ask(**missing, deferred=True))
    assert summary.status is ExecutionStatus.FAILED
    assert summary.error is not None
    assert summary.error.code is FailureCode.NOT_FOUND


async def test_what_was_cancelled_before_it_came_is_recorded_and_never_begins(
    client: RuntimeClient, ground: Ground, tenant_id: TenantId
) -> None:
    asked = ask(deferred=True, cancelled="enough")
    summary = await client.submit_execution(asked)
    assert (summary.status, summary.finished_at is not None) == (ExecutionStatus.CANCELLED, True)
    row = await Executions(ground.db, ground.queue).get(tenant_id, asked.execution_id)
    assert (row.admitted_at, row.cancel_reason, row.error) == (None, "enough", None)
    assert await Runs(ground.db, ground.queue).claim(tenant_id, asked.execution_id, "worker") is None
    page = await client.read_events(ReadEvents(execution_id=asked.execution_id))
    assert [event.type for event in page.events] == ["accepted", "status", "cancelled"]
    assert (page.head_seq, page.terminal) == (3, True)
    cancel = CancelExecution(execution_id=asked.execution_id, reason="enough")  # which follows, and changes nothing
    assert (await client.cancel_execution(cancel)).head_seq == 3
    assert await client.submit_execution(asked) == summary


async def test_what_can_never_run_says_so_although_it_was_cancelled(client: RuntimeClient) -> None:
    missing = {"realm": "workflow", "intent": "run", "parameters": {"workflow_id": str(uuid7())}}
    summary = await client.submit_execution(ask(**missing, deferred=True, cancelled="enough"))
    assert summary.status is ExecutionStatus.FAILED


async def test_a_suspended_tenants_deferred_intent_waits(client: RuntimeClient, tenant_id: TenantId) -> None:
    await client.set_tenant(TenantState(tenant_id=tenant_id, suspended=True))
    with pytest.raises(ApiError) as refused:
        await client.submit_execution(ask())
    assert refused.value.code is Code.FORBIDDEN
    summary = await client.submit_execution(ask(deferred=True))
    assert summary.status is ExecutionStatus.PENDING


async def test_nothing_of_another_tenant_is_found(client: RuntimeClient, make_client: MakeClient) -> None:
    asked = ask()
    await client.submit_execution(asked)
    stranger = make_client(TenantId(uuid7()))
    ref = ExecutionRef(execution_id=asked.execution_id)
    for attempt in (
        stranger.get_execution(ReadExecution(execution_id=asked.execution_id)),
        stranger.read_events(ReadEvents(execution_id=asked.execution_id)),
        stranger.read_steps(ref),
        stranger.list_artifacts(ref),
        stranger.cancel_execution(CancelExecution(execution_id=asked.execution_id)),
    ):
        with pytest.raises(ApiError) as refused:
            await attempt
        assert refused.value.code is Code.NOT_FOUND
    assert (await stranger.list_executions(ListExecutions())).items == []


async def test_status_shows_phases_nodes_artifacts_and_pictures(
    client: RuntimeClient, ground: Ground, tenant_id: TenantId
) -> None:
    asked = ask()
    await client.submit_execution(asked)
    runs = Runs(ground.db, ground.queue)
    claimed = await runs.claim(tenant_id, asked.execution_id, "worker")
    assert claimed is not None
    writer = ArtifactWriter(ground.folder, tenant_id, asked.execution_id)
    blobs = [
        await writer.put("open", ArtifactKind.SCREENSHOT, f"{n}.png", "image/png", bytes([n]), size=(8, 6))
        for n in range(2)
    ]
    blobs.append(await writer.put("wait", ArtifactKind.CONSOLE, "console.txt", "text/plain", b"log"))
    steps = [make_step("open", StepStatus.SUCCESS, credits=2), make_step("wait", StepStatus.RUNNING, phase=2)]
    await runs.record(claimed.lease, Change(blobs=blobs, steps=steps, progress=0.2, current_node="wait"))

    wanted = ReadExecution(execution_id=asked.execution_id, include_artifacts=True, include_visuals=True)
    execution = await client.get_execution(wanted)
    assert (execution.status, execution.progress, execution.current_node) == (ExecutionStatus.RUNNING, 0.2, "wait")
    assert [phase.status for phase in execution.phases] == [
        StepStatus.SUCCESS,
        StepStatus.RUNNING,
        StepStatus.QUEUED,
        StepStatus.QUEUED,
    ]
    assert execution.cost.credits == 2
    assert execution.artifacts == [blob.artifact for blob in blobs]
    assert execution.visuals is not None
    assert execution.visuals.latest == blobs[1].artifact
    assert execution.visuals.per_step == [blobs[1].artifact]
    listed = await client.read_steps(ExecutionRef(execution_id=asked.execution_id))
    assert [(step.node_id, step.epoch, step.credits) for step in listed.items] == [("open", 1, 2), ("wait", 1, 0)]


async def test_cancelling_answers_where_it_stands(client: RuntimeClient) -> None:
    asked = ask()
    await client.submit_execution(asked)
    cancelled = await client.cancel_execution(CancelExecution(execution_id=asked.execution_id, reason="no"))
    assert (cancelled.status, cancelled.cancel_requested) == (ExecutionStatus.CANCELLED, True)
    again = await client.cancel_execution(CancelExecution(execution_id=asked.execution_id))
    assert again.status is ExecutionStatus.CANCELLED


async def test_realms_say_what_can_be_asked_for(client: RuntimeClient) -> None:
    from contracts.declare import NOTHING  # noqa: PLC0415

    realms = await client.get_realms(NOTHING)
    assert {(realm.realm, intent.intent) for realm in realms.realms for intent in realm.intents} >= {
        ("browser", "visit"),
        ("workflow", "run"),
    }


async def test_an_answer_that_was_accepted_and_comes_second_is_an_execution_that_failed(
    client: RuntimeClient, ground: Ground, tenant_id: TenantId
) -> None:
    asked = ask()
    await client.submit_execution(asked)
    runs = Runs(ground.db, ground.queue)
    claimed = await runs.claim(tenant_id, asked.execution_id, "worker")
    assert claimed is not None
    failure = Failure(code=FailureCode.INTERRUPTED_UNSAFE, message="?", hint="", asks_about="open")
    question = Question(node_id="open", node_name="open", message="?", hint="")
    await runs.finish(claimed.lease, Change(), End(status=ExecutionStatus.FAILED, failure=failure, question=question))
    answer = {"execution_id": str(asked.execution_id), "answers": {"open": "happened"}}
    first, second = [ask(realm="execution", intent="retry", parameters=answer, deferred=True) for _ in range(2)]
    assert (await client.submit_execution(first)).status is ExecutionStatus.PENDING
    assert (await client.submit_execution(second)).status is ExecutionStatus.FAILED
    ended = await client.get_execution(ReadExecution(execution_id=second.execution_id))
    assert ended.error is not None
    assert "answered already" in ended.error.message
