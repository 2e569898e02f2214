"""What the other side says arrives as it was said; what it could not say arrives as unavailable."""

from uuid import UUID

import httpx
import pytest
import respx

from contracts.errors import ApiError, Code
from contracts.execution import CancelExecution, ExecutionRef, ListExecutions, ReadStatus
from contracts.model import ExecutionId, TenantId
from contracts.wiring.client import PublicClient
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
