"""What is in a profile opens as itself, for its tenant, and nowhere else."""

from typing import Any

import pytest
from sqlalchemy import text
from uuid_utils.compat import uuid7

from contracts.model import ExecutionId, TenantId
from runtime import profiles as module
from runtime.profiles import Profiles, ProfileTrouble
from runtime.seal import Seal
from runtime.store.browser_profiles import BrowserProfileRecords, ProfileUse
from runtime.store.db import Database, SystemDatabase

CANARY = "canary-51de"
STATE: dict[str, Any] = {"cookies": [{"name": "s", "value": CANARY}], "origins": []}
USE = ProfileUse(ExecutionId(uuid7()), "n")


def make(db: Database, key: bytes | None = b"k" * 32) -> Profiles:
    return Profiles(BrowserProfileRecords(db), Seal([key]) if key else None)


async def test_a_state_comes_back_and_nothing_in_the_row_shows_it(
    db: Database, system: SystemDatabase, tenant_id: TenantId
) -> None:
    profiles = make(db)
    await profiles.save(tenant_id, "shop", STATE, ["b.test", "a.test", "b.test"], USE)
    assert await profiles.load(tenant_id, "shop", USE) == STATE
    assert await profiles.load(tenant_id, "none", USE) is None
    assert await profiles.load(TenantId(uuid7()), "shop", USE) is None
    async with system.write() as session:
        rows = await (await session.connection()).execute(
            text("SELECT p::text AS row, hosts FROM runtime.browser_profiles p WHERE tenant_id = :id"),
            {"id": tenant_id},
        )
        (row,) = rows.all()
    assert CANARY not in row.row
    assert CANARY.encode().hex() not in row.row
    assert row.hosts == ["a.test", "b.test"]


async def test_what_was_put_in_another_place_does_not_open(
    db: Database, system: SystemDatabase, tenant_id: TenantId
) -> None:
    profiles = make(db)
    for name in ("one", "two"):
        await profiles.save(tenant_id, name, STATE, [], USE)
    async with system.write() as session:
        await (await session.connection()).execute(
            text(
                "UPDATE runtime.browser_profiles a SET sealed = b.sealed, data_key = b.data_key, state_id = b.state_id "
                "FROM runtime.browser_profiles b WHERE a.name = 'one' AND b.name = 'two' "
                "AND a.tenant_id = :id AND b.tenant_id = :id"
            ),
            {"id": tenant_id},
        )
    with pytest.raises(ProfileTrouble, match="can't be opened"):
        await profiles.load(tenant_id, "one", USE)
    assert await profiles.load(tenant_id, "two", USE) == STATE


async def test_without_its_key_or_any_nothing_is_opened_or_kept(db: Database, tenant_id: TenantId) -> None:
    await make(db).save(tenant_id, "shop", STATE, [], USE)
    with pytest.raises(ProfileTrouble, match="not here"):
        await make(db, b"x" * 32).load(tenant_id, "shop", USE)
    for asked in (make(db, None).load(tenant_id, "shop", USE), make(db, None).save(tenant_id, "s", STATE, [], USE)):
        with pytest.raises(ProfileTrouble, match="no key"):
            await asked


async def test_there_is_an_end_to_how_much(db: Database, tenant_id: TenantId, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 10)
    with pytest.raises(ProfileTrouble, match="holds 10"):
        await make(db).save(tenant_id, "shop", STATE, [], USE)
