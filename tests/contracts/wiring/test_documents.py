"""The generated documents are fresh, valid, complete, and readable."""

import json
import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from contracts.api.public import PublicApi
from contracts.api.runtime import RuntimeApi
from contracts.declare import channels, endpoints
from contracts.events import EVENT
from contracts.wiring.documents import GENERATED, main, public_asyncapi, public_openapi
from contracts.wiring.reading import render


def load(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((GENERATED / name).read_text())
    return document


def refs(node: Any) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return own.union(*(refs(value) for value in node.values()))
    if isinstance(node, list):
        return set().union(*(refs(item) for item in node))
    return set()


def resolve(document: dict[str, Any], ref: str) -> Any:
    node: Any = document
    for part in ref.removeprefix("#/").split("/"):
        node = node[part]
    return node


def test_the_checked_in_documents_are_what_the_code_says() -> None:
    assert main(["--check"]) == 0


@pytest.mark.parametrize("name", ["openapi.json", "runtime-openapi.json"])
def test_openapi_is_valid(name: str) -> None:
    OpenAPIV31SpecValidator(load(name)).validate()


@pytest.mark.parametrize(("name", "api"), [("openapi.json", PublicApi), ("runtime-openapi.json", RuntimeApi)])
def test_openapi_knows_every_endpoint(name: str, api: type) -> None:
    operations = {o["operationId"] for methods in load(name)["paths"].values() for o in methods.values()}
    assert operations == {found for found, _ in endpoints(api)}


@pytest.mark.parametrize(("name", "api"), [("asyncapi.json", PublicApi), ("runtime-asyncapi.json", RuntimeApi)])
def test_asyncapi_knows_every_channel_and_resolves(name: str, api: type) -> None:
    document = load(name)
    assert document["asyncapi"] == "3.0.0"
    assert document["channels"].keys() == {found for found, _ in channels(api)}
    for ref in refs(document):
        assert resolve(document, ref) is not None
    for operation in document["operations"].values():
        assert operation["action"] in ("send", "receive")
        assert operation["messages"]
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_every_event_is_a_message_of_the_stream_and_a_schema_for_the_page() -> None:
    mapping = EVENT.json_schema()["discriminator"]["mapping"]
    names = {ref.rsplit("/", 1)[1] for ref in mapping.values()}
    assert names <= set(public_asyncapi()["channels"]["execution_stream"]["messages"])
    assert names <= set(public_openapi()["components"]["schemas"])


@pytest.mark.parametrize("name", ["openapi.json", "runtime-openapi.json", "asyncapi.json", "runtime-asyncapi.json"])
def test_what_tells_the_members_of_a_union_apart_is_required(name: str) -> None:
    schemas = load(name)["components"]["schemas"]
    for member in ("ExecutionAccepted", "Cancelled"):
        if member in schemas:
            assert "type" in schemas[member]["required"]


def test_asyncapi_names_discriminators_by_their_property_alone() -> None:
    events = load("runtime-asyncapi.json")["components"]["schemas"]["Batch"]["properties"]["events"]["items"]
    assert events["discriminator"] == "type"


def test_ranges_are_promised_only_where_they_are_served() -> None:
    promising = {
        operation["operationId"]
        for methods in load("openapi.json")["paths"].values()
        for operation in methods.values()
        if "206" in operation["responses"]
    }
    assert promising == {"get_artifact"}


def test_a_download_promises_nothing_of_what_is_stored() -> None:
    content = load("openapi.json")["paths"]["/api/workflow/{workflow_id}/export"]["get"]["responses"]["200"]["content"]
    assert content["*/*"] == {}
    assert content["application/octet-stream"]["schema"]["format"] == "binary"


def test_path_parameters_are_no_part_of_a_body() -> None:
    operation = public_openapi()["paths"]["/api/workflow/{workflow_id}"]["put"]
    body = operation["requestBody"]["content"]["application/json"]["schema"]
    assert "workflow_id" not in body["properties"]
    assert "if_match" not in body["properties"]
    assert {"workflow_id", "If-Match"} == {parameter["name"] for parameter in operation["parameters"]}


def test_the_readable_page_shows_everything_and_asks_nobody() -> None:
    page = render(public_openapi(), public_asyncapi(), "/api/docs.css")
    for _, endpoint in endpoints(PublicApi):
        assert endpoint.path in page
    for _, channel in channels(PublicApi):
        assert channel.path in page
    assert "<script" not in page
    assert re.findall(r"(?:href|src)='(?![/#])", page) == []
