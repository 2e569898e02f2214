"""The containers as they run: that they do the work, and share it. Opt-in: `make compose-test`."""

import asyncio
import re
from collections import Counter
from uuid import uuid4

import httpx
import pytest

from experience.cli.first_visit import load_demo
from tests.compose.containers import OWNER, PASSWORD, Containers
from tests.compose.work import SHOP, Watcher, run_to_end, start, wait_beside, wait_for

pytestmark = pytest.mark.timeout(1_800)  # the first of them builds the images


# --- that it works


async def test_somebody_registers_and_a_browser_does_the_demo(person: httpx.AsyncClient) -> None:
    watcher = await run_to_end(person, load_demo(SHOP).model_dump(mode="json", by_alias=True))
    assert watcher.events[-1]["type"] == "completion", watcher.events[-1]
    tenant_id = (await person.get("/api/auth/me")).json()["tenant"]["tenant_id"]
    asked = {"tenant_id": tenant_id, "include_artifacts": True}
    status = await person.get(f"/api/execution/{watcher.events[0]['execution_id']}/status", params=asked)
    picture = next(one for one in status.json()["artifacts"] if one["media_type"].startswith("image/"))
    data = await person.get(f"/api/artifact/{picture['artifact_id']}")
    assert data.status_code == 200, data.text
    assert len(data.content) == picture["size"]


async def test_the_page_is_served(person: httpx.AsyncClient) -> None:
    page = await person.get("/executions")
    assert page.status_code == 200
    script = re.search(r'src="(/assets/[^"]+\.js)"', page.text)
    assert script
    assert (await person.get(script[1])).status_code == 200


async def test_the_demo_service_prints_a_link(containers: Containers) -> None:
    names = containers.run_engine("ps", "-a", "--filter=name=demo", "--format={{.Names}}").split()
    name = next(name for name in names if name.startswith("stagedoor-test"))
    await wait_for(lambda: f"{containers.url}/enter" in containers.read_log(name), 120)


async def test_the_owner_is_there(containers: Containers) -> None:
    async with httpx.AsyncClient(base_url=containers.url, timeout=30) as http:
        answer = await http.post("/api/auth/login", json={"email": OWNER, "password": PASSWORD})
    assert answer.status_code == 200, answer.text


# --- that replicas share the work


def count_by_replica(containers: Containers, service: str, pattern: str) -> Counter[str]:
    """How many lines of each running replica's log match."""
    return Counter(
        {name: len(re.findall(pattern, containers.read_log(name))) for name in containers.list_names(service)}
    )


async def test_all_replicas_of_both_tiers_serve(containers: Containers, person: httpx.AsyncClient) -> None:
    asked = [str(uuid4()) for _ in range(60)]
    # at once: asked in turn, each goes to whoever has fewer connections, which may be the same one each time
    answers = await asyncio.gather(*(person.get(f"/api/execution/{one}/events", timeout=60) for one in asked))
    assert {answer.status_code for answer in answers} == {404}
    pattern = rf'"path": "[^"]*(?:{"|".join(asked)})'
    for service in ("experience", "runtime"):
        counted = count_by_replica(containers, service, pattern)
        assert len(counted) == 2
        assert min(counted.values()) >= 10, f"{service}: {counted}"


async def test_workers_share_executions(containers: Containers, person: httpx.AsyncClient) -> None:
    started = [await start(person, wait_beside(2)) for _ in range(12)]
    watchers = [Watcher(person, execution_id) for execution_id in started]
    async with asyncio.TaskGroup() as group:
        for watcher in watchers:
            group.create_task(watcher.watch())
    assert {watcher.events[-1]["type"] for watcher in watchers} == {"completion"}
    logs = {name: containers.read_log(name) for name in containers.list_names("worker")}
    shares = {name: {one for one in started if one in log} for name, log in logs.items()}
    assert len(shares) == 2
    assert all(shares.values()), shares
    assert set.union(*shares.values()) == set(started)
    assert not set.intersection(*shares.values())


# --- that a restart of everything keeps everything


async def test_everything_is_there_after_a_restart(containers: Containers, person: httpx.AsyncClient) -> None:
    before = await run_to_end(person, wait_beside(0.1))
    containers.down()
    containers.up()
    execution_id = before.events[0]["execution_id"]
    kept = await person.get(f"/api/execution/{execution_id}/events?limit=1000")
    assert kept.status_code == 200, kept.text
    assert kept.json()["events"] == before.events
