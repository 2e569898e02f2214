"""Values lie sealed, each version for itself, bound to tenant, credential and version; keys can be changed."""

import asyncpg
import pytest
from uuid_utils.compat import uuid7

from contracts.credential import CreateCredential, Credential, CredentialKind, ListUses, ReplaceValues
from contracts.errors import ApiError, Code
from contracts.model import ExecutionId, TenantId
from runtime.seal import Seal
from runtime.store.db import Database
from runtime.store.vault import Credentials, Use
from runtime.vault import Held, Vault, VaultLocked, name_host
from tests.support.postgres import Database as Postgres

OLD, NEW = b"o" * 32, b"n" * 32
CANARY = "canary-77c1f0aa"


def make_vault(db: Database, *keys: bytes) -> Vault:
    return Vault(Credentials(db), Seal(keys) if keys else None)


def login(**changes: object) -> CreateCredential:
    fields = {"name": "shop", "kind": "login", "values": {"username": "ada", "password": CANARY}}
    return CreateCredential.model_validate({**fields, "domains": ["shop.test"], **changes})


async def hold(vault: Vault, tenant_id: TenantId, name: str = "shop") -> Held:
    return (await vault.find(tenant_id, [name]))[name]


async def read_rows(database: Postgres, credential: Credential) -> asyncpg.Record:
    connection = await asyncpg.connect(database.superuser_dsn)
    try:
        row = await connection.fetchrow(
            "SELECT * FROM runtime.credentials WHERE credential_id = $1", credential.credential_id
        )
        assert row is not None
        return row
    finally:
        await connection.close()


async def test_what_is_kept_opens_nothing_by_itself(db: Database, migrated: Postgres, tenant_id: TenantId) -> None:
    vault = make_vault(db, NEW)
    made = await vault.create(tenant_id, None, login())
    assert (made.fields, made.version, made.kind) == (["username", "password"], 1, CredentialKind.LOGIN)
    row = await read_rows(migrated, made)
    assert all(CANARY.encode() not in bytes(str(value), "utf-8") for value in row.values())
    assert CANARY.encode() not in row["sealed"] + row["data_key"]
    assert vault.open(await hold(vault, tenant_id)) == {"username": "ada", "password": CANARY}


async def test_each_version_has_a_key_of_its_own_and_replaces_the_one_before(
    db: Database, migrated: Postgres, tenant_id: TenantId
) -> None:
    vault = make_vault(db, NEW)
    made = await vault.create(tenant_id, None, login())
    before = await read_rows(migrated, made)
    new = {"username": "ada", "password": f"{CANARY}-2"}
    replaced = await vault.replace(tenant_id, ReplaceValues(credential_id=made.credential_id, values=new))
    after = await read_rows(migrated, made)
    assert (replaced.version, vault.open(await hold(vault, tenant_id))) == (2, new)
    assert after["data_key"] != before["data_key"]
    wrong = ReplaceValues(credential_id=made.credential_id, values={"token": CANARY})
    with pytest.raises(ApiError, match="no more and no less") as refused:
        await vault.replace(tenant_id, wrong)
    assert CANARY not in str(refused.value)


async def test_a_row_that_was_moved_does_not_open(db: Database, tenant_id: TenantId) -> None:
    vault = make_vault(db, NEW)
    await vault.create(tenant_id, None, login())
    await vault.create(tenant_id, None, login(name="other"))
    shop, other = await hold(vault, tenant_id), await hold(vault, tenant_id, "other")
    moved = {"tenant_id": uuid7()}, {"credential_id": other.row.credential_id}, {"version": 2}
    for change in moved:
        with pytest.raises(VaultLocked, match="another place"):
            vault.open(Held(shop.row.model_copy(update=change)))
    swapped = shop.row.model_copy(update={"sealed": other.row.sealed})
    with pytest.raises(VaultLocked, match="another place"):
        vault.open(Held(swapped))


async def test_a_name_is_taken_once_and_may_be_freed(db: Database, tenant_id: TenantId) -> None:
    vault = make_vault(db, NEW)
    made = await vault.create(tenant_id, None, login())
    with pytest.raises(ApiError, match="already") as refused:
        await vault.create(tenant_id, None, login())
    assert refused.value.code is Code.CONFLICT
    await vault.create(TenantId(uuid7()), None, login())
    await Credentials(db).delete(tenant_id, made.credential_id)
    await vault.create(tenant_id, None, login())


async def test_a_use_is_on_record_before_the_value_is_out_and_outlives_the_credential(
    db: Database, tenant_id: TenantId, migrated_app: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    vault, credentials = make_vault(db, NEW), Credentials(db)
    made = await vault.create(tenant_id, None, login())
    use = Use(["password"], "shop.test", ExecutionId(uuid7()), "fill")
    assert await vault.use(tenant_id, await hold(vault, tenant_id), use) == {"password": CANARY}
    used = await credentials.get(tenant_id, made.credential_id)
    assert used.last_used_at is not None
    await credentials.delete(tenant_id, made.credential_id)
    asked = ListUses(credential_id=made.credential_id)
    (entry,), _ = await credentials.list_uses(tenant_id, asked)
    assert (entry.name, entry.fields, entry.host, entry.node_id) == ("shop", ["password"], "shop.test", "fill")
    with pytest.raises(ApiError, match="No such"):
        await credentials.list_uses(TenantId(uuid7()), asked)
    for statement in ("DELETE FROM runtime.credential_uses", "UPDATE runtime.credential_uses SET host = ''"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await migrated_app.execute(statement)


async def test_without_keys_nothing_is_kept_and_the_answer_says_what_to_set(db: Database, tenant_id: TenantId) -> None:
    vault = make_vault(db)
    with pytest.raises(ApiError) as refused:
        await vault.create(tenant_id, None, login())
    assert refused.value.code is Code.NOT_CONFIGURED
    assert "STAGEDOOR_RUNTIME_SEAL_KEY_FILE" in refused.value.hint


@pytest.mark.parametrize(
    ("domain", "url", "covered"),
    [
        ("shop.test", "https://shop.test/login", True),
        ("shop.test", "http://shop.test:8080/", True),
        ("shop.test", "https://evil.test/?shop.test", False),
        ("shop.test", "https://shop.test.evil.test/", False),
        ("shop.test", "https://shop.test@evil.test/", False),
        ("shop.test", "https://sub.shop.test/", False),
        ("shop.test:8443", "https://shop.test:8443/", True),
        ("shop.test:443", "https://shop.test/", True),
        ("shop.test:443", "http://shop.test/", False),
        ("*.shop.test", "https://a.b.shop.test/", True),
        ("*.shop.test", "https://shop.test/", False),
        ("*.shop.test", "https://evilshop.test/", False),
        ("xn--bcher-kva.test", "https://bücher.test/", True),
        ("[::1]:8080", "http://[::1]:8080/", True),
        ("[::1]", "http://[::1]:8080/", True),
        ("127.0.0.1:81", "http://127.0.0.1:81/x", True),
        ("proxy.test:1080", "socks5://proxy.test", True),
        ("shop.test", "about:blank", False),
        ("shop.test", "https://shop.test:notaport/", False),
        ("shop.test", "https://SHOP.test./", True),
        # IDNA 2003 reads these as what they are not: the door and browsers go by IDNA 2008 (UTS 46, non-transitional)
        ("business.com", "https://busineß.com/", False),
        ("xn--busine-gta.com", "https://busineß.com/", True),
        ("strasse.de", "https://straße.de", False),
        ("*.good.com", "https://straße.good.com/", True),
        ("strasse.good.com", "https://straße.good.com/", False),
        ("xn--4xa.gr", "https://ς.gr/", False),
        ("xn--3xa.gr", "https://ς.gr/", True),
        ("good.com", "https://good.com\u200d/", False),
        ("goodsite.com", "https://good\u200dsite.com", False),
        ("goodsite.com", "https://good\u200csite.com", False),
        ("xn--11b0a.com", "https://क\u094d\u200d.com/", False),
        ("good.com", "https://good。com", True),
        ("shop.test", "https://shop.test%00.evil.test/", False),
        ("shop.test:0", "https://shop.test/", False),
        ("127.0.0.1", "http://0x7f.1/", True),
        ("shop.test", "https:///nowhere", False),
    ],
)
async def test_where_a_credential_may_go(
    db: Database, tenant_id: TenantId, domain: str, url: str, *, covered: bool
) -> None:
    vault = make_vault(db, NEW)
    await vault.create(tenant_id, None, login(domains=[domain]))
    assert (await hold(vault, tenant_id)).may_go_to(url) is covered


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://ada:pw@Busineß.com/x?y", "xn--busine-gta.com"),
        ("http://[::1]:8080/", "[::1]:8080"),
        ("about:blank", ""),
        ("https://a:b/", ""),
    ],
)
def test_a_use_is_on_record_by_the_host_that_is_dialled(url: str, host: str) -> None:
    assert name_host(url) == host
