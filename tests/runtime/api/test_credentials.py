"""The vault over the internal wire."""

import pytest
from uuid_utils.compat import uuid7

from contracts.credential import (
    ChangeCredential,
    CreateCredential,
    CredentialRef,
    ListCredentials,
    ListUses,
    ReplaceValues,
)
from contracts.errors import ApiError, Code
from contracts.model import TenantId
from contracts.wiring.client import RuntimeClient
from tests.runtime.api.conftest import MakeClient

CANARY = "canary-e09a1b"


def token(name: str = "api") -> CreateCredential:
    return CreateCredential.model_validate({"name": name, "kind": "token", "values": {"token": CANARY}})


async def test_it_is_kept_changed_replaced_and_deleted(client: RuntimeClient) -> None:
    made = await client.create_credential(token())
    ref = CredentialRef(credential_id=made.credential_id)
    changed = await client.change_credential(
        ChangeCredential.model_validate({"credential_id": made.credential_id, "name": "b", "domains": ["b.test"]})
    )
    assert (changed.name, changed.domains, changed.version) == ("b", ["b.test"], 1)
    values = {"token": "another one"}
    replaced = await client.replace_values(ReplaceValues(credential_id=made.credential_id, values=values))
    assert (await client.get_credential(ref)) == replaced
    assert replaced.version == 2
    await client.delete_credential(ref)
    with pytest.raises(ApiError, match="No such"):
        await client.get_credential(ref)


async def test_pages_follow_each_other(client: RuntimeClient) -> None:
    for number in range(5):
        await client.create_credential(token(f"n{number}"))
    first = await client.list_credentials(ListCredentials(limit=3))
    second = await client.list_credentials(ListCredentials(limit=3, cursor=first.next_cursor))
    assert [one.name for one in (*first.items, *second.items)] == ["n4", "n3", "n2", "n1", "n0"]
    assert second.next_cursor is None


async def test_another_tenants_is_not_found(client: RuntimeClient, make_client: MakeClient) -> None:
    made = await client.create_credential(token())
    stranger, ref = make_client(TenantId(uuid7())), CredentialRef(credential_id=made.credential_id)
    for asked in (
        stranger.get_credential(ref),
        stranger.change_credential(ChangeCredential(credential_id=ref.credential_id, domains=[])),
        stranger.replace_values(ReplaceValues(credential_id=ref.credential_id, values={"token": "mine now"})),
        stranger.delete_credential(ref),
        stranger.list_uses(ListUses(credential_id=ref.credential_id)),
    ):
        with pytest.raises(ApiError) as refused:
            await asked
        assert refused.value.code is Code.NOT_FOUND
    assert (await stranger.list_credentials(ListCredentials())).items == []
    assert (await client.get_credential(ref)).version == 1
