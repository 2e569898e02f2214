"""Wake-ups arrive, come back after a lost connection, and nobody depends on them, whatever carries them."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs
from uuid_utils.compat import uuid7

from contracts.errors import ApiError
from contracts.model import ExecutionId, TenantId
from runtime.store.db import Database as TenantDatabase
from runtime.store.executions import Executions
from runtime.store.queue import PgQueue
from runtime.store.wakeups import BLIND_LOOKS_PER_S, BLIND_POLL_S, POLL_S, Wakeup, Wakeups
from runtime.store.wakeups_nats import NatsCarrier
from tests.runtime.made import make_execution
from tests.support.postgres import Database
from tests.support.wakeups import Way, any_way, both_ways, listening, until_listening


@pytest.fixture
async def process(migrated: Database, way: Way) -> AsyncIterator[tuple[TenantDatabase, Wakeups]]:
    db, wakeups = way.connect(migrated)
    yield db, wakeups
    await db.close()


@pytest.fixture
def wakeups(process: tuple[TenantDatabase, Wakeups]) -> Wakeups:
    return process[1]


@pytest.fixture
def executions(process: tuple[TenantDatabase, Wakeups], queue: PgQueue) -> Executions:
    return Executions(process[0], queue)


@pytest.fixture
def only_rings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks by himself."""
    monkeypatch.setattr("runtime.store.wakeups.BLIND_POLL_S", 600)
    monkeypatch.setattr("runtime.store.wakeups.POLL_S", 600)


@pytest.mark.usefixtures("only_rings")
@both_ways
async def test_a_commit_rings(wakeups: Wakeups, executions: Executions, tenant_id: TenantId) -> None:
    new = make_execution()
    async with listening(wakeups):
        with wakeups.subscribe(new.execution_id) as bell:
            await settle(wakeups, bell)
            await executions.submit(tenant_id, new)
            await rung(bell)
        assert wakeups._bells == {}


@pytest.mark.usefixtures("only_rings")
@both_ways
async def test_a_commit_rings_in_another_process(
    migrated: Database, way: Way, executions: Executions, wakeups: Wakeups, tenant_id: TenantId
) -> None:
    elsewhere_db, elsewhere = way.connect(migrated)
    new = make_execution()
    async with listening(wakeups), listening(elsewhere):
        with elsewhere.subscribe(new.execution_id) as bell:
            await settle(elsewhere, bell)
            await executions.submit(tenant_id, new)
            await rung(bell)
    await elsewhere_db.close()


@pytest.mark.usefixtures("only_rings")
@both_ways
async def test_a_cancel_rings(wakeups: Wakeups, executions: Executions, tenant_id: TenantId) -> None:
    new = make_execution()
    await executions.submit(tenant_id, new)
    async with listening(wakeups):
        with wakeups.subscribe(new.execution_id) as bell:
            await settle(wakeups, bell)
            await executions.request_cancel(tenant_id, new.execution_id, "")
            await rung(bell)


@pytest.mark.usefixtures("only_rings")
@both_ways
async def test_a_lost_wake_up_only_delays(wakeups: Wakeups, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.store.wakeups.POLL_S", 0.3)
    async with listening(wakeups):
        with wakeups.subscribe(ExecutionId(uuid7())) as bell:
            await settle(wakeups, bell)
            await rung(bell)  # nobody ever rings: it is time to look anyway


@any_way
async def test_without_a_carrier_readers_look_often(wakeups: Wakeups, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.store.wakeups.POLL_S", 600)
    with wakeups.subscribe(ExecutionId(uuid7())) as bell:
        await rung(bell)


def test_many_readers_without_a_carrier_share_the_looks(wakeups: Wakeups) -> None:
    assert wakeups.poll_s <= 1.2 * BLIND_POLL_S
    wakeups._readers = 2 * BLIND_LOOKS_PER_S
    assert 0.8 * 2 <= wakeups.poll_s <= 1.2 * 2
    wakeups._readers = 100 * BLIND_LOOKS_PER_S
    assert wakeups.poll_s <= 1.2 * POLL_S


@pytest.mark.usefixtures("only_rings")
@both_ways
async def test_it_comes_back_by_itself(
    wakeups: Wakeups, executions: Executions, migrated: Database, way: Way, tenant_id: TenantId
) -> None:
    new = make_execution()
    async with listening(wakeups):
        with wakeups.subscribe(new.execution_id) as bell:
            await settle(wakeups, bell)
            await way.cut(migrated)
            await until_listening(wakeups, wanted=False)
            way.mend()
            await settle(wakeups, bell)
            await executions.submit(tenant_id, new)
            await rung(bell)


@pytest.mark.usefixtures("only_rings")
@both_ways
async def test_whoever_waited_is_rung_when_it_is_back(wakeups: Wakeups, migrated: Database, way: Way) -> None:
    async with listening(wakeups):
        with wakeups.subscribe(ExecutionId(uuid7())) as bell:
            await settle(wakeups, bell)
            await way.cut(migrated)
            await until_listening(wakeups, wanted=False)
            way.mend()
            async with asyncio.timeout(60):
                await bell.wait()


async def test_an_absence_is_told_once_and_so_is_its_end(way: Way) -> None:
    carrier = NatsCarrier(["nats://somebody:secret@127.0.0.1:1"])
    wakeups = Wakeups(carrier)
    with capture_logs() as lines:
        async with listening(wakeups):
            with pytest.raises(ApiError, match="NATS can't be reached"):
                await wakeups.check()
            async with asyncio.timeout(60):
                while not (said := [line for line in lines if "wake-ups" in line["event"]]):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            await asyncio.sleep(1)  # several more attempts
    said = [line for line in lines if "wake-ups" in line["event"]]  # servers of other tests may log beside
    assert [(line["log_level"], line["event"]) for line in said] == [
        ("warning", "wake-ups don't come; readers look by themselves")
    ]
    assert "refused" in said[0]["why"] or "Connect call failed" in said[0]["why"]
    assert "secret" not in str(lines)


@both_ways
async def test_it_says_how_it_is(wakeups: Wakeups, migrated: Database, way: Way) -> None:
    with capture_logs() as lines:
        async with listening(wakeups):
            await until_listening(wakeups)
            await wakeups.check()
            await way.cut(migrated)
            await until_listening(wakeups, wanted=False)
            with pytest.raises(ApiError, match="can't be reached; readers look by themselves"):
                await wakeups.check()
            way.mend()
            await until_listening(wakeups)
    told = [line["event"] for line in lines if line["event"].startswith("wake-ups")]
    assert told == ["wake-ups come", "wake-ups don't come; readers look by themselves", "wake-ups come"]


async def settle(wakeups: Wakeups, bell: Wakeup) -> None:
    """Until wake-ups come and their first ring has been taken."""
    await until_listening(wakeups)
    await bell.wait(0.05)


async def rung(bell: Wakeup) -> None:
    """Until it is: in time, and long before anybody looks who `only_rings` lets."""
    async with asyncio.timeout(60):
        await bell.wait()
