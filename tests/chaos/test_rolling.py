"""Replicas restarted one after the other, and the front door restarted and rewritten: under load, unnoticed."""

import asyncio
import random

from tests.chaos.checker import check_now
from tests.chaos.fixtures import SetStage
from tests.chaos.load import raise_load
from tests.chaos.waiting import until


async def test_every_replica_is_restarted_in_turn(set_stage: SetStage) -> None:
    async with set_stage(experiences=2, runtimes=2, workers=2) as rig, raise_load(rig, at_most=60) as load:
        await until(lambda: len(load.started) > 2, "there is load")
        for part in rig.tiers:
            await part.restart()
            await check_now(rig)
        assert sum(part.unswept for part in rig.tiers) == 0
        snapshot = await check_now(rig)
        assert not any(row["losses"] for row in snapshot.executions.values()), "handing back loses nothing"


async def test_every_replica_is_killed_in_turn(set_stage: SetStage) -> None:
    async with set_stage(experiences=2, runtimes=2, workers=2) as rig, raise_load(rig, at_most=60) as load:
        await until(lambda: len(load.started) > 2, "there is load")
        for part in random.sample(rig.tiers, len(rig.tiers)):
            part.kill()
            part.start()
            await part.ready()
            await check_now(rig)


async def test_traefik_is_restarted_and_its_file_replaced(set_stage: SetStage) -> None:
    async with set_stage(experiences=2) as rig, raise_load(rig, with_browser=False) as load:
        await until(lambda: len(load.started) > 2, "there is load")
        for number in range(40):
            only = [rig.experiences[number % 2]] if number % 3 == 0 else None
            rig.write_routes(only)
            await asyncio.sleep(0.05)
        rig.write_routes()
        await check_now(rig)
        rig.traefik.kill()
        rig.traefik.start()
        await rig.traefik.ready()
        begun = len(load.started)
        await until(lambda: len(load.started) > begun + 2 or len(load.started) >= 30, "people come in again")
        rig.traefik.terminate()
        await rig.traefik.ended()
        rig.traefik.start()
        await rig.traefik.ready()
        await check_now(rig)
