"""What a document means to this Runtime before it is stored: addresses that were typed into nodes."""

from typing import Any

import pytest

from contracts.workflow import Validation, WorkflowDocument
from runtime.app import NODES
from runtime.catalogue import Catalogue
from runtime.egress.policy import Policy, read_exceptions, read_lists
from runtime.workflows import make_draft, validate

TYPES = Catalogue(NODES).types


def draw(url: Any, **further: Any) -> WorkflowDocument:
    nodes = [{"id": "open", "type": "launch_standard_browser", "data": {"inputs": {"website-url": url}}}]
    return WorkflowDocument.model_validate({"name": "Visit", "nodes": nodes, **further})


def check(document: WorkflowDocument, policy: Policy | None = None) -> Validation:
    return validate(document, TYPES, [], policy or Policy())


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (5, "“5” is not an http or https address"),
        ("not a url", "“not a url” is not an http or https address"),
        ("shop.example/x", "“shop.example/x” is not an http or https address"),
        ("ftp://x", "“ftp://x” is not an http or https address"),
        ("file:///etc/passwd", "“file:///etc/passwd” is not an http or https address"),
        ("javascript:alert(1)", "“javascript:alert(1)” is not an http or https address"),
        ("http://", "“http://” names no host"),
        ("https:///path", "“https:///path” names no host"),
        ("http://a b/", "“a b” is not the name of a host"),
        ("http://x:99999/", "“http://x:99999/” is not an address"),
        ("http://[::1/", "“http://[::1/” is not an address"),
        ("http://256.1.1.1/", "“256.1.1.1” is beyond the addresses there are"),
    ],
)
def test_an_address_that_can_never_work_is_a_fault_at_its_field(url: Any, said: str) -> None:
    (fault,) = check(draw(url)).faults
    assert (fault.where, fault.rule) == ('body.nodes[0].data.inputs["Website URL"]', "wrong_address")
    assert (fault.node_id, fault.handle) == ("open", "Website URL")
    assert said in fault.detail
    assert "https://" in fault.detail
    draft = make_draft(draw(url), TYPES)
    assert (draft.plan, [one["rule"] for one in draft.faults]) == (None, ["wrong_address"])


@pytest.mark.parametrize(
    "url", ["https://shop.example", " http://shop.example:8080/x?y#z ", "http://bücher.example/", "about:blank"]
)
def test_an_address_that_may_work_is_none(url: str) -> None:
    assert check(draw(url)) == Validation(valid=True, faults=[], phases=[["open"]], warnings=[])


@pytest.mark.parametrize(
    ("type_", "handle", "inputs"), [("http_request", "URL", {}), ("navigate", "URL", {}), ("download_file", "URL", {})]
)
def test_every_address_is_looked_at(type_: str, handle: str, inputs: dict[str, Any]) -> None:
    node = {"id": "n", "type": type_, "data": {"inputs": {handle: "ftp://x", **inputs}}}
    found = check(WorkflowDocument.model_validate({"name": "One", "nodes": [node]}))
    assert [fault.handle for fault in found.faults if fault.rule == "wrong_address"] == [handle]


def test_what_an_edge_or_a_template_brings_is_left_to_the_run() -> None:
    text = {"id": "t", "type": "http_request", "data": {"inputs": {"URL": "https://api.example"}}}
    ask = {"id": "a", "type": "http_request", "data": {"inputs": {"URL": "ftp://x"}}}
    wire = {"id": "e", "source": "t", "target": "a", "sourceHandle": "Final URL", "targetHandle": "URL"}
    assert check(WorkflowDocument.model_validate({"name": "Two", "nodes": [text, ask], "edges": [wire]})).faults == []
    rules = [fault.rule for fault in check(draw("${{ vars.url }}")).faults]
    assert rules == ["expressions_not_supported_yet"]


def test_an_address_that_may_not_be_reached_is_warned_of_with_what_to_do() -> None:
    found = check(draw("http://169.254.169.254/latest/meta-data"))
    assert (found.valid, found.faults) == (True, [])
    (warning,) = found.warnings
    assert (warning.where, warning.rule) == ('body.nodes[0].data.inputs["Website URL"]', "host_refused")
    assert "169.254.169.254:80 may not be reached: it is a cloud's metadata service." in warning.detail
    assert "ALLOWED_HOSTS" not in warning.detail, "nobody is told how to open that"
    (warning,) = check(draw("http://10.1.2.3/")).warnings
    assert "the owner of the installation adds 10.1.2.3:80 to STAGEDOOR_RUNTIME_ALLOWED_HOSTS" in warning.detail
    opened = Policy(read_exceptions(["169.254.169.254:80"]))
    assert check(draw("http://169.254.169.254/latest/meta-data"), opened).warnings == []


def test_lists_of_the_tenant_and_the_workflow_count_too() -> None:
    narrowed = Policy().narrow(read_lists(deny=["shop.example"]))
    (warning,) = check(draw("https://shop.example"), narrowed).warnings
    assert "PUT /api/admin/egress" in warning.detail
    own = draw("https://shop.example", settings={"allowed_domains": ["other.example"]})
    (warning,) = check(own).warnings
    assert "allowed_domains" in warning.detail
