"""A tenant's lists and refusals over the internal wire."""

from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from uuid_utils.compat import uuid7

from contracts.egress import EgressLists, ListRefusals, SetEgress
from contracts.errors import ApiError, Code
from contracts.model import ExecutionId, Nothing, TenantId
from contracts.wiring.client import RuntimeClient
from runtime.egress.lists import FRESH_S, Policies
from runtime.egress.policy import Policy
from runtime.store.db import Database
from runtime.store.egress import EgressRecords, RefusedHost, put_refusals
from tests.runtime.api.conftest import MakeClient


async def test_lists_are_set_read_and_replaced(client: RuntimeClient) -> None:
    empty = await client.get_egress(Nothing())
    assert (empty.allow, empty.deny, empty.updated_at) == ([], [], None)
    first = await client.set_egress(SetEgress(allow=["*.example.org"], deny=["bad.example.org:8443", "203.0.113.0/24"]))
    assert await client.get_egress(Nothing()) == first
    assert first.updated_at is not None
    await client.set_egress(SetEgress())
    again = await client.get_egress(Nothing())
    assert (again.allow, again.deny) == ([], [])


async def test_an_entry_that_is_none_is_named_and_nothing_is_stored(client: RuntimeClient) -> None:
    await client.set_egress(SetEgress(allow=["a.example"]))
    with pytest.raises(ApiError) as caught:
        await client.set_egress(SetEgress(allow=["b.example", "http://x"], deny=["10.0.0.1/8"]))
    assert caught.value.code is Code.INVALID
    assert [fault.where for fault in caught.value.faults] == ["body.allow[1]", "body.deny[0]"]
    assert "write host, *.host" in caught.value.detail
    assert (await client.get_egress(Nothing())).allow == ["a.example"]


async def test_tenants_have_each_their_own(client: RuntimeClient, make_client: MakeClient) -> None:
    await client.set_egress(SetEgress(deny=["a.example"]))
    other = make_client(TenantId(uuid7()))
    assert (await other.get_egress(Nothing())).deny == []
    assert (await other.list_refusals(ListRefusals())).items == []


async def test_refusals_are_listed_newest_first_page_by_page(
    make_client: MakeClient, db: Database, tenant_id: TenantId
) -> None:
    client, began = make_client(tenant_id), datetime.now(UTC)
    await client.set_egress(SetEgress())
    one, two = ExecutionId(uuid7()), ExecutionId(uuid7())
    async with db.write(tenant_id) as session:
        for number in range(3):
            at = began + timedelta(seconds=number)
            await put_refusals(session, one, [RefusedHost(f"h{number}.example", 443, "denied", at)])
        await put_refusals(session, two, [RefusedHost("10.0.0.1", 80, "private", began)])
    first = await client.list_refusals(ListRefusals(execution_id=one, limit=2))
    assert [item.host for item in first.items] == ["h2.example", "h1.example"]
    rest = await client.list_refusals(ListRefusals(execution_id=one, limit=2, cursor=first.next_cursor))
    assert [(item.host, item.port, item.rule) for item in rest.items] == [("h0.example", 443, "denied")]
    assert rest.next_cursor is None
    assert len((await client.list_refusals(ListRefusals())).items) == 4


async def test_a_refusal_is_written_for_good(
    db: Database, tenant_id: TenantId, migrated_app: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    for statement in ("UPDATE runtime.egress_refusals SET host = 'x'", "DELETE FROM runtime.egress_refusals"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await migrated_app.execute(statement)


async def test_lists_are_remembered_for_a_moment(
    db: Database, tenant_id: TenantId, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = EgressRecords(db)
    policies = Policies(Policy(), records)
    assert (await policies.find(tenant_id)).lists[0].deny == ()
    await records.put(tenant_id, EgressLists(deny=["a.example"]), None)
    assert (await policies.find(tenant_id)).lists[0].deny == ()
    monkeypatch.setattr("runtime.egress.lists.time.monotonic", lambda: 1e9 + FRESH_S)
    assert [entry.name for entry in (await policies.find(tenant_id)).lists[0].deny] == ["a.example"]
