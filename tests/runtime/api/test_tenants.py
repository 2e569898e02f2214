"""Tenants: limits, a guest's work adopted, export, deletion."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from uuid_utils.compat import uuid7

from contracts.credential import CredentialKind
from contracts.declare import NOTHING
from contracts.egress import SetEgress
from contracts.errors import ApiError, Code
from contracts.execution import (
    AdoptTenant,
    ArtifactKind,
    CancelExecution,
    ExecutionRef,
    ExecutionStatus,
    ListExecutions,
    ReadEvents,
    TenantState,
)
from contracts.model import TenantId
from contracts.wiring.client import RuntimeClient
from contracts.workflow import CreateWorkflow, ListWorkflows
from runtime.app import Ground
from runtime.artifacts import ArtifactWriter
from runtime.store.changes import Change, End
from runtime.store.egress import RefusedHost, put_refusals
from runtime.store.runs import Runs
from runtime.store.tables import CredentialRow
from runtime.store.tool_events import ToolUse, put_tool_uses
from tests.runtime.api.conftest import MakeClient
from tests.runtime.api.test_executions import ask
from tests.runtime.api.test_workflows import draw

NOW = datetime.now(UTC)


async def finish_with_artifact(ground: Ground, client: RuntimeClient, tenant_id: TenantId) -> ExecutionRef:
    asked = ask()
    await client.submit_execution(asked)
    runs = Runs(ground.db, ground.queue)
    claimed = await runs.claim(tenant_id, asked.execution_id, "worker")
    assert claimed is not None
    writer = ArtifactWriter(ground.folder, tenant_id, asked.execution_id)
    blob = await writer.put("a", ArtifactKind.FILE, "x", "text/plain", b"x")
    await runs.finish(claimed.lease, Change(blobs=[blob]), End(status=ExecutionStatus.COMPLETED))
    return ExecutionRef(execution_id=asked.execution_id)


def files(ground: Ground) -> list[Path]:
    return [path for path in ground.settings.artifact_dir.rglob("*") if path.is_file()]


async def test_a_guests_work_moves_to_the_user(ground: Ground, make_client: MakeClient, tenant_id: TenantId) -> None:
    guest_id = TenantId(uuid7())
    guest, user = make_client(guest_id), make_client(tenant_id)
    ref = await finish_with_artifact(ground, guest, guest_id)
    await guest.create_workflow(CreateWorkflow(**draw()))
    moved = await user.adopt_tenant(AdoptTenant(guest_tenant_id=guest_id))
    assert moved.executions == 1
    assert (await user.adopt_tenant(AdoptTenant(guest_tenant_id=guest_id))).executions == 0
    assert [item.execution_id for item in (await user.list_executions(ListExecutions())).items] == [ref.execution_id]
    assert (await user.read_events(ReadEvents(execution_id=ref.execution_id))).head_seq == 2
    assert len((await user.list_artifacts(ref)).items) == 1
    assert len((await user.list_workflows(ListWorkflows())).items) == 1
    with pytest.raises(ApiError):
        await guest.read_events(ReadEvents(execution_id=ref.execution_id))
    await user.delete_tenant(NOTHING)
    assert files(ground) == []  # also those that lie in the guest's folder


async def test_a_guest_with_something_running_can_not_be_adopted_yet(
    make_client: MakeClient, tenant_id: TenantId
) -> None:
    guest_id = TenantId(uuid7())
    guest, user = make_client(guest_id), make_client(tenant_id)
    asked = ask()
    await guest.submit_execution(asked)
    with pytest.raises(ApiError) as refused:
        await user.adopt_tenant(AdoptTenant(guest_tenant_id=guest_id))
    assert refused.value.code is Code.CONFLICT
    await guest.cancel_execution(CancelExecution(execution_id=asked.execution_id))
    assert (await user.adopt_tenant(AdoptTenant(guest_tenant_id=guest_id))).executions == 1


def make_credential(tenant_id: TenantId) -> CredentialRow:
    return CredentialRow(
        credential_id=uuid7(),
        tenant_id=tenant_id,
        name="shop",
        kind=CredentialKind.TOKEN,
        fields=["token"],
        domains=[],
        version=1,
        data_key=b"k",
        sealed=b"s",
        created_by=None,
        created_at=NOW,
        updated_at=NOW,
        last_used_at=None,
    )


async def test_export_holds_all_rows_and_nobody_elses(
    ground: Ground, make_client: MakeClient, tenant_id: TenantId
) -> None:
    client, other = make_client(tenant_id), make_client(TenantId(uuid7()))
    ref = await finish_with_artifact(ground, client, tenant_id)
    await client.create_workflow(CreateWorkflow(**draw()))
    await other.submit_execution(ask())
    await client.set_egress(SetEgress(allow=["*.example.org"]))
    async with ground.db.write(tenant_id) as session:
        await put_refusals(session, ref.execution_id, [RefusedHost("10.0.0.1", 80, "private", NOW)])
        await put_tool_uses(session, ref.execution_id, [ToolUse("n", "run_code", "python", "ok", 1, 2, 0.5, NOW)])
        session.add(make_credential(tenant_id))
    export = await client.export_tenant(NOTHING)
    assert [item["allow"] for item in export.egress_lists] == [["*.example.org"]]
    assert [item["host"] for item in export.egress_refusals] == ["10.0.0.1"]
    assert [item["what"] for item in export.tool_events] == ["python"]
    (credential,) = export.credentials
    assert credential["name"] == "shop"
    assert not {"data_key", "sealed"} & credential.keys()
    assert (await other.export_tenant(NOTHING)).egress_lists == []
    assert [item["execution_id"] for item in export.executions] == [str(ref.execution_id)]
    assert [version["version"] for version in export.workflows[0]["versions"]] == [1]
    assert len(export.artifacts) == 1


async def test_deletion_leaves_no_row_and_no_file(ground: Ground, make_client: MakeClient, tenant_id: TenantId) -> None:
    client, other = make_client(tenant_id), make_client(TenantId(uuid7()))
    await finish_with_artifact(ground, client, tenant_id)
    asked = ask()
    await client.submit_execution(asked)
    await other.submit_execution(ask())
    with pytest.raises(ApiError) as refused:
        await client.delete_tenant(NOTHING)
    assert refused.value.code is Code.CONFLICT
    await client.cancel_execution(CancelExecution(execution_id=asked.execution_id))
    await client.delete_tenant(NOTHING)
    await client.delete_tenant(NOTHING)
    export = await client.export_tenant(NOTHING)
    assert (export.executions, export.workflows, export.artifacts) == ([], [], [])
    assert files(ground) == []
    assert len((await other.list_executions(ListExecutions())).items) == 1


async def test_a_token_speaks_for_its_own_tenant_only(client: RuntimeClient) -> None:
    with pytest.raises(ApiError) as refused:
        await client.set_tenant(TenantState(tenant_id=TenantId(uuid7()), suspended=True))
    assert refused.value.code is Code.FORBIDDEN
