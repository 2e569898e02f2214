"""What nobody waits for: the queue made whole, old executions and their files removed."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from uuid_utils.compat import uuid7

from contracts.execution import ArtifactKind, ExecutionStatus, ListExecutions, TenantState
from contracts.model import TenantId, WorkflowId
from contracts.workflow import JsonObject
from runtime.artifacts import ArtifactFolder, ArtifactWriter
from runtime.housekeeping import Housekeeping
from runtime.store.changes import Change, End
from runtime.store.db import Database as TenantDatabase
from runtime.store.db import SystemDatabase, connect
from runtime.store.executions import Executions, NewExecution
from runtime.store.queue import Entry, PgQueue
from runtime.store.runs import Runs
from runtime.store.statement import HasConnection
from runtime.store.states import IllegalMove, check_execution_move
from runtime.store.tenants import Tenants
from runtime.store.upkeep import BATCH, Pruned, Upkeep
from runtime.store.workflows import Draft, Workflows
from tests.runtime.made import make_execution
from tests.support.postgres import Database


class Place:
    """A Runtime whose tables nobody else writes to."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.db = TenantDatabase(database.dsn("runtime_app"))
        self.system = SystemDatabase(database.dsn("runtime_system"))
        self.queue = PgQueue("", concurrency=1, heartbeat_s=15)
        self.executions = Executions(self.db, self.queue)
        self.upkeep = Upkeep(self.system, self.queue)
        self.folder = folder
        self.tenant_id = TenantId(uuid7())

    async def run(self, statement: str, **values: object) -> None:
        async with self.system.write() as session:
            await (await session.connection()).execute(text(statement), values)

    async def prune(self) -> list[Pruned]:
        return [one async for one in self.upkeep.prune()]

    async def count(self, table: str) -> int:
        async with self.system.write() as session:
            counted = await (await session.connection()).execute(text(f"SELECT count(*) FROM runtime.{table}"))
            return int(counted.scalar_one())

    async def queued(self) -> set[UUID]:
        async with self.system.write() as session:
            rows = await (await session.connection()).execute(text("SELECT dedupe_key FROM runtime.pgqueuer"))
            return {UUID(row.dedupe_key) for row in rows}


@pytest.fixture
async def place(own_database: Database, tmp_path: Path) -> AsyncIterator[Place]:
    made = Place(own_database, tmp_path)
    yield made
    await made.db.close()
    await made.system.close()


async def test_what_fell_out_of_the_queue_goes_back_in_once(place: Place) -> None:
    lost = await place.executions.submit(place.tenant_id, make_execution())
    there = await place.executions.submit(place.tenant_id, make_execution())
    await place.run("DELETE FROM runtime.pgqueuer WHERE dedupe_key = :key", key=str(lost.execution_id))
    await place.upkeep.reconcile()
    assert await place.queued() == {there.execution_id}  # too young: its transaction may have just begun
    await place.run("UPDATE runtime.executions SET admitted_at = now() - interval '1 minute'")
    for _ in range(2):
        await place.upkeep.reconcile()
    assert await place.queued() == {lost.execution_id, there.execution_id}
    assert (await place.upkeep.measure()).queue.queued == 2


class Attentive(PgQueue):
    """Remembers what it was asked to put in."""

    def __init__(self) -> None:
        super().__init__("", concurrency=1, heartbeat_s=15)
        self.asked: list[UUID] = []

    async def enqueue(self, session: HasConnection, entries: Sequence[Entry]) -> None:
        self.asked += [UUID(str(entry.execution_id)) for entry in entries]
        await super().enqueue(session, entries)


async def test_what_lies_in_the_queue_is_not_put_in_again(place: Place) -> None:
    ids = [(await place.executions.submit(place.tenant_id, make_execution())).execution_id for _ in range(4)]
    lost, picked, _, let_go = ids
    await place.run("DELETE FROM runtime.pgqueuer WHERE dedupe_key = :key", key=str(lost))
    await place.run("UPDATE runtime.pgqueuer SET status = 'picked' WHERE dedupe_key = :key", key=str(picked))
    await place.run("UPDATE runtime.pgqueuer SET dedupe_key = NULL WHERE dedupe_key = :key", key=str(let_go))
    await place.run("UPDATE runtime.executions SET admitted_at = now() - interval '1 minute'")
    queue = Attentive()
    await Upkeep(place.system, queue).reconcile()
    assert queue.asked == [lost, let_go]


async def test_ended_and_waiting_ones_stay_out(place: Place) -> None:
    for status in ("completed", "waiting", "paused"):
        row = await place.executions.submit(place.tenant_id, make_execution())
        await place.run(
            "UPDATE runtime.executions SET status = :status WHERE execution_id = :id",
            status=status,
            id=row.execution_id,
        )
    await place.run("UPDATE runtime.executions SET admitted_at = now() - interval '1 minute'")
    await place.run("UPDATE runtime.executions SET admitted_at = NULL, ready = false WHERE status <> 'completed'")
    await place.run("DELETE FROM runtime.pgqueuer")
    await place.upkeep.reconcile()
    assert await place.queued() == set()


@pytest.mark.parametrize("status", ["pending", "paused", "waiting"])
async def test_whom_the_limits_leave_room_for_is_let_in(place: Place, status: str) -> None:
    row = await place.executions.submit(place.tenant_id, make_execution())
    await place.run("UPDATE runtime.executions SET admitted_at = NULL, status = :status", status=status)
    await place.run("DELETE FROM runtime.pgqueuer")
    await place.upkeep.reconcile()
    assert await place.queued() == {row.execution_id}


async def test_old_executions_go_with_their_files_and_young_ones_stay(place: Place) -> None:
    tenants = Tenants(place.db, place.system, place.queue)
    await tenants.put(TenantState(tenant_id=place.tenant_id, suspended=False, retention_days=3))
    runs, folder = Runs(place.db, place.queue), ArtifactFolder(place.folder)
    for days in (2, 4):
        new = make_execution()
        await place.executions.submit(place.tenant_id, new)
        claimed = await runs.claim(place.tenant_id, new.execution_id, "worker")
        assert claimed is not None
        writer = ArtifactWriter(folder, place.tenant_id, new.execution_id)
        blob = await writer.put("a", ArtifactKind.FILE, str(days), "text/plain", b"x")
        await runs.finish(claimed.lease, Change(blobs=[blob]), End(status=ExecutionStatus.COMPLETED))
        await place.run(
            "UPDATE runtime.executions SET finished_at = :at WHERE execution_id = :id",
            at=datetime.now(UTC) - timedelta(days=days),
            id=new.execution_id,
        )
    running = await place.executions.submit(place.tenant_id, make_execution())
    await Housekeeping(place.upkeep, folder).prune()
    async with place.system.write() as session:
        rows = await (await session.connection()).execute(text("SELECT name FROM runtime.artifacts"))
        assert [row.name for row in rows] == ["2"]
        counted = await (await session.connection()).execute(text("SELECT count(*) FROM runtime.executions"))
        assert counted.scalar_one() == 2
    assert (await place.executions.get(place.tenant_id, running.execution_id)).status is ExecutionStatus.PENDING  # type: ignore[arg-type]
    assert len([path for path in place.folder.rglob("*") if path.is_file()]) == 1


async def end_days_ago(place: Place, days: float, new: NewExecution) -> None:
    await place.executions.submit(place.tenant_id, new)
    await place.run(
        "UPDATE runtime.executions SET status = 'completed', finished_at = :at WHERE execution_id = :id",
        at=datetime.now(UTC) - timedelta(days=days),
        id=new.execution_id,
    )


async def test_calls_of_tools_and_uses_of_credentials_go_after_a_year(place: Place) -> None:
    await Tenants(place.db, place.system, place.queue).put(TenantState(tenant_id=place.tenant_id, suspended=False))
    for age in (360, 370):
        values = {"at": datetime.now(UTC) - timedelta(days=age), "id": uuid7(), "tenant": place.tenant_id}
        await place.run(
            "INSERT INTO runtime.tool_events VALUES (:id, :tenant, :id, 'n', NULL, 'run_code', '', 'ok', 0, 0, 0, :at)",
            **values,
        )
        await place.run(
            "INSERT INTO runtime.credential_uses VALUES (:id, :tenant, :id, 'shop', 1, '[]', 'h', :id, 'n', :at)",
            **values,
        )
    await place.prune()
    async with place.system.write() as session:
        for table in ("tool_events", "credential_uses"):
            counted = await (await session.connection()).execute(
                text(f"SELECT count(*) FROM runtime.{table} WHERE tenant_id = :id"),
                {"id": place.tenant_id},
            )
            assert counted.scalar_one() == 1, table


KINDS = {
    "pgqueuer_log": """
        INSERT INTO runtime.pgqueuer_log (created, job_id, status, priority, entrypoint)
        SELECT now() - interval '20 days', n, 'queued', 0, 'execution' FROM generate_series(1, $1::int) n
    """,
    "executions": """
        INSERT INTO runtime.executions (execution_id, tenant_id, intent_id, realm, intent, name, parameters, trigger,
            timeout_s, status, log_id, created_at, finished_at)
        SELECT gen_random_uuid(), $2, gen_random_uuid(), 'browser', 'visit', '', '{}', '{}', 9, 'completed',
            gen_random_uuid(), now(), now() - interval '40 days' FROM generate_series(1, $1::int) n
    """,
    "workflows": """
        INSERT INTO runtime.workflows (workflow_id, tenant_id, name, description, status, version, deleted_at)
        SELECT gen_random_uuid(), $2, '', '', 'active', 1, now() - interval '2 days' FROM generate_series(1, $1::int) n
    """,
    "tool_events": """
        INSERT INTO runtime.tool_events
        SELECT gen_random_uuid(), $2, $2, 'n', NULL, 'run_code', '', 'ok', 0, 0, 0, now() - interval '370 days'
        FROM generate_series(1, $1::int) n
    """,
    "credential_uses": """
        INSERT INTO runtime.credential_uses
        SELECT gen_random_uuid(), $2, $2, 'shop', 1, '[]', 'h', $2, 'n', now() - interval '370 days'
        FROM generate_series(1, $1::int) n
    """,
    "dead_letters": """
        WITH made AS (
            INSERT INTO runtime.executions (execution_id, tenant_id, intent_id, realm, intent, name, parameters,
                trigger, timeout_s, status, log_id, created_at, finished_at)
            SELECT gen_random_uuid(), $2, gen_random_uuid(), 'browser', 'visit', '', '{}', '{}', 9, 'failed',
                gen_random_uuid(), now(), now() - interval '20 days' FROM generate_series(1, $1::int) n
            RETURNING execution_id)
        INSERT INTO runtime.dead_letters (execution_id, tenant_id, failure, losses, in_flight, died_at)
        SELECT execution_id, $2, '{}', 4, '[]', now() - interval '20 days' FROM made
    """,
}
"""Rows that are past their time: how many, and whose."""


@pytest.fixture
async def superuser(own_database: Database) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(own_database.superuser_dsn)
    yield connection
    await connection.close()


@pytest.mark.parametrize("table", KINDS)
async def test_what_piled_up_goes_in_batches_each_for_good(
    place: Place, superuser: "asyncpg.Connection[asyncpg.Record]", table: str
) -> None:
    await Tenants(place.db, place.system, place.queue).put(TenantState(tenant_id=place.tenant_id, suspended=False))
    number = 2 * BATCH + 1
    statement = KINDS[table]
    await superuser.execute(statement, number, *[place.tenant_id] * ("$2" in statement))
    # what others see by then
    left = [await superuser.fetchval(f"SELECT count(*) FROM runtime.{table}") async for _ in place.upkeep.prune()]
    assert left == [number - BATCH, number - 2 * BATCH, 0]


async def test_a_batch_that_takes_too_long_is_tried_again_with_fewer(
    place: Place, superuser: "asyncpg.Connection[asyncpg.Record]", own_database: Database, monkeypatch: Any
) -> None:
    await Tenants(place.db, place.system, place.queue).put(TenantState(tenant_id=place.tenant_id, suspended=False))
    await superuser.execute(KINDS["executions"], 12, place.tenant_id)
    await superuser.execute("""
        CREATE FUNCTION public.dawdle() RETURNS trigger LANGUAGE plpgsql
            AS 'BEGIN PERFORM pg_sleep(1); RETURN old; END';
        CREATE TRIGGER dawdle BEFORE DELETE ON runtime.executions FOR EACH ROW EXECUTE FUNCTION public.dawdle()
    """)
    monkeypatch.setattr("runtime.store.upkeep.BATCH", 12)
    monkeypatch.setattr("runtime.store.db.connect", partial(connect, command_timeout_s=8))
    impatient = SystemDatabase(own_database.dsn("runtime_system"))
    gone = [one.executions async for one in Upkeep(impatient, place.queue).prune()]
    await impatient.close()
    assert sum(gone) == 12
    assert max(gone) < 12
    assert await place.count("executions") == 0


async def test_a_round_that_came_to_its_end_is_told(
    place: Place, superuser: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    house = Housekeeping(place.upkeep, ArtifactFolder(place.folder))
    began = house.pruned_at
    await superuser.execute("ALTER TABLE runtime.dead_letters RENAME TO put_away")
    with pytest.raises(ProgrammingError):
        await house.prune()
    assert house.pruned_at == began
    await superuser.execute("ALTER TABLE runtime.put_away RENAME TO dead_letters")
    await house.prune()
    assert house.pruned_at > began


async def test_files_that_no_row_tells_of_go_with_their_execution(place: Place) -> None:
    old, kept, last = make_execution(), make_execution(), make_execution()
    folder = ArtifactFolder(place.folder)
    for days, new in ((40, old), (1, kept), (2, last)):
        await end_days_ago(place, days, new)
        # the worker died before it recorded this one
        await ArtifactWriter(folder, place.tenant_id, new.execution_id).put("a", ArtifactKind.FILE, "x", "x/y", b"x")
    await Housekeeping(place.upkeep, folder).prune()
    left = {str(path.relative_to(place.folder)) for path in (place.folder / str(place.tenant_id)).iterdir()}
    assert left == {f"{place.tenant_id}/{new.execution_id}" for new in (kept, last)}
    assert set(await Tenants(place.db, place.system, place.queue).delete(place.tenant_id)) == left


async def test_a_workflow_may_shorten_how_long_its_executions_are_kept(place: Place) -> None:
    tenants, workflows = Tenants(place.db, place.system, place.queue), Workflows(place.db)
    await tenants.put(TenantState(tenant_id=place.tenant_id, suspended=False, retention_days=10))
    asked: list[int | None] = [2, 20, None]
    drafts = [make_draft({"settings": {"retention_days": days}}) for days in asked]
    versions: dict[int | None, WorkflowId] = {}
    for days, draft in zip(asked, drafts, strict=True):
        stored = await workflows.create(place.tenant_id, None, draft)
        versions[days] = WorkflowId(stored.workflow.workflow_id)
    # what a later version says counts for its own executions only
    await workflows.save(place.tenant_id, versions[None], None, make_draft({"settings": {"retention_days": 1}}), None)
    for age, name in ((1.5, "young"), (3.0, "middling"), (11.0, "old")):
        for key, workflow_id in versions.items():
            new = make_execution(name=f"{name} {key}", workflow_id=workflow_id, workflow_version=1, plan=None)
            await end_days_ago(place, age, new)
        document = {"settings": {"retention_days": 2}}
        await end_days_ago(place, age, make_execution(name=f"{name} one-off", document=document))
        await end_days_ago(place, age, make_execution(name=f"{name} bare"))
    assert sum(one.executions for one in await place.prune()) == 7
    rows, _ = await place.executions.list_page(place.tenant_id, ListExecutions())
    young = {"young 2", "young 20", "young None", "young one-off", "young bare"}
    assert {row.name for row in rows} == young | {"middling 20", "middling None", "middling bare"}


def make_draft(document: JsonObject) -> Draft:
    return Draft(name="w", description="", document=document, nodes=0, faults=[], plan=None, content_hash="0" * 64)


@pytest.mark.parametrize("after", [ExecutionStatus.PENDING, ExecutionStatus.RUNNING, ExecutionStatus.FAILED])
def test_nothing_follows_an_end(after: ExecutionStatus) -> None:
    for end in (status for status in ExecutionStatus if status.final):
        with pytest.raises(IllegalMove, match=f"execution can't go from {end} to {after}"):
            check_execution_move(end, after)
