"""What people and programs ask for: stored once under the ids it keeps, then handed to Runtime.

A submit is one transaction (key, intent) and one attempt to deliver, after which the caller has its answer: accepted,
or the reason why Runtime will never run it. Whatever else happens is the outbox's affair.
"""

import hashlib
import json
from dataclasses import dataclass

import structlog
from uuid_utils.compat import uuid7

from contracts.api.work import IntentApi, WorkflowApi
from contracts.errors import ApiError, Code
from contracts.execution import Accepted, Execution, Intent, IntentRef, Priority, Realms, SubmitIntent
from contracts.identity import AuditAct, Scope
from contracts.model import ExecutionId, IntentId, Nothing, SessionId, TenantId
from contracts.wiring.server import Call, Server
from contracts.wiring.tracing import current_parent
from contracts.workflow import JsonObject, RunWorkflow
from experience.answers import Answers, Asked
from experience.audit import Actor, Audit, Clock
from experience.auth.guard import require
from experience.auth.principal import Principal, actor_of, caller_of
from experience.outbox import INLINE_LEASE, Delivered, Outbox, Outcome, Refused
from experience.realms import Catalogue
from experience.sessions import owns_session
from experience.store.db import TenantDatabase, TenantSession
from experience.store.intents import (
    add_intent,
    find_intent,
    find_intent_of,
    request_cancel,
    withdraw_cancel,
)
from experience.store.sessions import hold_session
from experience.store.tables import IntentRow
from experience.views import show_accepted, show_intent

log = structlog.get_logger()

Caller = Principal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is asked for, by whichever door it came."""

    realm: str
    intent: str
    parameters: JsonObject
    session_id: SessionId | None = None
    priority: Priority = Priority.NORMAL
    key: str | None = None
    """The caller's Idempotency-Key."""
    door: str = "intent"
    """The endpoint it came by, which a key is bound to."""
    root: str = "body.parameters"
    """Where the parameters stand in the request, for faults."""
    act: AuditAct | None = None
    """What the audit trail calls it; unset for what needs no entry."""
    subject: str = ""
    """Of that entry: `kind:id` of what it was done to."""

    @property
    def asked(self) -> Asked | None:
        """What its key stands for, in whatever order the fields came."""
        if self.key is None:
            return None
        fields = [self.realm, self.intent, self.parameters, str(self.session_id or "")]
        if self.priority is not Priority.NORMAL:  # what was asked before there were priorities is recalled, too
            fields.append(self.priority)
        return Asked(self.door, self.key, hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).digest())


@dataclass(frozen=True, slots=True, kw_only=True)
class Intents:
    """Takes wishes, and answers what became of them as far as Experience knows."""

    tenants: TenantDatabase
    answers: Answers
    outbox: Outbox
    catalogue: Catalogue
    audit: Audit
    clock: Clock

    def serve(self, server: Server[Caller]) -> None:
        """Bind the handlers."""
        server.on(IntentApi.submit_intent, self.submit_intent)
        server.on(IntentApi.get_catalogue, self.get_catalogue)
        server.on(IntentApi.get_intent, self.get_intent)
        server.on(IntentApi.cancel_intent, self.cancel_intent)
        server.on(WorkflowApi.run_workflow, self.run_workflow)

    async def submit_intent(self, call: Call[Caller], request: SubmitIntent) -> Accepted:
        """`POST /api/intent`."""
        wish = Wish(
            realm=request.realm,
            intent=request.intent,
            parameters=request.parameters,
            session_id=request.session_id,
            priority=request.priority,
            key=request.idempotency_key,
        )
        return await self.submit(caller_of(call), wish, actor_of(call, call.caller))

    async def run_workflow(self, call: Call[Caller], request: RunWorkflow) -> Accepted:
        """`POST /api/workflow/{id}/run`: the same as the intent `run` of the realm `workflow`."""
        parameters = request.model_dump(mode="json", exclude={"idempotency_key", "priority"}, exclude_none=True)
        wish = Wish(
            realm="workflow",
            intent="run",
            parameters=parameters,
            priority=Priority(request.priority),
            key=request.idempotency_key,
            door="run",
            root="body",
        )
        return await self.submit(caller_of(call), wish, actor_of(call, call.caller))

    async def get_catalogue(self, _call: Call[Caller], _: Nothing) -> Realms:
        """`GET /api/intent/catalogue`."""
        return await self.catalogue.read()

    async def get_intent(self, call: Call[Caller], request: IntentRef) -> Intent:
        """`GET /api/intent/{id}`."""
        async with self.tenants.transaction(caller_of(call).tenant_id) as session:
            return show_intent(await _find(session, request.intent_id))

    async def cancel_intent(self, call: Call[Caller], request: IntentRef) -> Intent:
        """`POST /api/intent/{id}/cancel`."""
        caller = caller_of(call)
        await self.cancel(caller, request.intent_id, "", actor_of(call, caller))
        return await self.get_intent(call, request)

    async def submit(self, caller: Principal, wish: Wish, by: Actor) -> Accepted:
        """Take a wish. The same key with the same wish is answered the same, by whichever process and when ever.

        Raises:
            ApiError: IDEMPOTENCY_MISMATCH for a key that had another wish; INVALID for parameters that the catalogue
                does not allow; NOT_FOUND for a session that is not the caller's; what Runtime refuses it with;
                UNAVAILABLE where that could not be written down.
        """
        require(caller, Scope.EXECUTION_WRITE)
        answered = await self.recall(caller, wish)
        if answered is not None:
            return answered
        await self.catalogue.check(wish.realm, wish.intent, wish.parameters, root=wish.root)
        row = self._draft(caller, wish)
        if not await self._store(caller, row, wish, by):
            return await self.submit(caller, wish, by)  # an equal request was quicker: its answer is ours
        outcome = await self.outbox.hand_over(row, by.request_id)
        return await self._conclude(row, wish.asked, outcome, by)

    async def recall(self, caller: Principal, wish: Wish) -> Accepted | None:
        """What the same wish was answered under its key; None for one without a key or with a new one.

        Raises: as `submit`, for what it was answered before.
        """
        return None if wish.asked is None else await self.answers.recall(caller.tenant_id, wish.asked)

    async def cancel(self, caller: Principal, intent_id: IntentId, reason: str, by: Actor) -> Execution | None:
        """Ask for the end of what an intent has started; the wish is kept until Runtime has it.

        Answers the execution as Runtime shows it, or None when Runtime is to be told later.

        Raises:
            ApiError: NOT_FOUND; CONFLICT when it is over already.
        """
        async with self.tenants.transaction(caller.tenant_id) as session:
            row = await request_cancel(session, intent_id, reason, lease=INLINE_LEASE)
            if row is None:
                refused = await _find(session, intent_id)
                detail = f"Intent {intent_id} was refused, so there is nothing to cancel."
                raise ApiError(Code.CONFLICT, detail, f"It was refused with: {refused.error}")
            if row.status == "pending":
                await self._note_cancel(session, row, by)
        if row.status == "pending":
            self.outbox.wake()
            return None
        outcome = await self.outbox.hand_over(row, by.request_id)
        async with self.tenants.transaction(caller.tenant_id) as session:
            if isinstance(outcome, Refused):
                await withdraw_cancel(session, intent_id)
            else:
                await self._note_cancel(session, row, by)
                await self.outbox.record(session, row, outcome)
        match outcome:
            case Refused(error):
                raise error
            case Delivered(Execution() as execution):
                return execution
            case _:
                return None

    async def _note_cancel(self, session: TenantSession, row: IntentRow, by: Actor) -> None:
        subject = f"execution:{row.execution_id}"
        await self.audit.record(session, AuditAct.EXECUTION_CANCELLED, subject, by, reason=row.cancel_reason)

    async def find_by_execution(self, caller: Principal, execution_id: ExecutionId) -> IntentRow | None:
        """The caller's tenant's intent that an execution was started by."""
        async with self.tenants.transaction(caller.tenant_id) as session:
            return await find_intent_of(session, execution_id)

    def _draft(self, caller: Principal, wish: Wish) -> IntentRow:
        now = self.clock()
        is_guest = caller.via == "session"
        return IntentRow(
            intent_id=uuid7(),
            tenant_id=caller.tenant_id,
            execution_id=uuid7(),
            # a guest has nothing but its session
            session_id=wish.session_id or (caller.credential_id if is_guest else None),
            user_id=caller.user_id,
            realm=wish.realm,
            intent=wish.intent,
            parameters=wish.parameters,
            priority=wish.priority,
            status="pending",
            error=None,
            deferred=False,
            attempts=0,
            next_attempt_at=None,  # by the database's clock, see add_intent
            last_error=None,
            cancel_requested=False,
            cancel_reason="",
            cancel_delivered_at=None,
            created_at=now,
            delivered_at=None,
            trace_parent=current_parent(),
        )

    async def _store(self, caller: Principal, row: IntentRow, wish: Wish, by: Actor) -> bool:
        """Store the intent with its key and its audit entry; False, with nothing stored, when the key is taken."""
        asked = wish.asked
        async with self.tenants.transaction(caller.tenant_id) as session:
            if asked is not None and not await self.answers.take(session, asked, IntentId(row.intent_id)):
                return False
            if row.session_id is not None:
                held = await hold_session(session, SessionId(row.session_id))
                if held is None or not owns_session(caller, held):
                    raise ApiError(Code.NOT_FOUND, f"There is no session {row.session_id}.")
            await add_intent(session, row, lease=INLINE_LEASE)
            if wish.act is not None:
                await self.audit.record(session, wish.act, wish.subject, by, retried_as=str(row.execution_id))
        return True

    async def _conclude(self, row: IntentRow, asked: Asked | None, outcome: Outcome, by: Actor) -> Accepted:
        answer = outcome.error if isinstance(outcome, Refused) else show_accepted(row)
        try:
            async with self.tenants.transaction(TenantId(row.tenant_id)) as session:
                await self.outbox.record(session, row, outcome)
                if isinstance(outcome, Refused) and outcome.error.code is Code.HOST_REFUSED:
                    subject = f"intent:{row.intent_id}"
                    await self.audit.record(session, AuditAct.HOST_REFUSED, subject, by, detail=outcome.error.detail)
                if asked is not None:
                    answer = await self.answers.settle(session, asked, answer)
        except ApiError as error:
            # the intent is stored, and that is what counts: the outbox will find out what Runtime has made of it
            log.warning("outcome not recorded", intent_id=str(row.intent_id), detail=error.detail)
            if isinstance(outcome, Refused):  # and it may take then what it refuses now: no is not the last word
                raise _undecided(row) from error
        if isinstance(answer, ApiError):
            raise answer
        return answer


def _undecided(row: IntentRow) -> ApiError:
    """What a caller is told of a refusal that could not be written down, so that it is asked about once more."""
    return ApiError(
        Code.UNAVAILABLE,
        "What became of this can't be written down now, so it is asked again by itself.",
        f"Send the same request with the same Idempotency-Key again, or see GET /api/intent/{row.intent_id}.",
    )


async def _find(session: TenantSession, intent_id: IntentId) -> IntentRow:
    row = await find_intent(session, intent_id)
    if row is None:
        raise ApiError(Code.NOT_FOUND, f"There is no intent {intent_id}.")
    return row
