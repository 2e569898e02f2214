"""What was answered under an Idempotency-Key.

The key is taken in the transaction that stores what it asks for, so that there is never one without the other, and of
any number of equal requests at the same moment one goes on while the others find its record. The answer is written
once: whoever comes second gets what the first wrote.
"""

from typing import Any

from sqlalchemy import case, func, literal, update
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlmodel import col, select

from experience.store.db import TenantSession
from experience.store.tables import IdempotencyRow


async def find_record(session: TenantSession, endpoint: str, key: str) -> IdempotencyRow | None:
    """What is known of the tenant's key."""
    found = select(IdempotencyRow).where(
        IdempotencyRow.tenant_id == session.tenant_id, IdempotencyRow.endpoint == endpoint, IdempotencyRow.key == key
    )
    return (await session.exec(found)).first()


async def take_key(session: TenantSession, row: IdempotencyRow) -> bool:
    """Take a key for this transaction's request; False, with nothing changed, when somebody has it already.

    While another transaction is about to take it, this one waits for how that ends.
    """
    taken = insert(IdempotencyRow).values(row.model_dump()).on_conflict_do_nothing()
    return (await session.exec(taken.returning(col(IdempotencyRow.key)))).first() is not None


async def settle_answer(
    session: TenantSession, endpoint: str, key: str, status: int, body: dict[str, Any]
) -> tuple[int, dict[str, Any]]:
    """Write the answer, unless there is one already, and return the one that stands."""
    unknown = col(IdempotencyRow.status).is_(None)
    settled = (
        update(IdempotencyRow)
        .where(
            col(IdempotencyRow.tenant_id) == session.tenant_id,
            col(IdempotencyRow.endpoint) == endpoint,
            col(IdempotencyRow.key) == key,
        )
        .values(
            status=func.coalesce(col(IdempotencyRow.status), status),
            body=case((unknown, literal(body, JSONB)), else_=col(IdempotencyRow.body)),
        )
        .returning(col(IdempotencyRow.status), col(IdempotencyRow.body))
    )
    row = (await session.exec(settled)).first()
    return (status, body) if row is None else (row[0], row[1])
