"""Executions that took their workers down with them: written where they end, listed, and decided by an admin.

One is decided once: retried, by whichever way its execution is done once more, or discarded. The execution itself
stays as it ended either way.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic_core import to_json
from sqlalchemy import update
from sqlalchemy.orm import load_only
from sqlmodel import col, select

from contracts.errors import ApiError, Code
from contracts.execution import Failure
from contracts.model import ExecutionId, TenantId, UserId
from contracts.recovery import DeadLetter, DeadLetterDetail, ListDeadLetters, RunRecord
from runtime.store.cursors import cut_page, select_page
from runtime.store.db import Database, OfTenant, TenantSession
from runtime.store.statement import Statement
from runtime.store.tables import SCHEMA, DeadLetterRow, ExecutionRow, RunRow


async def add_dead_letter(
    session: OfTenant, execution_id: ExecutionId, failure: Failure, losses: int, in_flight: Sequence[str]
) -> None:
    """Note it in the transaction that ends the execution; again changes nothing.

    Args:
        losses: workers that were lost in it.
        in_flight: nodes that were at work when the last of them was lost.
    """
    values = {
        "execution_id": execution_id,
        "tenant_id": session.tenant_id,
        "failure": failure.model_dump_json(),
        "losses": losses,
        "in_flight": to_json(list(in_flight)).decode(),
    }
    await _ADD.fetch(session, values)


_ADD = Statement(f"""
    INSERT INTO {SCHEMA}.dead_letters (execution_id, tenant_id, failure, losses, in_flight, died_at)
    VALUES (:execution_id, :tenant_id, cast(:failure AS json), :losses, cast(:in_flight AS json), now())
    ON CONFLICT DO NOTHING
""")  # noqa: S608 — constants


async def resolve_as_retried(
    session: TenantSession, execution_id: ExecutionId, retried_as: ExecutionId, by: UserId | None
) -> bool:
    """Note in the transaction that records a retry what it is a retry of; without a dead letter nothing happens.

    One that was decided before stays as it was decided: an execution may be retried more than once.

    Returns:
        Whether there was one to decide.
    """
    resolved = (
        update(DeadLetterRow)
        .where(
            col(DeadLetterRow.execution_id) == execution_id,
            col(DeadLetterRow.tenant_id) == session.tenant_id,
            col(DeadLetterRow.resolution).is_(None),
        )
        .values(resolution="retried", resolved_at=datetime.now(UTC), resolved_by=by, retried_as=retried_as)
        .returning(col(DeadLetterRow.execution_id))
    )
    return (await session.exec(resolved)).one_or_none() is not None


class DeadLetters:
    """Every row is the caller's tenant's; another tenant's is unknown."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def list_page(self, tenant_id: TenantId, wanted: ListDeadLetters) -> tuple[Sequence[DeadLetter], str | None]:
        """One page, newest first, and the cursor of the next. Raises ApiError (INVALID) for a cursor of ours not."""
        undecided = col(DeadLetterRow.resolution).is_(None)
        query = _select(tenant_id).where(~undecided if wanted.resolved else undecided)
        keys = (col(DeadLetterRow.died_at), col(DeadLetterRow.execution_id))
        query = select_page(query, *keys, wanted.cursor, wanted.limit)
        async with self._db.read(tenant_id) as session:
            letters = [_describe(row, execution) for row, execution in await session.exec(query)]
        return cut_page(letters, wanted.limit, lambda last: (last.died_at, last.execution_id))

    async def get(self, tenant_id: TenantId, execution_id: ExecutionId) -> DeadLetterDetail:
        """One with its runs, oldest first, and the nodes that were at work. Raises ApiError (NOT_FOUND)."""
        runs = select(RunRow).where(col(RunRow.execution_id) == execution_id, col(RunRow.tenant_id) == tenant_id)
        async with self._db.read(tenant_id) as session:
            row, execution = await _find(session, execution_id)
            records = [_describe_run(run) for run in await session.exec(runs.order_by(col(RunRow.epoch)))]
        fields = _describe(row, execution).model_dump()
        return DeadLetterDetail(**fields, runs=records, in_flight=row.in_flight)

    async def discard(
        self, tenant_id: TenantId, execution_id: ExecutionId, by: UserId | None, reason: str
    ) -> DeadLetter:
        """Take it off the list; again is fine, and the first reason stays.

        Raises:
            ApiError: NOT_FOUND; CONFLICT when it was retried.
        """
        discarded = (
            update(DeadLetterRow)
            .where(
                col(DeadLetterRow.execution_id) == execution_id,
                col(DeadLetterRow.tenant_id) == tenant_id,
                col(DeadLetterRow.resolution).is_(None),
            )
            .values(resolution="discarded", resolved_at=datetime.now(UTC), resolved_by=by, reason=reason)
        )
        async with self._db.write(tenant_id) as session:
            await session.exec(discarded)
            letter = _describe(*await _find(session, execution_id))
        if letter.resolution == "retried":
            detail = f"It was retried already, as execution {letter.retried_as}."
            raise ApiError(Code.CONFLICT, detail, "Cancel that execution if it should not run.")
        return letter


def _select(tenant_id: TenantId) -> Any:
    # a page of a list does without parameters, plans and results, which may be large
    shown = load_only(ExecutionRow.name, ExecutionRow.workflow_id, ExecutionRow.workflow_version)  # type: ignore[arg-type]
    return (
        select(DeadLetterRow, ExecutionRow)
        .join(ExecutionRow, col(ExecutionRow.execution_id) == col(DeadLetterRow.execution_id))
        .where(col(DeadLetterRow.tenant_id) == tenant_id, col(ExecutionRow.tenant_id) == tenant_id)
        .options(shown)
    )


async def _find(session: TenantSession, execution_id: ExecutionId) -> tuple[DeadLetterRow, ExecutionRow]:
    query = _select(session.tenant_id).where(col(DeadLetterRow.execution_id) == execution_id)
    found = (await session.exec(query)).one_or_none()
    if found is None:
        raise ApiError(Code.NOT_FOUND, f"There is no dead letter of an execution {execution_id}.")
    row, execution = found
    return row, execution


def _describe(row: DeadLetterRow, execution: ExecutionRow) -> DeadLetter:
    of_execution = {name: getattr(execution, name) for name in ("name", "workflow_id", "workflow_version")}
    named = {name: getattr(row, name) for name in DeadLetter.model_fields if name not in of_execution}
    return DeadLetter.model_validate({**named, **of_execution})


def _describe_run(row: RunRow) -> RunRecord:
    return RunRecord.model_validate({name: getattr(row, name) for name in RunRecord.model_fields})
