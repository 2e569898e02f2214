"""From the rows of earlier runs back to a machine that goes on where they stopped."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from contracts.errors import ApiError
from contracts.execution import ArtifactKind, Failure, StepStatus
from contracts.model import ArtifactId, StepId
from contracts.workflow import JsonObject
from runtime.artifacts import ArtifactFolder
from runtime.engine.commands import Recorded
from runtime.engine.machine import Machine
from runtime.engine.plan import Plan
from runtime.run.outputs import expand
from runtime.store.records import Records
from runtime.store.runs import Claimed, Lease, StepRecord
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


async def recover(plan: Plan, claimed: Claimed, records: Records, folder: ArtifactFolder) -> Recovered:
    """Read the past of an execution; one without a past begins at the beginning."""
    recorded = [await _read_step(claimed.lease, row, records, folder) for row in claimed.steps]
    return Recovered(
        machine=Machine.recover(plan, claimed.trigger, recorded),
        in_flight={row.node_id: _to_record(row) for row in claimed.steps if row.status is StepStatus.RUNNING},
        attempts=_count_attempts(claimed.steps),
        kept={row.node_id: row.outputs for row in reversed(claimed.steps) if row.outputs is not None},
    )


async def _read_step(lease: Lease, row: StepRow, records: Records, folder: ArtifactFolder) -> Recorded:
    async def load(reference: str) -> bytes | None:
        return await _load_output(lease, reference, records, folder)

    return Recorded(
        node_id=row.node_id,
        attempt=row.attempt,
        status=row.status,
        outputs=await expand(row.outputs, load) if row.outputs is not None else None,
        failure=Failure.model_validate(row.error) if row.error is not None else None,
    )


async def _load_output(lease: Lease, reference: str, records: Records, folder: ArtifactFolder) -> bytes | None:
    """The JSON text of an output that this execution has put away; None for what only looks like a reference."""
    try:
        blob = await records.get_blob(lease.tenant_id, ArtifactId(UUID(reference)))
    except (ValueError, ApiError):
        return None
    if blob.artifact.execution_id != lease.execution_id or blob.artifact.kind is not ArtifactKind.OUTPUT:
        return None
    return await folder.read_whole(blob.path)


def _count_attempts(rows: Sequence[StepRow]) -> dict[str, int]:
    attempts: dict[str, int] = {}
    for row in rows:
        attempts[row.node_id] = max(row.attempt, attempts.get(row.node_id, 0))
    return attempts


def _to_record(row: StepRow) -> StepRecord:
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
