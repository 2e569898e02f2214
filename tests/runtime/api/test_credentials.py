"""The vault over the internal wire."""

import pytest
from uuid_utils.compat import uuid7

from contracts.credential import (
    ChangeCredential,
    CreateCredential,
    CredentialRef,
    ListCredentials,
    ListUses,
    ReplaceValues,
)
from contracts.errors import ApiError, Code
from contracts.model import TenantId
from contracts.wiring.client import RuntimeClient
from contracts.workflow import CreateWorkflow, ReadWorkflow, ValidateDocument, WorkflowRef
from tests.runtime.api.conftest import MakeClient
from tests.runtime.api.test_executions import ask

CANARY = "canary-e09a1b"


def token(name: str = "api") -> CreateCredential:
    return CreateCredential.model_validate({"name": name, "kind": "token", "values": {"token": CANARY}})


async def test_it_is_kept_changed_replaced_and_deleted(client: RuntimeClient) -> None:
    made = await client.create_credential(token())
    ref = CredentialRef(credential_id=made.credential_id)
    changed = await client.change_credential(
        ChangeCredential.model_validate({"credential_id": made.credential_id, "name": "b", "domains": ["b.test"]})
    )
    assert (changed.name, changed.domains, changed.version) == ("b", ["b.test"], 1)
    values = {"token": "another one"}
    replaced = await client.replace_values(ReplaceValues(credential_id=made.credential_id, values=values))
    assert (await client.get_credential(ref)) == replaced
    assert replaced.version == 2
    await client.delete_credential(ref)
    with pytest.raises(ApiError, match="No such"):
        await client.get_credential(ref)


async def test_pages_follow_each_other(client: RuntimeClient) -> None:
    for number in range(5):
        await client.create_credential(token(f"n{number}"))
    first = await client.list_credentials(ListCredentials(limit=3))
    second = await client.list_credentials(ListCredentials(limit=3, cursor=first.next_cursor))
    assert [one.name for one in (*first.items, *second.items)] == ["n4", "n3", "n2", "n1", "n0"]
    assert second.next_cursor is None


async def test_another_tenants_is_not_found(client: RuntimeClient, make_client: MakeClient) -> None:
    made = await client.create_credential(token())
    stranger, ref = make_client(TenantId(uuid7())), CredentialRef(credential_id=made.credential_id)
    for asked in (
        stranger.get_credential(ref),
        stranger.change_credential(ChangeCredential(credential_id=ref.credential_id, domains=[])),
        stranger.replace_values(ReplaceValues(credential_id=ref.credential_id, values={"token": "mine now"})),
        stranger.delete_credential(ref),
        stranger.list_uses(ListUses(credential_id=ref.credential_id)),
    ):
        with pytest.raises(ApiError) as refused:
            await asked
        assert refused.value.code is Code.NOT_FOUND
    assert (await stranger.list_credentials(ListCredentials())).items == []
    assert (await client.get_credential(ref)).version == 1


def draw(value: object, **inputs: object) -> dict[str, object]:
    """Open a page and type something."""
    return {
        "name": "Sign in",
        "nodes": [
            {"id": "open", "type": "launch_standard_browser", "data": {"inputs": {"Website URL": "http://a.test"}}},
            {"id": "fill", "type": "fill_input", "data": {"inputs": {"Selector": "#p", "Value": value, **inputs}}},
        ],
        "edges": [
            {"id": "e", "source": "open", "target": "fill", "sourceHandle": "Web Page", "targetHandle": "Web Page"}
        ],
    }


async def test_a_workflow_runs_once_what_it_asks_for_is_there(client: RuntimeClient) -> None:
    stored = await client.create_workflow(CreateWorkflow.model_validate(draw("Bearer {{credential.api.token}}")))
    ref = WorkflowRef(workflow_id=stored.workflow_id)
    run = ask(realm="workflow", intent="run", parameters={"workflow_id": str(stored.workflow_id)})
    (fault,) = stored.faults
    assert (stored.valid, fault.rule, fault.node_id, fault.handle) == (False, "unknown_credential", "fill", "Value")
    with pytest.raises(ApiError, match="no credential") as refused:
        await client.submit_execution(run)
    assert (refused.value.code, refused.value.faults) == (Code.WORKFLOW_INVALID, [fault])
    made = await client.create_credential(token())
    (fault,) = (await client.validate_workflow(ref)).faults
    assert fault.rule == "credential_without_domains"
    await client.change_credential(ChangeCredential(credential_id=made.credential_id, domains=["a.test"]))
    assert (await client.validate_workflow(ref)).valid
    assert (await client.get_workflow(ReadWorkflow(workflow_id=stored.workflow_id))).valid
    await client.submit_execution(run)
    other = await client.validate_document(ValidateDocument.model_validate(draw("{{credential.api.pin}}")))
    assert [fault.rule for fault in other.faults] == ["unknown_credential_field"]


@pytest.mark.parametrize(
    ("value", "selector", "rule"),
    [
        ("x", "{{credential.api.token}}", "credential_not_allowed"),
        ("{{credential.api}}", "#p", "credential_reference"),
        ("{{ credentials.api.token }}", "#p", "credential_reference"),
        ("${{credential.api.token}}", "#p", "expressions_not_supported_yet"),
    ],
)
async def test_a_reference_that_can_mean_nothing_is_a_fault(
    client: RuntimeClient, value: str, selector: str, rule: str
) -> None:
    document = ValidateDocument.model_validate(draw(value, Selector=selector))
    assert [fault.rule for fault in (await client.validate_document(document)).faults] == [rule]
