"""Transactions that end otherwise than their block."""

import pytest
from sqlalchemy import text

from contracts.model import TenantId
from runtime.store.admission import lock_tenant
from runtime.store.db import Database as TenantDatabase
from runtime.store.db import DatabaseAway
from tests.support.postgres import Database


async def test_who_freezes_in_a_transaction_loses_its_locks(
    migrated: Database, db: TenantDatabase, tenant_id: TenantId, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with db.write(tenant_id) as session:
        await lock_tenant(session, tenant_id)
    monkeypatch.setattr("runtime.store.db.IDLE_IN_TRANSACTION_S", 0.1)
    frozen = TenantDatabase(migrated.dsn("runtime_app"), size=1)

    async def freeze() -> None:
        async with frozen.write(tenant_id) as session:
            await lock_tenant(session, tenant_id)
            async with db.write(tenant_id) as other:  # waits for the row, and gets it
                await lock_tenant(other, tenant_id)
            await (await session.connection()).execute(text("SELECT 1"))

    with pytest.raises(DatabaseAway):
        await freeze()
    await frozen.close()
