"""Branches and joins with a real worker and database; one with a real page."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.execution import ExecutionStatus, FailureCode
from contracts.model import ExecutionId
from contracts.workflow import JsonObject
from runtime.app import NODES
from runtime.nodes.data import MergeData
from runtime.nodes.flow import Branch
from tests.runtime.staging import Staging, edge, node
from tests.runtime.troupe import TROUPE, Echo, Hang
from tests.support.postgres import Database
from tests.support.site import Site, run_site

CONDITION = "Execute Condition"
PAGE = "Web Page"
LAMP = "<!doctype html><title>Lamp</title><h1>Lamp</h1><p id='stock'>3</p><p id='way'>none</p>{buttons}"
BUTTONS = "".join(
    f"<button id='{way}' onclick=\"document.getElementById('way').textContent += ' {way}'\">{way}</button>"
    for way in ("buy", "wait")
)


@pytest.fixture
async def staging(own_database: Database, tmp_path: Path) -> AsyncIterator[Staging]:
    Echo.asked.clear()
    Hang.left.clear()
    made = Staging(own_database, tmp_path, (*TROUPE, Branch, MergeData), grace_s=0.5)
    yield made
    await made.close()


def branch(node_id: str, left: Any, right: Any = "yes", **settings: Any) -> JsonObject:
    return node(node_id, "branch", {"Left Value": left, "Operator": "equals", "Right Value": right}, **settings)


async def _perform(staging: Staging, nodes: list[JsonObject], edges: list[JsonObject]) -> tuple[ExecutionId, Any]:
    execution_id = await staging.submit(nodes, edges)
    async with staging.perform():
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.COMPLETED
    return execution_id, (await staging.executions.get(staging.tenant_id, execution_id)).result


async def _states(staging: Staging, execution_id: ExecutionId) -> dict[str, list[str]]:
    states: dict[str, list[str]] = {}
    for step in await staging.records.list_steps(staging.tenant_id, execution_id):
        states.setdefault(step.node_id, []).append(str(step.status))
    return states


def _two_sides(answer: str, ends: tuple[str, str]) -> tuple[list[JsonObject], list[JsonObject]]:
    """The drawing that everybody makes: a branch, a node on either side, and a join behind both."""
    nodes = [
        node("ask", "echo", {"Text": answer}),
        node("fork", "branch", {"Operator": "equals", "Right Value": "yes"}),
        node("left", "echo", {"Text": "from the left"}),
        node("right", "echo", {"Text": "from the right"}),
        node("join", "merge_data"),
    ]
    edges = [
        edge("ask", "fork", "Text", "Left Value"),
        edge("fork", "left", "True Path", CONDITION),
        edge("fork", "right", "false-path", "execute-condition"),  # as the editor spells them
        edge("left", "join", "Text", ends[0]),
        edge("right", "join", "Text", ends[1]),
    ]
    return nodes, edges


@pytest.mark.parametrize("ends", [("Data 1", "Data 1"), ("Data 1", "Data 2"), ("Data 2", "Data 4")])
@pytest.mark.parametrize(("answer", "taken", "other"), [("yes", "left", "right"), ("no", "right", "left")])
async def test_a_join_goes_on_with_the_side_that_was_taken(
    staging: Staging, ends: tuple[str, str], answer: str, taken: str, other: str
) -> None:
    execution_id, result = await _perform(staging, *_two_sides(answer, ends))
    assert result["join"] == {"Merged Data": f"from the {taken}"}
    assert result["fork"] == {"Result": answer == "yes", "Data": answer}
    states = await _states(staging, execution_id)
    assert {one: states[one] for one in (taken, other, "join")} == {
        taken: ["success"],
        other: ["skipped"],
        "join": ["success"],
    }
    assert sorted(Echo.asked) == sorted(["ask", taken])


async def test_what_hangs_on_a_dead_side_is_skipped_to_the_last_node(staging: Staging) -> None:
    nodes = [
        node("start", "echo", {"Text": "go"}),
        branch("outer", "no"),
        branch("inner", "yes"),
        node("a", "echo", {"Text": "a"}),
        node("b", "echo"),
        node("c", "echo", {"Text": "c"}),
        node("join", "merge_data", {"Merge Strategy": "append"}),
    ]
    edges = [
        edge("start", "outer", "Text", "Left Value"),
        edge("outer", "inner", "True Path", CONDITION),
        edge("inner", "a", "True Path", CONDITION),
        edge("a", "b", "Text", "Text"),
        edge("outer", "c", "False Path", CONDITION),
        edge("b", "join", "Text", "Data 1"),
        edge("c", "join", "Text", "Data 1"),
    ]
    execution_id, result = await _perform(staging, nodes, edges)
    assert result["join"] == {"Merged Data": ["c"]}
    states = await _states(staging, execution_id)
    assert [states[one] for one in ("inner", "a", "b")] == [["skipped"]] * 3


async def test_a_branch_taken_before_its_worker_left_stays_taken(staging: Staging) -> None:
    nodes, edges = _two_sides("yes", ("Data 1", "Data 2"))
    nodes[2] = node("left", "hang_once", {"Text": "from the left"})
    execution_id = await staging.submit(nodes, edges)
    async with staging.perform():
        await staging.wait_until(execution_id, lambda row: row.current_node == "left")
    async with staging.perform():
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.COMPLETED
    row = await staging.executions.get(staging.tenant_id, execution_id)
    assert row.result is not None
    assert row.result["join"] == {"Merged Data": "from the left"}
    assert Echo.asked == ["ask"]
    states = await _states(staging, execution_id)
    assert states["fork"] == ["success"]
    assert states["right"] == ["skipped"]
    assert states["left"] == ["retrying", "success"]


async def test_what_can_not_be_merged_fails_the_node_and_says_what_to_do(staging: Staging) -> None:
    nodes = [node("a", "echo", {"Text": "a"}), node("b", "echo", {"Text": "b"}), node("join", "merge_data")]
    edges = [edge("a", "join", "Text", "Data 1"), edge("b", "join", "Text", "Data 2")]
    execution_id = await staging.submit(nodes, edges)
    async with staging.perform():
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.FAILED
    error = (await staging.executions.get(staging.tenant_id, execution_id)).error
    assert error is not None
    assert (error["code"], error["node_id"]) == (FailureCode.INVALID_INPUT, "join")
    assert "append" in error["hint"]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with run_site({"/": LAMP.format(buttons=BUTTONS)}) as running:
        yield running


async def test_what_a_page_says_decides_what_is_clicked_and_the_page_goes_on_from_either_side(
    own_database: Database, tmp_path: Path, site: Site
) -> None:
    staging = Staging(own_database, tmp_path, NODES, grace_s=0.5)
    staging.hosts = (site.host,)
    nodes = [
        node("open", "launch_standard_browser", {"Website URL": site.url()}),
        node("html", "get_html"),
        node("stock", "get_text_from_html", {"Selector": "#stock"}),
        node("enough", "branch", {"Operator": "greater than", "Right Value": "2"}),
        node("buy", "click_element", {"Selector": "#buy"}),
        node("wait", "click_element", {"Selector": "#wait"}),
        node("then", "get_html"),
        node("way", "get_text_from_html", {"Selector": "#way"}),
    ]
    edges = [
        edge("open", "html", PAGE, PAGE),
        edge("html", "stock", "Html Content", "Html"),
        edge("stock", "enough", "Text", "Left Value"),
        *(edge("html", side, PAGE, PAGE) for side in ("buy", "wait")),
        edge("enough", "buy", "True Path", CONDITION),
        edge("enough", "wait", "False Path", CONDITION),
        *(edge(side, "then", PAGE, PAGE) for side in ("buy", "wait")),
        edge("then", "way", "Html Content", "Html"),
    ]
    try:
        execution_id, result = await _perform(staging, nodes, edges)
        assert result["way"] == {"Text": "none buy"}
        assert (await _states(staging, execution_id))["wait"] == ["skipped"]
    finally:
        await staging.close()
