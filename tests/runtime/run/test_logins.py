"""A login is saved by one run and loaded by another: cookies, local storage and databases, on a site that asks."""

import io
import json
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from contracts.browser_profile import ListBrowserProfiles, ListProfileUses
from contracts.execution import ExecutionStatus, FailureCode
from contracts.model import ExecutionId
from contracts.workflow import JsonObject
from runtime.app import NODES
from runtime.seal import Seal
from tests.runtime.staging import Staging, edge, node
from tests.support.canary import dump, find_leaks
from tests.support.postgres import Database
from tests.support.site import Site, run_site

CANARY = "canary-5e55101"
SIGN_IN = f"""<title>in</title><p id=done></p><script>
  document.cookie = "session={CANARY}-c; path=/; max-age=9999"
  localStorage.setItem("token", "{CANARY}-l")
  const opening = indexedDB.open("auth", 1)
  opening.onupgradeneeded = () => opening.result.createObjectStore("user").put("{CANARY}-d", "me")
  opening.onsuccess = () => {{ opening.result.close(); done.textContent = "signed in" }}
</script>"""
SHOW = """<p id=seen></p><script>
  const opening = indexedDB.open("auth", 1)
  opening.onupgradeneeded = () => opening.result.createObjectStore("user")
  opening.onsuccess = () => {
    const asked = opening.result.transaction("user").objectStore("user").get("me")
    asked.onsuccess = () => {
      const seen = [document.cookie, localStorage.getItem("token"), asked.result]
      document.querySelector("#seen").textContent = seen.filter(one => one).length + " of 3"
    }
  }
</script>"""
# shows what an earlier visit has stored wherever a page can show it
REPEAT = """<title>repeats</title><p id=text></p><input id=field><pre id=html></pre><p id=parts></p>
<div id=host></div><script>
  const kept = [document.cookie, localStorage.getItem("token")].join(" ")
  document.querySelector("#text").textContent = kept
  document.querySelector("#field").value = kept
  document.querySelector("#parts").innerHTML = kept.replaceAll("-", "<b>-</b>")
  document.querySelector("#html").textContent = JSON.stringify({base64: btoa(kept), address: encodeURIComponent(kept)})
  document.querySelector("#host").attachShadow({mode: "open"}).innerHTML = "<p>" + kept + "</p>"
  console.log("kept", kept)
  history.replaceState(null, "", "?kept=" + encodeURIComponent(kept))
  document.title = "repeats " + kept
  setTimeout(() => { throw new Error("can't use " + kept) })
</script>"""
HOLD = """<p id=p></p><script>
  const ask = async () => (await fetch("/released")).ok ? document.querySelector("#p").innerHTML = "<b id=go>go</b>" : 0
  setInterval(ask, 100)
</script>"""
PAGE = "Web Page"


@pytest.fixture
def site() -> Iterator[Site]:
    with run_site({"/in": SIGN_IN, "/show": SHOW, "/repeat": REPEAT}) as running:
        yield running


@pytest.fixture
async def staging(own_database: Database, tmp_path: Path, site: Site) -> AsyncIterator[Staging]:
    made = Staging(own_database, tmp_path, NODES, grace_s=0.5)
    made.hosts = (site.host,)
    made.seal = Seal([b"k" * 32])
    yield made
    await made.close()


async def run(staging: Staging, *nodes: JsonObject) -> tuple[ExecutionId, ExecutionStatus]:
    ids = [str(one["id"]) for one in nodes]
    edges = [edge(source, target, PAGE, PAGE) for source, target in pairwise(ids)]
    execution_id = await staging.submit(list(nodes), edges)
    return execution_id, await staging.wait_for_end(execution_id)


def save(site: Site) -> list[JsonObject]:
    return [
        node("open", "launch_standard_browser", {"Website URL": site.url("/in")}),
        node("wait", "wait_for_element", {"Selector": "text=signed in", "Visibility": "visible"}),
        node("save", "save_login", {"Profile": "shop"}),
    ]


def look() -> list[JsonObject]:
    return [
        node("settled", "wait_for_element", {"Selector": "text=of 3", "Visibility": "visible"}),
        node("read", "extract_list", {"Selector": "#seen", "Fields": {"seen": "@id"}}),
        node("text", "extract_list", {"Selector": "body", "Fields": {"text": "#seen"}}),
    ]


async def read_seen(staging: Staging, execution_id: ExecutionId) -> str:
    steps = await staging.records.list_steps(staging.tenant_id, execution_id)
    outputs: Any = next(step.outputs for step in steps if step.node_id == "text")
    return str(outputs["Items"][0]["text"])


async def read_failure(staging: Staging, execution_id: ExecutionId) -> Any:
    return (await staging.executions.get(staging.tenant_id, execution_id)).error


async def test_who_begins_with_it_is_signed_in(staging: Staging, site: Site, own_database: Database) -> None:
    async with staging.perform():
        fresh, _ = await run(
            staging, node("open", "launch_standard_browser", {"Website URL": site.url("/show")}), *look()
        )
        assert await read_seen(staging, fresh) == "0 of 3"
        saved, status = await run(staging, *save(site))
        assert status is ExecutionStatus.COMPLETED
        inputs = {"Website URL": site.url("/show"), "Profile": "shop"}
        begun, _ = await run(staging, node("open", "launch_standard_browser", inputs), *look())
        assert await read_seen(staging, begun) == "3 of 3"
        loaded, _ = await run(
            staging,
            node("open", "launch_standard_browser", {"Website URL": site.url("/show")}),
            node("load", "load_login", {"Profile": "shop"}),
            *look(),
        )
        assert await read_seen(staging, loaded) == "3 of 3"
    (profile,), _ = await staging.profiles.list_page(staging.tenant_id, ListBrowserProfiles())
    assert (profile.name, profile.version, profile.saved_by) == ("shop", 1, saved)
    assert set(profile.hosts) == {"127.0.0.1", site.host}
    wanted = ListProfileUses(browser_profile_id=profile.browser_profile_id)
    uses, _ = await staging.profiles.list_uses(staging.tenant_id, wanted)
    assert [(one.act, one.execution_id, one.node_id) for one in uses] == [
        ("loaded", loaded, "load"),
        ("loaded", begun, "open"),
        ("saved", saved, "save"),
    ]
    tables = await dump(own_database.superuser_dsn, "runtime")
    assert [name for name, text in tables.items() if find_leaks(CANARY, text)] == []


async def test_a_page_that_comes_back_is_still_signed_in(staging: Staging, site: Site) -> None:
    async with staging.perform():
        await run(staging, *save(site))
    inputs = {"Website URL": site.url("/show"), "Profile": "shop"}
    execution_id = await staging.submit(
        [
            node("open", "launch_standard_browser", inputs),
            node("pause", "delay", {"Duration": 60}),
            *look(),
        ],
        [edge(one, other, PAGE, PAGE) for one, other in pairwise(("open", "pause", "settled", "read", "text"))],
    )
    async with staging.perform():
        await staging.wait_until(execution_id, lambda row: row.current_node == "pause")
    await staging.shift(execution_id, 60)
    async with staging.perform():
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.COMPLETED
    assert await read_seen(staging, execution_id) == "3 of 3"


def repeat(site: Site, way: str) -> list[JsonObject]:
    """Begins with the saved login on a page that shows what is in it, and fails there."""
    inputs = {"Website URL": site.url("/repeat"), **({"Profile": "shop"} if way == "launch" else {})}
    load = [node("load", "load_login", {"Profile": "shop"})] if way == "load" else []
    return [
        node("open", "launch_standard_browser", inputs),
        *load,
        node("html", "get_html"),
        node("rows", "extract_list", {"Selector": "body", "Fields": {"text": "#text", "address": "#html"}}),
        node("fail", "wait_for_element", {"Selector": "#never", "Visibility": "visible"}, timeout_s=3),
    ]


@pytest.mark.parametrize("way", ["launch", "load"])
async def test_what_a_site_has_stored_is_masked_in_a_run_that_only_loads_it(
    staging: Staging, site: Site, own_database: Database, logged: io.StringIO, way: str
) -> None:
    async with staging.perform():
        await run(staging, *save(site))
    async with staging.perform():
        execution_id, status = await run(staging, *repeat(site, way))
    assert status is ExecutionStatus.FAILED
    events = "\n".join(event.model_dump_json() for event in await staging.read(execution_id))
    assert "session%3D[profile.shop]%20[profile.shop]" in events  # the page's address
    files = [path for path in staging.artifact_dir.rglob("*") if path.is_file()]
    assert len(files) >= 2  # picture and console of the failure
    channels = {
        "events": events,
        "log": logged.getvalue(),
        **await dump(own_database.superuser_dsn, "runtime"),
        **{str(path): path.read_bytes().decode("latin-1") for path in files},
    }
    for secret in (f"{CANARY}-c", f"{CANARY}-l"):
        assert {name: leaks for name, text in channels.items() if (leaks := find_leaks(secret, text))} == {}


async def test_what_a_run_saves_is_masked_from_then_on(staging: Staging, site: Site) -> None:
    body = node("rows", "extract_list", {"Selector": "body", "Fields": {"text": "#text"}})
    async with staging.perform():
        goto = node("go", "navigate", {"URL": site.url("/repeat")})
        execution_id, status = await run(staging, *save(site), goto, body)
    assert status is ExecutionStatus.COMPLETED
    assert CANARY not in "\n".join(event.model_dump_json() for event in await staging.read(execution_id))
    steps = await staging.records.list_steps(staging.tenant_id, execution_id)
    assert "session=[profile.shop] [profile.shop]" in json.dumps([step.outputs for step in steps])


async def test_a_page_that_comes_back_is_masked_by_what_it_was_kept_with(staging: Staging, site: Site) -> None:
    site.pages["/hold"] = HOLD
    inputs = {"Website URL": site.url("/hold"), "Profile": "shop"}
    nodes = [
        node("open", "launch_standard_browser", inputs),
        node("hold", "wait_for_element", {"Selector": "#go", "Visibility": "visible"}),
        node("go", "navigate", {"URL": site.url("/repeat")}),
        node("html", "get_html"),
    ]
    async with staging.perform():
        await run(staging, *save(site))
    async with staging.perform():
        edges = [edge(str(one["id"]), str(other["id"]), PAGE, PAGE) for one, other in pairwise(nodes)]
        execution_id = await staging.submit(nodes, edges)
        await staging.wait_until(execution_id, lambda row: row.current_node == "hold")
    (profile,), _ = await staging.profiles.list_page(staging.tenant_id, ListBrowserProfiles())
    await staging.profiles.delete(staging.tenant_id, profile.browser_profile_id)
    site.pages["/released"] = "now"
    async with staging.perform():
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.COMPLETED
    steps = await staging.records.list_steps(staging.tenant_id, execution_id)
    told = "\n".join(event.model_dump_json() for event in await staging.read(execution_id))
    told += json.dumps([step.outputs for step in steps])
    assert "session=[profile] [profile]" in told
    assert find_leaks(f"{CANARY}-c", told) == find_leaks(f"{CANARY}-l", told) == []


async def test_what_a_run_has_stored_before_it_saves_is_masked_no_sooner_when_it_comes_back(
    staging: Staging, site: Site
) -> None:
    site.pages["/hold"] = HOLD
    nodes = [
        node("open", "launch_standard_browser", {"Website URL": site.url("/in")}),
        node("wait", "wait_for_element", {"Selector": "text=signed in", "Visibility": "visible"}),
        node("leave", "navigate", {"URL": site.url("/hold")}),
        node("hold", "wait_for_element", {"Selector": "#go", "Visibility": "visible"}),
        node("go", "navigate", {"URL": site.url("/repeat")}),
        node("rows", "extract_list", {"Selector": "body", "Fields": {"text": "#text"}}),
        node("save", "save_login", {"Profile": "shop"}),
    ]
    edges = [edge(str(one["id"]), str(other["id"]), PAGE, PAGE) for one, other in pairwise(nodes)]
    execution_id = await staging.submit(nodes, edges)
    async with staging.perform():
        await staging.wait_until(execution_id, lambda row: row.current_node == "hold")
    site.pages["/released"] = "now"
    async with staging.perform():
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.COMPLETED
    events = [event.model_dump_json() for event in await staging.read(execution_id)]
    assert any("brought back" in event for event in events)
    steps = await staging.records.list_steps(staging.tenant_id, execution_id)
    outputs: Any = next(step.outputs for step in steps if step.node_id == "rows")
    assert outputs["Items"][0]["text"] == f"session={CANARY}-c {CANARY}-l"


@pytest.mark.parametrize("way", ["launch", "load"])
async def test_one_that_is_not_there_is_said(staging: Staging, site: Site, way: str) -> None:
    inputs = {"Website URL": site.url("/show"), **({"Profile": "none"} if way == "launch" else {})}
    nodes = [node("open", "launch_standard_browser", inputs)]
    if way == "load":
        nodes.append(node("load", "load_login", {"Profile": "none"}))
    async with staging.perform():
        execution_id, status = await run(staging, *nodes)
    assert status is ExecutionStatus.FAILED
    assert json.dumps(await read_failure(staging, execution_id)).count(FailureCode.CREDENTIAL_MISSING) == 1


async def test_without_a_key_nothing_is_saved(staging: Staging, site: Site) -> None:
    staging.seal = None
    async with staging.perform():
        execution_id, status = await run(staging, *save(site))
    assert status is ExecutionStatus.FAILED
    assert (await read_failure(staging, execution_id))["code"] == FailureCode.CREDENTIAL_SEALED
