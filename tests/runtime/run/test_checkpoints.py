"""Pages come back from their checkpoints, with a real Chromium: what lies before them never runs again."""

from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from pathlib import Path

import asyncpg
import pytest

from contracts.execution import ExecutionStatus, FailureCode
from contracts.model import ExecutionId
from contracts.workflow import JsonObject
from runtime.app import NODES
from runtime.seal import Seal
from tests.runtime.staging import Staging, edge, node
from tests.support.postgres import Database
from tests.support.site import Site, run_site

PAGE = "Web Page"
PAUSE_S = 60.0
"""No worker is there so long: it leaves in it, and the next one finds it over."""
SHELF = """<!doctype html><title>Shelf</title><input id="name"><a id="buy" href="/cart">Buy</a>
<a id="stay" href="#">Stay</a><form method="post" action="/sent"><button id="send">Send</button></form>
<script>
document.cookie = "visitor=known-by-cookie; path=/";
document.getElementById("buy").onclick = () => localStorage.setItem("lamp", "known-by-storage");
document.getElementById("stay").onclick = () => { document.title = "stayed"; };
</script>"""
CART = """<!doctype html><title>Cart</title><p id="out"></p><input id="note"><p id="echo"></p>
<script>document.getElementById("out").textContent = document.cookie + " " + localStorage.getItem("lamp");
document.getElementById("note").oninput = e => { document.getElementById("echo").textContent = e.target.value; };
</script>"""


@pytest.fixture
def site() -> Iterator[Site]:
    with run_site({"/": SHELF, "/cart": CART, "/sent": CART}) as running:
        yield running


@pytest.fixture
async def staging(own_database: Database, tmp_path: Path, site: Site) -> AsyncIterator[Staging]:
    made = Staging(own_database, tmp_path, NODES, grace_s=0.2)
    made.hosts = (site.host,)
    made.seal = Seal([b"k" * 32])
    yield made
    await made.close()


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page whose state is not read in time has no checkpoint, which is right and not what these tests are about."""
    monkeypatch.setattr("runtime.browser.page._STATE_S", 60.0)


def walk(site: Site, *between: JsonObject, pause_s: float = PAUSE_S) -> tuple[list[JsonObject], list[JsonObject]]:
    """Open the shelf, do something, wait until the worker has gone, and read the page."""
    nodes = [
        node("open", "launch_standard_browser", {"Website URL": site.url()}),
        *between,
        node("pause", "delay", {"Duration": pause_s}),
        node("html", "get_html"),
        node("text", "get_text_from_html", {"Selector": "p"}),
    ]
    ids = [str(one["id"]) for one in nodes[:-1]]
    edges = [edge(source, target, PAGE, PAGE) for source, target in pairwise(ids)]
    return nodes, [*edges, edge("html", "text", "Html Content", "Html")]


async def lose_the_worker_at(staging: Staging, execution_id: ExecutionId, node_id: str) -> ExecutionStatus:
    async with staging.perform():
        await staging.wait_until(execution_id, lambda row: row.current_node == node_id)
    await staging.shift(execution_id, PAUSE_S)
    async with staging.perform():
        return await staging.wait_for_end(execution_id)


def documents(site: Site) -> list[str]:
    return [path for path in site.requests if path != "/favicon.ico"]


async def test_a_click_that_led_to_another_page_is_not_repeated(staging: Staging, site: Site) -> None:
    execution_id = await staging.submit(*walk(site, node("buy", "click_element", {"Selector": "#buy"})))
    assert await lose_the_worker_at(staging, execution_id, "pause") is ExecutionStatus.COMPLETED
    row = await staging.executions.get(staging.tenant_id, execution_id)
    assert row.result is not None
    assert row.result["text"]["Text"].strip() == "visitor=known-by-cookie known-by-storage"
    assert documents(site) == ["/", "/cart", "/cart"]


async def test_what_was_typed_since_the_checkpoint_is_typed_again(staging: Staging, site: Site) -> None:
    between = [
        node("buy", "click_element", {"Selector": "#buy"}),
        node("note", "fill_input", {"Selector": "#note", "Value": "gift"}),
    ]
    execution_id = await staging.submit(*walk(site, *between))
    assert await lose_the_worker_at(staging, execution_id, "pause") is ExecutionStatus.COMPLETED
    row = await staging.executions.get(staging.tenant_id, execution_id)
    assert row.result is not None
    assert row.result["text"]["Text"].endswith("gift")
    steps = await staging.records.list_steps(staging.tenant_id, execution_id)
    assert [step.node_id for step in steps if step.epoch == 2] == ["note", "pause", "html", "text"]


@pytest.mark.parametrize("selector", ["#stay", "#send"])
async def test_a_click_that_no_address_tells_of_asks_a_person(staging: Staging, site: Site, selector: str) -> None:
    """`#` is no new document, and what answered a POST can't be asked for again."""
    execution_id = await staging.submit(*walk(site, node("act", "click_element", {"Selector": selector})))
    assert await lose_the_worker_at(staging, execution_id, "pause") is ExecutionStatus.FAILED
    row = await staging.executions.get(staging.tenant_id, execution_id)
    assert row.error is not None
    assert (row.error["code"], row.error["asks_about"]) == (FailureCode.INTERRUPTED_UNSAFE, "act")
    assert row.question is not None
    assert (row.question["node_id"], row.question["answers"]) == ("act", ["happened", "run_again"])
    assert sum(path == "/sent" for path in site.requests) <= 1


async def test_a_checkpoint_can_not_be_read_in_the_database(
    staging: Staging, site: Site, own_database: Database
) -> None:
    buy = node("buy", "click_element", {"Selector": "#buy"})
    execution_id = await staging.submit(*walk(site, buy, pause_s=0.1))
    async with staging.perform():
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.COMPLETED
    connection = await asyncpg.connect(own_database.superuser_dsn)
    try:
        kept = await connection.fetch("SELECT node_id, page, sealed FROM runtime.checkpoints ORDER BY node_id")
    finally:
        await connection.close()
    assert [(row["node_id"], row["page"]) for row in kept] == [("buy", "open"), ("open", "open")]
    assert not any(b"known-by" in row["sealed"] for row in kept)


async def test_without_the_key_the_way_is_walked_again(staging: Staging, site: Site) -> None:
    execution_id = await staging.submit(*walk(site))
    async with staging.perform():
        await staging.wait_until(execution_id, lambda row: row.current_node == "pause")
    await staging.shift(execution_id, PAUSE_S)
    staging.seal = Seal([b"x" * 32])
    async with staging.perform():
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.FAILED  # there is no <p> on the shelf
    steps = await staging.records.list_steps(staging.tenant_id, execution_id)
    assert next(step.node_id for step in steps if step.epoch == 2) == "open"


async def test_a_pause_between_unsafe_steps_keeps_the_page_open(staging: Staging, site: Site) -> None:
    """What could not be brought back stays where it is: paused, with its worker."""
    stay = node("stay", "click_element", {"Selector": "#stay"})
    nodes, edges = walk(site, stay, pause_s=8)  # it is paused when that is over
    execution_id = await staging.submit(nodes, edges)
    async with staging.perform():
        await staging.wait_until(execution_id, lambda row: row.current_node == "pause")
        await staging.executions.request_pause(staging.tenant_id, execution_id, "")
        await staging.wait_until(execution_id, lambda row: row.status is ExecutionStatus.PAUSED)
        row = await staging.executions.get(staging.tenant_id, execution_id)
        assert (row.ready, row.admitted_at is not None, row.epoch) == (True, True, 1)
        await staging.executions.request_resume(staging.tenant_id, execution_id)
        await staging.wait_for_end(execution_id)
    row = await staging.executions.get(staging.tenant_id, execution_id)
    assert row.epoch == 1
    assert documents(site) == ["/"]
