"""How an intent looks from outside, and its execution as long as Runtime has nothing to show of it."""

from typing import Any, assert_never
from uuid import UUID

from contracts.api.work import ExecutionApi
from contracts.declare import Channel, Endpoint
from contracts.errors import Code
from contracts.events import EventPage
from contracts.execution import (
    Accepted,
    Cost,
    Execution,
    ExecutionStatus,
    Failure,
    FailureCode,
    Intent,
    IntentStatus,
    Links,
    Screen,
    Visuals,
)
from contracts.model import ExecutionId, IntentId, SessionId, UserId, WorkflowId
from experience.store.tables import IntentRow


def show_accepted(row: IntentRow) -> Accepted:
    """The answer to a submit. Always the state of that moment, so that a repeated request is answered the same."""
    return Accepted(
        intent_id=IntentId(row.intent_id),
        execution_id=ExecutionId(row.execution_id),
        status=ExecutionStatus.PENDING,
        links=show_links(row.tenant_id, row.execution_id),
    )


def show_intent(row: IntentRow) -> Intent:
    """An intent as the wire shows it."""
    return Intent(
        intent_id=IntentId(row.intent_id),
        execution_id=ExecutionId(row.execution_id),
        session_id=SessionId(row.session_id) if row.session_id else None,
        realm=row.realm,
        intent=row.intent,
        parameters=row.parameters,
        status=IntentStatus(row.status),
        error=row.error,
        cancel_requested=row.cancel_requested,
        created_at=row.created_at,
        delivered_at=row.delivered_at,
        created_by=UserId(row.user_id) if row.user_id else None,
        links=show_links(row.tenant_id, row.execution_id),
    )


def show_undelivered(row: IntentRow, *, include_artifacts: bool = False, include_visuals: bool = False) -> Execution:
    """The execution of an intent that Runtime has not confirmed: pending, or failed when it was refused."""
    status, error = _outcome(row)
    nothing_yet = Visuals(latest=None, per_step=[], screen=Screen(available=False, url=_screen(row)))
    return Execution(
        execution_id=ExecutionId(row.execution_id),
        status=status,
        name=row.intent,
        realm=row.realm,
        intent=row.intent,
        workflow_id=_workflow(row),
        workflow_version=None,
        progress=0,
        current_node=None,
        phases=[],
        nodes=[],
        head_seq=0,
        created_at=row.created_at,
        started_at=None,
        finished_at=row.created_at if status.final else None,
        result=None,
        error=error,
        cost=Cost(credits=0, usd="0"),
        cancel_requested=row.cancel_requested,
        artifacts=[] if include_artifacts else None,
        visuals=nothing_yet if include_visuals else None,
    )


def show_no_events(row: IntentRow) -> EventPage:
    """The log of such an execution: nothing yet, or nothing ever."""
    never = row.status == IntentStatus.REFUSED
    return EventPage(execution_id=ExecutionId(row.execution_id), events=[], head_seq=0, terminal=never)


def _outcome(row: IntentRow) -> tuple[ExecutionStatus, Failure | None]:
    status = IntentStatus(row.status)
    match status:
        case IntentStatus.PENDING | IntentStatus.DELIVERED:
            return ExecutionStatus.PENDING, None
        case IntentStatus.REFUSED:
            code, _, detail = (row.error or "").partition(": ")
            hint = "Mend what the message names and submit a new intent."
            return ExecutionStatus.FAILED, Failure(code=_failure(code), message=detail, hint=hint)
        case _:
            assert_never(status)


def _failure(code: str) -> FailureCode:
    match code:
        case Code.WORKFLOW_INVALID:
            return FailureCode.WORKFLOW_INVALID
        case Code.NOT_FOUND:
            return FailureCode.NOT_FOUND
        case Code.HOST_REFUSED:
            return FailureCode.HOST_REFUSED
        case _:
            return FailureCode.INVALID_INPUT


def _workflow(row: IntentRow) -> WorkflowId | None:
    if row.realm != "workflow":
        return None
    try:
        return WorkflowId(UUID(str(row.parameters.get("workflow_id"))))
    except ValueError:
        return None


def show_links(tenant_id: UUID, execution_id: UUID) -> Links:
    """Where an execution's caller goes on, as the declarations say it."""

    def at(declared: Endpoint[Any, Any] | Channel[Any, Any, Any]) -> str:
        return declared.path.format(execution_id=execution_id)

    return Links(
        status=f"{at(ExecutionApi.get_status)}?tenant_id={tenant_id}",
        events=at(ExecutionApi.get_events),
        steps=at(ExecutionApi.get_steps),
        artifacts=at(ExecutionApi.get_artifacts),
        cancel=at(ExecutionApi.cancel_execution),
        pause=at(ExecutionApi.pause_execution),
        resume=at(ExecutionApi.resume_execution),
        retry=at(ExecutionApi.retry_execution),
        answer=at(ExecutionApi.answer_execution),
        stream=at(ExecutionApi.execution_stream),
        page=f"/executions/{execution_id}",
    )


def _screen(row: IntentRow) -> str:
    return f"/api/execution/{row.execution_id}/screen"
