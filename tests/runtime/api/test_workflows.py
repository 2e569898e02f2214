"""The workflows' endpoints: versions, If-Match, validation, deletion; running what was stored."""

from typing import Any

import pytest
from uuid_utils.compat import uuid7

from contracts.declare import NOTHING
from contracts.errors import ApiError, Code
from contracts.execution import ExecutionStatus, ReadExecution, TenantState
from contracts.model import TenantId, WorkflowId
from contracts.wiring.client import RuntimeClient
from contracts.workflow import (
    CreateWorkflow,
    DeleteWorkflow,
    ListWorkflows,
    ReadWorkflow,
    SaveWorkflow,
    ValidateDocument,
    WorkflowRef,
    WorkflowStatus,
)
from runtime.app import Ground
from runtime.store.sandboxes import SandboxReports
from tests.runtime.api.conftest import MakeClient
from tests.runtime.api.test_executions import ask

DELAY = {"id": "wait", "type": "delay", "data": {"inputs": {"duration": 0.1}}}


def draw(**changes: Any) -> dict[str, Any]:
    return {"name": "Tea", "nodes": [DELAY], **changes}


async def test_a_document_is_stored_normalised_with_its_plan(client: RuntimeClient) -> None:
    stored = await client.create_workflow(CreateWorkflow(**draw(id="mine", status="active")))
    assert (stored.version, stored.valid, stored.phases, stored.status) == (1, True, [["wait"]], WorkflowStatus.DRAFT)
    assert stored.document.nodes[0].data.inputs == {"Duration": 0.1}
    assert stored.document.id is None
    read = await client.get_workflow(ReadWorkflow(workflow_id=stored.workflow_id))
    assert read == stored


async def test_an_invalid_draft_is_stored_and_says_what_is_missing(client: RuntimeClient) -> None:
    stored = await client.create_workflow(CreateWorkflow(name="Half", nodes=[]))
    assert (stored.valid, stored.phases) == (False, [])
    assert stored.faults
    checked = await client.validate_workflow(WorkflowRef(workflow_id=stored.workflow_id))
    assert checked.faults == stored.faults
    run = ask(realm="workflow", intent="run", parameters={"workflow_id": str(stored.workflow_id)})
    with pytest.raises(ApiError) as refused:
        await client.submit_execution(run)
    assert refused.value.code is Code.WORKFLOW_INVALID
    assert refused.value.faults == stored.faults


async def test_versions_are_numbered_and_never_change(client: RuntimeClient) -> None:
    first = await client.create_workflow(CreateWorkflow(**draw()))
    moved = draw(nodes=[{**DELAY, "position": {"x": 5, "y": 6}}])
    second = await client.save_workflow(SaveWorkflow(workflow_id=first.workflow_id, if_match=first.etag, **moved))
    third = await client.save_workflow(
        SaveWorkflow(workflow_id=first.workflow_id, if_match=f'"{second.etag}"', **draw(name="Coffee"))
    )
    versions = (await client.list_versions(WorkflowRef(workflow_id=first.workflow_id))).items
    assert [version.version for version in versions] == [3, 2, 1]
    assert versions[1].content_hash == versions[2].content_hash  # only the layout changed
    assert versions[0].content_hash != versions[1].content_hash
    assert len({version.etag for version in versions}) == 3
    old = await client.get_workflow(ReadWorkflow(workflow_id=first.workflow_id, version=1))
    assert (old.document, old.name, third.name) == (first.document, "Tea", "Coffee")
    with pytest.raises(ApiError) as refused:
        await client.get_workflow(ReadWorkflow(workflow_id=first.workflow_id, version=4))
    assert refused.value.code is Code.NOT_FOUND


async def test_a_lost_update_is_named(client: RuntimeClient) -> None:
    first = await client.create_workflow(CreateWorkflow(**draw()))
    second = await client.save_workflow(SaveWorkflow(workflow_id=first.workflow_id, if_match=first.etag, **draw()))
    for stale in (first.etag, "nonsense"):
        with pytest.raises(ApiError) as refused:
            await client.save_workflow(SaveWorkflow(workflow_id=first.workflow_id, if_match=stale, **draw()))
        assert refused.value.code is Code.VERSION_CONFLICT
        assert second.etag in refused.value.detail
    unconditional = await client.save_workflow(SaveWorkflow(workflow_id=first.workflow_id, **draw()))
    assert unconditional.version == 3


async def test_a_running_version_is_pinned(client: RuntimeClient) -> None:
    first = await client.create_workflow(CreateWorkflow(**draw()))
    run = ask(realm="workflow", intent="run", parameters={"workflow_id": str(first.workflow_id), "inputs": {"a": 1}})
    started = await client.submit_execution(run)
    other = {**DELAY, "id": "other"}
    await client.save_workflow(SaveWorkflow(workflow_id=first.workflow_id, **draw(nodes=[other])))
    execution = await client.get_execution(ReadExecution(execution_id=run.execution_id))
    assert (started.workflow_version, execution.phases[0].nodes) == (1, ["wait"])
    newer = await client.submit_execution(
        ask(realm="workflow", intent="run", parameters={"workflow_id": str(first.workflow_id)})
    )
    assert newer.workflow_version == 2


async def test_deleting_asks_before_it_cancels_and_history_stays(client: RuntimeClient) -> None:
    stored = await client.create_workflow(CreateWorkflow(**draw()))
    run = ask(realm="workflow", intent="run", parameters={"workflow_id": str(stored.workflow_id)})
    await client.submit_execution(run)
    with pytest.raises(ApiError) as refused:
        await client.delete_workflow(DeleteWorkflow(workflow_id=stored.workflow_id))
    assert refused.value.code is Code.CONFLICT
    await client.delete_workflow(DeleteWorkflow(workflow_id=stored.workflow_id, force=True))
    with pytest.raises(ApiError) as gone:
        await client.get_workflow(ReadWorkflow(workflow_id=stored.workflow_id))
    assert gone.value.code is Code.NOT_FOUND
    execution = await client.get_execution(ReadExecution(execution_id=run.execution_id))
    assert (execution.status, [node.node_id for node in execution.nodes]) == (ExecutionStatus.CANCELLED, ["wait"])
    assert (await client.list_workflows(ListWorkflows())).items == []


async def test_a_tenant_may_keep_so_many(client: RuntimeClient, tenant_id: TenantId) -> None:
    await client.set_tenant(TenantState(tenant_id=tenant_id, suspended=False, max_workflows=1))
    await client.create_workflow(CreateWorkflow(**draw()))
    with pytest.raises(ApiError) as refused:
        await client.create_workflow(CreateWorkflow(**draw()))
    assert refused.value.code is Code.LIMIT_REACHED


async def test_lists_page_and_filter(client: RuntimeClient) -> None:
    for number in range(3):
        await client.create_workflow(CreateWorkflow(**draw(name=f"Tea {number}")))
    first = await client.list_workflows(ListWorkflows(limit=2))
    rest = await client.list_workflows(ListWorkflows(limit=2, cursor=first.next_cursor))
    assert [item.name for item in [*first.items, *rest.items]] == ["Tea 2", "Tea 1", "Tea 0"]
    assert rest.next_cursor is None
    found = await client.list_workflows(ListWorkflows(text="tea 1"))
    assert [(item.name, item.nodes, item.valid) for item in found.items] == [("Tea 1", 1, True)]
    assert (await client.list_workflows(ListWorkflows(status=WorkflowStatus.ACTIVE))).items == []


async def test_a_document_is_checked_without_being_stored(client: RuntimeClient) -> None:
    good = await client.validate_document(ValidateDocument(**draw()))
    assert (good.valid, good.phases) == (True, [["wait"]])
    bad = await client.validate_document(ValidateDocument(**draw(nodes=[{**DELAY, "type": "teleport"}])))
    assert [fault.rule for fault in bad.faults] == ["unknown_node_type"]
    assert (await client.list_workflows(ListWorkflows())).items == []


async def test_domains_that_are_none_are_named(client: RuntimeClient) -> None:
    drawn = draw(settings={"allowed_domains": ["*.example.org", "http://x"]})
    checked = await client.validate_document(ValidateDocument(**drawn))
    assert [(fault.where, fault.rule) for fault in checked.faults] == [("body.settings.allowed_domains[1]", "entry")]
    stored = await client.create_workflow(CreateWorkflow(**drawn))
    assert not stored.valid


async def test_nothing_of_another_tenant_is_found(client: RuntimeClient, make_client: MakeClient) -> None:
    stored = await client.create_workflow(CreateWorkflow(**draw()))
    stranger = make_client(TenantId(uuid7()))
    for attempt in (
        stranger.get_workflow(ReadWorkflow(workflow_id=stored.workflow_id)),
        stranger.save_workflow(SaveWorkflow(workflow_id=stored.workflow_id, **draw())),
        stranger.list_versions(WorkflowRef(workflow_id=stored.workflow_id)),
        stranger.delete_workflow(DeleteWorkflow(workflow_id=stored.workflow_id)),
        stranger.get_workflow(ReadWorkflow(workflow_id=WorkflowId(uuid7()))),
    ):
        with pytest.raises(ApiError) as refused:
            await attempt
        assert refused.value.code is Code.NOT_FOUND


async def test_code_that_no_worker_can_run_is_marked_and_warned_of(client: RuntimeClient, ground: Ground) -> None:
    code = ValidateDocument(**draw(nodes=[{"id": "code", "type": "run_code", "data": {"inputs": {"Code": "x = 1"}}}]))
    lacking, other = SandboxReports(ground.system, "lacks-a-sandbox"), SandboxReports(ground.system, "has-one")
    try:
        assert await find_unavailable(client) == {}
        await lacking.tell("none", "bwrap is not installed.")
        assert await find_unavailable(client) == {"run_code": "bwrap is not installed."}
        found = await client.validate_document(code)
        assert (found.valid, [fault.rule for fault in found.warnings]) == (True, ["unavailable_node_type"])
        assert "bwrap is not installed" in found.warnings[0].detail
        await other.tell("landlock", "")
        assert await find_unavailable(client) == {}
        assert (await client.validate_document(code)).warnings == []
    finally:
        await lacking.leave()
        await other.leave()


async def find_unavailable(client: RuntimeClient) -> dict[str, str]:
    return {kind.type: kind.unavailable for kind in (await client.get_node_types(NOTHING)).items if kind.unavailable}


async def test_the_catalogue_lists_node_types(client: RuntimeClient) -> None:
    types = {kind.type for kind in (await client.get_node_types(NOTHING)).items}
    assert types >= {"launch_standard_browser", "navigate", "fill_input", "click_element", "delay", "screenshot"}
