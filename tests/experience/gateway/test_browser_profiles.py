"""Browser profiles over the public API: forwarded, their deletion audited."""

from contracts.identity import ROLE_SCOPES, Role, Scope
from tests.experience.test_dead_letters import read_audit
from tests.support.house import House, Visitor


async def test_they_are_listed_and_deleted_and_that_is_on_record(house: House, ada: Visitor, bob: Visitor) -> None:
    kept = house.runtime.keep_profile(ada.tenant_id, "shop")
    door = f"/api/browser-profile/{kept.browser_profile_id}"
    (item,) = (await ada.http.get("/api/browser-profile")).json()["items"]
    assert (item["name"], item["hosts"], item["version"]) == ("shop", ["shop.example"], 1)
    assert (await ada.http.get(f"{door}/uses")).json()["items"] == []
    assert (await bob.http.get(door)).status_code == (await bob.http.delete(door)).status_code == 404
    assert (await ada.http.delete(door)).status_code == 204
    assert (await ada.http.get(door)).status_code == 404
    (entry,) = await read_audit(ada, "browser_profile_deleted")
    assert entry["subject"] == f"browser_profile:{kept.browser_profile_id}"
    assert entry["detail"] == {"name": "shop", "version": 1}


def test_members_see_names_and_only_admins_delete() -> None:
    may_write = {role for role, scopes in ROLE_SCOPES.items() if Scope.BROWSER_PROFILE_WRITE in scopes}
    may_read = {role for role, scopes in ROLE_SCOPES.items() if Scope.BROWSER_PROFILE_READ in scopes}
    assert may_write == {Role.OWNER, Role.ADMIN}
    assert may_read == {Role.OWNER, Role.ADMIN, Role.MEMBER}
