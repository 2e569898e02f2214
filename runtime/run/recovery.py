"""From the rows of earlier runs back to a machine that goes on where they stopped."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from contracts.errors import ApiError
from contracts.execution import ArtifactKind, Failure, StepStatus
from contracts.model import ArtifactId, ExecutionId, StepId
from contracts.recovery import Retry
from contracts.workflow import JsonObject
from runtime.artifacts import ArtifactFolder
from runtime.engine.commands import CUT_SHORT, Recorded
from runtime.engine.machine import Machine
from runtime.engine.plan import Plan
from runtime.engine.reuse import choose_reused
from runtime.run.checkpoints import Checkpoints
from runtime.run.outputs import expand
from runtime.seal import Seal
from runtime.store.changes import Lease, StepRecord
from runtime.store.claims import Claimed
from runtime.store.records import Records
from runtime.store.tables import StepRow


@dataclass(frozen=True)
class Recovered:
    """Where a run begins."""

    machine: Machine
    in_flight: dict[str, StepRecord]
    """Attempts that began and whose end nobody recorded, by node."""
    attempts: dict[str, int]
    """Number of the latest attempt, by node."""
    kept: dict[str, JsonObject]
    """Recorded outputs by node, large values as references."""
    checkpoints: Checkpoints
    since: dict[str, datetime] = field(default_factory=dict)
    """When the first of a node's attempts began that were cut short and are to be gone on with, by node."""
    reused: Mapping[str, JsonObject] = field(default_factory=dict)
    """Outputs by node of what a retry takes over and has not recorded yet, in canonical order."""


@dataclass(frozen=True)
class Archive:
    """Where the past of executions is kept."""

    records: Records
    folder: ArtifactFolder
    seal: Seal | None


async def recover(plan: Plan, claimed: Claimed, archive: Archive) -> Recovered:
    """Read the past of an execution; one without a past begins at the beginning, a retry where it was told to.

    Raises:
        ApiError: NOT_FOUND when a retry has nothing recorded yet and what it was made from is gone.
    """
    retry = Retry.model_validate(claimed.retry or {})
    checkpoints = Checkpoints(claimed.lease.execution_id, archive.seal)
    begins = claimed.retry_of is not None and not claimed.steps
    if begins:
        recorded = await _read_reused(plan, claimed, retry, archive, checkpoints)
    else:
        recorded = [await _read_step(claimed.lease, claimed.lease.execution_id, row, archive) for row in claimed.steps]
        checkpoints.read(claimed.checkpoints)
    machine = Machine.recover(plan, claimed.trigger, recorded, checkpoints=checkpoints.by_page, answers=retry.answers)
    return Recovered(
        machine=machine,
        in_flight={row.node_id: to_record(row) for row in claimed.steps if row.status is StepStatus.RUNNING},
        attempts=_count_attempts(claimed.steps),
        kept={row.node_id: row.outputs for row in reversed(claimed.steps) if row.outputs is not None},
        checkpoints=checkpoints,
        since=_find_begins(claimed.steps),
        reused={row.node_id: machine.outputs_of(row.node_id) for row in recorded} if begins else {},
    )


async def _read_reused(
    plan: Plan, claimed: Claimed, retry: Retry, archive: Archive, checkpoints: Checkpoints
) -> list[Recorded]:
    """What stands of the execution that is retried, with the checkpoints of its nodes."""
    lease, retried = claimed.lease, claimed.retry_of
    if retried is None:
        return []
    source = await archive.records.read_source(lease.tenant_id, retried)
    recorded = [await _read_step(lease, retried, row, archive) for row in source.steps]
    before = Plan.model_validate(source.plan) if source.plan is not None else plan
    reused = choose_reused(before, plan, recorded, retry)
    checkpoints.read(source.checkpoints, retried)
    checkpoints.drop_all_but({row.node_id for row in reused})
    return reused


async def _read_step(lease: Lease, owner: ExecutionId, row: StepRow, archive: Archive) -> Recorded:
    async def load(reference: str) -> bytes | None:
        return await _load_output(lease, owner, reference, archive)

    return Recorded(
        node_id=row.node_id,
        attempt=row.attempt,
        status=row.status,
        outputs=await expand(row.outputs, load) if row.outputs is not None else None,
        failure=Failure.model_validate(row.error) if row.error is not None else None,
        reused=row.reused,
    )


async def _load_output(lease: Lease, owner: ExecutionId, reference: str, archive: Archive) -> bytes | None:
    """The JSON text of an output that `owner` has put away; None for what only looks like a reference."""
    try:
        blob = await archive.records.get_blob(lease.tenant_id, ArtifactId(UUID(reference)))
    except (ValueError, ApiError):
        return None
    if blob.artifact.execution_id != owner or blob.artifact.kind is not ArtifactKind.OUTPUT:
        return None
    return await archive.folder.read_whole(blob.path)


def _find_begins(rows: Sequence[StepRow]) -> dict[str, datetime]:
    """Where the attempts began, one after the other, that a pause or the loss of a worker has cut short."""
    begins: dict[str, datetime] = {}
    for row in sorted(rows, key=lambda row: row.attempt):
        if row.started_at is not None and (row.status is StepStatus.RUNNING or _was_cut_short(row)):
            begins.setdefault(row.node_id, row.started_at)
        else:
            begins.pop(row.node_id, None)
    return begins


def _was_cut_short(row: StepRow) -> bool:
    return row.status is StepStatus.RETRYING and row.error is not None and row.error.get("code") in CUT_SHORT


def _count_attempts(rows: Sequence[StepRow]) -> dict[str, int]:
    attempts: dict[str, int] = {}
    for row in rows:
        attempts[row.node_id] = max(row.attempt, attempts.get(row.node_id, 0))
    return attempts


def to_record(row: StepRow) -> StepRecord:
    """A stored attempt as runs write it."""
    return StepRecord(
        step_id=StepId(row.step_id),
        node_id=row.node_id,
        node_type=row.node_type,
        phase=row.phase,
        attempt=row.attempt,
        epoch=row.epoch,
        status=row.status,
        path=row.path,
        started_at=row.started_at,
    )
