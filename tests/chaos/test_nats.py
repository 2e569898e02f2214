"""NATS carries the wake-ups and goes away under load: nothing is lost, nor later than readers look by themselves."""

import asyncio
import time

import httpx

from runtime.store.wakeups import POLL_S
from tests.chaos.checker import check_now
from tests.chaos.documents import wait_in_turn
from tests.chaos.fixtures import SetStage
from tests.chaos.load import Load, raise_load
from tests.chaos.rig import Rig
from tests.chaos.waiting import until

AT_MOST = 60
BUSY_S = 5.0
"""For a machine of few cores that does everything at once."""
LATE_S = 1.2 * POLL_S + BUSY_S
"""A wake-up that was lost on its way costs one look, whose pauses are drawn from a fifth around their length."""
CANCELLED_S = 1.0 + BUSY_S
"""Promised is a second (spec E10), whether wake-ups come or not."""


async def test_a_nats_server_that_is_killed_and_comes_back_under_load_costs_a_moment(set_stage: SetStage) -> None:
    async with set_stage(runtimes=2, workers=2, nats=True) as rig:
        assert rig.nats is not None
        await until(lambda: all_hear(rig), "wake-ups come over NATS")
        async with raise_load(rig, at_most=AT_MOST, with_browser=False) as load:
            await go_on(load)
            rig.nats.kill()
            rig.nats.start()  # at once: what was under way at that instant is lost, and few notice
            await go_on(load)
            await check_now(rig)
            rig.nats.kill()
            await until(lambda: none_hears(rig), "everybody says that wake-ups don't come")
            await go_on(load)
            await cancel_one(load)
            await check_now(rig)
            rig.nats.start()
            await until(lambda: all_hear(rig), "they come again")
            await go_on(load)
            rig.nats.freeze()  # it takes everything and passes nothing on, and says nothing about it
            await go_on(load)
            await cancel_one(load)
            await check_now(rig)
            rig.nats.thaw()
            await go_on(load)
        latest = max(sighting.latest_s for sighting in rig.ledger.sightings)
        assert latest <= LATE_S, f"{latest:.1f} s"
        snapshot = await check_now(rig)
        assert not any(row["losses"] for row in snapshot.executions.values()), "no worker was lost over it"


async def go_on(load: Load) -> None:
    """Until people have come in since now, and have been let go."""
    begun = len(load.started)
    await until(lambda: len(load.started) > begun + 2 or len(load.started) >= AT_MOST, "people come in")
    visitor, execution_id = load.started[-1]
    await visitor.ended(execution_id)


async def cancel_one(load: Load) -> None:
    """What somebody wants an end of ends at once, also when its worker is not told."""
    visitor = load.visitors[0]
    waits = await visitor.start(wait_in_turn(60, steps=1))
    visitor.watch(waits)
    await until(lambda: is_running(load, waits), "it waits")
    asked = time.monotonic()
    await visitor.cancel(waits)
    assert (await visitor.ended(waits))["status"] == "cancelled"
    took_s = time.monotonic() - asked
    assert took_s <= CANCELLED_S, f"{took_s:.1f} s"


async def is_running(load: Load, execution_id: str) -> bool:
    return bool((await load.visitors[0].status(execution_id))["current_node"])


async def count_deaf(rig: Rig) -> int:
    """How many Runtimes and workers say of themselves that no wake-ups come."""
    parts = [*rig.runtimes, *rig.workers]
    async with httpx.AsyncClient(timeout=10) as http, asyncio.TaskGroup() as group:
        asked = [group.create_task(http.get(f"http://127.0.0.1:{part.port}/ready")) for part in parts]
    return sum(task.result().json()["checks"]["wake-ups"] != "ok" for task in asked)


async def all_hear(rig: Rig) -> bool:
    return await count_deaf(rig) == 0


async def none_hears(rig: Rig) -> bool:
    return await count_deaf(rig) == len(rig.runtimes) + len(rig.workers)
