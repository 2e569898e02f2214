"""Whatever is sent, the answer is a problem document with a code and a way out, and nothing is half done."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest

from contracts.api.public import PublicApi
from contracts.declare import Endpoint, endpoints
from contracts.model import TenantId
from tests.support.house import House, Visitor, register

AnyEndpoint = Endpoint[Any, Any]
ID = "0199a000-0000-7000-8000-000000000000"
WITH_BODY = [pytest.param(endpoint, id=name) for name, endpoint in endpoints(PublicApi) if endpoint.has_body]
WITH_ID = [
    ("GET", "/api/intent/{}"),
    ("POST", "/api/intent/{}/cancel"),
    ("GET", "/api/execution/{}/status?tenant_id={tenant}"),
    ("GET", "/api/execution/{}/events"),
    ("GET", "/api/execution/{}/steps"),
    ("GET", "/api/execution/{}/artifacts"),
    ("POST", "/api/execution/{}/cancel"),
    ("GET", "/api/session/{}"),
    ("DELETE", "/api/session/{}"),
    ("GET", "/api/artifact/{}"),
    ("GET", "/api/artifact/{}/metadata"),
    ("GET", "/api/workflow/{}"),
    ("GET", "/api/workflow/{}/versions"),
    ("POST", "/api/workflow/{}/validate"),
    ("DELETE", "/api/workflow/{}"),
]
VISIT: dict[str, Any] = {"realm": "browser", "intent": "visit", "parameters": {"url": "https://shop.test"}}


@pytest.fixture(scope="module")
def resident(standing_house: House) -> tuple[TenantId, str]:
    """Somebody who may go everywhere and stays for all these tests: none of them leaves anything behind."""

    async def move_in() -> tuple[TenantId, str]:
        visitor = await register(standing_house)
        await visitor.http.aclose()
        connection = await asyncpg.connect(standing_house.database.superuser_dsn)
        await connection.execute(
            "UPDATE experience.users SET operator = true FROM experience.memberships m "
            "WHERE m.user_id = users.user_id AND m.tenant_id = $1",
            visitor.tenant_id,
        )
        await connection.close()
        return visitor.tenant_id, visitor.token

    return asyncio.run(move_in())


@pytest.fixture
async def ada(house: House, resident: tuple[TenantId, str]) -> AsyncIterator[Visitor]:
    tenant_id, token = resident
    async with house.visit(token) as http:
        yield Visitor(http, tenant_id, token)


def path_of(endpoint: AnyEndpoint) -> str:
    return endpoint.path.format(**dict.fromkeys(endpoint.path_fields, ID))


async def send(ada: Visitor, endpoint: AnyEndpoint, content: bytes, kind: str = "application/json") -> httpx.Response:
    headers = {"content-type": kind}
    return await ada.http.request(endpoint.method, path_of(endpoint), content=content, headers=headers)


def check(answer: Any, status: int, code: str) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    problem: dict[str, Any] = answer.json()
    assert (answer.status_code, problem["status"], problem["code"]) == (status, status, code)
    assert problem["detail"]
    assert problem["hint"]
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert "Traceback" not in answer.text
    return problem


@pytest.mark.parametrize("endpoint", WITH_BODY)
@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"{", 400, "malformed"),
        (b'{"a": NaN}', 400, "malformed"),
        (b"\xff\xfe{}", 400, "malformed"),
        (b'{"name": "\\ud800"}', 400, "malformed"),
        (b"[" * 100_000, 400, "malformed"),
        (b"[1]", 422, "invalid"),
        (b'"text"', 422, "invalid"),
        (b"null", 422, "invalid"),
        (b'{"no such field": 1}', 422, "invalid"),
    ],
    ids=["cut", "nan", "not utf-8", "lone surrogate", "deep", "list", "string", "null", "unknown field"],
)
async def test_bodies_that_are_none(
    ada: Visitor, endpoint: AnyEndpoint, content: bytes, status: int, code: str
) -> None:
    check(await send(ada, endpoint, content), status, code)


@pytest.mark.parametrize("endpoint", WITH_BODY)
async def test_other_content_types(ada: Visitor, endpoint: AnyEndpoint) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        check(await send(ada, endpoint, b"{}", kind), 415, "unsupported_media_type")


@pytest.mark.parametrize("endpoint", WITH_BODY)
async def test_ten_megabytes(ada: Visitor, endpoint: AnyEndpoint) -> None:
    content = json.dumps({"name": "x" * max(10_000_000, endpoint.body_limit)}).encode()
    check(await send(ada, endpoint, content), 413, "too_large")


@pytest.mark.parametrize(("method", "path"), WITH_ID)
async def test_ids_that_are_none_and_ids_of_nothing(ada: Visitor, method: str, path: str) -> None:
    for one in (str(uuid4()), "42", "null", "a" * 3_000, "..%2f..%2fadmin", f"{ID}%3Ftenant_id=1"):
        answer = await ada.http.request(method, path.format(one, tenant=ada.tenant_id))
        check(answer, 404, "not_found")
    check(await ada.http.request(method, path.format("%00", tenant=ada.tenant_id)), 422, "invalid")


async def test_what_is_no_id_is_said_to_be_none(ada: Visitor) -> None:
    looks = "one looks like 01890a5d-ac96-774b-bcce-b302099a8057."
    problem = check(await ada.http.get("/api/workflow/42"), 404, "not_found")
    assert problem["detail"] == f"Nothing has that workflow_id: this is no id; {looks}"
    problem = check(await ada.http.get("/api/execution?workflow_id=42"), 422, "invalid")
    assert problem["detail"] == f"query.workflow_id: This is no id; {looks}"
    node = {"id": "", "type": "delay"}
    problem = check(await ada.http.post("/api/workflow/validate", json={"name": "n", "nodes": [node]}), 422, "invalid")
    assert problem["detail"] == "body.nodes[0].id: Must not be empty."


SHUT = [(endpoint.method, path_of(endpoint)) for _, endpoint in endpoints(PublicApi) if endpoint.scope is not None]


@pytest.mark.parametrize(("method", "path"), SHUT)
async def test_nothing_without_credentials(house: House, method: str, path: str) -> None:
    async with house.visit() as stranger:
        answer = await stranger.request(method, path)
    check(answer, 401, "unauthenticated")
    assert answer.headers["www-authenticate"]


@pytest.mark.parametrize(
    "body",
    [
        VISIT | {"realm": 1},
        VISIT | {"realm": ""},
        VISIT | {"intent": "i" * 101},
        VISIT | {"parameters": []},
        VISIT | {"parameters": "x"},
        VISIT | {"session_id": "no id"},
        VISIT | {"session_id": 7},
        VISIT | {"extra": True},
        {"intent": "visit"},
        VISIT | {"parameters": {"url": "a\x00b"}},
        VISIT | {"parameters": {"u\x00rl": "a"}},
        VISIT | {"realm": "bro\x00wser"},
        VISIT | {"parameters": {"url": "u", "tries": -(10**400)}},
        VISIT | {"parameters": {"url": "u", "x": [[[[[["deep"]]]]]]}},
    ],
)
async def test_wrong_fields_of_an_intent(house: House, ada: Visitor, body: dict[str, Any]) -> None:
    before = house.runtime.calls["submit_execution"]
    problem = check(await ada.http.post("/api/intent", json=body), 422, "invalid")
    assert problem["faults"]
    assert house.runtime.calls["submit_execution"] == before
    assert (await ada.http.get("/api/intent/pending")).json()["items"] == []


@pytest.mark.parametrize("digits", [400, 5_000, 200_000])
async def test_numbers_beyond_reason_are_stored_or_refused(house: House, ada: Visitor, digits: int) -> None:
    number = b"9" * digits
    content = b'{"realm":"browser","intent":"visit","parameters":{"url":"u","tries":%b}}' % number
    answer = await ada.http.post("/api/intent", content=content, headers={"content-type": "application/json"})
    if answer.status_code != 202:
        check(answer, 400, "malformed")
    else:
        kept = house.runtime.executions[ada.tenant_id][UUID(answer.json()["execution_id"])]
        assert kept.submitted.parameters["tries"] == 10**digits - 1


@pytest.mark.parametrize("key", [b"", b"k" * 256, b"with space", "ünïcode".encode()])
async def test_wrong_idempotency_keys(ada: Visitor, key: bytes) -> None:
    answer = await ada.http.post("/api/intent", json=VISIT, headers={b"idempotency-key": key})
    problem = check(answer, 422, "invalid")
    assert problem["faults"][0]["where"] == "header.Idempotency-Key"


@pytest.mark.parametrize(
    ("path", "where"),
    [
        ("/api/intent/pending?cursor=bogus", "query.cursor"),
        ("/api/intent/pending?cursor=", "query.cursor"),
        ("/api/intent/pending?cursor=%00", "request"),
        ("/api/intent/pending?limit=0", "query.limit"),
        ("/api/intent/pending?limit=201", "query.limit"),
        ("/api/intent/pending?limit=ten", "query.limit"),
        ("/api/intent/pending?limit=1&limit=2", "query.limit"),
        ("/api/intent/pending?colour=red", "query.colour"),
        ("/api/execution?cursor=bogus", "query.cursor"),
        ("/api/execution?status=flying", "query.status"),
        ("/api/execution?since=yesterday", "query.since"),
        ("/api/execution?since=0.5", "query.since"),
        (f"/api/execution/{ID}/events?after=-1", "query.after"),
        (f"/api/execution/{ID}/events?after=9007199254740993", "query.after"),
        (f"/api/execution/{ID}/events?after=one", "query.after"),
        (f"/api/execution/{ID}/events?after=1.5", "query.after"),
        (f"/api/execution/{ID}/events?limit=1001", "query.limit"),
        (f"/api/execution/{ID}/status?tenant_id=mine", "query.tenant_id"),
        (f"/api/execution/{ID}/status?tenant_id={ID}&include_visuals=perhaps", "query.include_visuals"),
        (f"/api/artifact/{ID}?link=" + "l" * 2_001, "query.link"),
    ],
)
async def test_wrong_queries(ada: Visitor, path: str, where: str) -> None:
    problem = check(await ada.http.get(path), 422, "invalid")
    assert problem["faults"][0]["where"] == where


@pytest.mark.parametrize("query", ["", "?tenant_id=", "?tenant_id=mine"], ids=["none", "empty", "no id"])
async def test_who_sends_no_tenant_is_told_where_its_id_is(ada: Visitor, query: str) -> None:
    accepted = await ada.accepted()
    path = f"/api/execution/{accepted['execution_id']}/status"
    fault = check(await ada.http.get(path + query), 422, "invalid")["faults"][0]
    assert fault["where"] == "query.tenant_id"
    assert "; links.status of what started this holds yours, and GET /api/auth/me has it as " in fault["detail"]
    assert (await ada.http.get(accepted["links"]["status"])).status_code == 200
    me = (await ada.http.get("/api/auth/me")).json()
    assert (await ada.http.get(path, params={"tenant_id": me["tenant"]["tenant_id"]})).status_code == 200


@pytest.mark.parametrize("end", ["", "/"])
async def test_who_looks_for_an_execution_itself_is_told_where_it_stands(ada: Visitor, end: str) -> None:
    problem = check(await ada.http.get(f"/api/execution/{ID}{end}"), 404, "not_found")
    assert f"/api/execution/{ID}/status?tenant_id=…" in problem["detail"]


@pytest.mark.parametrize(
    "ids", [[], ["x"], [ID] * 101, "one", [None]], ids=["none", "no id", "too many", "no list", "null"]
)
async def test_wrong_lists_of_artifacts(ada: Visitor, ids: Any) -> None:
    check(await ada.http.post("/api/artifact/resolve", json={"artifact_ids": ids}), 422, "invalid")


@pytest.mark.parametrize("method", ["PATCH", "TRACE", "PUT"])
async def test_other_methods(ada: Visitor, method: str) -> None:
    answer = await ada.http.request(method, "/api/intent")
    check(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"
    health = await ada.http.request(method, "/health")
    check(health, 405, "method_not_allowed")
    assert health.headers["allow"] == "GET, HEAD"


async def test_forged_headers_mean_nothing(ada: Visitor, bob: Visitor) -> None:
    accepted = await ada.accepted()
    forged = {"x-tenant-id": str(ada.tenant_id), "x-internal-token": "x", "X_User_Id": "1", "x-user-id": "1"}
    answer = await bob.http.get(f"/api/intent/{accepted['intent_id']}", headers=forged)
    check(answer, 404, "not_found")


async def test_a_suspended_tenant_reads_and_starts_nothing(house: House, bob: Visitor) -> None:
    accepted, running = await bob.accepted(), await bob.accepted()
    await house.suspend(bob.tenant_id)
    for answer in (
        await bob.submit(),
        await bob.http.post(f"/api/workflow/{ID}/run", json={}),
        await bob.http.post("/api/workflow", json={"name": "w"}),
    ):
        problem = check(answer, 403, "forbidden")
        assert "suspended" in problem["detail"]
    assert (await bob.status(accepted["execution_id"])).status_code == 200
    assert (await bob.http.get("/api/execution")).status_code == 200
    # but what runs can still be stopped, by either name
    intent = await bob.http.post(f"/api/intent/{accepted['intent_id']}/cancel", json={})
    assert intent.status_code == 202, intent.text
    execution = await bob.http.post(f"/api/execution/{running['execution_id']}/cancel", json={})
    assert execution.status_code == 202, execution.text
