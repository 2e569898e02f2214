"""The worker with a real Chromium: pages opened, pictured, cleaned up, and brought back on another worker."""

from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from contracts.egress import EgressLists, EgressRefusal, ListRefusals
from contracts.execution import Artifact, ArtifactKind, ExecutionStatus, FailureCode, StepStatus
from contracts.model import ExecutionId
from runtime.app import NODES
from runtime.store.egress import EgressRecords
from runtime.submission import draw_visit
from tests.runtime.staging import Staging, edge, node
from tests.support.postgres import Database
from tests.support.site import Site, run_site

MIRROR = """<!doctype html><title>Mirror</title><h1>Mirror</h1><input id="in"><p id="out"></p>
<script>document.getElementById("in").addEventListener("input", e => {
  document.getElementById("out").textContent = e.target.value;
  console.log("typed", e.target.value.length); })</script>"""
PAGE = "Web Page"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with run_site({"/": MIRROR}) as running:
        yield running


@pytest.fixture
async def staging(own_database: Database, tmp_path: Path, site: Site) -> AsyncIterator[Staging]:
    made = Staging(own_database, tmp_path, NODES, grace_s=0.5)
    made.hosts = (site.host,)
    yield made
    await made.close()


def chain(*ids: str) -> list[dict[str, object]]:
    """Edges that hand one page from node to node."""
    return [edge(source, target, PAGE, PAGE) for source, target in pairwise(ids)]


async def test_a_visit_brings_back_a_text_and_a_picture(staging: Staging, site: Site) -> None:
    document = draw_visit({"url": site.url(), "selector": "h1"}).model_dump(mode="json")
    execution_id = await staging.submit(document["nodes"], document["edges"])
    async with staging.perform():
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.COMPLETED
    row = await staging.executions.get(staging.tenant_id, execution_id)
    assert row.result is not None
    assert row.result["text"] == {"Text": "Mirror"}
    picture = (await list_artifacts(staging, execution_id, ArtifactKind.SCREENSHOT))[0]
    assert (picture.media_type, picture.page_url, picture.width) == ("image/jpeg", site.url(), 1_280)
    told = [event.artifact for event in await staging.read(execution_id) if event.type == "screenshot"]
    assert told == [picture]


async def test_a_failing_node_leaves_a_picture_the_address_and_the_console(
    staging: Staging, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.nodes.browser.act.ACTION_S", 2.0)
    monkeypatch.setattr("runtime.browser.page._GRACE_S", 60.0)
    nodes = [
        node("open", "launch_standard_browser", {"Website URL": site.url()}),
        node("type", "fill_input", {"Selector": "#in", "Value": "hello"}),
        node("click", "click_element", {"Selector": "#missing"}, timeout_s=60),
    ]
    execution_id = await staging.submit(nodes, chain("open", "type", "click"))
    async with staging.perform():
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.FAILED
    row = await staging.executions.get(staging.tenant_id, execution_id)
    assert row.error is not None
    assert (row.error["code"], row.error["node_id"]) == (FailureCode.ELEMENT_NOT_FOUND, "click")
    picture = (await list_artifacts(staging, execution_id, ArtifactKind.FAILURE_SCREENSHOT))[0]
    assert (picture.node_id, picture.page_url) == ("click", site.url())
    console = (await list_artifacts(staging, execution_id, ArtifactKind.CONSOLE))[0]
    blob = await staging.records.get_blob(staging.tenant_id, console.artifact_id)
    text = (await staging.folder.read_whole(blob.path)).decode()
    assert site.url() in text
    assert "typed 5" in text
    assert (await staging.read(execution_id))[-1].type == "error"


async def test_cancel_closes_the_page_of_a_running_step(staging: Staging, site: Site) -> None:
    nodes = [
        node("open", "launch_standard_browser", {"Website URL": site.url()}),
        node("wait", "wait_for_element", {"Selector": "#never", "Visibility": "visible"}, timeout_s=300),
    ]
    execution_id = await staging.submit(nodes, chain("open", "wait"))
    async with staging.perform():
        await staging.wait_until(execution_id, lambda row: row.current_node == "wait")
        await staging.executions.request_cancel(staging.tenant_id, execution_id, "")
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.CANCELLED
    steps = await staging.records.list_steps(staging.tenant_id, execution_id)
    assert [step.status for step in steps] == [StepStatus.SUCCESS, StepStatus.FAILED]


async def test_a_page_is_brought_back_on_another_worker(staging: Staging, site: Site) -> None:
    """Opening and typing have to happen again there, and count once: their first outcomes stand."""
    nodes = [
        node("open", "launch_standard_browser", {"Website URL": site.url()}),
        node("type", "fill_input", {"Selector": "#in", "Value": "kept"}),
        node("pause", "delay", {"Duration": 60}),
        node("html", "get_html"),
        node("text", "get_text_from_html", {"Selector": "#out"}),
    ]
    edges = [*chain("open", "type", "pause", "html"), edge("html", "text", "Html Content", "Html")]
    execution_id = await staging.submit(nodes, edges)
    async with staging.perform():
        await staging.wait_until(execution_id, lambda row: row.current_node == "pause")
    await staging.shift(execution_id, 60)
    async with staging.perform():
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.COMPLETED
    row = await staging.executions.get(staging.tenant_id, execution_id)
    assert row.result is not None
    assert row.result["text"] == {"Text": "kept"}
    steps = await staging.records.list_steps(staging.tenant_id, execution_id)
    seen = [(step.node_id, step.epoch, step.status, step.credits > 0) for step in steps]
    assert ("open", 1, StepStatus.SUCCESS, True) in seen
    assert ("open", 2, StepStatus.SUCCESS, False) in seen
    assert ("type", 2, StepStatus.SUCCESS, False) in seen
    assert row.credits == sum(step.credits for step in steps)


async def test_a_host_that_is_not_allowed_is_refused(staging: Staging) -> None:
    document = draw_visit({"url": "http://localhost:1/"}).model_dump(mode="json")
    execution_id = await staging.submit(document["nodes"], document["edges"])
    async with staging.perform():
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.FAILED
    row = await staging.executions.get(staging.tenant_id, execution_id)
    assert row.error is not None
    assert row.error["code"] == FailureCode.HOST_REFUSED
    (refusal,) = await list_refusals(staging, execution_id)
    assert (refusal.host, refusal.port, refusal.rule) == ("localhost", 1, "loopback")


@pytest.mark.parametrize("narrowed_by", ["nobody", "its workflow", "whoever started it"])
async def test_a_run_reaches_what_it_may_itself(staging: Staging, site: Site, narrowed_by: str) -> None:
    narrowed = {"allowed_domains": ["*.example"]}
    document = draw_visit({"url": site.url("/")}).model_dump(mode="json")
    settings = narrowed if narrowed_by == "its workflow" else {}
    trigger = {"type": "intent"} | (narrowed if narrowed_by == "whoever started it" else {})
    execution_id = await staging.submit(document["nodes"], document["edges"], trigger=trigger, **settings)
    async with staging.perform():
        status = await staging.wait_for_end(execution_id)
    if narrowed_by == "nobody":
        assert status is ExecutionStatus.COMPLETED
        return
    assert status is ExecutionStatus.FAILED
    (refusal,) = await list_refusals(staging, execution_id)
    assert refusal.rule == "not_allowed"


async def test_a_part_of_a_page_that_is_refused_is_told_and_recorded_once(staging: Staging, site: Site) -> None:
    site.pages["/parts"] = "<h1>here</h1><img src='http://10.1.2.3/a'><img src='http://10.1.2.3/b'>"
    document = draw_visit({"url": site.url("/parts"), "selector": "h1"}).model_dump(mode="json")
    execution_id = await staging.submit(document["nodes"], document["edges"])
    async with staging.perform():
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.COMPLETED
    told = [event.log for event in await staging.read(execution_id) if event.type == "log"]
    assert [(line.level, line.message) for line in told if "10.1.2.3" in line.message] == [
        ("warning", "10.1.2.3:80 may not be reached: it lies in a private network.")
    ]
    (refusal,) = await list_refusals(staging, execution_id)
    assert (refusal.host, refusal.port, refusal.rule) == ("10.1.2.3", 80, "private")


async def test_what_the_tenant_denies_is_refused(staging: Staging, site: Site) -> None:
    await EgressRecords(staging.db).put(staging.tenant_id, EgressLists(deny=[site.host]), None)
    document = draw_visit({"url": site.url("/")}).model_dump(mode="json")
    execution_id = await staging.submit(document["nodes"], document["edges"])
    async with staging.perform():
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.FAILED
    row = await staging.executions.get(staging.tenant_id, execution_id)
    assert row.error is not None
    assert row.error["message"] == f"{site.host} may not be reached: a list of denied hosts names it."
    assert [refusal.rule for refusal in await list_refusals(staging, execution_id)] == ["denied"]


async def list_refusals(staging: Staging, execution_id: ExecutionId) -> list[EgressRefusal]:
    found, _ = await EgressRecords(staging.db).list_refusals(staging.tenant_id, ListRefusals(execution_id=execution_id))
    return list(found)


async def list_artifacts(staging: Staging, execution_id: ExecutionId, kind: ArtifactKind) -> list[Artifact]:
    stored = await staging.records.list_artifacts(staging.tenant_id, execution_id)
    return [artifact for artifact in stored if artifact.kind is kind]
