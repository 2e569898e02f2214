"""Another tenant's id answers as an unknown one, at every endpoint that takes an id."""

from typing import Any
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from contracts.api.public import PublicApi
from contracts.declare import Endpoint, endpoints
from contracts.model import ExecutionId
from tests.e2e.conftest import Person, Stack
from tests.e2e.work import node, start, visit_and_read, wait_for_end, watch

IDS_OF_PEOPLE = {"tenant_id", "user_id"}
"""Their endpoints need roles and are tested where those are."""

with_ids = [
    pytest.param(endpoint, id=name)
    for name, endpoint in endpoints(PublicApi)
    if endpoint.path_fields and not IDS_OF_PEOPLE & set(endpoint.path_fields)
]


@pytest.fixture
async def belongings(person: Person, shop: str) -> dict[str, str]:
    """One of everything that has an id."""
    execution_id = await start(person, visit_and_read(shop, node("save", "save_login", Profile="shop")))
    status = await wait_for_end(person, execution_id)
    assert status.artifacts
    pending = await person.http.post(
        "/api/intent",
        json={"realm": "browser", "intent": "visit", "parameters": {"url": shop}},
        headers=person.bearer,
    )
    key = await person.http.post("/api/auth/keys", json={"name": "k"}, headers=person.bearer)
    credential = await person.http.post(
        "/api/credential",
        json={"name": "shop", "kind": "token", "values": {"token": "let-me-in"}},
        headers=person.bearer,
    )
    profiles = await person.http.get("/api/browser-profile", headers=person.bearer)
    session = await person.http.post("/api/session", json={}, headers=person.bearer)
    return {
        "workflow_id": str(status.workflow_id),
        "execution_id": str(execution_id),
        "intent_id": pending.json()["intent_id"],
        "artifact_id": str(status.artifacts[0].artifact_id),
        "key_id": key.json()["key"]["key_id"],
        "credential_id": credential.json()["credential_id"],
        "browser_profile_id": profiles.json()["items"][0]["browser_profile_id"],
        "session_id": session.json()["session"]["session_id"],
    }


def sample_of(endpoint: Endpoint[Any, Any], tenant_id: UUID) -> dict[str, Any]:
    """Query and body that are right in all but the id."""
    bodies: dict[str, dict[str, Any]] = {
        "/api/session/{session_id}/upgrade": {"session_token": "x"},
        "/api/workflow/{workflow_id}": {"name": "mine now"},
        "/api/credential/{credential_id}/values": {"values": {"token": "mine-now"}},
        "/api/intent/{intent_id}/answer": {"answer": "happened"},
        "/api/execution/{execution_id}/answer": {"answer": "happened"},
    }
    params = {"tenant_id": str(tenant_id)} if "tenant_id" in endpoint.places else {}
    return {"params": params, "json": bodies.get(endpoint.path, {}) if endpoint.has_body else None}


async def test_a_strangers_id_is_an_unknown_one(belongings: dict[str, str], person: Person, stranger: Person) -> None:
    for param in with_ids:
        endpoint: Endpoint[Any, Any] = param.values[0]  # type: ignore[assignment]
        for tenant in (person, stranger):
            sent = sample_of(endpoint, tenant.grant.tenant.tenant_id)
            theirs = endpoint.path.format(**{name: belongings[name] for name in endpoint.path_fields})
            nobodys = endpoint.path.format(**{name: uuid7() for name in endpoint.path_fields})
            told = await stranger.http.request(endpoint.method, theirs, headers=stranger.bearer, **sent)
            unknown = await stranger.http.request(endpoint.method, nobodys, headers=stranger.bearer, **sent)
            assert told.status_code == unknown.status_code == 404, (endpoint.method, theirs, told.text)
            ours, other = told.json(), unknown.json()
            assert ours["code"] == other["code"]
            assert ours["hint"] == other["hint"]
    still_there = await person.http.get(f"/api/workflow/{belongings['workflow_id']}", headers=person.bearer)
    assert still_there.json()["name"] == "Read the heading"


@pytest.mark.parametrize("path", ["/api/execution/{}/stream", "/api/ws/executions/{}"])
async def test_a_strangers_stream_is_an_unknown_one(
    stack: Stack, belongings: dict[str, str], stranger: Person, path: str
) -> None:
    theirs, code = await watch(stack, stranger, path.format(belongings["execution_id"]))
    nobodys, other_code = await watch(stack, stranger, path.format(ExecutionId(uuid7())))
    assert code == other_code == 4404
    assert [frame["type"] for frame in theirs] == [frame["type"] for frame in nobodys]


async def test_status_asks_for_the_callers_tenant(belongings: dict[str, str], person: Person, stranger: Person) -> None:
    path = f"/api/execution/{belongings['execution_id']}/status"
    without = await person.http.get(path, headers=person.bearer)
    foreign = await person.http.get(
        path, headers=person.bearer, params={"tenant_id": str(stranger.grant.tenant.tenant_id)}
    )
    own = await person.http.get(path, headers=person.bearer, params={"tenant_id": str(person.grant.tenant.tenant_id)})
    assert (without.status_code, foreign.status_code, own.status_code) == (422, 404, 200)
