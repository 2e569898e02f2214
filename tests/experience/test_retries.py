"""Retries and answers are intents; what asks a person stands among the pending ones."""

from uuid import UUID

from contracts.execution import ExecutionStatus, Failure, FailureCode, Question
from contracts.model import NodeId
from tests.support.house import House, Visitor

QUESTION = Question(node_id=NodeId("pay"), node_name="Pay", message="Did it happen?", hint="Look.")


def end_with_a_question(house: House, visitor: Visitor, execution_id: str) -> None:
    """What Runtime shows of an execution that was interrupted in an unsafe node."""
    kept = house.runtime.executions[visitor.tenant_id][UUID(execution_id)]
    kept.status, kept.question = ExecutionStatus.FAILED, QUESTION
    kept.failure = Failure(
        code=FailureCode.INTERRUPTED_UNSAFE, message="Did it happen?", hint="Look.", asks_about=NodeId("pay")
    )


async def test_a_retry_is_an_intent_of_its_own_once_per_key(house: House, ada: Visitor) -> None:
    first = await ada.accepted()
    path = f"/api/execution/{first['execution_id']}/retry"
    body = {"start_at": "node", "node_id": "open"}
    answers = [await ada.http.post(path, json=body, headers={"idempotency-key": "again"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json() == answers[1].json()
    submitted = house.runtime.executions[ada.tenant_id][UUID(answers[0].json()["execution_id"])].submitted
    assert (submitted.realm, submitted.intent) == ("execution", "retry")
    assert submitted.parameters == {
        "execution_id": first["execution_id"],
        "start_at": "node",
        "node_id": "open",
        "version": "same",
        "answers": {},
    }
    other = await ada.http.post(path, json={"start_at": "beginning"}, headers={"idempotency-key": "again"})
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_mismatch")


async def test_a_node_to_start_at_has_to_be_named(ada: Visitor) -> None:
    first = await ada.accepted()
    answer = await ada.http.post(f"/api/execution/{first['execution_id']}/retry", json={"start_at": "node"})
    assert answer.status_code == 422


async def test_a_question_stands_among_the_pending_and_is_answered(house: House, ada: Visitor) -> None:
    first = await ada.accepted()
    end_with_a_question(house, ada, first["execution_id"])
    (pending,) = (await ada.http.get("/api/intent/pending")).json()["items"]
    assert (pending["intent_id"], pending["question"]["node_id"]) == (first["intent_id"], "pay")
    answer = await ada.http.post(f"/api/intent/{first['intent_id']}/answer", json={"answer": "happened"})
    assert answer.status_code == 202, answer.text
    submitted = house.runtime.executions[ada.tenant_id][UUID(answer.json()["execution_id"])].submitted
    assert submitted.parameters == {
        "execution_id": first["execution_id"],
        "start_at": "failed",
        "answers": {"pay": "happened"},
    }
    house.runtime.down()
    assert (await ada.http.get("/api/intent/pending")).json()["items"] == []


async def test_what_asks_nothing_can_not_be_answered(house: House, ada: Visitor, bob: Visitor) -> None:
    first = await ada.accepted()
    path = f"/api/execution/{first['execution_id']}/answer"
    refused = await ada.http.post(path, json={"answer": "happened"})
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    end_with_a_question(house, ada, first["execution_id"])
    assert (await bob.http.post(path, json={"answer": "happened"})).status_code == 404
    assert (await ada.http.post(path, json={"answer": "perhaps"})).status_code == 422
    assert (await ada.http.post(path, json={"answer": "run_again"})).status_code == 202


async def test_pause_and_resume_are_forwarded_and_written_down(house: House, ada: Visitor, bob: Visitor) -> None:
    first = await ada.accepted()
    path = f"/api/execution/{first['execution_id']}"
    paused = await ada.http.post(f"{path}/pause", json={"reason": "lunch"})
    assert (paused.status_code, paused.json()["status"]) == (202, "paused")
    assert (await bob.http.post(f"{path}/resume", json={})).status_code == 404
    assert (await ada.http.post(f"{path}/resume", json={})).status_code == 202
    acts = [entry["act"] for entry in (await ada.http.get("/api/admin/audit")).json()["items"]]
    assert acts[:2] == ["execution_resumed", "execution_paused"]


async def test_what_runtime_has_not_heard_of_can_not_be_paused_yet(house: House, ada: Visitor) -> None:
    await ada.accepted()
    house.runtime.down()
    later = await ada.accepted()
    answer = await ada.http.post(f"/api/execution/{later['execution_id']}/pause", json={})
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
