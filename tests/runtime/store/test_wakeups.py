"""Wake-ups arrive, come back after a lost connection, and nobody depends on them."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from uuid_utils.compat import uuid7

from contracts.model import ExecutionId, TenantId
from runtime.store.executions import Executions
from runtime.store.wakeups import BLIND_POLL_S, Wakeup, Wakeups
from tests.runtime.conftest import Killer
from tests.runtime.made import make_execution
from tests.support.postgres import Database


@asynccontextmanager
async def running(wakeups: Wakeups) -> AsyncIterator[None]:
    task = asyncio.create_task(wakeups.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


@pytest.fixture
def wakeups(migrated: Database) -> Wakeups:
    return Wakeups(migrated.dsn("runtime_app"))


async def test_a_commit_rings(wakeups: Wakeups, executions: Executions, tenant_id: TenantId) -> None:
    new = make_execution()
    async with running(wakeups):
        with wakeups.subscribe(new.execution_id) as bell:
            await settle(wakeups, bell)
            await executions.submit(tenant_id, new)
            assert await seconds(bell) < 1
        assert wakeups._bells == {}


async def test_a_lost_notify_only_delays(
    wakeups: Wakeups, executions: Executions, tenant_id: TenantId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.store.wakeups.POLL_S", 0.3)
    async with running(wakeups):
        with wakeups.subscribe(ExecutionId(uuid7())) as bell:
            await settle(wakeups, bell)
            assert await seconds(bell) < 2  # nobody ever rings: it is time to look anyway


async def test_without_listen_readers_look_often(wakeups: Wakeups) -> None:
    with wakeups.subscribe(ExecutionId(uuid7())) as bell:
        assert await seconds(bell) < 3 * BLIND_POLL_S


async def test_listening_comes_back_by_itself(
    wakeups: Wakeups, executions: Executions, superuser: Killer, tenant_id: TenantId
) -> None:
    new = make_execution()
    async with running(wakeups):
        with wakeups.subscribe(new.execution_id) as bell:
            await settle(wakeups, bell)
            await superuser.terminate_backends("runtime_app")
            while wakeups._listening:  # noqa: ASYNC110 — no event says so outside
                await asyncio.sleep(0.01)
            await settle(wakeups, bell)
            await executions.submit(tenant_id, new)
            assert await seconds(bell) < 1


async def settle(wakeups: Wakeups, bell: Wakeup) -> None:
    """Until LISTEN works and its first ring has been taken."""
    async with asyncio.timeout(10):
        while not wakeups._listening:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await bell.wait(0.05)


async def seconds(bell: Wakeup) -> float:
    began = time.monotonic()
    await bell.wait()
    return time.monotonic() - began
