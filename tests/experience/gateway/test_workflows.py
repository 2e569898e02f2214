"""Workflows through Experience: forwarded for the caller's tenant, audited where something changed."""

from uuid import uuid4

from tests.support.house import House, Json, Visitor

DOCUMENT: Json = {
    "name": "Shop",
    "nodes": [{"id": "a", "type": "navigate", "data": {"inputs": {"Url": None}, "settings": {"x": 1}}}],
    "edges": [],
}


async def create(visitor: Visitor) -> Json:
    answer = await visitor.http.post("/api/workflow", json=DOCUMENT)
    assert answer.status_code == 201, answer.text
    body: Json = answer.json()
    return body


async def test_create_read_save_list_delete(ada: Visitor) -> None:
    made = await create(ada)
    path = f"/api/workflow/{made['workflow_id']}"
    read = await ada.http.get(path)
    assert read.json() == made
    assert read.json()["document"]["nodes"][0]["data"]["inputs"] == {"Url": None}
    tag = read.headers["etag"]
    saved = await ada.http.put(path, json=DOCUMENT | {"name": "Shop 2"}, headers={"if-match": tag})
    assert (saved.status_code, saved.json()["version"]) == (200, 2)
    assert saved.headers["etag"] != tag
    stale = await ada.http.put(path, json=DOCUMENT, headers={"if-match": tag})
    assert (stale.status_code, stale.json()["code"]) == (409, "version_conflict")
    assert [one["name"] for one in (await ada.http.get("/api/workflow")).json()["items"]] == ["Shop 2"]
    assert (await ada.http.get(f"{path}/versions")).json()["items"][0]["version"] == 2
    assert (await ada.http.post(f"{path}/validate")).json()["valid"] is True
    assert (await ada.http.delete(path)).status_code == 204
    assert (await ada.http.get(path)).status_code == 404


async def test_a_document_is_checked_without_being_stored(ada: Visitor) -> None:
    answer = await ada.http.post("/api/workflow/validate", json={"name": "Empty"})
    assert (answer.status_code, answer.json()["valid"]) == (200, True)
    assert (await ada.http.get("/api/workflow")).json()["items"] == []


async def test_another_tenants_workflow_is_unknown(ada: Visitor, bob: Visitor) -> None:
    path = f"/api/workflow/{(await create(ada))['workflow_id']}"
    answers = [
        await bob.http.get(path),
        await bob.http.put(path, json=DOCUMENT),
        await bob.http.delete(path),
        await bob.http.get(f"{path}/versions"),
        await bob.http.post(f"{path}/validate"),
    ]
    assert [answer.status_code for answer in answers] == [404] * 5
    assert (await bob.http.get("/api/workflow")).json()["items"] == []


async def test_changes_are_audited(ada: Visitor) -> None:
    made = await create(ada)
    path = f"/api/workflow/{made['workflow_id']}"
    await ada.http.put(path, json=DOCUMENT)
    await ada.http.delete(path)
    await ada.http.delete(f"/api/workflow/{uuid4()}")
    trail = (await ada.http.get("/api/admin/audit")).json()["items"]
    subject = f"workflow:{made['workflow_id']}"
    noted = [(one["act"], one["detail"]) for one in trail if one["subject"] == subject]
    assert noted == [("workflow_deleted", {}), ("workflow_saved", {"version": 2}), ("workflow_saved", {"version": 1})]
    assert not any(one["act"] == "workflow_deleted" and one["subject"] != subject for one in trail)


async def test_the_node_catalogue_is_kept_for_a_moment(house: House, ada: Visitor, bob: Visitor) -> None:
    await ada.http.get("/api/node-types")
    house.runtime.calls.clear()
    answers = [await ada.http.get("/api/node-types"), await bob.http.get("/api/node-types")]
    assert [answer.json()["items"][0]["type"] for answer in answers] == ["navigate", "navigate"]
    assert house.runtime.calls["get_node_types"] <= 1


async def test_viewers_read_and_change_nothing(house: House, ada: Visitor) -> None:
    made = await create(ada)
    key = await ada.http.post("/api/auth/keys", json={"name": "reader", "scopes": ["workflow:read"]})
    async with house.visit(key.json()["secret"]) as reader:
        path = f"/api/workflow/{made['workflow_id']}"
        assert (await reader.get(path)).status_code == 200
        assert (await reader.put(path, json=DOCUMENT)).status_code == 403
        assert (await reader.delete(path)).status_code == 403
        assert (await reader.post(f"{path}/run", json={})).status_code == 403
        assert (await reader.get("/api/execution")).status_code == 403
