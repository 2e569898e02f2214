"""Credentials over the public API: forwarded, audited, and never shown."""

from uuid import UUID

import pytest

from contracts.identity import ROLE_SCOPES, Role, Scope
from tests.experience.test_dead_letters import read_audit
from tests.support.house import House, Json, Visitor

CANARY = "canary-4f1d9e"
LOGIN = {
    "name": "shop",
    "kind": "login",
    "values": {"username": "ada", "password": CANARY},
    "domains": ["Shop.Example", "*.shop.example:8443"],
}


async def create(visitor: Visitor, **changes: object) -> Json:
    answer = await visitor.http.post("/api/credential", json=LOGIN | changes)
    assert answer.status_code == 201, answer.text
    made: Json = answer.json()
    return made


async def test_values_go_in_and_nothing_but_their_names_comes_out(house: House, ada: Visitor, bob: Visitor) -> None:
    made = await create(ada)
    assert (made["fields"], made["version"]) == (["username", "password"], 1)
    assert made["domains"] == ["shop.example", "*.shop.example:8443"]
    assert house.runtime.values[UUID(made["credential_id"])] == LOGIN["values"]
    door = f"/api/credential/{made['credential_id']}"
    listed = await ada.http.get("/api/credential")
    assert [item["name"] for item in listed.json()["items"]] == ["shop"]
    read, uses = await ada.http.get(door), await ada.http.get(f"{door}/uses")
    assert all(CANARY not in answer.text for answer in (listed, read, uses))
    assert (await bob.http.get(door)).status_code == 404
    assert (await bob.http.get("/api/credential")).json()["items"] == []


async def test_every_change_is_audited_without_values(house: House, ada: Visitor) -> None:
    made = await create(ada)
    door = f"/api/credential/{made['credential_id']}"
    changed = await ada.http.patch(door, json={"name": "store", "domains": []})
    assert (changed.json()["name"], changed.json()["domains"]) == ("store", [])
    replaced = await ada.http.put(f"{door}/values", json={"values": {"username": "ada", "password": f"{CANARY}-2"}})
    assert replaced.json()["version"] == 2
    assert (await ada.http.delete(door)).status_code == 204
    assert (await ada.http.get(door)).status_code == 404
    for act, name in (("created", "shop"), ("changed", "store"), ("replaced", "store"), ("deleted", "store")):
        (entry,) = await read_audit(ada, f"credential_{act}")
        assert (entry["subject"], entry["detail"]["name"]) == (f"credential:{made['credential_id']}", name)
        assert CANARY not in str(entry)


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"values": {"username": "ada"}}, "no more and no less"),
        ({"values": {"username": "ada", "password": "abc"}}, "too short"),
        ({"values": {"username": "ada", "password": CANARY, "pin": CANARY}}, "no more and no less"),
        ({"kind": "fields", "values": {"two words": CANARY}}, "body.values"),
        ({"kind": "header", "values": {"name": "x y", "value": CANARY}}, "HTTP header"),
        ({"domains": ["https://shop.example"]}, "body.domains[0]"),
        ({"name": "my shop"}, "body.name"),
    ],
)
async def test_what_does_not_fit_is_refused_without_being_quoted(
    house: House, ada: Visitor, changes: Json, where: str
) -> None:
    answer = await ada.http.post("/api/credential", json=LOGIN | changes)
    assert answer.status_code == 422, answer.text
    assert where in answer.text
    assert CANARY not in answer.text


def test_members_see_names_and_only_admins_say_where_they_go() -> None:
    may_write = {role for role, scopes in ROLE_SCOPES.items() if Scope.CREDENTIAL_WRITE in scopes}
    may_read = {role for role, scopes in ROLE_SCOPES.items() if Scope.CREDENTIAL_READ in scopes}
    assert may_write == {Role.OWNER, Role.ADMIN}
    assert may_read == {Role.OWNER, Role.ADMIN, Role.MEMBER}
