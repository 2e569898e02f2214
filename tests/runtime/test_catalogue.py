"""The catalogue, held to the handles that the specification lists."""

from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from contracts.workflow import DataType, WorkflowDocument
from runtime.app import NODES
from runtime.catalogue import Catalogue, list_realms
from runtime.engine.literals import find_literal_fault
from runtime.engine.plan import is_given, make_plan
from runtime.engine.validate import check_document
from runtime.handles import EXECUTE_CONDITION
from runtime.nodes import flow
from runtime.nodes.browser import act

CATALOGUE = Catalogue(NODES)

# Spec W10, "Handles of the source nodes": ★ required, ⊘ no edge allowed, → outputs. And those that were added.
HANDLES = """
launch_standard_browser: Website URL★⊘ Profile⊘ Proxy⊘ Proxy Credential⊘ Locale⊘ Timezone⊘ Viewport Width⊘ \
Viewport Height⊘ User Agent⊘ Trace⊘ Video⊘ → Web Page
fill_input: Selector★ Value★ Web Page★ → Web Page
click_element: Selector★ Web Page★ → Web Page
wait_for_element: Selector★ Visibility★⊘ Web Page★ → Web Page
delay: Duration★ Web Page → Web Page
get_html: Web Page★ → Html Content, Web Page
get_text_from_html: Html★ Selector★ → Text
merge_data: Data 1★ Data 2★ Data 3 Data 4 Merge Strategy → Merged Data
branch: Left Value★ Operator★ Right Value★ → True Path, False Path, Result, Data
navigate: URL★ Web Page★ → Web Page
select_option: Selector★ Option★ Web Page★ → Web Page
extract_list: Selector★ Fields★ Web Page★ → Items, Web Page
run_code: Language⊘ Code★ Inputs Timeout → Result, Stdout, Stderr
save_login: Profile★⊘ Web Page★ → Web Page
load_login: Profile★⊘ Web Page★ → Web Page
download_file: Selector URL Max Size⊘ Web Page★ → File, Web Page
upload_file: Selector★ File★ Web Page★ → Web Page
screenshot: Full Page⊘ Format⊘ Web Page★ → Image, Web Page
http_request: Method⊘ URL★ Query Headers Credential Body Type⊘ Body Idempotency Key⊘ Timeout⊘ Retries⊘ Redirects⊘ \
Max Size⊘ Fail On Error⊘ → Status, Headers, Final URL, Body, Artifact
"""
CREDITS = {
    "launch_standard_browser": 5,
    "download_file": 2,
    "get_html": 2,
    "get_text_from_html": 2,
    "extract_list": 2,
    "http_request": 2,
    "run_code": 2,
}


def describe(type_: str) -> str:
    kind = CATALOGUE.types[type_]
    inputs = " ".join(
        f"{port.name}{'★' if port.required else ''}{'' if port.connectable else '⊘'}" for port in kind.inputs[:-1]
    )
    return f"{type_}: {inputs} → {', '.join(port.name for port in kind.outputs)}"


def test_handles_are_those_of_the_specification() -> None:
    lines = HANDLES.strip().splitlines()
    assert {describe(type_) for type_ in CATALOGUE.types} == set(lines)
    assert len(lines) == len(CATALOGUE.types)


def test_every_node_can_be_put_behind_a_branch() -> None:
    for kind in CATALOGUE.types.values():
        assert kind.inputs[-1] == EXECUTE_CONDITION
        assert [port.name for port in kind.inputs if port.type is DataType.CONDITIONAL] == ["Execute Condition"]


def test_several_edges_end_where_pages_conditions_and_merged_data_do() -> None:
    merging = {(kind.type, port.name) for kind in CATALOGUE.types.values() for port in kind.inputs if port.mergeable}
    data_inputs = {("merge_data", f"Data {number}") for number in range(1, 5)}
    assert {(type_, name) for type_, name in merging if name not in ("Web Page", "Execute Condition")} == data_inputs
    assert ("screenshot", "Web Page") in merging


def test_credits_starts_and_safety() -> None:
    types = CATALOGUE.types.values()
    assert {kind.type: kind.credits for kind in types if kind.credits != 1} == CREDITS
    assert {kind.type for kind in types if kind.can_be_start_node} == {
        "launch_standard_browser",
        "delay",
        "http_request",
        "run_code",
    }
    assert {kind.type for kind in types if not kind.safe} == {
        "click_element",
        "download_file",
        "http_request",
        "upload_file",
    }


def test_types_of_handles() -> None:
    kinds = {(kind.type, port.name): port.type for kind in CATALOGUE.types.values() for port in kind.inputs}
    assert kinds["delay", "Duration"] is DataType.NUMBER
    assert kinds["wait_for_element", "Visibility"] is DataType.SELECT
    assert kinds["get_text_from_html", "Html"] is DataType.HTML
    assert (kinds["branch", "Left Value"], kinds["branch", "Operator"]) == (DataType.ANY, DataType.SELECT)
    assert kinds["merge_data", "Data 1"] is DataType.JSON
    assert kinds["extract_list", "Fields"] is DataType.JSON
    outputs = {(kind.type, port.name): port.type for kind in CATALOGUE.types.values() for port in kind.outputs}
    assert outputs["get_html", "Html Content"] is DataType.HTML
    assert outputs["screenshot", "Image"] is DataType.FILE
    assert outputs["branch", "True Path"] is outputs["branch", "False Path"] is DataType.CONDITIONAL
    assert (outputs["branch", "Result"], outputs["branch", "Data"]) == (DataType.BOOLEAN, DataType.ANY)
    assert outputs["merge_data", "Merged Data"] is DataType.JSON
    assert outputs["extract_list", "Items"] is DataType.JSON
    assert all(type_ is DataType.BROWSER_INSTANCE for (_, name), type_ in outputs.items() if name == "Web Page")


def test_every_entry_can_be_shown_to_a_person() -> None:
    for kind in CATALOGUE.list_types().items:
        assert kind.title
        assert kind.description.endswith(".")
        for port in [*kind.inputs, *kind.outputs]:
            assert port.description.endswith(".")
            jsonschema.Draft202012Validator.check_schema(port.value_schema)


TYPED: tuple[Any, ...] = (
    5, 5.5, True, [], {}, ["x"], {"a": 1}, "x", "5", "true", "http://a.example", "[1]", '{"a": 1}', " ", "\t\n",
)  # fmt: skip


@pytest.mark.parametrize("type_", sorted(CATALOGUE.types))
def test_what_validation_lets_pass_a_node_takes(type_: str) -> None:
    inputs = CATALOGUE.node(type_)._inputs
    refused = []
    for port in CATALOGUE.types[type_].inputs:
        for value in TYPED if port != EXECUTE_CONDITION else ():
            if not is_given(value, port) or find_literal_fault(value, port) is not None:
                continue
            try:
                inputs.model_validate({port.name: [value] if port.mergeable else value})
            except ValidationError as error:
                found = [one["msg"] for one in error.errors() if one["loc"][:1] == (port.name,)]
                refused += [(port.name, value, found)] if found else []
    assert refused == []


def test_nodes_are_found_by_type_and_chosen_once() -> None:
    assert isinstance(CATALOGUE.node("click_element"), act.ClickElement)
    with pytest.raises(KeyError):
        CATALOGUE.node("none")
    with pytest.raises(TypeError, match="delay is chosen twice"):
        Catalogue((*flow.NODES, *flow.NODES))


def test_realms_hold_schemas_that_their_own_examples_meet() -> None:
    realms = {realm.realm: realm for realm in list_realms().realms}
    assert {(name, intent.intent) for name, realm in realms.items() for intent in realm.intents} == {
        ("browser", "visit"),
        ("workflow", "run"),
        ("execution", "retry"),
    }
    for realm in realms.values():
        for intent in realm.intents:
            jsonschema.Draft202012Validator.check_schema(intent.parameters)
            jsonschema.validate(intent.example, intent.parameters)


def test_a_workflow_in_the_sources_shape_is_sound_and_planned() -> None:
    document = WorkflowDocument.model_validate(
        {
            "name": "Read a heading",
            "nodes": [
                {
                    "id": "node-1",
                    "type": "launch_standard_browser",
                    "position": {"x": 100, "y": 100},
                    "data": {"inputs": {"Website URL": "https://example.com"}},
                },
                {"id": "node-2", "type": "get_html", "position": {"x": 300, "y": 100}, "data": {"inputs": {}}},
                {"id": "node-3", "type": "get_text_from_html", "data": {"inputs": {"selector": "h1"}}},
            ],
            "edges": [
                {
                    "id": "e1",
                    "source": "node-1",
                    "target": "node-2",
                    "sourceHandle": "Web Page",
                    "targetHandle": "Web Page",
                },
                {
                    "id": "e2",
                    "source": "node-2",
                    "target": "node-3",
                    "sourceHandle": "html-content",
                    "targetHandle": "html",
                },
            ],
            "cron": "0 9 * * 1-5",
            "status": "active",
        }
    )
    assert check_document(document, CATALOGUE.types) == []
    assert make_plan(document, CATALOGUE.types).phases == [["node-1"], ["node-2"], ["node-3"]]
