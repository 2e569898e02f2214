"""`/api/execution`: Runtime's executions, and in place of what it has not heard of yet, what their intents say."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from contracts.api.work import ExecutionApi
from contracts.errors import ApiError, Code
from contracts.events import EventPage
from contracts.execution import (
    Artifacts,
    CancelExecution,
    Execution,
    ExecutionRef,
    ExecutionSummary,
    ListExecutions,
    ReadEvents,
    ReadExecution,
    ReadStatus,
    Steps,
)
from contracts.identity import AuditAct
from contracts.model import ExecutionId, IntentId, Page
from contracts.recovery import PauseExecution
from contracts.wiring.server import Call, Server
from experience.audit import Audit
from experience.auth.principal import Principal, actor_of, caller_of
from experience.intents import Intents
from experience.runtime_calls import AWAY, RuntimeCalls, TenantClient
from experience.store.db import TenantDatabase
from experience.store.tables import IntentRow
from experience.views import show_no_events, show_undelivered

ResT = TypeVar("ResT")

Caller = Principal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Executions:
    """Handlers of `/api/execution`."""

    runtime: RuntimeCalls
    intents: Intents
    tenants: TenantDatabase
    audit: Audit

    def serve(self, server: Server[Caller]) -> None:
        """Bind the handlers."""
        server.on(ExecutionApi.list_executions, self.list_executions)
        server.on(ExecutionApi.get_status, self.get_status)
        server.on(ExecutionApi.get_events, self.get_events)
        server.on(ExecutionApi.get_steps, self.get_steps)
        server.on(ExecutionApi.get_artifacts, self.get_artifacts)
        server.on(ExecutionApi.cancel_execution, self.cancel_execution)
        server.on(ExecutionApi.pause_execution, self.pause_execution)
        server.on(ExecutionApi.resume_execution, self.resume_execution)

    async def list_executions(self, call: Call[Caller], request: ListExecutions) -> Page[ExecutionSummary]:
        """`GET /api/execution`."""
        return await self._client(call).list_executions(request)

    async def get_status(self, call: Call[Caller], request: ReadStatus) -> Execution:
        """`GET /api/execution/{id}/status`; equal calls at the same moment share one call to Runtime."""
        caller = caller_of(call)
        if request.tenant_id != caller.tenant_id:
            raise _unknown(request.execution_id)
        return await self.read_status(
            caller,
            request.execution_id,
            call.request_id,
            include_artifacts=request.include_artifacts,
            include_visuals=request.include_visuals,
        )

    async def read_status(
        self,
        caller: Principal,
        execution_id: ExecutionId,
        request_id: str,
        *,
        include_artifacts: bool = False,
        include_visuals: bool = False,
    ) -> Execution:
        """Where an execution of the caller's tenant stands.

        Raises:
            ApiError: NOT_FOUND; UNAVAILABLE or TIMEOUT when only Runtime could say and does not.
        """
        read = ReadExecution(
            execution_id=execution_id, include_artifacts=include_artifacts, include_visuals=include_visuals
        )
        client = self.runtime.speak_for(caller.tenant_id, caller.user_id, request_id)
        key = ("status", caller.tenant_id, execution_id, include_artifacts, include_visuals)
        return await self._or_instead(
            caller,
            execution_id,
            lambda: self.runtime.shared.share(key, lambda: client.get_execution(read)),
            lambda row: show_undelivered(row, include_artifacts=include_artifacts, include_visuals=include_visuals),
            again=lambda: client.get_execution(read),  # a shared call may have been sent too early, too
        )

    async def get_events(self, call: Call[Caller], request: ReadEvents) -> EventPage:
        """`GET /api/execution/{id}/events`."""
        client = self._client(call)
        return await self._or_instead(
            caller_of(call), request.execution_id, lambda: client.read_events(request), show_no_events
        )

    async def get_steps(self, call: Call[Caller], request: ExecutionRef) -> Steps:
        """`GET /api/execution/{id}/steps`."""
        client = self._client(call)
        return await self._or_instead(
            caller_of(call), request.execution_id, lambda: client.read_steps(request), lambda _: Steps(items=[])
        )

    async def get_artifacts(self, call: Call[Caller], request: ExecutionRef) -> Artifacts:
        """`GET /api/execution/{id}/artifacts`."""
        client = self._client(call)
        return await self._or_instead(
            caller_of(call), request.execution_id, lambda: client.list_artifacts(request), lambda _: Artifacts(items=[])
        )

    async def cancel_execution(self, call: Call[Caller], request: CancelExecution) -> Execution:
        """`POST /api/execution/{id}/cancel`; the wish is kept while Runtime is away."""
        caller = caller_of(call)
        row = await self.intents.find_by_execution(caller, request.execution_id)
        if row is None:
            return await self._cancel_foreign(call, request)
        by = actor_of(call, caller)
        execution = await self.intents.cancel(caller, IntentId(row.intent_id), request.reason, by)
        if execution is None:
            execution = await self._show_cancelled_later(caller, request.execution_id, call.request_id)
        return execution

    async def pause_execution(self, call: Call[Caller], request: PauseExecution) -> Execution:
        """`POST /api/execution/{id}/pause`."""
        execution = await self._ask_of_known(call, request, lambda client: client.pause_execution(request))
        await self._note(call, request.execution_id, AuditAct.EXECUTION_PAUSED, reason=request.reason)
        return execution

    async def resume_execution(self, call: Call[Caller], request: ExecutionRef) -> Execution:
        """`POST /api/execution/{id}/resume`."""
        execution = await self._ask_of_known(call, request, lambda client: client.resume_execution(request))
        await self._note(call, request.execution_id, AuditAct.EXECUTION_RESUMED)
        return execution

    async def _ask_of_known(
        self,
        call: Call[Caller],
        request: PauseExecution | ExecutionRef,
        ask: Callable[[TenantClient], Awaitable[Execution]],
    ) -> Execution:
        """What only Runtime can do. Raises ApiError: UNAVAILABLE while it has not heard of the execution."""
        try:
            return await ask(self._client(call))
        except ApiError as error:
            row = await self.intents.find_by_execution(caller_of(call), request.execution_id)
            if error.code is Code.NOT_FOUND and row is not None and row.status in ("pending", "delivered"):
                if row.status == "delivered":  # between the two looks, or it is gone
                    return await ask(self._client(call))
                detail = "This execution is still on its way to the part of the installation that runs things."
                raise ApiError(Code.UNAVAILABLE, detail, "Try again in a moment.", retry_after=1) from error
            raise

    async def _note(self, call: Call[Caller], execution_id: ExecutionId, act: AuditAct, **detail: str) -> None:
        caller = caller_of(call)
        async with self.tenants.transaction(caller.tenant_id) as session:
            await self.audit.record(session, act, f"execution:{execution_id}", actor_of(call, caller), **detail)

    async def _show_cancelled_later(self, caller: Principal, execution_id: ExecutionId, request_id: str) -> Execution:
        """How an execution stands whose cancel is on its way."""
        try:
            execution = await self.read_status(caller, execution_id, request_id)
        except ApiError as error:
            if error.code in AWAY:
                hint = "The wish to cancel is kept and delivered as soon as it answers again."
                raise ApiError(error.code, error.detail, hint, retry_after=error.retry_after) from error
            raise
        return execution if execution.status.final else execution.model_copy(update={"cancel_requested": True})

    async def _cancel_foreign(self, call: Call[Caller], request: CancelExecution) -> Execution:
        """Cancel what no intent has started: only Runtime knows of it."""
        execution = await self._client(call).cancel_execution(request)
        await self._note(call, request.execution_id, AuditAct.EXECUTION_CANCELLED, reason=request.reason)
        return execution

    async def _or_instead(
        self,
        caller: Principal,
        execution_id: ExecutionId,
        ask: Callable[[], Awaitable[ResT]],
        instead: Callable[[IntentRow], ResT],
        *,
        again: Callable[[], Awaitable[ResT]] | None = None,
    ) -> ResT:
        """What Runtime answers, or what can be said of an intent that it has not confirmed."""
        try:
            return await ask()
        except ApiError as error:
            if error.code is not Code.NOT_FOUND and error.code not in AWAY:
                raise
            row = await self.intents.find_by_execution(caller, execution_id)
            if row is None:
                raise
            if row.status != "delivered":
                return instead(row)
            if error.code is not Code.NOT_FOUND:
                raise
        return await (again or ask)()  # it was delivered between the two looks, or it is gone

    def _client(self, call: Call[Caller]) -> TenantClient:
        caller = caller_of(call)
        return self.runtime.speak_for(caller.tenant_id, caller.user_id, call.request_id)


def _unknown(execution_id: ExecutionId) -> ApiError:
    return ApiError(Code.NOT_FOUND, f"There is no execution {execution_id}.")
