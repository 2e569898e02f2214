"""Handles under their display names, however an editor spelled them."""

import json
from typing import Any

import pytest

from contracts.workflow import Edge, Node, NodeData, WorkflowDocument
from runtime.engine.document import normalize_document, to_kebab
from tests.runtime.engine.drawn import CATALOGUE, PAGE, document, edge, node

# The example of the source document, word for word.
SOURCE: dict[str, Any] = json.loads("""{
  "id": "uuid",
  "name": "Workflow Name",
  "description": "Workflow description",
  "nodes": [
    {
      "id": "node-1",
      "type": "launch_standard_browser",
      "position": {"x": 100, "y": 100},
      "data": {
        "inputs": {
          "Website URL": "https://example.com"
        }
      }
    }
  ],
  "edges": [
    {
      "id": "edge-1",
      "source": "node-1",
      "target": "node-2",
      "sourceHandle": "Web Page",
      "targetHandle": "Web Page"
    }
  ],
  "cron": "0 9 * * 1-5",
  "status": "active"
}""")


def test_the_source_documents_json_is_accepted_as_it_stands() -> None:
    read = WorkflowDocument.model_validate(SOURCE)
    assert normalize_document(read, CATALOGUE) == read
    assert read.cron == "0 9 * * 1-5"
    assert read.nodes[0].data.inputs == {"Website URL": "https://example.com"}


@pytest.mark.parametrize("spelling", ["web-page", "Web Page", "web_page", "WEB PAGE", "web page"])
def test_every_spelling_of_a_handle_becomes_its_display_name(spelling: str) -> None:
    wire = Edge(id="e", source="a", target="b", sourceHandle=spelling, targetHandle=spelling)
    drawn = document([node("a", "open"), node("b", "touch")], [wire])
    (found,) = normalize_document(drawn, CATALOGUE).edges
    assert (found.sourceHandle, found.targetHandle) == (PAGE, PAGE)


def test_inputs_are_renamed_and_the_display_name_wins() -> None:
    inputs = {"must": "kebab", "in": 1}
    renamed = normalize_document(document([node("a", "need", inputs)], []), CATALOGUE)
    assert renamed.nodes[0].data.inputs == {"Must": "kebab", "In": 1}
    both = normalize_document(document([node("a", "need", {"must": "kebab", "Must": "shown"})], []), CATALOGUE)
    assert both.nodes[0].data.inputs == {"Must": "shown"}


def test_doing_it_twice_changes_nothing_and_the_unknown_stays() -> None:
    drawn = document(
        [node("a", "open"), Node(id="x", type="unheard_of", data=NodeData(inputs={"any-thing": 1}))],
        [edge("a.web-page", "x.some-thing"), edge("nowhere.web-page", "a.in")],
    )
    once = normalize_document(drawn, CATALOGUE)
    assert once.nodes[1].data.inputs == {"any-thing": 1}
    assert [one.targetHandle for one in once.edges] == ["some-thing", "in"]
    assert normalize_document(once, CATALOGUE) == once


def test_kebab_is_that_of_the_editor() -> None:
    assert to_kebab("Website URL") == "website-url"
    assert to_kebab("Data 1") == "data-1"
    assert to_kebab("  SMTP  Server ") == "smtp-server"
