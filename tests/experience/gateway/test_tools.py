"""Calls of tools over the public API, and what executions did in the audit trail."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

from contracts.model import ExecutionId, NodeId
from contracts.tool import ToolEvent
from tests.support.fake_tools import make_act
from tests.support.house import House, Visitor


async def test_calls_of_tools_are_read(house: House, ada: Visitor, bob: Visitor) -> None:
    tenant_id = UUID((await ada.http.get("/api/auth/me")).json()["tenant"]["tenant_id"])
    event = ToolEvent(
        event_id=uuid4(),
        execution_id=ExecutionId(uuid4()),
        node_id=NodeId("ask"),
        user_id=None,
        tool="http_request",
        what="GET https://api.example/",
        outcome="ok",
        sent=0,
        received=12,
        seconds=0.25,
        at=datetime.now(UTC),
    )
    house.runtime.tool_events[tenant_id] = [event]
    (item,) = (await ada.http.get("/api/admin/tool-events")).json()["items"]
    assert (item["tool"], item["what"], item["received"]) == ("http_request", "GET https://api.example/", 12)
    assert (await bob.http.get("/api/admin/tool-events")).json()["items"] == []


async def test_what_executions_did_is_in_the_trail(house: House, ada: Visitor) -> None:
    tenant_id = UUID((await ada.http.get("/api/auth/me")).json()["tenant"]["tenant_id"])
    house.runtime.acts[tenant_id] = [make_act(0, datetime.now(UTC))]
    (item,) = (await ada.http.get("/api/admin/audit?act=credential_used")).json()["items"]
    assert (item["subject"], item["act"]) == ("credential:0", "credential_used")
    assert UUID(item["id"]).version == 4
