"""A whole Runtime in the test's process: real database, real queue, real worker; node types as a test needs them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import text
from uuid_utils.compat import uuid7

from contracts.events import Event
from contracts.execution import ExecutionStatus
from contracts.model import ExecutionId, TenantId
from contracts.workflow import JsonObject, WorkflowDocument
from runtime.artifacts import ArtifactFolder
from runtime.browser.pool import Pool, PoolOptions
from runtime.catalogue import Catalogue
from runtime.egress.egress import Egress
from runtime.egress.lists import Policies
from runtime.engine.plan import make_plan
from runtime.engine.validate import check_document
from runtime.node import Node
from runtime.profiles import Profiles
from runtime.run.driver import Resources
from runtime.run.watch import Drain
from runtime.sandbox.sandbox import Sandbox
from runtime.seal import Seal
from runtime.store.browser_profiles import BrowserProfileRecords
from runtime.store.db import SystemDatabase
from runtime.store.egress import EgressRecords
from runtime.store.events import EventLog
from runtime.store.executions import Executions
from runtime.store.queue import PgQueue
from runtime.store.records import Records
from runtime.store.runs import Runs
from runtime.store.vault import Credentials
from runtime.telemetry import Telemetry
from runtime.vault import Vault
from runtime.worker import Worker
from tests.runtime.made import make_execution
from tests.support.postgres import Database as TestDatabase
from tests.support.wakeups import Way

PATIENCE_S = 60.0
NOTIFY = Way()


class Staging:
    """One Runtime. `perform` starts a worker; several may perform at once.

    Submitting and cancelling happens in another process, as it were, whose `wakeups` run when a test lets them.
    """

    def __init__(
        self,
        database: TestDatabase,
        folder: Path,
        nodes: Sequence[type[Node[Any, Any]]],
        *,
        heartbeat_s: float = 15,
        grace_s: float = 4,
        way: Way = NOTIFY,
    ) -> None:
        self.db, self.wakeups = way.connect(database)
        self.system = SystemDatabase(database.dsn("runtime_system"))
        self.tenant_id = TenantId(uuid7())
        self.catalogue = Catalogue(nodes)
        self.records = Records(self.db)
        self.log = EventLog(self.db)
        self.folder = ArtifactFolder(folder / "artifacts")
        self.artifact_dir = folder / "artifacts"
        self._scratch = folder / "scratch"
        self._database = database
        self._heartbeat_s = heartbeat_s
        self._grace_s = grace_s
        self._way = way
        self.executions = Executions(self.db, self.make_queue())
        self.credentials = Credentials(self.db)
        self.profiles = BrowserProfileRecords(self.db)
        self.hosts: tuple[str, ...] = ()
        self.seal: Seal | None = None
        self.sandbox = Sandbox(backends=(), for_others=False)

    async def close(self) -> None:
        """Close the connections."""
        await self.db.close()
        await self.system.close()

    async def submit(
        self,
        nodes: list[JsonObject],
        edges: list[JsonObject] | None = None,
        *,
        trigger: JsonObject | None = None,
        **settings: Any,
    ) -> ExecutionId:
        """Submit a one-off workflow."""
        document = WorkflowDocument.model_validate(
            {"name": "test", "nodes": nodes, "edges": edges or [], "settings": settings}
        )
        assert check_document(document, self.catalogue.types) == []
        plan = make_plan(document, self.catalogue.types)
        told = {} if trigger is None else {"trigger": trigger}
        new = make_execution(plan=plan.model_dump(mode="json"), timeout_s=plan.timeout_s, **told)
        await self.executions.submit(self.tenant_id, new)
        return new.execution_id

    @asynccontextmanager
    async def perform(self) -> AsyncIterator[Worker]:
        """A worker while the block runs; it drains at the end."""
        queue = self.make_queue()
        db, wakeups = self._way.connect(self._database)
        options = PoolOptions(scratch_dir=self._scratch, spare=False)
        async with (
            Egress(self.hosts) as egress,
            Pool(options, egress.proxy) as pool,
            asyncio.TaskGroup() as group,
        ):
            resources = Resources(
                runs=Runs(db, queue),
                records=self.records,
                folder=self.folder,
                catalogue=self.catalogue,
                egress=egress,
                policies=Policies(egress.policy, EgressRecords(db)),
                pool=pool,
                sandbox=self.sandbox,
                wakeups=wakeups,
                telemetry=Telemetry(),
                drain=Drain(self._grace_s),
                lease_s=self._heartbeat_s,
                vault=Vault(self.credentials, self.seal),
                profiles=Profiles(self.profiles, self.seal),
                seal=self.seal,
            )
            worker = Worker(queue, resources)
            listening = group.create_task(wakeups.run())
            working = group.create_task(worker.work())
            try:
                async with asyncio.timeout(PATIENCE_S):
                    yield worker
            finally:
                worker.leave()
                await asyncio.wait({working}, timeout=PATIENCE_S)
                listening.cancel()
                await db.close()

    async def wait_for_end(self, execution_id: ExecutionId) -> ExecutionStatus:
        """Until the terminal event is there."""
        return await self.wait_until(execution_id, lambda row: row.status.final)

    async def wait_until(self, execution_id: ExecutionId, condition: Any) -> ExecutionStatus:
        """Until the execution's row is as asked."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                row = await self.executions.get(self.tenant_id, execution_id)
                if condition(row):
                    return row.status
                await asyncio.sleep(0.02)

    async def wait_for_event(self, execution_id: ExecutionId, kind: str) -> Event:
        """Until an event of that type is there."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for event in await self.read(execution_id):
                    if event.type == kind:
                        return event
                await asyncio.sleep(0.02)

    async def shift(self, execution_id: ExecutionId, seconds: float) -> None:
        """Let what has begun have begun so much earlier: a wait that no worker can outlast is over at once."""
        moved = text(
            "UPDATE runtime.steps SET started_at = started_at - make_interval(secs => :s) WHERE execution_id = :id"
        )
        async with self.system.write() as session:
            await (await session.connection()).execute(moved, {"s": seconds, "id": execution_id})

    async def read(self, execution_id: ExecutionId) -> list[Event]:
        """The whole log; every reading checks that it has no gap."""
        page = await self.log.read_after(self.tenant_id, execution_id, 0, 1_000)
        assert [event.seq for event in page.events] == list(range(1, page.head_seq + 1))
        return page.events

    def make_queue(self) -> PgQueue:
        """A queue of its own, as each process has one."""
        dsn = self._database.dsn("runtime_system")
        return PgQueue(dsn, concurrency=4, heartbeat_s=self._heartbeat_s)


def node(node_id: str, kind: str, inputs: JsonObject | None = None, **settings: Any) -> JsonObject:
    """A node of a document."""
    return {"id": node_id, "type": kind, "data": {"inputs": inputs or {}, "settings": settings}}


def edge(source: str, target: str, source_handle: str, target_handle: str) -> JsonObject:
    """An edge of a document."""
    return {
        "id": f"{source}.{source_handle}-{target}.{target_handle}",
        "source": source,
        "target": target,
        "sourceHandle": source_handle,
        "targetHandle": target_handle,
    }
