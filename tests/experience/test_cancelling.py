"""A wish to cancel reaches Runtime after the submit, however long both take, or is answered that it came too late."""

from uuid import UUID, uuid4

import asyncpg

from contracts.errors import ApiError, Code
from contracts.execution import ExecutionStatus
from contracts.frames import Close
from tests.support.house import House, Json, Visitor, until
from tests.support.sockets import open_socket, read_close


async def cancel(visitor: Visitor, accepted: Json, reason: str = "enough") -> Json:
    answer = await visitor.http.post(accepted["links"]["cancel"], json={"reason": reason})
    assert answer.status_code == 202, answer.text
    body: Json = answer.json()
    return body


async def test_a_delivered_one_is_cancelled_at_once(house: House, ada: Visitor) -> None:
    accepted = await ada.accepted()
    shown = await cancel(ada, accepted)
    assert (shown["status"], shown["cancel_requested"]) == ("cancelled", True)
    assert house.runtime.executions[ada.tenant_id][UUID(accepted["execution_id"])].cancels == ["enough"]
    assert (await ada.intent(accepted))["cancel_requested"] is True


async def test_by_its_intent_too(house: House, ada: Visitor) -> None:
    accepted = await ada.accepted()
    answer = await ada.http.post(f"/api/intent/{accepted['intent_id']}/cancel")
    assert (answer.status_code, answer.json()["cancel_requested"]) == (202, True)
    assert house.runtime.executions[ada.tenant_id][UUID(accepted["execution_id"])].cancels == [""]


async def test_an_undelivered_one_is_submitted_first(house: House, ada: Visitor) -> None:
    await ada.accepted()
    house.runtime.down()
    accepted = await ada.accepted()
    shown = await cancel(ada, accepted)
    assert (shown["status"], shown["cancel_requested"]) == ("pending", True)
    house.runtime.up()
    kept = house.runtime.executions[ada.tenant_id]
    execution_id = UUID(accepted["execution_id"])
    await until(lambda: execution_id in kept and kept[execution_id].cancels == ["enough"])
    assert house.runtime.deliveries[execution_id] == 1


async def test_one_that_was_cancelled_long_before_is_handed_over_with_that_word(house: House, ada: Visitor) -> None:
    await ada.accepted()
    house.runtime.down()
    accepted = await ada.accepted()
    await cancel(ada, accepted)
    tried = await count_attempts(house, accepted)

    async def is_read_again() -> bool:
        return await count_attempts(house, accepted) > tried + 1  # the one after a delivery that was under way

    await until(is_read_again, timeout_s=120)
    house.runtime.up()
    kept = house.runtime.executions[ada.tenant_id]
    execution_id = UUID(accepted["execution_id"])
    await until(lambda: execution_id in kept and kept[execution_id].cancels == ["enough"], timeout_s=120)
    assert kept[execution_id].submitted.cancelled == "enough"


async def count_attempts(house: House, accepted: Json) -> int:
    connection = await asyncpg.connect(house.database.superuser_dsn)
    try:
        counted = "SELECT attempts FROM experience.intents WHERE intent_id = $1"
        return int(await connection.fetchval(counted, UUID(accepted["intent_id"])))
    finally:
        await connection.close()


async def test_runtime_away_keeps_the_wish(house: House, ada: Visitor) -> None:
    accepted = await ada.accepted()
    house.runtime.down()
    by_intent = await ada.http.post(f"/api/intent/{accepted['intent_id']}/cancel")
    assert (by_intent.status_code, by_intent.json()["cancel_requested"]) == (202, True)
    by_execution = await ada.http.post(accepted["links"]["cancel"], json={})
    assert (by_execution.status_code, by_execution.json()["code"]) == (503, "unavailable")
    assert "kept" in by_execution.json()["hint"]
    house.runtime.up()
    kept = house.runtime.executions[ada.tenant_id][UUID(accepted["execution_id"])]
    await until(lambda: bool(kept.cancels))


async def test_too_late_is_a_conflict_and_leaves_no_wish(house: House, ada: Visitor) -> None:
    accepted = await ada.accepted()
    house.runtime.cancel_refusal = ApiError(Code.CONFLICT, "It has completed.")
    answer = await ada.http.post(accepted["links"]["cancel"], json={})
    assert (answer.status_code, answer.json()["detail"]) == (409, "It has completed.")
    assert (await ada.intent(accepted))["cancel_requested"] is False


async def test_a_refused_intent_has_nothing_to_cancel(house: House, ada: Visitor) -> None:
    await ada.accepted()
    house.runtime.down()
    accepted = await ada.accepted()
    house.runtime.refusal = ApiError(Code.FORBIDDEN, "Suspended.")
    house.runtime.refuses_deferred = True
    house.runtime.up()

    async def is_refused() -> bool:
        return bool((await ada.intent(accepted))["status"] == "refused")

    await until(is_refused)
    assert (await ada.intent(accepted))["error"] == "forbidden: Suspended."
    answer = await ada.http.post(accepted["links"]["cancel"], json={})
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert "Suspended." in answer.json()["hint"]
    shown = (await ada.status(accepted["execution_id"])).json()
    assert (shown["status"], shown["error"]["message"]) == ("failed", "Suspended.")
    assert shown["finished_at"] is not None
    events = (await ada.http.get(accepted["links"]["events"])).json()
    assert (events["events"], events["terminal"]) == ([], True)
    path = f"ws://127.0.0.1:{house.port}{accepted['links']['stream']}"
    async with open_socket(path, additional_headers={"authorization": f"Bearer {ada.token}"}) as stream:
        code, _, _ = await read_close(stream)
    assert code == Close.NOT_FOUND


async def test_what_no_intent_has_started_is_cancelled_in_runtime(house: House, ada: Visitor) -> None:
    accepted = await ada.accepted()
    kept = house.runtime.executions[ada.tenant_id].pop(UUID(accepted["execution_id"]))
    of_a_trigger = uuid4()
    house.runtime.executions[ada.tenant_id][of_a_trigger] = kept
    answer = await ada.http.post(f"/api/execution/{of_a_trigger}/cancel", json={"reason": "no"})
    assert answer.status_code == 202
    assert kept.cancels == ["no"]
    assert kept.status is ExecutionStatus.CANCELLED


async def test_cancels_are_audited_once_they_count(house: House, ada: Visitor) -> None:
    accepted = await ada.accepted()
    house.runtime.cancel_refusal = ApiError(Code.CONFLICT, "It has completed.")
    await ada.http.post(accepted["links"]["cancel"], json={})
    house.runtime.cancel_refusal = None
    await cancel(ada, accepted, reason="changed my mind")
    trail = (await ada.http.get("/api/admin/audit", params={"act": "execution_cancelled"})).json()["items"]
    assert [(one["subject"], one["detail"]) for one in trail] == [
        (f"execution:{accepted['execution_id']}", {"reason": "changed my mind"})
    ]


async def test_another_tenants_execution_is_unknown(ada: Visitor, bob: Visitor) -> None:
    accepted = await ada.accepted()
    answer = await bob.http.post(accepted["links"]["cancel"], json={})
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
