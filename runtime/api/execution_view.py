"""Where an execution stands, as the wire shows it. Pure: rows in, contracts out."""

from collections.abc import Iterable, Sequence

from contracts.execution import (
    Artifact,
    Cost,
    Execution,
    ExecutionSummary,
    Failure,
    NodeState,
    PhaseState,
    Question,
    Screen,
    Step,
    StepStatus,
    Visuals,
)
from contracts.workflow import JsonObject
from runtime.engine.plan import Plan, PlannedNode
from runtime.run.events import PICTURES
from runtime.store.records import Snapshot
from runtime.store.tables import ExecutionRow, StepRow


def describe_execution(snapshot: Snapshot, *, artifacts: bool, visuals: bool) -> Execution:
    """The answer of `status`."""
    row = snapshot.execution
    plan = Plan.model_validate(snapshot.plan) if snapshot.plan is not None else None
    latest = {step.node_id: step for step in snapshot.steps}
    nodes = [_describe_node(node, latest.get(node.id)) for node in plan.nodes] if plan else []
    stored = snapshot.artifacts or ()
    fields: JsonObject = {
        **_common(row),
        "phases": _describe_phases(nodes),
        "nodes": nodes,
        "head_seq": row.head_seq,
        "result": row.result,
        "cost": Cost(credits=row.credits, usd=format(row.usd, "f")),
        "cancel_requested": row.cancel_requested_at is not None,
        "pause_requested": row.pause_requested_at is not None,
        "artifacts": list(stored) if artifacts else None,
        "visuals": _describe_visuals(row, stored) if visuals else None,
    }
    return Execution.model_validate(fields)


def summarize_execution(row: ExecutionRow) -> ExecutionSummary:
    """An execution as lists show it."""
    return ExecutionSummary.model_validate(_common(row))


def describe_step(row: StepRow) -> Step:
    """A recorded attempt."""
    fields = {name: getattr(row, name) for name in Step.model_fields}
    return Step.model_validate({**fields, "error": _failure(row.error)})


def _common(row: ExecutionRow) -> JsonObject:
    names = ExecutionSummary.model_fields
    question = Question.model_validate(row.question) if row.question is not None else None
    return {**{name: getattr(row, name) for name in names}, "error": _failure(row.error), "question": question}


def _failure(error: JsonObject | None) -> Failure | None:
    return Failure.model_validate(error) if error is not None else None


def _describe_node(node: PlannedNode, step: StepRow | None) -> NodeState:
    return NodeState(
        node_id=node.id,
        type=node.type,
        name=node.name,
        phase=node.phase,
        status=step.status if step else StepStatus.QUEUED,
        attempt=step.attempt if step else 0,
        started_at=step.started_at if step else None,
        finished_at=step.finished_at if step else None,
        error=_failure(step.error) if step else None,
    )


def _describe_phases(nodes: Sequence[NodeState]) -> list[PhaseState]:
    phases: dict[int, list[NodeState]] = {}
    for node in nodes:
        phases.setdefault(node.phase, []).append(node)
    return [
        PhaseState(
            number=number, nodes=[node.node_id for node in found], status=_sum_up({node.status for node in found})
        )
        for number, found in sorted(phases.items())
    ]


def _sum_up(found: set[StepStatus]) -> StepStatus:
    """One word for a phase: failed when a node failed, running while some have ended and others have not."""
    if len(found) == 1:
        return next(iter(found))
    if not all(status.final for status in found):
        return StepStatus.RUNNING
    return StepStatus.FAILED if StepStatus.FAILED in found else StepStatus.SUCCESS


def _describe_visuals(row: ExecutionRow, stored: Iterable[Artifact]) -> Visuals:
    pictures = [artifact for artifact in stored if artifact.kind in PICTURES]
    per_node = {picture.node_id: picture for picture in pictures}
    return Visuals(
        latest=pictures[-1] if pictures else None,
        per_step=sorted(per_node.values(), key=lambda picture: picture.created_at),
        # the live picture is served by the worker that holds the browser, once workers have a server of their own
        screen=Screen(available=False, url=f"/api/execution/{row.execution_id}/screen"),
    )
