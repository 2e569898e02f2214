"""Workflows through Experience: forwarded for the caller's tenant, audited where something changed."""

import json
from uuid import uuid4

import pytest
import yaml

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
    blind = await ada.http.put(path, json=DOCUMENT)
    assert (blind.status_code, blind.json()["code"]) == (428, "precondition_required")
    assert "version 2" in blind.json()["detail"]
    assert f"If-Match: {saved.headers['etag']}" in blind.json()["hint"]
    nowhere = await ada.http.put(f"/api/workflow/{uuid4()}", json=DOCUMENT)
    assert (nowhere.status_code, nowhere.json()["code"]) == (404, "not_found")
    assert [one["name"] for one in (await ada.http.get("/api/workflow")).json()["items"]] == ["Shop 2"]
    assert (await ada.http.get(f"{path}/versions")).json()["items"][0]["version"] == 2
    assert (await ada.http.post(f"{path}/validate")).json()["valid"] is True
    meant = await ada.http.put(path, json=DOCUMENT, headers={"if-match": "*"})
    assert (meant.status_code, meant.json()["version"]) == (200, 3)
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
    await ada.http.put(path, json=DOCUMENT, headers={"if-match": f'"{made["etag"]}"'})
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


SOURCE: Json = {
    "id": "uuid",
    "name": "Workflow Name",
    "description": "Workflow description",
    "nodes": [
        {
            "id": "node-1",
            "type": "launch_standard_browser",
            "position": {"x": 100, "y": 100},
            "data": {"inputs": {"Website URL": "https://example.com"}},
        }
    ],
    "edges": [
        {
            "id": "edge-1",
            "source": "node-1",
            "target": "node-2",
            "sourceHandle": "Web Page",
            "targetHandle": "Web Page",
        }
    ],
    "cron": "0 9 * * 1-5",
    "status": "active",
}
"""The example of the source document."""

TRICKY: Json = {
    "yes": "yes",
    "date": "2024-01-01",
    "clock": "12:30",
    "exponent": "1e3",
    "octal": "010",
    "empty": "",
    "nothing": None,
    "null": "null",
    "number": -1.5e300,
    "whole": 12,
    "true": [True, "true", "~"],
    "lines": "one\n  two\n\n",
    "signs": "# & * ! | > % @ \u00e9 \U0001f600 \u2028 \t",
}


async def export(visitor: Visitor, workflow_id: str, form: str) -> str:
    answer = await visitor.http.get(f"/api/workflow/{workflow_id}/export", params={"format": form})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == f"application/{form}"
    return answer.text


async def bring_in(visitor: Visitor, text: str, form: str | None = None) -> tuple[int, Json]:
    answer = await visitor.http.post("/api/workflow/import", json={"text": text, "format": form})
    return answer.status_code, answer.json()


@pytest.mark.parametrize("form", ["json", "yaml", None])
async def test_a_document_survives_json_yaml_and_json_again(ada: Visitor, form: str | None) -> None:
    drawn = SOURCE | {"nodes": [SOURCE["nodes"][0] | {"data": {"inputs": TRICKY}}]}
    status, made = await bring_in(ada, json.dumps(drawn), "json")
    assert status == 201
    first = await export(ada, made["workflow_id"], "json")
    assert json.loads(first)["nodes"][0]["data"]["inputs"] == TRICKY
    text = await export(ada, made["workflow_id"], "yaml" if form is None else form)
    status, again = await bring_in(ada, text, form)
    assert status == 201
    assert again["workflow_id"] != made["workflow_id"]
    assert await export(ada, again["workflow_id"], "json") == first


async def test_the_source_documents_json_is_taken_and_the_import_audited(ada: Visitor) -> None:
    status, made = await bring_in(ada, json.dumps(SOURCE))
    assert (status, made["name"], made["document"]["cron"]) == (201, "Workflow Name", "0 9 * * 1-5")
    trail = (await ada.http.get("/api/admin/audit")).json()["items"]
    assert trail[0]["subject"] == f"workflow:{made['workflow_id']}"


async def test_an_export_is_a_file_named_after_the_workflow(ada: Visitor) -> None:
    _, made = await bring_in(ada, yaml.safe_dump({"name": 'Sh\u00f6p "1"'}))
    answer = await ada.http.get(f"/api/workflow/{made['workflow_id']}/export")
    assert answer.headers["content-type"] == "application/json"
    names = "filename=\"Sh_p _1_.json\"; filename*=UTF-8''Sh%C3%B6p%20%221%22.json"
    assert answer.headers["content-disposition"] == f"attachment; {names}"


BOMB = "name: x\na: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"


@pytest.mark.parametrize(
    ("text", "form", "where"),
    [
        (BOMB, "yaml", "body.text line 3, column 8"),
        ("name: !!python/object/apply:os.getcwd []", "yaml", "body.text line 1, column 7"),
        ("name: x\nnodes: " + "[" * 5_000, "yaml", "body.text line 2, column 108"),
        ("name: [", None, "body.text line 2, column 1"),
        ("a: 1\n---\nb: 2", "yaml", "body.text line 2, column 1"),
        ('{"name": ', None, "body.text"),
        ("[" * 5_000, "json", "body.text"),
    ],
)
async def test_what_cannot_be_read_is_malformed(ada: Visitor, text: str, form: str | None, where: str) -> None:
    status, problem = await bring_in(ada, text, form)
    assert (status, problem["code"], problem["faults"][0]["where"]) == (400, "malformed", where)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("just text", "document"),
        ("description: x", "document.name"),
        ("name: x\nnodes: [{id: a}]", "document.nodes[0].type"),
        ("name: x\nnodes: [{id: 1, type: y}]", "document.nodes[0].id"),
        ("name: x\nsurprise: 1", "document.surprise"),
        ("name: x\ntriggers: [{1: x}]", "document.triggers[0]"),
        ("name: x\ntriggers: [{a: 1e999}]", "document.triggers[0].a"),
        ('{"name": "x", "triggers": [{"a": "\\u0000"}]}', "document.triggers[0].a"),
        ('{"name": "x", "triggers": [' + '{"a": ' * 100 + "1" + "}" * 100 + "]}", "document"),
    ],
)
async def test_what_is_no_workflow_document_is_invalid_and_says_where(ada: Visitor, text: str, where: str) -> None:
    status, problem = await bring_in(ada, text)
    assert (status, problem["code"], problem["faults"][0]["where"]) == (422, "invalid", where)
    assert (await ada.http.get("/api/workflow")).json()["items"] == []


async def test_an_export_stays_in_its_tenant_and_viewers_import_nothing(
    house: House, ada: Visitor, bob: Visitor
) -> None:
    path = f"/api/workflow/{(await create(ada))['workflow_id']}/export"
    assert (await bob.http.get(path)).status_code == 404
    key = await ada.http.post("/api/auth/keys", json={"name": "reader", "scopes": ["workflow:read"]})
    async with house.visit(key.json()["secret"]) as reader:
        assert (await reader.get(path)).status_code == 200
        assert (await reader.post("/api/workflow/import", json={"text": "name: x"})).status_code == 403
