"""What the other side says arrives as it was said; what it could not say arrives as unavailable."""

import json
from datetime import UTC, datetime
from uuid import UUID

import httpx
import pytest
import respx

from contracts.errors import ApiError, Code
from contracts.execution import CancelExecution, ExecutionRef, ListExecutions, ReadStatus, SubmitExecution
from contracts.model import ExecutionId, IntentId, TenantId
from contracts.wiring.client import PublicClient, RuntimeClient
from contracts.workflow import CreateWorkflow

ID = UUID("018f0000-0000-7000-8000-000000000001")
BASE = "http://stage"


@pytest.fixture
def http() -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=BASE)


@respx.mock
async def test_a_problem_crosses_unchanged(http: httpx.AsyncClient) -> None:
    respx.get(f"{BASE}/api/execution").respond(
        429,
        json={
            "type": "urn:stagedoor:problem:rate_limited",
            "title": "Rate limited",
            "status": 429,
            "detail": "Too many.",
            "hint": "Wait.",
            "code": "rate_limited",
            "request_id": "r",
            "faults": [],
            "retry_after": 3.0,
        },
    )
    with pytest.raises(ApiError) as caught:
        await PublicClient(http).list_executions(ListExecutions())
    assert (caught.value.code, caught.value.detail, caught.value.hint) == (Code.RATE_LIMITED, "Too many.", "Wait.")
    assert caught.value.retry_after == 3.0


@respx.mock
async def test_a_proxys_own_page_is_unavailable(http: httpx.AsyncClient) -> None:
    respx.get(f"{BASE}/api/execution").respond(502, text="Bad Gateway")
    with pytest.raises(ApiError) as caught:
        await PublicClient(http).list_executions(ListExecutions())
    assert caught.value.code is Code.UNAVAILABLE


@respx.mock
async def test_an_answer_against_the_declaration_is_unavailable(http: httpx.AsyncClient) -> None:
    respx.get(f"{BASE}/api/execution/{ID}/steps").respond(200, json={"things": 1})
    with pytest.raises(ApiError) as caught:
        await PublicClient(http).get_steps(ExecutionRef(execution_id=ExecutionId(ID)))
    assert caught.value.code is Code.UNAVAILABLE


@respx.mock
async def test_only_idempotent_calls_are_tried_again(http: httpx.AsyncClient) -> None:
    cancel = respx.post(f"{BASE}/api/execution/{ID}/cancel").mock(side_effect=httpx.ConnectError("refused"))
    create = respx.post(f"{BASE}/api/workflow").mock(side_effect=httpx.ConnectError("refused"))
    with pytest.raises(ApiError):
        await PublicClient(http).cancel_execution(CancelExecution(execution_id=ExecutionId(ID)))
    with pytest.raises(ApiError):
        await PublicClient(http).create_workflow(CreateWorkflow(name="x"))
    assert (cancel.call_count, create.call_count) == (3, 1)


@respx.mock
async def test_nor_do_idempotent_calls_end_with_a_proxy_that_has_just_lost_its_server(http: httpx.AsyncClient) -> None:
    gone = httpx.Response(502, text="Bad Gateway")
    listed = respx.get(f"{BASE}/api/runtime/executions").mock(
        side_effect=[gone, gone, httpx.Response(200, json={"items": [], "next_cursor": None})]
    )
    create = respx.post(f"{BASE}/api/workflow").mock(side_effect=[gone])
    assert (await RuntimeClient(http).list_executions(ListExecutions())).items == []
    with pytest.raises(ApiError) as caught:
        await PublicClient(http).create_workflow(CreateWorkflow(name="x"))
    assert caught.value.code is Code.UNAVAILABLE
    assert (listed.call_count, create.call_count) == (3, 1)


@respx.mock
async def test_a_silent_server_ends_in_timeout(http: httpx.AsyncClient) -> None:
    respx.get(f"{BASE}/api/execution").mock(side_effect=httpx.ReadTimeout("silent"))
    with pytest.raises(ApiError) as caught:
        await PublicClient(http).list_executions(ListExecutions())
    assert caught.value.code is Code.TIMEOUT


@respx.mock
async def test_fields_are_sent_where_the_declaration_says(http: httpx.AsyncClient) -> None:
    route = respx.get(f"{BASE}/api/execution/{ID}/status").respond(404, text="")
    request = ReadStatus(execution_id=ExecutionId(ID), tenant_id=TenantId(ID), include_visuals=True)
    with pytest.raises(ApiError):
        await PublicClient(http, lambda: {"authorization": "Bearer t"}).get_status(request)
    sent = route.calls.last.request
    assert dict(sent.url.params) == {
        "tenant_id": str(ID),
        "include_artifacts": "false",
        "include_visuals": "true",
    }
    assert sent.headers["authorization"] == "Bearer t"
    assert sent.content == b""


@respx.mock
async def test_a_null_in_a_body_arrives_as_null(http: httpx.AsyncClient) -> None:
    route = respx.post(f"{BASE}/api/runtime/executions").respond(503)
    submit = SubmitExecution(
        execution_id=ExecutionId(ID),
        intent_id=IntentId(ID),
        session_id=None,
        user_id=None,
        realm="browser",
        intent="visit",
        parameters={"selector": None},
        submitted_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    with pytest.raises(ApiError):
        await RuntimeClient(http).submit_execution(submit)
    sent = route.calls[0].request.content
    assert SubmitExecution.model_validate_json(sent) == submit
    assert "cancelled" not in json.loads(sent), "a Runtime that does not know the field refuses it for good"
    cancelled = submit.model_copy(update={"cancelled": ""})
    with pytest.raises(ApiError):
        await RuntimeClient(http).submit_execution(cancelled)
    assert json.loads(route.calls[-1].request.content)["cancelled"] == ""
