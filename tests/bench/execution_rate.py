"""B3: how many executions one worker gets through."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import asyncpg
from pydantic import Field
from uuid_utils.compat import uuid7

from contracts.execution import TenantState
from contracts.model import TenantId
from contracts.workflow import WorkflowDocument
from runtime.app import Ground as ProductGround
from runtime.app import lay_ground, make_worker
from runtime.browser.pool import Pool, PoolOptions
from runtime.catalogue import Catalogue
from runtime.egress.egress import Egress
from runtime.engine.plan import Plan, make_plan
from runtime.engine.validate import check_document
from runtime.handles import Values
from runtime.node import Node, Stage
from runtime.settings import Settings
from runtime.store.executions import Executions
from runtime.store.tenants import Tenants
from tests.bench.figure import Bar, Figure
from tests.bench.floor import Floor
from tests.bench.ground import Ground
from tests.bench.rounds import Effort, take_turns
from tests.runtime.made import make_execution
from tests.runtime.staging import edge, node
from tests.support.postgres import Database

EXECUTIONS = 320
TENANTS = 8
ROUNDS = 3
DEADLINE_S = 120.0
PAUSE_S = 0.02
_COUNT = "SELECT count(*) FROM runtime.executions WHERE tenant_id = ANY($1::uuid[]) AND status = 'completed'"


class Text(Values):
    """A word."""

    text: str = Field(default="", alias="Text", description="Any word.")


class NoOp(Node[Text, Text]):
    """Hands on what it was given."""

    type_id, title, group, icon, description = "no_op", "No-op", "Bench", "circle", "Does nothing."
    can_be_start_node: ClassVar[bool] = True

    async def run(self, inputs: Text, stage: Stage) -> Text:
        """Nothing."""
        return inputs


async def measure(ground: Ground, effort: Effort) -> list[Figure]:
    """Three nodes in a row that do nothing, submitted beforehand for eight tenants within the default limits, so that
    the queue is never empty; one worker with its default eight places, the real queue, leases, fence, steps, events
    and wake-ups. The floor is a loop over eight asyncpg connections that does what nobody can leave out, in five
    transactions for each execution: claim (SKIP LOCKED, status and its event), for each of the three phases step and
    event, finish (status and event). It has no queue, no lease, no outputs, no limits, no retries, and its statements
    are prepared. Both write to the same PostgreSQL, whose commits are durable.
    """
    count = effort.count(EXECUTIONS, TENANTS)
    database = await ground.make_database()
    folder = ground.make_folder(database.name)
    async with Floor.open(database) as floor, working(database, folder) as bench:
        ours, theirs = await take_turns(
            effort.rounds(ROUNDS), lambda: bench.perform(count), lambda: floor.perform(count)
        )
    return [
        Figure(
            bench="B3",
            what="executions of a 3-node no-op workflow, one worker",
            unit="/s",
            ours=ours,
            against="a hand-written asyncpg loop, five transactions",
            peer=theirs,
            bar=Bar(limit=0.4, at_least=True),
        )
    ]


class Bench:
    """A worker, and tenants whose executions wait until they are let in."""

    def __init__(self, ground: ProductGround, database: Database, plan: Plan) -> None:
        self._executions = Executions(ground.db, ground.queue)
        self._tenants = Tenants(ground.db, ground.system, ground.queue)
        self._dsn = database.superuser_dsn
        self._plan = plan

    async def perform(self, count: int) -> float:
        """Executions a second, from the moment the tenants are let in to the last one's end."""
        tenants = [TenantId(uuid7()) for _ in range(TENANTS)]
        for tenant_id in tenants:
            await self._tenants.put(TenantState(tenant_id=tenant_id, suspended=True))
        plan = self._plan.model_dump(mode="json")
        for number in range(count):
            new = make_execution(plan=plan, timeout_s=self._plan.timeout_s)
            await self._executions.submit(tenants[number % TENANTS], new, deferred=True)
        connection = await asyncpg.connect(self._dsn)
        try:
            began = time.perf_counter()
            for tenant_id in tenants:
                await self._tenants.put(TenantState(tenant_id=tenant_id, suspended=False))
            async with asyncio.timeout(DEADLINE_S):
                while await connection.fetchval(_COUNT, tenants) < count:  # noqa: ASYNC110 — a wake-up each would cost
                    await asyncio.sleep(PAUSE_S)
            return count / (time.perf_counter() - began)
        finally:
            await connection.close()


@asynccontextmanager
async def working(database: Database, folder: Path) -> AsyncIterator[Bench]:
    """A worker as `runtime.app` makes it, with one node type."""
    settings = Settings(
        database_url=database.dsn("runtime_app"),
        system_database_url=database.dsn("runtime_system"),
        artifact_dir=folder / "artifacts",
        scratch_dir=folder / "scratch",
    )
    ground = replace(lay_ground(settings), catalogue=Catalogue([NoOp]))
    options = PoolOptions(scratch_dir=settings.scratch_dir, spare=False)
    async with Egress() as egress, Pool(options, egress.proxy) as pool, asyncio.TaskGroup() as tasks:
        worker = make_worker(ground, egress, pool)
        listening = tasks.create_task(ground.wakeups.run())
        tasks.create_task(worker.work())
        try:
            yield Bench(ground, database, _make_plan(ground.catalogue))
        finally:
            worker.leave()
            listening.cancel()
    await ground.close()


def _make_plan(catalogue: Catalogue) -> Plan:
    names = ("one", "two", "three")
    document = WorkflowDocument.model_validate(
        {
            "name": "no-op",
            "nodes": [node(name, "no_op") for name in names],
            "edges": [edge(names[place], names[place + 1], "Text", "Text") for place in range(len(names) - 1)],
        }
    )
    faults = check_document(document, catalogue.types)
    assert not faults, faults
    return make_plan(document, catalogue.types)
