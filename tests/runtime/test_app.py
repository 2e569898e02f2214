"""What a Runtime stands on."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from contracts.model import TenantId
from runtime.app import SPARE_CONNECTIONS, lay_ground
from runtime.settings import Settings
from tests.support.postgres import Database


async def test_each_execution_may_have_a_connection_and_there_are_some_left(
    migrated: Database, tenant_id: TenantId, tmp_path: Path
) -> None:
    concurrency = 12
    ground = lay_ground(
        Settings(
            database_url=migrated.dsn("runtime_app"),
            system_database_url=migrated.dsn("runtime_system"),
            artifact_dir=tmp_path,
            concurrency=concurrency,
        )
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(ground.close)
        async with asyncio.timeout(60):
            for _ in range(concurrency + SPARE_CONNECTIONS):
                await stack.enter_async_context(ground.db.read_plainly(tenant_id))
        assert ground.db.connections_in_use == concurrency + SPARE_CONNECTIONS
