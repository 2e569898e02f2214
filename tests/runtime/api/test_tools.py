"""Calls of tools, and what executions did that an audit asks about, over the internal wire."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
from uuid_utils.compat import uuid7

from contracts.errors import ApiError, Code
from contracts.identity import AuditAct
from contracts.model import CredentialId, ExecutionId, NodeId, TenantId, UserId
from contracts.shortcoming import ListShortcomings, Shortcoming
from contracts.tool import ListToolEvents, ReadActs
from contracts.wiring.client import RuntimeClient
from runtime.app import Ground, _look_after
from runtime.browser.jail import Jail
from runtime.browser.pool import PoolOptions
from runtime.browser.sandboxing import Confinement
from runtime.store.db import Database, SystemDatabase
from runtime.store.egress import RefusedHost, put_refusals
from runtime.store.executions import Executions
from runtime.store.queue import PgQueue
from runtime.store.sandboxes import SandboxReports
from runtime.store.tables import CredentialUseRow
from runtime.store.tool_events import ToolUse, put_tool_uses
from tests.runtime.api.conftest import MakeClient
from tests.runtime.api.test_executions import ask
from tests.runtime.made import make_execution
from tests.support import postgres
from tests.support.browsers import open_pool

BEGAN = datetime.now(UTC) - timedelta(hours=1)


def use(number: int, outcome: str = "ok") -> ToolUse:
    return ToolUse("n", "run_code", "python", outcome, number, 2, 0.5, BEGAN + timedelta(seconds=number))


async def test_calls_are_listed_newest_first_page_by_page(
    make_client: MakeClient, db: Database, tenant_id: TenantId
) -> None:
    client, asked = make_client(tenant_id), ask()
    await client.submit_execution(asked)
    async with db.write(tenant_id) as session:
        await put_tool_uses(session, asked.execution_id, [use(0), use(1), use(2, "code_failed")])
        await put_tool_uses(session, ExecutionId(uuid7()), [use(9)])
    first = await client.list_tool_events(ListToolEvents(execution_id=asked.execution_id, limit=2))
    assert [(item.sent, item.outcome, item.user_id) for item in first.items] == [
        (2, "code_failed", asked.user_id),
        (1, "ok", asked.user_id),
    ]
    rest = await client.list_tool_events(
        ListToolEvents(execution_id=asked.execution_id, limit=2, cursor=first.next_cursor)
    )
    assert ([item.sent for item in rest.items], rest.next_cursor) == ([0], None)
    assert len((await client.list_tool_events(ListToolEvents())).items) == 4
    assert (await make_client(TenantId(uuid7())).list_tool_events(ListToolEvents())).items == []


async def test_shortcomings_are_counted_by_what_workers_say(client: RuntimeClient, ground: Ground) -> None:
    workers = [SandboxReports(ground.system, name) for name in ("well", "bare", "bare-too", "none")]
    well, bare, bare_too, none = workers
    try:
        await well.tell("bwrap", "bwrap.")
        assert await list_shortcomings(client) == []
        await bare.tell("bwrap", "bwrap.", "No sandbox.")
        await bare_too.tell("landlock", "landlock.", "No sandbox.")
        await none.tell("none", "Install bubblewrap.")
        assert await list_shortcomings(client) == [
            (Shortcoming.BROWSERS_EXPOSED, "No sandbox.", 2),
            (Shortcoming.CODE_REFUSED, "Install bubblewrap.", 1),
        ]
        await bare.tell("bwrap", "bwrap.")  # mended
        assert (Shortcoming.BROWSERS_EXPOSED, "No sandbox.", 1) in await list_shortcomings(client)
    finally:
        for worker in workers:
            await worker.leave()


async def test_a_worker_says_at_once_how_its_browsers_are_shut_in(
    client: RuntimeClient, ground: Ground, tmp_path: Path
) -> None:
    async with open_pool(PoolOptions(tmp_path, spare=False)) as pool:
        looking = asyncio.create_task(_look_after(ground, pool.sandboxing, "a-worker", guarded=True))
        async with asyncio.timeout(60):
            while not ground.sandbox.looked:  # noqa: ASYNC110 — a thread looks
                await asyncio.sleep(0.05)
        assert await read_told(client, Shortcoming.BROWSERS_EXPOSED) == []
        pool.sandboxing._choose(Confinement(Jail.NONE, sandboxed=False))
        async with asyncio.timeout(30):
            while not (said := await read_told(client, Shortcoming.BROWSERS_EXPOSED)):  # noqa: ASYNC110 — a task of the worker's tells
                await asyncio.sleep(0.05)
        assert await read_told(client, Shortcoming.TENANTS_TOGETHER) == []  # it has to keep them apart
        assert ("sandbox: none" in said[0], "user namespaces" in said[0]) == (True, True)
        looking.cancel()
        await asyncio.wait({looking})
    assert await list_shortcomings(client) == []


async def test_a_worker_that_need_not_keep_tenants_apart_says_so_once_there_are_two(
    make_client: MakeClient, ground: Ground, tenant_id: TenantId, tmp_path: Path
) -> None:
    client = make_client(tenant_id)
    for one in (client, make_client(TenantId(uuid7()))):
        await one.submit_execution(ask())
    async with open_pool(PoolOptions(tmp_path, spare=False)) as pool:
        looking = asyncio.create_task(_look_after(ground, pool.sandboxing, "a-worker", guarded=False))
        async with asyncio.timeout(60):
            while not (said := await read_told(client, Shortcoming.TENANTS_TOGETHER)):  # noqa: ASYNC110 — as above
                await asyncio.sleep(0.05)
        assert "MULTI_TENANT=true" in said[0]
        of_the_first_release = (await client.list_shortcomings(ListShortcomings())).items
        assert Shortcoming.TENANTS_TOGETHER not in [one.shortcoming for one in of_the_first_release]
        looking.cancel()
        await asyncio.wait({looking})
    assert await list_shortcomings(client) == []


async def test_one_tenant_is_not_together_with_anybody(own_database: postgres.Database) -> None:
    system, db = SystemDatabase(own_database.dsn("runtime_system")), Database(own_database.dsn("runtime_app"))
    reports, executions = SandboxReports(system, "a-worker"), Executions(db, PgQueue("", concurrency=1, heartbeat_s=15))
    try:
        mine, guest, other = TenantId(uuid7()), TenantId(uuid7()), TenantId(uuid7())
        user = UserId(uuid7())
        for tenant_id, by, together in (
            (mine, user, False),
            (mine, user, False),
            (guest, None, False),
            (other, user, True),
        ):
            await executions.submit(tenant_id, make_execution(user_id=by))
            assert await reports.find_tenants() is together
    finally:
        await db.close()
        await system.close()


KNOWN = ListShortcomings(known=",".join(Shortcoming))


async def list_shortcomings(client: RuntimeClient) -> list[tuple[Shortcoming, str, int]]:
    return [(one.shortcoming, one.detail, one.workers) for one in (await client.list_shortcomings(KNOWN)).items]


async def read_told(client: RuntimeClient, which: Shortcoming) -> list[str]:
    return [detail for what, detail, _ in await list_shortcomings(client) if what is which]


async def test_acts_are_uses_of_credentials_and_refusals(
    make_client: MakeClient, db: Database, tenant_id: TenantId
) -> None:
    client, asked, credential_id = make_client(tenant_id), ask(), CredentialId(uuid7())
    await client.submit_execution(asked)
    execution_id = asked.execution_id
    async with db.write(tenant_id) as session:
        await put_tool_uses(session, execution_id, [use(0), use(3, "sandbox_unavailable")])
        await put_refusals(session, execution_id, [RefusedHost("10.0.0.1", 80, "private", BEGAN)])
        session.add(
            CredentialUseRow(
                use_id=uuid7(),
                tenant_id=tenant_id,
                credential_id=credential_id,
                name="shop",
                version=1,
                fields=["password"],
                host="shop.example",
                execution_id=execution_id,
                node_id=NodeId("fill"),
                at=BEGAN + timedelta(seconds=1),
            )
        )
    found = (await client.list_acts(ReadActs())).items
    assert [(act.act, act.subject) for act in found] == [
        (AuditAct.SANDBOX_REFUSED, f"execution:{execution_id}"),
        (AuditAct.CREDENTIAL_USED, f"credential:{credential_id}"),
        (AuditAct.EGRESS_REFUSED, f"execution:{execution_id}"),
    ]
    assert {act.user_id for act in found} == {asked.user_id}
    assert found[1].detail == {
        "name": "shop",
        "fields": ["password"],
        "host": "shop.example",
        "node_id": "fill",
        "execution_id": str(execution_id),
    }
    assert found[2].detail["rule"] == "private"
    one = (await client.list_acts(ReadActs(act=AuditAct.CREDENTIAL_USED))).items
    assert one == [found[1]]
    behind = (await client.list_acts(ReadActs(cursor=found[0].cursor, limit=1))).items
    assert behind == found[1:]  # one more than the limit
    assert (await client.list_acts(ReadActs(since=BEGAN + timedelta(seconds=2)))).items == found[:1]
    assert (await client.list_acts(ReadActs(until=BEGAN + timedelta(seconds=1)))).items == found[2:]
    assert (await make_client(TenantId(uuid7())).list_acts(ReadActs())).items == []
    with pytest.raises(ApiError) as refused:
        await client.list_acts(ReadActs(cursor="x"))
    assert refused.value.code is Code.INVALID


@pytest.mark.parametrize("statement", ["UPDATE runtime.tool_events SET what = 'x'", "DELETE FROM runtime.tool_events"])
async def test_a_call_is_written_once(migrated_app: "asyncpg.Connection[asyncpg.Record]", statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await migrated_app.execute(statement)
