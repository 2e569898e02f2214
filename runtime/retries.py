"""From a wish to retry to an execution: what it is made from, which plan it runs, whether a person has to say more.

What it takes over is read by the worker at its first claim; here nothing is copied.
"""

from typing import Any, Final, TypeVar
from uuid import UUID

from pydantic import ValidationError

from contracts.errors import ApiError, Code, Fault, Path, explain_validation
from contracts.execution import Answer, Failure, SubmitExecution
from contracts.model import Contract, ExecutionId, TenantId, WorkflowId
from contracts.recovery import Retry, RetryStart
from contracts.wiring.tracing import current_parent
from contracts.workflow import JsonObject, WorkflowDocument
from runtime.engine.commands import Recorded
from runtime.engine.plan import Plan
from runtime.engine.reuse import (
    find_asked,
    find_contradicted,
    find_failed,
    find_named,
    find_repeated,
    find_unanswered,
    find_unknown_outputs,
    keep_word,
)
from runtime.store.answers import refuse_answered
from runtime.store.executions import NewExecution
from runtime.store.records import Records, Source
from runtime.store.tables import ExecutionRow, StepRow
from runtime.store.workflows import Workflows

ModelT = TypeVar("ModelT", bound=Contract)

_FIELDS: Final = frozenset(Retry.model_fields)
_HOW_TO_ANSWER: Final = 'Answer for each: answers: {"<node>": "happened" or "run_again"}.'


def read_parameters(model: type[ModelT], sent: JsonObject) -> ModelT:
    """What an intent's parameters say. Their JSON Schema has been asked before, and can't ask for everything.

    Raises:
        ApiError: INVALID, with a fault for each that is wrong.
    """
    try:
        return model.model_validate(sent)
    except ValidationError as error:
        faults = [_point_out(*one) for one in explain_validation(error, sent)]
        raise ApiError(Code.INVALID, f"{faults[0].where}: {faults[0].detail}", faults=faults) from None


def _point_out(path: Path, rule: str, clause: str) -> Fault:
    steps = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return Fault(where=f"body.parameters{steps}", rule=rule, detail=f"{clause}.")


class Retries:
    """Prepares executions that go on from finished ones."""

    def __init__(self, records: Records, workflows: Workflows) -> None:
        self._records = records
        self._workflows = workflows

    async def prepare(self, tenant_id: TenantId, asked: SubmitExecution) -> NewExecution:
        """The execution that a retry asks for.

        Raises:
            ApiError: NOT_FOUND; CONFLICT while it has not ended, when nothing failed, or without a person's answer;
                INVALID for a node that there is not; WORKFLOW_INVALID when the latest version can't run.
        """
        retried = UUID(str(asked.parameters["execution_id"]))
        wanted = {name: value for name, value in asked.parameters.items() if name in _FIELDS}
        retry = read_parameters(Retry, wanted)
        source = await self._records.read_source(tenant_id, ExecutionId(retried))
        row = source.execution
        if not row.status.final:
            raise ApiError(
                Code.CONFLICT,
                f"This execution is {row.status.value}; only a finished one can be retried.",
                "Cancel it.",
            )
        if source.plan is None:
            raise _gone()
        version, now = row.workflow_version, Plan.model_validate(source.plan)
        answered, spent = frozenset(retry.answers), frozenset[str]()
        if retry.start_at is not RetryStart.BEGINNING and row.retry_of is not None and not source.steps:
            source = await self._read_began(tenant_id, ExecutionId(row.retry_of))
            retry = _do_as_asked(Retry.model_validate(row.retry or {}), retry)
            spent = frozenset(name for name, said in retry.answers.items() if said is Answer.RUN_AGAIN)
        before = Plan.model_validate(source.plan)
        if retry.version == "latest" and row.workflow_id is not None:
            version, now = await self._read_latest(tenant_id, WorkflowId(row.workflow_id))
        _check(source, before, now, retry)
        named = _find_named(source, before, now, retry)
        if source.execution is not row:  # the word that it was made with counts for one more retry, not for two
            answered, named = answered | spent | named, frozenset()
        earlier = Retry.model_validate(source.execution.retry or {}).answers
        retry = keep_word(before, now, [_read(step) for step in source.steps], retry, earlier)
        return _copy(
            row,
            asked,
            workflow_version=version,
            timeout_s=now.timeout_s,
            retry_of=ExecutionId(source.execution.execution_id),
            answered_of=ExecutionId(row.execution_id),
            retry=retry.model_dump(mode="json"),
            answered=answered,
            named=named,
            of_dead_letter=asked.parameters.get("dead_letter") is True,
        )

    async def _read_began(self, tenant_id: TenantId, execution_id: ExecutionId) -> Source:
        """What a retry was made from that never began, so that it has taken nothing over itself."""
        try:
            source = await self._records.read_source(tenant_id, execution_id)
        except ApiError as error:
            raise _gone() from error
        if source.plan is None:
            raise _gone()
        return source

    async def _read_latest(self, tenant_id: TenantId, workflow_id: WorkflowId) -> tuple[int, Plan]:
        stored = await self._workflows.get(tenant_id, workflow_id, None)
        if stored.version.plan is None:
            name = WorkflowDocument.model_validate(stored.version.document).name
            detail = f"Version {stored.version.version} of “{name}” can't run."
            raise ApiError(Code.WORKFLOW_INVALID, detail, "Mend the workflow, or retry the version that ran.")
        return stored.version.version, Plan.model_validate(stored.version.plan)


def _copy(row: ExecutionRow, asked: SubmitExecution, **further: Any) -> NewExecution:
    """What an execution runs, to be run as somebody else asks."""
    return NewExecution(
        execution_id=asked.execution_id,
        intent_id=asked.intent_id,
        session_id=asked.session_id,
        user_id=asked.user_id,
        realm=asked.realm,
        intent=asked.intent,
        parameters=asked.parameters,
        name=row.name,
        submitted_at=asked.submitted_at,
        workflow_id=WorkflowId(row.workflow_id) if row.workflow_id is not None else None,
        document=row.document,
        plan=row.plan,
        trigger=row.trigger,
        workflow_concurrency=row.workflow_concurrency,
        priority=asked.priority,
        trace_parent=current_parent(),
        **further,
    )


def _gone() -> ApiError:
    return ApiError(Code.CONFLICT, "What this execution ran is gone.", "Start the workflow anew.")


def _do_as_asked(never_began: Retry, retry: Retry) -> Retry:
    """A retry that never began, done as it was asked for. Raises ApiError (CONFLICT) for one from the middle of it."""
    if retry.start_at is RetryStart.NODE:
        raise ApiError(
            Code.CONFLICT,
            "This retry never began, so it has nothing to begin in the middle of.",
            "Retry it from what failed (start_at: failed): that does it as it was asked for.",
        )
    said = {"version": retry.version, "answers": {**never_began.answers, **retry.answers}}
    return never_began.model_copy(update=said)


def _check(source: Source, before: Plan, now: Plan, retry: Retry) -> None:
    recorded = [_read(step) for step in source.steps]
    known = {node.id for node in now.nodes}
    if retry.start_at is RetryStart.NODE and retry.node_id not in known:
        raise ApiError(
            Code.INVALID, f"There is no node {retry.node_id} to start at.", f"Its nodes are {', '.join(sorted(known))}."
        )
    if contradicted := find_contradicted(now, retry):
        raise ApiError(
            Code.INVALID,
            f"{', '.join(contradicted)} can't have happened and be begun at.",
            "Begin at another node, or leave that answer out.",
        )
    if retry.start_at is RetryStart.BEGINNING:
        return
    if retry.start_at is RetryStart.FAILED and before == now and not find_failed(recorded) and recorded:
        raise ApiError(
            Code.CONFLICT,
            "Every node of this execution ended well.",
            "Retry it from a node (start_at: node), or whole (start_at: beginning).",
        )
    if missing := _find_missing(source, before, now, retry):
        refuse_answered(source.execution, missing)
        raise ApiError(
            Code.CONFLICT,
            f"Only a person knows whether {', '.join(missing)} happened.",
            _HOW_TO_ANSWER,
            faults=[_ask(node_id) for node_id in missing],
        )
    if unknown := find_unknown_outputs(now, recorded, retry):
        node_id, output, needed_by = unknown[0]
        raise ApiError(
            Code.CONFLICT,
            f"{needed_by} needs {output} of {node_id}, which nobody has, even if {node_id} happened.",
            f'Answer "run_again" for {node_id}, or start the workflow anew.',
            faults=[
                Fault(
                    where=f"body.answers.{one}", rule="output_unknown", detail=f"{other} needs its {name}.", node_id=one
                )
                for one, name, other in unknown
            ],
        )
    if repeated := find_repeated(before, now, recorded, retry):
        refuse_answered(source.execution, repeated)
        raise ApiError(
            Code.CONFLICT,
            f"{', '.join(repeated)} ended well and must not run twice unasked, but would run again behind what does.",
            _HOW_TO_ANSWER,
            faults=[_ask(node_id) for node_id in repeated],
        )


def _find_missing(source: Source, before: Plan, now: Plan, retry: Retry) -> list[str]:
    """Nodes of which only a person knows whether they happened, and has not said it, in canonical order."""
    recorded = [_read(step) for step in source.steps]
    asked = find_asked(recorded) | find_asked(_read_end(source))
    missing = asked - retry.answers.keys() - find_named(now, retry)
    missing.update(find_unanswered(before, now, recorded, retry))
    return [node.id for node in now.nodes if node.id in missing]


def _find_named(source: Source, before: Plan, now: Plan, retry: Retry) -> frozenset[str]:
    """Nodes that would be asked about, and are not because they were named to begin at."""
    return frozenset(_find_missing(source, before, now, Retry())) & find_named(now, retry)


def _ask(node_id: str) -> Fault:
    """Names a node that needs an answer, for those who ask a person about it."""
    where, detail = f"body.answers.{node_id}", "Whether this node happened."
    return Fault(where=where, rule="answer_needed", detail=detail, node_id=node_id)


def _read(step: StepRow) -> Recorded:
    failure = Failure.model_validate(step.error) if step.error is not None else None
    return Recorded(step.node_id, step.attempt, step.status, failure=failure)


def _read_end(source: Source) -> list[Recorded]:
    """The execution's own failure as if a node had it: a lost page is asked about where no attempt was."""
    if source.execution.error is None:
        return []
    failure = Failure.model_validate(source.execution.error)
    steps = [_read(step) for step in source.steps]
    return [Recorded(step.node_id, step.attempt, step.status, failure=failure) for step in steps[-1:]]
