"""Replicas that are killed, stopped and restarted while people watch. Opt-in: `make compose-test`."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.compose.containers import ROUTED, Containers
from tests.compose.work import (
    Watcher,
    buy_and_wait,
    find_worker,
    read_result,
    read_steps,
    start,
    wait_beside,
    wait_for,
)

pytestmark = pytest.mark.timeout(1_800)  # the first of them builds the images

TIERS = ("experience", "runtime", "worker")
HEALTH_CHECK_S = 2
"""Traefik asks a new replica once a second, and sends it people after the first good answer."""


async def bring_back(containers: Containers, service: str) -> None:
    """Start the replicas that don't run, and wait until all of them serve."""
    for name in containers.list_names(service, "--filter=status=exited"):
        await asyncio.to_thread(containers.run_engine, "start", name)
    await wait_for(lambda: len(containers.list_names(service)) == 2)
    await wait_for(lambda: all(containers.is_healthy(name) for name in containers.list_names(service)))
    if service in ROUTED:
        await wait_for(lambda: containers.is_routed(service))
        await asyncio.sleep(HEALTH_CHECK_S)
    await asyncio.to_thread(containers.wait_until_ready)


@pytest.fixture(autouse=True)
async def whole(containers: Containers) -> AsyncIterator[None]:
    """Whatever a test has taken away is there again for the next one."""
    yield
    for service in TIERS:
        await bring_back(containers, service)


@pytest.mark.parametrize("service", TIERS)
async def test_streams_go_on_when_one_replica_is_killed(
    containers: Containers, person: httpx.AsyncClient, service: str
) -> None:
    execution_id = await start(person, wait_beside(5, 12, 20))
    watchers = [Watcher(person, execution_id) for _ in range(6)]
    asked: list[int] = []
    async with asyncio.TaskGroup() as group:
        for watcher in watchers:
            group.create_task(watcher.watch())
        await wait_for(lambda: all(len(watcher.events) >= 3 for watcher in watchers))
        victim = find_worker(containers, execution_id) if service == "worker" else containers.list_names(service)[0]
        containers.kill(victim)
        for _ in range(40):
            asked.append((await person.get(f"/api/execution/{execution_id}/events")).status_code)
            await asyncio.sleep(0.1)
    for watcher in watchers:
        watcher.check_gapless()
        assert watcher.events == watchers[0].events
    if service == "experience":  # the sockets were spread over both, so one half was cut off and one half was not
        assert {watcher.openings > 1 for watcher in watchers} == {True, False}
    assert watchers[0].events[-1]["type"] == "completion", watchers[0].events[-1]
    # a request that was under way in the replica that died may be lost with it, and no other
    assert sum(status != 200 for status in asked) <= 2, Counter(asked)


async def test_a_page_comes_back_from_its_sealed_checkpoint(containers: Containers, person: httpx.AsyncClient) -> None:
    """The click that filled the cart can't run twice: without the checkpoint a person would be asked about it."""
    execution_id = await start(person, buy_and_wait(8))
    watcher = Watcher(person, execution_id)
    async with asyncio.TaskGroup() as group:
        group.create_task(watcher.watch())
        await wait_for(lambda: watcher.saw("wait", "running"))
        sealed = containers.query(
            f"SELECT count(*) FROM runtime.checkpoints WHERE execution_id = '{execution_id}' AND node_id = 'buy' "
            "AND position('/cart'::bytea IN sealed) = 0"
        )
        assert sealed == "1"
        victim = find_worker(containers, execution_id)
        containers.kill(victim)
    watcher.check_gapless()
    assert watcher.events[-1]["type"] == "completion", watcher.events[-1]
    assert await read_steps(person, execution_id, epoch=2) == ["wait", "html", "count"]
    assert (await read_result(person, execution_id))["count"]["Text"].strip() == "1"
    assert find_worker(containers, execution_id) != victim


async def test_what_was_paused_goes_on_at_another_worker(containers: Containers, person: httpx.AsyncClient) -> None:
    execution_id = await start(person, buy_and_wait(3))
    watcher = Watcher(person, execution_id)
    async with asyncio.TaskGroup() as group:
        group.create_task(watcher.watch())
        await wait_for(lambda: watcher.saw("wait", "running"))
        paused = await person.post(f"/api/execution/{execution_id}/pause", json={})
        assert paused.status_code == 202, paused.text
        await wait_for(lambda: "paused" in watcher.statuses)
        await wait_for(
            lambda: (
                containers.query(f"SELECT outcome FROM runtime.runs WHERE execution_id = '{execution_id}'") == "paused"
            )
        )
        had = find_worker(containers, execution_id)
        containers.run_engine("stop", "-t", "30", had)
        assert not watcher.saw("wait", "success")  # what only waits is interrupted
        assert not watcher.saw("html", "running")  # and nothing begins
        resumed = await person.post(f"/api/execution/{execution_id}/resume", json={})
        assert resumed.status_code == 202, resumed.text
    watcher.check_gapless()
    assert watcher.events[-1]["type"] == "completion", watcher.events[-1]
    assert await read_steps(person, execution_id, epoch=2) == ["wait", "html", "count"]
    assert (await read_result(person, execution_id))["count"]["Text"].strip() == "1"


async def test_restarting_each_replica_in_turn_loses_nothing(containers: Containers, person: httpx.AsyncClient) -> None:
    watchers: list[Watcher] = []
    asked: list[int] = []
    over = asyncio.Event()

    async def keep_asking() -> None:
        while not over.is_set():
            asked.append(
                (await person.get(f"/api/execution/{watchers[0].events[0]['execution_id']}/events")).status_code
            )
            await asyncio.sleep(0.2)

    async with asyncio.TaskGroup() as group:

        async def send_more() -> None:
            for document in (buy_and_wait(4), wait_beside(2, 6)):
                watchers.append(Watcher(person, await start(person, document)))
                group.create_task(watchers[-1].watch())

        await send_more()
        await wait_for(lambda: all(watcher.events for watcher in watchers))
        group.create_task(keep_asking())
        for service in TIERS:
            for name in containers.list_names(service):
                await send_more()
                await asyncio.to_thread(containers.run_engine, "stop", "-t", "30", name)
                await bring_back(containers, service)
        over.set()
    for watcher in watchers:
        watcher.check_gapless()
    assert Counter(watcher.events[-1]["type"] for watcher in watchers) == {"completion": len(watchers)}
    assert set(asked) == {200}, Counter(asked)
    ids = ", ".join(f"'{watcher.events[0]['execution_id']}'" for watcher in watchers)
    lost = containers.query(f"SELECT count(*) FROM runtime.runs WHERE outcome = 'lost' AND execution_id IN ({ids})")
    assert lost == "0", "who leaves hands back what it has"
