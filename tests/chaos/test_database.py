"""PostgreSQL killed, restarted, its backends ended one by one, and cut off from a worker: under load."""

import asyncio
import random
import signal

import pytest

from tests.chaos.checker import check_now
from tests.chaos.documents import wait_in_turn
from tests.chaos.fixtures import SetStage
from tests.chaos.load import raise_load
from tests.chaos.proxy import Fault
from tests.chaos.test_workers import find_worker, has_epoch
from tests.chaos.waiting import until


async def test_postgres_is_killed_and_started_again(set_stage: SetStage) -> None:
    async with set_stage(workers=2) as rig:
        async with raise_load(rig) as load:
            for _ in range(2):
                begun = len(load.started)
                await until(lambda begun=begun: len(load.started) > begun + 3, "there is load")
                rig.server.kill()
                await asyncio.sleep(random.uniform(0, 2))  # nobody can be asked how it goes
                await rig.server.come_up()
                await check_now(rig)
        assert all(part.alive for part in rig.tiers), "no process of ours may end with its database"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["fast", "immediate"])
async def test_postgres_is_restarted(set_stage: SetStage, how: signal.Signals) -> None:
    async with set_stage(workers=2) as rig:
        async with raise_load(rig) as load:
            await until(lambda: len(load.started) > 4, "there is load")
            await rig.server.restart(how)
            await check_now(rig)
        assert all(part.alive for part in rig.tiers), "no process of ours may end with its database"


async def test_backends_are_terminated_one_by_one(set_stage: SetStage) -> None:
    async with set_stage(workers=2) as rig:
        async with raise_load(rig) as load:
            await until(lambda: len(load.started) > 3, "there is load")
            for role in ("runtime_app", "runtime_system", "experience_app", "experience_system") * 6:
                pids = await rig.backends.list_pids(role)
                for pid in pids[:2]:  # those at work come first
                    await rig.backends.terminate(pid)
                await asyncio.sleep(0.15)
            await check_now(rig)
        assert all(part.alive for part in rig.tiers), "no process of ours may end with its connection"


async def test_a_killed_backend_takes_all_others_down(set_stage: SetStage) -> None:
    async with set_stage(workers=2) as rig, raise_load(rig) as load:
        for _ in range(2):
            begun = len(load.started)
            await until(lambda begun=begun: len(load.started) > begun + 2, "there is load")
            pids = await rig.backends.list_pids("runtime_app")
            await rig.backends.kill(pids[0])
            await asyncio.to_thread(rig.server.await_recovery)
            await check_now(rig)


async def test_a_worker_that_is_cut_off_is_replaced_and_comes_back(set_stage: SetStage) -> None:
    async with set_stage(workers=2, own_line=True) as rig, rig.visit() as ada:
        cut_off = await ada.start(wait_in_turn(3, steps=3))
        ada.watch(cut_off)
        victim = await find_worker(rig, cut_off)
        line = rig.worker_lines[rig.workers.index(victim)]
        line.break_with(Fault.BLACK_HOLE)
        await until(lambda: has_epoch(rig, cut_off, 2), "the other worker takes over")
        assert (await ada.ended(cut_off))["status"] == "completed"
        await check_now(rig)
        line.heal()
        other = next(worker for worker in rig.workers if worker is not victim)
        await other.stop()
        again = await ada.start(wait_in_turn(0.1, steps=2))
        assert (await ada.ended(again))["status"] == "completed"
        await ada.seen()
