"""What an admin sees of executions that took their workers down, and decides."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from contracts.errors import ApiError, Code
from contracts.execution import Failure, FailureCode
from contracts.model import ExecutionId
from contracts.recovery import DeadLetterDetail
from experience.audit import Audit
from tests.support.house import House, Json, Visitor, until

DOOR = "/api/admin/dead-letters"


def bury(house: House, owner: Visitor) -> UUID:
    """What Runtime has of one."""
    execution_id = uuid4()
    house.runtime.dead_letters[owner.tenant_id][execution_id] = DeadLetterDetail(
        execution_id=ExecutionId(execution_id),
        name="Buy",
        workflow_id=None,
        workflow_version=None,
        failure=Failure(code=FailureCode.WORKER_LOST, message="4 workers were lost in it.", hint="Look."),
        losses=4,
        died_at=datetime.now(UTC),
        resolution=None,
        resolved_at=None,
        resolved_by=None,
        retried_as=None,
        runs=[],
        in_flight=["click"],
    )
    return execution_id


async def read_audit(visitor: Visitor, act: str) -> list[Json]:
    answer = await visitor.http.get("/api/admin/audit", params={"act": act})
    assert answer.status_code == 200, answer.text
    items: list[Json] = answer.json()["items"]
    return items


async def list_ids(visitor: Visitor, **query: str) -> list[str]:
    answer = await visitor.http.get(DOOR, params=query)
    assert answer.status_code == 200, answer.text
    return [item["execution_id"] for item in answer.json()["items"]]


async def test_they_are_listed_and_read(house: House, ada: Visitor, bob: Visitor) -> None:
    execution_id = bury(house, ada)
    assert await list_ids(ada) == [str(execution_id)]
    detail = await ada.http.get(f"{DOOR}/{execution_id}")
    assert (detail.status_code, detail.json()["in_flight"]) == (200, ["click"])
    assert await list_ids(bob) == []
    assert (await bob.http.get(f"{DOOR}/{execution_id}")).status_code == 404


async def test_discarding_takes_one_off_the_list_and_is_audited(house: House, ada: Visitor) -> None:
    execution_id = bury(house, ada)
    answer = await ada.http.post(f"{DOOR}/{execution_id}/discard", json={"reason": "a test page"})
    assert (answer.status_code, answer.json()["resolution"]) == (200, "discarded")
    assert (await list_ids(ada), await list_ids(ada, resolved="true")) == ([], [str(execution_id)])
    (entry,) = await read_audit(ada, "dead_letter_discarded")
    assert (entry["subject"], entry["detail"]) == (f"execution:{execution_id}", {"reason": "a test page"})


async def test_no_discard_goes_without_its_entry(house: House, ada: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    execution_id = bury(house, ada)

    async def break_off(*_: object, **__: object) -> None:
        raise ApiError(Code.UNAVAILABLE, "The database can't be reached.")

    with monkeypatch.context() as broken:
        broken.setattr(Audit, "record", break_off)
        assert (await ada.http.post(f"{DOOR}/{execution_id}/discard", json={"reason": "x"})).status_code == 503
    assert await list_ids(ada) == [str(execution_id)], "an act that could not be noted has not happened"


async def test_retrying_one_is_an_intent_like_any_other(house: House, ada: Visitor) -> None:
    execution_id = bury(house, ada)
    answer = await ada.http.post(f"{DOOR}/{execution_id}/retry", json={"answers": {"click": "happened"}})
    assert answer.status_code == 202, answer.text
    retried_as = answer.json()["execution_id"]
    kept = house.runtime.executions[ada.tenant_id][UUID(retried_as)].submitted
    assert (kept.realm, kept.intent) == ("execution", "retry")
    assert kept.parameters == {
        "execution_id": str(execution_id),
        "start_at": "failed",
        "answers": {"click": "happened"},
        "dead_letter": True,
    }
    (entry,) = await read_audit(ada, "dead_letter_retried")
    assert (entry["subject"], entry["detail"]) == (f"execution:{execution_id}", {"retried_as": retried_as})


async def test_one_that_was_decided_is_not_retried(house: House, ada: Visitor) -> None:
    retried, discarded = bury(house, ada), bury(house, ada)
    assert (await ada.http.post(f"{DOOR}/{retried}/retry", json={})).status_code == 202
    assert (await ada.http.post(f"{DOOR}/{discarded}/discard", json={})).status_code == 200
    for execution_id in (retried, discarded):
        again = await ada.http.post(f"{DOOR}/{execution_id}/retry", json={})
        assert (again.status_code, again.json()["code"]) == (409, "conflict")
    assert len(await read_audit(ada, "dead_letter_retried")) == 1
    assert (await ada.http.post(f"{DOOR}/{retried}/discard", json={})).status_code == 409
    assert len(await read_audit(ada, "dead_letter_discarded")) == 1


async def test_of_two_who_retry_one_together_one_does(house: House, ada: Visitor) -> None:
    execution_id = bury(house, ada)
    house.runtime.delay_s = 0.3  # both see that it waits
    answers = await asyncio.gather(*(ada.http.post(f"{DOOR}/{execution_id}/retry", json={}) for _ in range(2)))
    assert sorted(answer.status_code for answer in answers) == [202, 409]
    assert len(house.runtime.executions[ada.tenant_id]) == 1


async def test_the_same_key_is_answered_the_same(house: House, ada: Visitor) -> None:
    execution_id = bury(house, ada)
    headers = {"idempotency-key": "again"}
    first = await ada.http.post(f"{DOOR}/{execution_id}/retry", json={}, headers=headers)
    second = await ada.http.post(f"{DOOR}/{execution_id}/retry", json={}, headers=headers)
    assert (first.status_code, second.status_code, first.json()) == (202, 202, second.json())
    other = await ada.http.post(
        f"{DOOR}/{execution_id}/retry", json={"answers": {"click": "happened"}}, headers=headers
    )
    assert other.json()["code"] == "idempotency_mismatch"
    assert len(await read_audit(ada, "dead_letter_retried")) == 1


async def test_what_runtime_does_not_take_at_once_it_gets_later(house: House, ada: Visitor) -> None:
    execution_id = bury(house, ada)
    house.runtime.refusal, house.runtime.refuses_deferred = ApiError(Code.UNAVAILABLE, "Not now."), True
    answer = await ada.http.post(f"{DOOR}/{execution_id}/retry", json={})
    assert answer.status_code == 202, answer.text
    house.runtime.behave()
    retried_as = UUID(answer.json()["execution_id"])
    await until(lambda: retried_as in house.runtime.executions[ada.tenant_id])
    assert house.runtime.dead_letters[ada.tenant_id][execution_id].retried_as == retried_as


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("POST", "/retry"), ("POST", "/discard")])
async def test_a_key_without_the_scope_stays_outside(house: House, ada: Visitor, method: str, path: str) -> None:
    execution_id = bury(house, ada)
    body = {"name": "reader", "scopes": ["execution:read", "execution:write"]}
    made = await ada.http.post("/api/auth/keys", json=body)
    assert made.status_code == 201, made.text
    async with house.visit(made.json()["secret"]) as program:
        answer = await program.request(method, f"{DOOR}/{execution_id}{path}", json={} if path else None)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
