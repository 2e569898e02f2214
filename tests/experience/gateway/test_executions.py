"""Status, events, steps and lists through Experience: the caller's tenant only, whether Runtime answers or not."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any
from uuid import UUID, uuid4

import pytest

from contracts.errors import ApiError, Code
from contracts.model import ExecutionId
from contracts.wiring.shared import SharedCalls
from experience.auth.principal import Principal
from experience.intents import Intents
from experience.store.tables import IntentRow
from tests.support.house import House, Visitor


async def test_status_is_what_runtime_says(house: House, ada: Visitor) -> None:
    accepted = await ada.accepted()
    plain = await ada.status(accepted["execution_id"])
    assert plain.status_code == 200
    assert (plain.json()["head_seq"], plain.json()["artifacts"], plain.json()["visuals"]) == (1, None, None)
    full = (await ada.status(accepted["execution_id"], include_artifacts=True, include_visuals=True)).json()
    assert full["artifacts"] == []
    assert full["visuals"]["screen"]["available"] is True


async def test_status_needs_the_callers_tenant(ada: Visitor, bob: Visitor) -> None:
    execution_id = (await ada.accepted())["execution_id"]
    without = await ada.http.get(f"/api/execution/{execution_id}/status")
    assert (without.status_code, without.json()["faults"][0]["where"]) == (422, "query.tenant_id")
    foreign = await ada.status(execution_id, tenant_id=str(bob.tenant_id))
    own = await bob.status(execution_id)
    unknown = await ada.status(str(uuid4()))
    assert [one.status_code for one in (foreign, own, unknown)] == [404, 404, 404]
    assert len({one.json()["code"] for one in (foreign, own, unknown)}) == 1


@pytest.mark.parametrize("part", ["events", "steps", "artifacts"])
async def test_parts_are_forwarded_and_kept_apart(ada: Visitor, bob: Visitor, part: str) -> None:
    execution_id = (await ada.accepted())["execution_id"]
    assert (await ada.http.get(f"/api/execution/{execution_id}/{part}")).status_code == 200
    assert (await bob.http.get(f"/api/execution/{execution_id}/{part}")).status_code == 404
    assert (await ada.http.get(f"/api/execution/{uuid4()}/{part}")).status_code == 404


async def test_events_after_a_number(ada: Visitor) -> None:
    path = (await ada.accepted())["links"]["events"]
    everything = (await ada.http.get(path)).json()
    assert [event["seq"] for event in everything["events"]] == [1]
    assert (await ada.http.get(path, params={"after": 1})).json()["events"] == []


@pytest.mark.parametrize("part", ["events", "steps", "artifacts"])
@pytest.mark.parametrize("runtime_is", ["away", "forgetful"])
async def test_before_runtime_has_heard_of_it_there_is_nothing_yet(
    house: House, ada: Visitor, part: str, runtime_is: str
) -> None:
    await ada.accepted()
    house.runtime.down()
    accepted = await ada.accepted()
    if runtime_is == "forgetful":
        house.runtime.refusal = ApiError(Code.INTERNAL, "Broken.")
        house.runtime.refuses_deferred = True
        house.runtime.up()
    answer = await ada.http.get(f"/api/execution/{accepted['execution_id']}/{part}")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body.get("events", body.get("items")) == []
    status = (await ada.status(accepted["execution_id"])).json()
    assert (status["status"], status["head_seq"], status["name"]) == ("pending", 0, "visit")


async def test_what_is_delivered_between_two_looks_is_not_unknown(
    house: House, ada: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.runtime.down()
    accepted = await ada.accepted()
    house.runtime.refusal, house.runtime.refuses_deferred = ApiError(Code.INTERNAL, "Broken."), True
    house.runtime.up()
    find = Intents.find_by_execution

    async def find_late(self: Intents, caller: Principal, execution_id: ExecutionId) -> IntentRow | None:
        house.runtime.refusal = None
        async with asyncio.timeout(30):
            while (row := await find(self, caller, execution_id)) is None or row.status != "delivered":  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        return row

    monkeypatch.setattr(Intents, "find_by_execution", find_late)
    answer = await ada.status(accepted["execution_id"])
    assert (answer.status_code, answer.json()["status"]) == (200, "pending")


async def test_runtime_away_is_said_with_a_way_out(house: House, ada: Visitor) -> None:
    accepted = await ada.accepted()
    house.runtime.down()
    for answer in (
        await ada.status(accepted["execution_id"]),
        await ada.http.get("/api/execution"),
        await ada.http.get(f"/api/execution/{uuid4()}/steps"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert "kept" in answer.json()["hint"]
        assert "/api/runtime" not in answer.text
        assert answer.headers["retry-after"]


async def test_equal_calls_at_the_same_moment_share_one(
    house: House, ada: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    execution_id = (await ada.accepted())["execution_id"]
    house.runtime.calls.clear()
    asked: list[Hashable] = []
    share = SharedCalls.share

    async def share_once_all_ask(
        self: SharedCalls, key: tuple[Hashable, ...], call: Callable[[], Awaitable[Any]]
    ) -> Any:
        async def call_once_all_ask() -> Any:
            async with asyncio.timeout(60):
                while len(asked) < 25:  # noqa: ASYNC110 — nobody tells
                    await asyncio.sleep(0.01)
            return await call()

        if key[0] != "status":
            return await share(self, key, call)
        asked.append(key)
        return await share(self, key, call_once_all_ask)

    monkeypatch.setattr(SharedCalls, "share", share_once_all_ask)
    equal = [ada.status(execution_id) for _ in range(20)]
    other = [ada.status(execution_id, include_artifacts=True) for _ in range(5)]
    answers = await asyncio.gather(*equal, *other)
    assert {answer.status_code for answer in answers} == {200}
    assert house.runtime.calls["get_execution"] == 2


async def test_shared_calls_are_never_shared_between_tenants(house: House, ada: Visitor, bob: Visitor) -> None:
    execution_id = (await ada.accepted())["execution_id"]
    house.runtime.delay_s = 0.3
    mine, theirs = await asyncio.gather(ada.status(execution_id), bob.status(execution_id))
    assert (mine.status_code, theirs.status_code) == (200, 404)


async def test_lists_are_filtered_and_bad_cursors_named(ada: Visitor) -> None:
    accepted = await ada.accepted()
    everything = (await ada.http.get("/api/execution")).json()
    assert [one["execution_id"] for one in everything["items"]] == [accepted["execution_id"]]
    assert (await ada.http.get("/api/execution", params={"status": "failed"})).json()["items"] == []
    bad = await ada.http.get("/api/execution", params={"cursor": "bogus"})
    assert (bad.status_code, bad.json()["faults"][0]["where"]) == (422, "query.cursor")


async def test_a_runtime_that_distrusts_us_is_not_the_callers_fault(house: House, ada: Visitor) -> None:
    accepted = await ada.accepted()
    other_key = house.settings.token_key_file.with_suffix(".pub").read_bytes()
    own_key = house.runtime.public_pem
    house.runtime.down()
    house.runtime.public_pem = other_key
    house.runtime.up()
    try:
        answer = await ada.status(accepted["execution_id"])
        late = await ada.submit()
    finally:
        house.runtime.down()
        house.runtime.public_pem = own_key
        house.runtime.up()
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert "key" in answer.json()["hint"]
    assert late.status_code == 202
    assert UUID(late.json()["execution_id"]).version == 7
