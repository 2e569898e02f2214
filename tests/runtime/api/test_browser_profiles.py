"""Browser profiles over the internal wire."""

import pytest
from uuid_utils.compat import uuid7

from contracts.browser_profile import BrowserProfileRef, ListBrowserProfiles, ListProfileUses
from contracts.declare import NOTHING
from contracts.errors import ApiError, Code
from contracts.model import ExecutionId, TenantId
from contracts.wiring.client import RuntimeClient
from runtime.app import Ground
from runtime.profiles import Profiles
from runtime.seal import Seal
from runtime.store import browser_profiles as store
from runtime.store.browser_profiles import BrowserProfileRecords, ProfileUse
from tests.runtime.api.conftest import MakeClient

CANARY = "canary-c0ffee"
STATE = {"cookies": [{"name": "s", "value": CANARY, "domain": ".a.test"}], "origins": []}


async def keep(ground: Ground, tenant_id: TenantId, name: str, state: object = STATE) -> ProfileUse:
    use = ProfileUse(ExecutionId(uuid7()), "save")
    profiles = Profiles(BrowserProfileRecords(ground.db), Seal([b"k" * 32]))
    await profiles.save(tenant_id, name, dict(STATE), ["a.test"], use)
    return use


async def test_they_are_listed_looked_at_and_deleted(
    ground: Ground, client: RuntimeClient, tenant_id: TenantId
) -> None:
    await client.export_tenant(NOTHING)
    for number in range(5):
        use = await keep(ground, tenant_id, f"n{number}")
    first = await client.list_browser_profiles(ListBrowserProfiles(limit=3))
    second = await client.list_browser_profiles(ListBrowserProfiles(limit=3, cursor=first.next_cursor))
    assert [one.name for one in (*first.items, *second.items)] == ["n4", "n3", "n2", "n1", "n0"]
    ref = BrowserProfileRef(browser_profile_id=first.items[0].browser_profile_id)
    await keep(ground, tenant_id, "n4")
    found = await client.get_browser_profile(ref)
    assert (found.version, found.hosts, found.last_used_at) == (2, ["a.test"], None)
    await client.delete_browser_profile(ref)
    with pytest.raises(ApiError, match="No such"):
        await client.get_browser_profile(ref)
    wanted = ListProfileUses(browser_profile_id=ref.browser_profile_id, limit=1)
    uses = await client.list_profile_uses(wanted)
    more = await client.list_profile_uses(wanted.model_copy(update={"cursor": uses.next_cursor}))
    assert [one.version for one in (*uses.items, *more.items)] == [2, 1]
    assert (more.items[0].execution_id, more.items[0].node_id, more.items[0].act) == (use.execution_id, "save", "saved")


async def test_another_tenants_is_not_found(
    ground: Ground, client: RuntimeClient, make_client: MakeClient, tenant_id: TenantId
) -> None:
    await keep(ground, tenant_id, "shop")
    (kept,) = (await client.list_browser_profiles(ListBrowserProfiles())).items
    stranger = make_client(TenantId(uuid7()))
    for asked in (
        stranger.get_browser_profile(BrowserProfileRef(browser_profile_id=kept.browser_profile_id)),
        stranger.delete_browser_profile(BrowserProfileRef(browser_profile_id=kept.browser_profile_id)),
        stranger.list_profile_uses(ListProfileUses(browser_profile_id=kept.browser_profile_id)),
    ):
        with pytest.raises(ApiError) as refused:
            await asked
        assert refused.value.code is Code.NOT_FOUND
    assert (await stranger.list_browser_profiles(ListBrowserProfiles())).items == []


async def test_an_export_names_them_and_a_deletion_takes_them_along(
    ground: Ground, client: RuntimeClient, tenant_id: TenantId
) -> None:
    await keep(ground, tenant_id, "shop")
    export = await client.export_tenant(NOTHING)
    (item,) = export.browser_profiles
    assert (item["name"], item["hosts"]) == ("shop", ["a.test"])
    assert not {"sealed", "data_key", "state_id"} & item.keys()
    assert CANARY not in export.model_dump_json()
    await client.delete_tenant(NOTHING)
    assert (await client.list_browser_profiles(ListBrowserProfiles())).items == []


async def test_there_is_an_end_to_how_many(
    ground: Ground, tenant_id: TenantId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "MAX_PROFILES", 1)
    await keep(ground, tenant_id, "one")
    await keep(ground, tenant_id, "one")
    with pytest.raises(ApiError) as refused:
        await keep(ground, tenant_id, "two")
    assert refused.value.code is Code.LIMIT_REACHED
