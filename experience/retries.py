"""What waits for a person, and doing an execution once more because of what the person says.

Each retry and each answer is an intent of its own, stored before it is answered.
"""

from dataclasses import dataclass

from contracts.api.work import ExecutionApi, IntentApi
from contracts.errors import ApiError, Code
from contracts.execution import (
    Accepted,
    Answer,
    Intent,
    IntentRef,
    ListExecutions,
    ListPendingIntents,
    Question,
    ReadExecution,
)
from contracts.identity import AuditAct
from contracts.model import ExecutionId, Page
from contracts.recovery import AnswerExecution, AnswerIntent, RetryExecution
from contracts.wiring.server import Call, Server
from contracts.workflow import JsonObject
from experience.auth.principal import Principal, actor_of, caller_of
from experience.intents import Intents, Wish
from experience.runtime_calls import AWAY, RuntimeCalls, TenantClient
from experience.store.db import TenantDatabase
from experience.store.intents import list_intents_of, list_undelivered
from experience.store.paging import cut, read_uuid_cursor
from experience.views import show_intent

Caller = Principal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """Handlers of `retry` and `answer`."""

    runtime: RuntimeCalls
    intents: Intents
    tenants: TenantDatabase

    def serve(self, server: Server[Caller]) -> None:
        """Bind the handlers."""
        server.on(ExecutionApi.retry_execution, self.retry_execution)
        server.on(ExecutionApi.answer_execution, self.answer_execution)
        server.on(IntentApi.answer_intent, self.answer_intent)
        server.on(IntentApi.list_pending_intents, self.list_pending_intents)

    async def retry_execution(self, call: Call[Caller], request: RetryExecution) -> Accepted:
        """`POST /api/execution/{id}/retry`."""
        parameters = request.model_dump(mode="json", exclude={"idempotency_key"}, exclude_none=True)
        wish = Wish(
            realm="execution",
            intent="retry",
            parameters=parameters,
            key=request.idempotency_key,
            door="retry",
            root="body",
            act=AuditAct.EXECUTION_RETRIED,
            subject=f"execution:{request.execution_id}",
        )
        return await self.intents.submit(caller_of(call), wish, actor_of(call, call.caller))

    async def answer_execution(self, call: Call[Caller], request: AnswerExecution) -> Accepted:
        """`POST /api/execution/{id}/answer`."""
        return await self._answer(call, request.execution_id, request.answer, request.idempotency_key)

    async def answer_intent(self, call: Call[Caller], request: AnswerIntent) -> Accepted:
        """`POST /api/intent/{id}/answer`."""
        intent = await self.intents.get_intent(call, IntentRef(intent_id=request.intent_id))
        return await self._answer(call, intent.execution_id, request.answer, request.idempotency_key)

    async def list_pending_intents(self, call: Call[Caller], request: ListPendingIntents) -> Page[Intent]:
        """`GET /api/intent/pending`: with the first page, also what asks a person, before what waits for Runtime."""
        caller, before = caller_of(call), read_uuid_cursor(request.cursor)
        questions = await self._list_questions(call, request.limit) if before is None else {}
        async with self.tenants.transaction(caller.tenant_id) as session:
            asking = await list_intents_of(session, list(questions))
            rows, more = cut(await list_undelivered(session, before, request.limit), request.limit)
        asked = [
            show_intent(row).model_copy(update={"question": questions[ExecutionId(row.execution_id)]}) for row in asking
        ]
        cursor = str(rows[-1].intent_id) if more else None
        return Page(items=[*asked, *(show_intent(row) for row in rows)], next_cursor=cursor)

    async def _list_questions(self, call: Call[Caller], limit: int) -> dict[ExecutionId, Question]:
        """Open questions by execution; none while Runtime is away, for then nobody could answer them either."""
        try:
            found = await self._client(call).list_executions(ListExecutions(asks=True, limit=limit))
        except ApiError as error:
            if error.code in AWAY:
                return {}
            raise
        return {one.execution_id: one.question for one in found.items if one.question is not None}

    async def _answer(self, call: Call[Caller], execution_id: ExecutionId, answer: Answer, key: str | None) -> Accepted:
        caller = caller_of(call)
        execution = await self._client(call).get_execution(ReadExecution(execution_id=execution_id))
        asked = execution.error.asks_about if execution.error is not None else None
        if asked is None:
            hint = "Retry it (POST …/retry), if it is to be done once more."
            raise ApiError(Code.CONFLICT, "This execution asks nothing.", hint)
        parameters: JsonObject = {
            "execution_id": str(execution_id),
            "start_at": "failed",
            "answers": {asked: answer.value},
        }
        wish = Wish(
            realm="execution",
            intent="retry",
            parameters=parameters,
            key=key,
            door="answer",
            root="body",
            act=AuditAct.EXECUTION_ANSWERED,
            subject=f"execution:{execution_id}",
        )
        return await self.intents.submit(caller, wish, actor_of(call, caller))

    def _client(self, call: Call[Caller]) -> TenantClient:
        caller = caller_of(call)
        return self.runtime.speak_for(caller.tenant_id, caller.user_id, call.request_id)
