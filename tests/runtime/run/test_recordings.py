"""Traces and videos are artifacts at the end of the run, and left out where the plan holds secrets."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.credential import CreateCredential
from contracts.execution import ArtifactKind, ExecutionStatus
from contracts.model import ExecutionId
from contracts.workflow import JsonObject
from runtime.app import NODES
from runtime.artifacts import ArtifactWriter
from runtime.seal import Seal
from runtime.store.records import StoredBlob
from runtime.vault import Vault
from tests.runtime.staging import Staging, edge, node
from tests.support.postgres import Database
from tests.support.site import Site, run_site

PAGE = "<input id=p type=password>"


@pytest.fixture
def site() -> Iterator[Site]:
    with run_site({"/": PAGE}) as running:
        yield running


@pytest.fixture
async def staging(own_database: Database, tmp_path: Path, site: Site) -> AsyncIterator[Staging]:
    made = Staging(own_database, tmp_path, NODES)
    made.hosts = (site.host,)
    made.seal = Seal([b"k" * 32])
    yield made
    await made.close()


async def run(staging: Staging, site: Site, *then: JsonObject) -> tuple[ExecutionId, list[str], str]:
    """Recorded in both ways: names of the artifacts, and the log."""
    inputs = {"Website URL": site.url(), "Trace": True, "Video": True}
    nodes = [node("open", "launch_standard_browser", inputs), *then]
    edges = [edge("open", str(one["id"]), "Web Page", "Web Page") for one in then]
    execution_id = await staging.submit(nodes, edges)
    async with staging.perform():
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.COMPLETED
        assert not list((staging.artifact_dir.parent / "scratch").rglob("*.zip"))
    artifacts = await staging.records.list_artifacts(staging.tenant_id, execution_id)
    assert {artifact.kind for artifact in artifacts} <= {ArtifactKind.FILE}
    lines = "\n".join(str(event.model_dump()) for event in await staging.read(execution_id))
    return execution_id, [artifact.name for artifact in artifacts], lines


async def test_they_are_kept_with_the_execution(staging: Staging, site: Site) -> None:
    _, names, lines = await run(staging, site)
    assert sorted(names) == ["open-trace.zip", "open-video.zip"]
    assert "playwright show-trace" in lines
    assert "pictures with their times" in lines


async def test_credentials_in_the_plan_leave_both_out(staging: Staging, site: Site) -> None:
    asked = {"name": "shop", "kind": "token", "values": {"token": "canary-91"}, "domains": [site.host]}
    await Vault(staging.credentials, staging.seal).create(
        staging.tenant_id, None, CreateCredential.model_validate(asked)
    )
    fill = node("fill", "fill_input", {"Selector": "#p", "Value": "{{credential.shop.token}}"})
    _, names, lines = await run(staging, site, fill)
    assert names == []
    assert "No trace is recorded" in lines
    assert "No video is recorded" in lines


async def test_a_login_in_the_plan_leaves_the_trace_out(staging: Staging, site: Site) -> None:
    _, names, lines = await run(staging, site, node("save", "save_login", {"Profile": "shop"}))
    assert names == ["open-video.zip"]
    assert "No trace is recorded" in lines
    assert "No video is recorded" not in lines


def keep_storing(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Let storing a file take ten minutes; answers what is set once it has begun."""
    storing = asyncio.Event()

    async def store(*_: Any, **__: Any) -> None:
        storing.set()
        await asyncio.sleep(600)

    monkeypatch.setattr(ArtifactWriter, "put_file", store)
    return storing


async def test_a_worker_that_leaves_while_it_stores_what_was_recorded_hands_back(
    staging: Staging, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    storing = keep_storing(monkeypatch)
    inputs = {"Website URL": site.url(), "Trace": True}
    nodes = [node("open", "launch_standard_browser", inputs), node("wait", "delay", {"Duration": 30})]
    execution_id = await staging.submit(nodes, [edge("open", "wait", "Web Page", "Web Page")])
    async with staging.perform():
        await staging.wait_until(execution_id, lambda row: row.current_node == "wait")
        await staging.executions.request_pause(staging.tenant_id, execution_id, "lunch")
        async with asyncio.timeout(60):
            await storing.wait()
        began = time.monotonic()
    assert time.monotonic() - began < 45, "it did not wait until all was stored"
    async with staging.perform():
        await staging.wait_until(execution_id, lambda row: row.status is ExecutionStatus.PAUSED)
    assert (await staging.executions.get(staging.tenant_id, execution_id)).losses == 0


async def names_of(staging: Staging, execution_id: ExecutionId) -> list[str]:
    """Of what was recorded and is kept."""
    artifacts = await staging.records.list_artifacts(staging.tenant_id, execution_id)
    return sorted(artifact.name for artifact in artifacts if artifact.name.endswith(".zip"))


async def lines_of(staging: Staging, execution_id: ExecutionId) -> str:
    return "\n".join(str(event.model_dump()) for event in await staging.read(execution_id))


async def test_a_drain_keeps_what_was_recorded_and_the_next_run_records_anew(staging: Staging, site: Site) -> None:
    inputs = {"Website URL": site.url(), "Trace": True, "Video": True}
    nodes = [
        node("open", "launch_standard_browser", inputs),
        node("wait", "delay", {"Duration": 60}),
        node("html", "get_html"),
    ]
    edges = [edge("open", "wait", "Web Page", "Web Page"), edge("wait", "html", "Web Page", "Web Page")]
    execution_id = await staging.submit(nodes, edges)
    async with staging.perform():
        await staging.wait_until(execution_id, lambda row: row.current_node == "wait")
    row = await staging.executions.get(staging.tenant_id, execution_id)
    assert (row.status, row.losses) == (ExecutionStatus.RUNNING, 0), "it was handed back"
    assert await names_of(staging, execution_id) == ["open-trace.zip", "open-video.zip"]
    await staging.shift(execution_id, 60)
    async with staging.perform():
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.COMPLETED
    assert await names_of(staging, execution_id) == ["open-trace.zip"] * 2 + ["open-video.zip"] * 2
    assert "not kept" not in await lines_of(staging, execution_id)


async def test_a_drain_keeps_what_was_recorded_of_a_step_that_does_not_end_in_time(
    staging: Staging, site: Site
) -> None:
    inputs = {"Website URL": site.url(), "Trace": True, "Video": True}
    nodes = [
        node("open", "launch_standard_browser", inputs),
        node("wait", "wait_for_element", {"Selector": "#never", "Visibility": "visible"}),
    ]
    execution_id = await staging.submit(nodes, [edge("open", "wait", "Web Page", "Web Page")])
    async with staging.perform():
        await staging.wait_until(execution_id, lambda row: row.current_node == "wait")
    row = await staging.executions.get(staging.tenant_id, execution_id)
    assert (row.status, row.losses) == (ExecutionStatus.RUNNING, 0)
    assert await names_of(staging, execution_id) == ["open-trace.zip", "open-video.zip"]
    assert "not kept" not in await lines_of(staging, execution_id)


async def test_a_drain_drops_only_what_can_not_be_stored_in_its_time_and_says_so(
    staging: Staging, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_file = ArtifactWriter.put_file

    async def store(writer: ArtifactWriter, node_id: str | None, name: str, *rest: Any) -> StoredBlob:
        if "video" in name:
            await asyncio.sleep(600)
        return await put_file(writer, node_id, name, *rest)

    monkeypatch.setattr(ArtifactWriter, "put_file", store)
    inputs = {"Website URL": site.url(), "Trace": True, "Video": True}
    nodes = [node("open", "launch_standard_browser", inputs), node("wait", "delay", {"Duration": 30})]
    execution_id = await staging.submit(nodes, [edge("open", "wait", "Web Page", "Web Page")])
    async with staging.perform():
        await staging.wait_until(execution_id, lambda row: row.current_node == "wait")
        began = time.monotonic()
    assert time.monotonic() - began < 45, "it did not wait until all was stored"
    assert await names_of(staging, execution_id) == ["open-trace.zip"]
    assert "Some of what was recorded could not be stored in time" in await lines_of(staging, execution_id)
    row = await staging.executions.get(staging.tenant_id, execution_id)
    assert (row.status, row.losses) == (ExecutionStatus.RUNNING, 0)


async def test_an_end_does_not_wait_longer_than_a_drain_for_what_was_recorded(
    staging: Staging, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    storing = keep_storing(monkeypatch)
    inputs = {"Website URL": site.url(), "Trace": True}
    execution_id = await staging.submit([node("open", "launch_standard_browser", inputs)], [])
    async with staging.perform():
        async with asyncio.timeout(60):
            await storing.wait()
        began = time.monotonic()
    assert time.monotonic() - began < 45, "it did not wait until all was stored"
    row = await staging.executions.get(staging.tenant_id, execution_id)
    assert row.status is ExecutionStatus.COMPLETED
    assert "What was recorded could not be stored in time" in await lines_of(staging, execution_id)


async def test_a_pause_keeps_what_was_recorded_and_the_next_run_records_anew(staging: Staging, site: Site) -> None:
    inputs = {"Website URL": site.url(), "Trace": True, "Video": True}
    nodes = [
        node("open", "launch_standard_browser", inputs),
        node("wait", "delay", {"Duration": 60}),
        node("html", "get_html"),
    ]
    edges = [edge("open", "wait", "Web Page", "Web Page"), edge("wait", "html", "Web Page", "Web Page")]
    execution_id = await staging.submit(nodes, edges)

    async with staging.perform():
        await staging.wait_until(execution_id, lambda row: row.current_node == "wait")
        await staging.executions.request_pause(staging.tenant_id, execution_id, "lunch")
        await staging.wait_until(execution_id, lambda row: row.status is ExecutionStatus.PAUSED)
        row = await staging.executions.get(staging.tenant_id, execution_id)
        assert (row.ready, row.admitted_at) == (False, None), "parked, not held"
        assert await names_of(staging, execution_id) == ["open-trace.zip", "open-video.zip"]
        await staging.shift(execution_id, 60)
        await staging.executions.request_resume(staging.tenant_id, execution_id)
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.COMPLETED
    assert await names_of(staging, execution_id) == ["open-trace.zip"] * 2 + ["open-video.zip"] * 2
    assert "is not kept" not in await lines_of(staging, execution_id)
