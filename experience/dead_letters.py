"""Executions that took their workers down with them: what an admin sees of them, and decides.

Runtime keeps them. Retrying one is an intent like any other, so it is stored before the answer and survives Runtime.
"""

from dataclasses import dataclass

from contracts.api.work import DeadLetterApi
from contracts.errors import ApiError, Code
from contracts.execution import Accepted, ExecutionRef
from contracts.identity import AuditAct
from contracts.model import Page
from contracts.recovery import (
    DeadLetter,
    DeadLetterDetail,
    DiscardDeadLetter,
    ListDeadLetters,
    RetryDeadLetter,
    RetryStart,
)
from contracts.wiring.server import Call, Server
from experience.audit import Audit
from experience.auth.principal import Principal, actor_of, caller_of
from experience.intents import Intents, Wish
from experience.runtime_calls import RuntimeCalls, TenantClient
from experience.store.db import TenantDatabase

Caller = Principal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetters:
    """Handlers for owners and admins of a tenant."""

    runtime: RuntimeCalls
    intents: Intents
    tenants: TenantDatabase
    audit: Audit

    def serve(self, server: Server[Caller]) -> None:
        """Bind the handlers."""
        server.on(DeadLetterApi.list_dead_letters, self.list_dead_letters)
        server.on(DeadLetterApi.get_dead_letter, self.get_dead_letter)
        server.on(DeadLetterApi.retry_dead_letter, self.retry_dead_letter)
        server.on(DeadLetterApi.discard_dead_letter, self.discard_dead_letter)

    async def list_dead_letters(self, call: Call[Caller], request: ListDeadLetters) -> Page[DeadLetter]:
        """`GET /api/admin/dead-letters`."""
        return await self._client(call).list_dead_letters(request)

    async def get_dead_letter(self, call: Call[Caller], request: ExecutionRef) -> DeadLetterDetail:
        """`GET /api/admin/dead-letters/{id}`."""
        return await self._client(call).get_dead_letter(request)

    async def retry_dead_letter(self, call: Call[Caller], request: RetryDeadLetter) -> Accepted:
        """`POST /api/admin/dead-letters/{id}/retry`: as retrying its execution, but once."""
        caller = caller_of(call)
        wish = Wish(
            realm="execution",
            intent="retry",
            parameters={
                "execution_id": str(request.execution_id),
                "start_at": RetryStart.FAILED.value,
                "answers": {node_id: answer.value for node_id, answer in request.answers.items()},
                "dead_letter": True,  # of two admins who ask together Runtime takes one
            },
            key=request.idempotency_key,
            door="dead-letter",
            root="body",
            act=AuditAct.DEAD_LETTER_RETRIED,
            subject=f"execution:{request.execution_id}",
        )
        # read first: whatever has decided it by then has taken its key, so that an equal request is recalled below
        letter = await self._client(call).get_dead_letter(ExecutionRef(execution_id=request.execution_id))
        answered = await self.intents.recall(caller, wish)
        if answered is not None:
            return answered
        if letter.resolution is not None:
            detail = f"This dead letter was {letter.resolution} already."
            raise ApiError(Code.CONFLICT, detail, "Retry its execution if you want it done once more.")
        return await self.intents.submit(caller, wish, actor_of(call, caller))

    async def discard_dead_letter(self, call: Call[Caller], request: DiscardDeadLetter) -> DeadLetter:
        """`POST /api/admin/dead-letters/{id}/discard`."""
        caller = caller_of(call)
        letter = await self._client(call).get_dead_letter(ExecutionRef(execution_id=request.execution_id))
        if letter.resolution is None:
            # before the act, which another tier commits: whoever is killed in between, or finds that tier away or
            # the letter retried by then, leaves an entry too many, not an act without one
            async with self.tenants.transaction(caller.tenant_id) as session:
                subject, by = f"execution:{request.execution_id}", actor_of(call, caller)
                await self.audit.record(session, AuditAct.DEAD_LETTER_DISCARDED, subject, by, reason=request.reason)
        return await self._client(call).discard_dead_letter(request)

    def _client(self, call: Call[Caller]) -> TenantClient:
        caller = caller_of(call)
        return self.runtime.speak_for(caller.tenant_id, caller.user_id, call.request_id)
