"""Executions: submit, list, status, events, steps, artifacts, cancel."""

from contracts.api.runtime import RuntimeApi
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
    Steps,
    SubmitExecution,
)
from contracts.model import Page, TenantId
from contracts.recovery import PauseExecution
from contracts.wiring.internal import InternalCaller
from contracts.wiring.server import Call, Server
from runtime.api.execution_view import describe_execution, describe_step, summarize_execution
from runtime.store.events import EventLog
from runtime.store.executions import Executions, NewExecution
from runtime.store.records import Records
from runtime.store.tables import ExecutionRow
from runtime.submission import Submissions

Caller = Call[InternalCaller]


class ExecutionHandlers:
    """The tenant is the token's; whatever is another's is not found."""

    def __init__(self, executions: Executions, records: Records, events: EventLog, submissions: Submissions) -> None:
        self._executions = executions
        self._records = records
        self._events = events
        self._submissions = submissions

    def serve(self, server: Server[InternalCaller]) -> None:
        """Bind the handlers."""
        server.on(RuntimeApi.submit_execution, self.submit)
        server.on(RuntimeApi.list_executions, self.list_executions)
        server.on(RuntimeApi.get_execution, self.get)
        server.on(RuntimeApi.read_events, self.read_events)
        server.on(RuntimeApi.read_steps, self.read_steps)
        server.on(RuntimeApi.list_artifacts, self.list_artifacts)
        server.on(RuntimeApi.cancel_execution, self.cancel)
        server.on(RuntimeApi.pause_execution, self.pause)
        server.on(RuntimeApi.resume_execution, self.resume)

    async def submit(self, call: Caller, asked: SubmitExecution) -> ExecutionSummary:
        """Record once per id; what is known already answers before anything is looked at again."""
        tenant_id = call.caller.tenant_id
        row = await self._executions.find(tenant_id, asked.execution_id)
        if row is None:
            new = await self._submissions.prepare(tenant_id, asked)
            row = await self._record(tenant_id, asked, new)
        return summarize_execution(row)

    async def _record(self, tenant_id: TenantId, asked: SubmitExecution, new: NewExecution) -> ExecutionRow:
        """Record it; what was answered long ago and is refused only now is recorded as failed."""
        try:
            return await self._executions.submit(tenant_id, new, deferred=asked.deferred, cancelled=asked.cancelled)
        except ApiError as error:
            if not asked.deferred or error.code is not Code.CONFLICT:
                raise
            failed = self._submissions.refuse(asked, error)
            return await self._executions.submit(tenant_id, failed, deferred=True)

    async def list_executions(self, call: Caller, wanted: ListExecutions) -> Page[ExecutionSummary]:
        """Newest first."""
        rows, cursor = await self._executions.list_page(call.caller.tenant_id, wanted)
        return Page(items=[summarize_execution(row) for row in rows], next_cursor=cursor)

    async def get(self, call: Caller, wanted: ReadExecution) -> Execution:
        """Where it stands."""
        with_artifacts = wanted.include_artifacts or wanted.include_visuals
        snapshot = await self._records.read_snapshot(
            call.caller.tenant_id, wanted.execution_id, artifacts=with_artifacts
        )
        return describe_execution(snapshot, artifacts=wanted.include_artifacts, visuals=wanted.include_visuals)

    async def read_events(self, call: Caller, wanted: ReadEvents) -> EventPage:
        """Part of the log."""
        return await self._events.read_after(call.caller.tenant_id, wanted.execution_id, wanted.after, wanted.limit)

    async def read_steps(self, call: Caller, wanted: ExecutionRef) -> Steps:
        """Every attempt."""
        rows = await self._records.list_steps(call.caller.tenant_id, wanted.execution_id)
        return Steps(items=[describe_step(row) for row in rows])

    async def list_artifacts(self, call: Caller, wanted: ExecutionRef) -> Artifacts:
        """What it has stored."""
        return Artifacts(items=await self._records.list_artifacts(call.caller.tenant_id, wanted.execution_id))

    async def cancel(self, call: Caller, asked: CancelExecution) -> Execution:
        """Ask for the end, and answer where it stands now."""
        await self._executions.request_cancel(call.caller.tenant_id, asked.execution_id, asked.reason)
        return await self.get(call, ReadExecution(execution_id=asked.execution_id))

    async def pause(self, call: Caller, asked: PauseExecution) -> Execution:
        """Let it stand still, and answer where it stands now."""
        await self._executions.request_pause(call.caller.tenant_id, asked.execution_id, asked.reason)
        return await self.get(call, ReadExecution(execution_id=asked.execution_id))

    async def resume(self, call: Caller, asked: ExecutionRef) -> Execution:
        """Let it go on, and answer where it stands now."""
        await self._executions.request_resume(call.caller.tenant_id, asked.execution_id)
        return await self.get(call, ReadExecution(execution_id=asked.execution_id))
