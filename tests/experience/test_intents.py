"""Submitting, over the real application and database, with a fake Runtime on a socket."""

import asyncio
from uuid import UUID, uuid4

import asyncpg
import pytest

from contracts.api.work import ExecutionApi
from contracts.declare import channels, endpoints
from contracts.errors import ApiError, Code, Fault
from contracts.model import Contract
from experience.outbox import Outbox
from tests.support.house import House, Json, Visitor, until


async def test_an_intent_is_delivered_before_the_answer(house: House, ada: Visitor) -> None:
    accepted = await ada.accepted(url="https://shop.test/a")
    execution_id = accepted["execution_id"]
    kept = house.runtime.executions[ada.tenant_id][UUID(execution_id)]
    assert kept.submitted.parameters == {"url": "https://shop.test/a"}
    assert str(kept.submitted.intent_id) == accepted["intent_id"]
    assert kept.submitted.deferred is False
    assert UUID(execution_id).version == UUID(accepted["intent_id"]).version == 7
    assert accepted["status"] == "pending"
    assert accepted["links"] == {
        "status": f"/api/execution/{execution_id}/status?tenant_id={ada.tenant_id}",
        "events": f"/api/execution/{execution_id}/events",
        "steps": f"/api/execution/{execution_id}/steps",
        "artifacts": f"/api/execution/{execution_id}/artifacts",
        "cancel": f"/api/execution/{execution_id}/cancel",
        "pause": f"/api/execution/{execution_id}/pause",
        "resume": f"/api/execution/{execution_id}/resume",
        "retry": f"/api/execution/{execution_id}/retry",
        "answer": f"/api/execution/{execution_id}/answer",
        "stream": f"/api/execution/{execution_id}/stream",
        "page": f"/executions/{execution_id}",
    }
    shown = await ada.intent(accepted)
    assert (shown["status"], shown["error"]) == ("delivered", None)
    assert shown["delivered_at"] is not None
    assert shown["links"] == accepted["links"]
    for name in ("status", "events", "steps", "artifacts"):
        assert (await ada.http.get(accepted["links"][name])).status_code == 200


async def test_the_links_name_all_that_can_be_done_with_an_execution(ada: Visitor) -> None:
    accepted = await ada.accepted()
    links = {link.partition("?")[0] for link in accepted["links"].values()}
    below = "/api/execution/{execution_id}/"
    declared = [*(one.path for _, one in endpoints(ExecutionApi)), *(one.path for _, one in channels(ExecutionApi))]
    there = {path.format(execution_id=accepted["execution_id"]) for path in declared if path.startswith(below)}
    assert links == there | {accepted["links"]["page"]}


async def test_an_answer_kept_by_an_older_release_gets_the_links_of_this_one(house: House, ada: Visitor) -> None:
    first = await ada.accepted(key="older")
    connection = await asyncpg.connect(house.database.superuser_dsn)
    try:
        kept = '{"status": "/old", "events": "/old", "cancel": "/old", "stream": "/old", "page": "/old"}'
        change = "UPDATE experience.idempotency_records SET body = body || jsonb_build_object('links', $2::jsonb)"
        assert await connection.execute(f"{change} WHERE tenant_id = $1", ada.tenant_id, kept) == "UPDATE 1"
    finally:
        await connection.close()
    assert await ada.accepted(key="older") == first


class LinksOfTheFirstRelease(Contract):
    status: str
    events: str
    cancel: str
    stream: str
    page: str


class AcceptedOfTheFirstRelease(Contract):
    intent_id: UUID
    execution_id: UUID
    status: str
    links: LinksOfTheFirstRelease


async def test_an_answer_kept_now_is_read_by_the_first_release(house: House, ada: Visitor) -> None:
    accepted = await ada.accepted(key="newer")
    connection = await asyncpg.connect(house.database.superuser_dsn)
    try:
        asked = "SELECT body::text FROM experience.idempotency_records WHERE tenant_id = $1"
        read = AcceptedOfTheFirstRelease.model_validate_json(await connection.fetchval(asked, ada.tenant_id))
    finally:
        await connection.close()
    assert read.links.model_dump().items() <= accepted["links"].items()


async def test_the_call_to_runtime_speaks_for_the_tenant_and_keeps_the_request_id(house: House, ada: Visitor) -> None:
    answer = await ada.http.post(
        "/api/intent",
        json={"realm": "browser", "intent": "visit", "parameters": {"url": "https://shop.test"}},
        headers={"x-request-id": "the-very-request"},
    )
    assert answer.status_code == 202
    caller = house.runtime.callers["submit_execution"][-1]
    assert (caller.tenant_id, caller.request_id) == (ada.tenant_id, "the-very-request")
    assert caller.user_id is not None


async def test_the_same_key_and_body_answer_the_same(house: House, ada: Visitor) -> None:
    first = await ada.accepted(key="once")
    again = await ada.accepted(key="once")
    assert again == first
    assert house.runtime.deliveries[UUID(first["execution_id"])] == 1


async def test_the_order_of_fields_makes_no_other_request(ada: Visitor) -> None:
    one = await ada.accepted(key="order", parameters={"url": "https://a.test", "screenshot": True})
    other = await ada.accepted(key="order", parameters={"screenshot": True, "url": "https://a.test"})
    assert one == other


async def test_the_same_key_with_another_body_is_refused(ada: Visitor) -> None:
    await ada.accepted(key="twice", url="https://one.test")
    answer = await ada.submit(key="twice", url="https://two.test")
    assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_mismatch")


async def test_keys_belong_to_a_tenant(ada: Visitor, bob: Visitor) -> None:
    assert await ada.accepted(key="ours") != await bob.accepted(key="ours")


async def test_fifty_at_once_are_one_execution(house: House, ada: Visitor) -> None:
    house.runtime.delay_s = 0.1
    answers = await asyncio.gather(*(ada.submit(key="fifty") for _ in range(50)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.text for answer in answers}) == 1
    assert len(house.runtime.executions[ada.tenant_id]) == 1
    assert house.runtime.deliveries[UUID(answers[0].json()["execution_id"])] == 1


async def test_runtime_away_at_submit_delivers_once_when_it_is_back(house: House, ada: Visitor) -> None:
    await ada.accepted()  # the catalogue is known by now
    house.runtime.down()
    accepted = await ada.accepted(key="later")
    assert (await ada.intent(accepted))["status"] == "pending"
    pending = (await ada.http.get("/api/intent/pending")).json()
    assert [one["intent_id"] for one in pending["items"]] == [accepted["intent_id"]]
    status = await ada.status(accepted["execution_id"], include_artifacts=True, include_visuals=True)
    assert status.status_code == 200
    assert (status.json()["status"], status.json()["head_seq"]) == ("pending", 0)
    assert status.json()["artifacts"] == []
    assert status.json()["visuals"]["screen"]["available"] is False
    house.runtime.up()

    async def is_delivered() -> bool:
        return bool((await ada.intent(accepted))["status"] == "delivered")

    await until(is_delivered)
    execution_id = UUID(accepted["execution_id"])
    assert house.runtime.deliveries[execution_id] == 1
    assert house.runtime.executions[ada.tenant_id][execution_id].submitted.deferred is True
    assert (await ada.http.get("/api/intent/pending")).json()["items"] == []
    assert await ada.accepted(key="later") == accepted


async def test_a_slow_runtime_does_not_hold_the_caller(
    house: House, ada: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ada.accepted()
    monkeypatch.undo()  # as long as the product itself waits
    house.runtime.delay_s = 3
    accepted = await ada.accepted()
    assert (await ada.intent(accepted))["status"] == "pending"
    house.runtime.delay_s = 0

    async def is_delivered() -> bool:
        return bool((await ada.intent(accepted))["status"] == "delivered")

    await until(is_delivered)
    assert UUID(accepted["execution_id"]) in house.runtime.executions[ada.tenant_id]


async def test_a_lost_answer_runs_nothing_twice(house: House, ada: Visitor) -> None:
    house.runtime.answers_lost = 3  # as often as one call tries: the request's own delivery ends without an answer
    accepted = await ada.accepted(key="lost")

    async def is_delivered() -> bool:
        return bool((await ada.intent(accepted))["status"] == "delivered")

    await until(is_delivered)
    assert house.runtime.deliveries[UUID(accepted["execution_id"])] > 1
    assert list(house.runtime.executions[ada.tenant_id]) == [UUID(accepted["execution_id"])]
    assert await ada.accepted(key="lost") == accepted


async def test_what_runtime_refuses_is_answered_and_stays_refused(house: House, ada: Visitor) -> None:
    fault = Fault(where="body.parameters.url", rule="host", detail="Not on the list.")
    house.runtime.refusal = ApiError(Code.HOST_REFUSED, "A browser may not go there.", "Ask for it.", faults=[fault])
    answers = [await ada.submit(key="refused") for _ in range(2)]
    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (422, "host_refused")
        assert (answer.json()["detail"], answer.json()["hint"]) == ("A browser may not go there.", "Ask for it.")
        assert answer.json()["faults"][0]["where"] == "body.parameters.url"
    house.runtime.refusal = None
    assert (await ada.submit(key="refused")).status_code == 422
    assert house.runtime.executions[ada.tenant_id] == {}
    assert (await ada.http.get("/api/intent/pending")).json()["items"] == []
    trail = (await ada.http.get("/api/admin/audit", params={"act": "host_refused"})).json()["items"]
    assert [one["detail"] for one in trail] == [{"detail": "A browser may not go there."}]


async def test_a_refusal_that_can_not_be_written_down_is_not_told(
    house: House, ada: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The outbox asks again, and Runtime may take it then: the caller's word is that of the record."""

    async def break_off(*_: object, **__: object) -> None:
        raise ApiError(Code.UNAVAILABLE, "The database can't be reached now.")

    monkeypatch.undo()  # the outbox asks as soon as the product's own lease is over
    house.runtime.refusal = ApiError(Code.HOST_REFUSED, "A browser may not go there.")
    with monkeypatch.context() as broken:
        broken.setattr(Outbox, "record", break_off)
        answers = [await ada.submit(key="undecided"), await ada.submit()]
    house.runtime.refusal = None
    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable"), answer.text
        intent_id = UUID(answer.json()["hint"].rpartition("/")[2].rstrip("."))

        async def is_delivered(intent_id: UUID = intent_id) -> bool:
            return bool((await ada.intent({"intent_id": str(intent_id)}))["status"] == "delivered")

        await until(is_delivered)
    assert len(house.runtime.executions[ada.tenant_id]) == len(answers)
    accepted = await ada.accepted(key="undecided")
    assert UUID(accepted["execution_id"]) in house.runtime.executions[ada.tenant_id]


async def test_a_delivery_that_can_not_be_written_down_is_accepted(
    house: House, ada: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def break_off(*_: object, **__: object) -> None:
        raise ApiError(Code.UNAVAILABLE, "The database can't be reached now.")

    monkeypatch.undo()  # the outbox asks as soon as the product's own lease is over
    with monkeypatch.context() as broken:
        broken.setattr(Outbox, "record", break_off)
        accepted = await ada.accepted(key="taken")

    async def is_delivered() -> bool:
        return bool((await ada.intent(accepted))["status"] == "delivered")

    await until(is_delivered)
    assert list(house.runtime.executions[ada.tenant_id]) == [UUID(accepted["execution_id"])]


async def test_pending_intents_come_in_pages(house: House, ada: Visitor) -> None:
    await ada.accepted()
    house.runtime.down()
    made = [(await ada.accepted())["intent_id"] for _ in range(3)]
    first = (await ada.http.get("/api/intent/pending", params={"limit": 2})).json()
    assert [one["intent_id"] for one in first["items"]] == made[:0:-1]
    rest = (await ada.http.get("/api/intent/pending", params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert [one["intent_id"] for one in rest["items"]] == made[:1]
    assert rest["next_cursor"] is None


async def test_a_workflow_is_run_by_an_intent(house: House, ada: Visitor) -> None:
    workflow_id = str(uuid4())
    headers = {"idempotency-key": "run"}
    body = {"inputs": {"a": None, "b": [1]}, "version": 3}
    answers = [
        await ada.http.post(f"/api/workflow/{workflow_id}/run", json=body, headers=headers),
        await ada.http.post(f"/api/workflow/{workflow_id}/run", json=body, headers=headers),
    ]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json() == answers[1].json()
    kept = house.runtime.executions[ada.tenant_id][UUID(answers[0].json()["execution_id"])]
    assert (kept.submitted.realm, kept.submitted.intent) == ("workflow", "run")
    assert kept.submitted.parameters == {"workflow_id": workflow_id, **body}
    other = await ada.http.post(f"/api/workflow/{uuid4()}/run", json=body, headers=headers)
    assert other.json()["code"] == "idempotency_mismatch"


async def test_an_intent_is_seen_by_its_tenant_only(ada: Visitor, bob: Visitor) -> None:
    accepted = await ada.accepted()
    assert (await bob.http.get(f"/api/intent/{accepted['intent_id']}")).status_code == 404
    assert (await bob.http.post(f"/api/intent/{accepted['intent_id']}/cancel")).status_code == 404


async def test_its_priority_goes_along_to_runtime(house: House, ada: Visitor) -> None:
    def told(accepted: Json) -> str:
        return house.runtime.executions[ada.tenant_id][UUID(accepted["execution_id"])].submitted.priority.value

    assert told(await ada.accepted()) == "normal"
    assert told(await ada.accepted(priority="high")) == "high"
    answer = await ada.http.post(f"/api/workflow/{uuid4()}/run", json={"priority": "low"})
    assert (answer.status_code, told(answer.json())) == (202, "low")
    assert (await ada.submit(priority="urgent")).status_code == 422


async def test_its_priority_survives_in_the_outbox(house: House, ada: Visitor) -> None:
    await ada.accepted()
    house.runtime.down()
    accepted = await ada.accepted(priority="high")
    house.runtime.up()
    kept, execution_id = house.runtime.executions[ada.tenant_id], UUID(accepted["execution_id"])
    await until(lambda: execution_id in kept)
    assert kept[execution_id].submitted.priority.value == "high"


async def test_its_priority_is_part_of_what_a_key_stands_for(ada: Visitor) -> None:
    first = await ada.submit(key="once", priority="high")
    again = await ada.submit(key="once", priority="high")
    assert (first.status_code, first.json()) == (202, again.json())
    assert (await ada.submit(key="once")).json()["code"] == "idempotency_mismatch"
    plain = await ada.submit(key="plain")
    assert (await ada.submit(key="plain", priority="normal")).json() == plain.json()
