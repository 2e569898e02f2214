"""A key is changed: everything comes under the new one, and the old one may go."""

import base64
import subprocess
import sys
from pathlib import Path

import pytest
from uuid_utils.compat import uuid7

from contracts.credential import CreateCredential
from contracts.model import ExecutionId, TenantId
from runtime.profiles import Profiles, ProfileTrouble
from runtime.reseal import reseal_all
from runtime.run.checkpoints import place_of
from runtime.seal import Seal, SealBroken
from runtime.store import sealed as store
from runtime.store.browser_profiles import BrowserProfileRecords, ProfileUse
from runtime.store.checkpoints import SealedCheckpoint, put_checkpoints, read_checkpoints
from runtime.store.db import Database as TenantDatabase
from runtime.store.db import SystemDatabase
from runtime.store.executions import Executions
from runtime.store.queue import PgQueue
from runtime.store.vault import Credentials
from runtime.vault import Vault, VaultLocked
from tests.runtime.made import make_execution
from tests.support.postgres import Database

OLD, NEW, LOST = b"o" * 32, b"n" * 32, b"l" * 32


def reseal(database: Database, keys: Path, *lines: bytes) -> subprocess.CompletedProcess[str]:
    """The command, as it is given."""
    keys.write_bytes(b"\n".join(map(base64.b64encode, lines)))
    environment = {
        "STAGEDOOR_RUNTIME_SYSTEM_DATABASE_URL": database.dsn("runtime_system"),
        "STAGEDOOR_RUNTIME_SEAL_KEY_FILE": str(keys),
    }
    command = [sys.executable, "-m", "runtime", "reseal"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


async def test_the_old_key_may_go_once_everything_is_under_the_new_one(own_database: Database, tmp_path: Path) -> None:
    db, tenants = TenantDatabase(own_database.dsn("runtime_app")), [TenantId(uuid7()), TenantId(uuid7())]
    old, new = Vault(Credentials(db), Seal([OLD])), Vault(Credentials(db), Seal([NEW]))
    asked = {"name": "shop", "kind": "token", "values": {"token": "canary-1"}}
    profiles = Profiles(BrowserProfileRecords(db), Seal([OLD]))
    for tenant_id in tenants:
        await old.create(tenant_id, None, CreateCredential.model_validate(asked))
        await profiles.save(tenant_id, "shop", {"cookies": []}, [], ProfileUse(ExecutionId(uuid7()), "n"))
    execution = make_execution()
    await Executions(db, PgQueue("", concurrency=1, heartbeat_s=15)).submit(tenants[0], execution)
    place = place_of(execution.execution_id, "n", "p")
    async with db.write(tenants[0]) as session:
        kept = SealedCheckpoint("n", "p", Seal([OLD]).close(b"state", place))
        await put_checkpoints(session, execution.execution_id, [kept])

    refused = reseal(own_database, tmp_path / "keys", LOST)
    assert (refused.returncode, "can't be opened" in refused.stdout) == (1, True)
    done = reseal(own_database, tmp_path / "keys", NEW, OLD)
    assert (done.returncode, done.stdout) == (0, "5 sealed anew. Only the first key of the file is needed now.\n")
    again = reseal(own_database, tmp_path / "keys", NEW)
    assert (again.returncode, again.stdout[0]) == (0, "0")

    for tenant_id in tenants:
        held = (await new.find(tenant_id, ["shop"]))["shop"]
        assert new.open(held) == {"token": "canary-1"}
        with pytest.raises(VaultLocked, match="not here"):
            old.open(held)
        use = ProfileUse(ExecutionId(uuid7()), "n")
        assert await Profiles(BrowserProfileRecords(db), Seal([NEW])).load(tenant_id, "shop", use) == {"cookies": []}
        with pytest.raises(ProfileTrouble, match="not here"):
            await profiles.load(tenant_id, "shop", use)
    async with db.read(tenants[0]) as session:
        (kept,) = await read_checkpoints(session, execution.execution_id)
    assert Seal([NEW]).open(kept.sealed, place) == b"state"
    with pytest.raises(SealBroken):
        Seal([OLD]).open(kept.sealed, place)
    await db.close()


async def test_more_than_one_batch(own_database: Database, monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.setattr(store, "BATCH", 2)
    db, tenant_id = TenantDatabase(own_database.dsn("runtime_app")), TenantId(uuid7())
    vault = Vault(Credentials(db), Seal([OLD]))
    for number in range(5):
        asked = {"name": f"n{number}", "kind": "token", "values": {"token": "canary-1"}}
        await vault.create(tenant_id, None, CreateCredential.model_validate(asked))
    system = SystemDatabase(own_database.dsn("runtime_system"))
    assert (await reseal_all(store.SealedRows(system), Seal([NEW, OLD]))).changed == 5
    await system.close()
    await db.close()
