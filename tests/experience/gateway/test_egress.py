"""Where a tenant's executions may go, over the public API: forwarded and audited."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

from contracts.egress import EgressRefusal
from contracts.identity import ROLE_SCOPES, Role, Scope
from contracts.model import ExecutionId
from tests.experience.test_dead_letters import read_audit
from tests.support.house import House, Visitor

DOOR = "/api/admin/egress"


async def test_an_admin_sets_both_lists_and_that_is_audited(house: House, ada: Visitor, bob: Visitor) -> None:
    assert (await ada.http.get(DOOR)).json()["allow"] == []
    answer = await ada.http.put(DOOR, json={"allow": [" *.example.org "], "deny": ["a.example"]})
    assert answer.status_code == 200, answer.text
    assert answer.json()["allow"] == ["*.example.org"]
    assert (await ada.http.get(DOOR)).json()["deny"] == ["a.example"]
    assert (await bob.http.get(DOOR)).json()["deny"] == []
    (entry,) = await read_audit(ada, "egress_changed")
    assert entry["detail"] == {"allow": ["*.example.org"], "deny": ["a.example"]}


async def test_too_many_entries_are_refused(house: House, ada: Visitor) -> None:
    answer = await ada.http.put(DOOR, json={"deny": ["a.example"] * 501})
    assert (answer.status_code, answer.json()["faults"][0]["where"]) == (422, "body.deny")


async def test_refusals_are_read(house: House, ada: Visitor, bob: Visitor) -> None:
    tenant_id = UUID((await ada.http.get("/api/auth/me")).json()["tenant"]["tenant_id"])
    refusal = EgressRefusal(
        refusal_id=uuid4(),
        execution_id=ExecutionId(uuid4()),
        host="10.0.0.1",
        port=80,
        rule="private",
        at=datetime.now(UTC),
    )
    house.runtime.refusals[tenant_id] = [refusal]
    (item,) = (await ada.http.get(f"{DOOR}/refusals")).json()["items"]
    assert (item["host"], item["rule"]) == ("10.0.0.1", "private")
    assert (await bob.http.get(f"{DOOR}/refusals")).json()["items"] == []


def test_only_admins_say_where_executions_may_go() -> None:
    assert {role for role, scopes in ROLE_SCOPES.items() if Scope.EGRESS in scopes} == {Role.OWNER, Role.ADMIN}
