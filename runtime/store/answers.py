"""What a person has said of an execution, each thing once: kept on its row, with the retry that came of it."""

from collections.abc import Collection
from uuid import UUID

from contracts.errors import ApiError, Code
from contracts.model import ExecutionId, UserId
from runtime.store.db import TenantSession
from runtime.store.dead_letters import resolve_as_retried
from runtime.store.records import find_execution
from runtime.store.tables import ExecutionRow


async def note_retry(
    session: TenantSession,
    retried: ExecutionId,
    again: ExecutionId,
    by: UserId | None,
    *,
    answered: Collection[str],
    named: Collection[str],
    of_dead_letter: bool,
) -> None:
    """Note in the transaction that records a retry what was said: its source asks nothing any more and is decided.

    Args:
        retried: what it is made from.
        again: the retry.
        by: who asked for it.
        answered: nodes that were answered for.
        named: nodes that would have been asked about, had they not been named to begin at.
        of_dead_letter: only while the dead letter waits for a decision.

    Raises:
        ApiError: CONFLICT when it answers, or decides, what was answered or decided before: two people, or one who
            clicked twice.
    """
    row = await find_execution(session, retried, lock=True)
    if row is None:
        return
    if not await resolve_as_retried(session, retried, again, by) and of_dead_letter:
        raise ApiError(
            Code.CONFLICT,
            "This dead letter was decided already.",
            "See what came of it. Retry its execution if you want it done once more.",
        )
    refuse_answered(row, answered)
    row.question = None
    row.answered = {**row.answered, **dict.fromkeys([*named, *answered], str(again))}
    await session.flush()


def refuse_answered(row: ExecutionRow, nodes: Collection[str]) -> None:
    """Raise ApiError (CONFLICT) when a person has answered for one of these nodes before."""
    for node_id in sorted(nodes):
        if node_id in row.answered:
            _refuse(node_id, f"in execution {UUID(row.answered[node_id])}")
        if row.question is None and (row.error or {}).get("asks_about") == node_id:
            _refuse(node_id, "in its retry")  # answered before answers were kept


def _refuse(node_id: str, where: str) -> None:
    raise ApiError(
        Code.CONFLICT,
        f"Whether {node_id} happened was answered already.",
        f"See what came of it {where}; to do it once more all the same, retry from that node (start_at: node).",
    )
