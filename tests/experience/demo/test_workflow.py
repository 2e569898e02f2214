"""The demo against the catalogue that will run it."""

from experience.cli.first_visit import load_demo
from runtime.app import NODES
from runtime.catalogue import Catalogue
from runtime.egress.policy import Policy, read_exceptions
from runtime.workflows import validate


def test_the_demo_can_run() -> None:
    policy = Policy(read_exceptions(["127.0.0.1:4001"]))
    found = validate(load_demo("http://127.0.0.1:4001"), Catalogue(NODES).types, [], policy)
    assert [fault.detail for fault in found.faults] == []
    assert found.phases[0] == ["open_shop"]
    assert found.warnings == []
