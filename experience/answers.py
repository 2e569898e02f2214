"""The same answer to the same request: what stands behind an Idempotency-Key.

A key is taken in the transaction that stores the intent. Whoever sends the request again finds the record: with the
answer, or, while the first sender still waits for Runtime, without; then there is an answer soon, or the first sender
is gone, and the intent, which is stored, goes its way: accepted.
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from contracts.errors import ApiError, Code, Fault
from contracts.execution import Accepted
from contracts.model import IntentId, TenantId
from experience.audit import Clock
from experience.store.db import TenantDatabase, TenantSession
from experience.store.idempotency import find_record, settle_answer, take_key
from experience.store.intents import find_intent
from experience.store.tables import IdempotencyRow
from experience.views import show_accepted, show_links

KEY_LIFE = timedelta(hours=48)
"""How long a key answers the same; at least 24 hours are promised."""
WAIT_S = 3.0
"""How long the second sender waits for the first one's answer: longer than that one waits for Runtime."""
_LOOK_AGAIN_S = 0.05
_STORED: Final[dict[str, Any]] = {
    "intent_id": True,
    "execution_id": True,
    "status": True,
    "links": {"status", "events", "cancel", "stream", "page"},
}
"""What is written down of an answer: what the first release reads, and not a field more. For as long as a key lives,
one of its processes may read the record, beside newer ones or after a way back, and it takes nothing it does not know.
What is read is given the links of the process that reads it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as its key knows it."""

    door: str
    """Where the key counts: the same key at another door is another key."""
    key: str
    fingerprint: bytes
    """Equal for equal requests."""


class Answers:
    """Remembers what was answered, for all processes."""

    def __init__(self, tenants: TenantDatabase, clock: Clock) -> None:
        self._tenants = tenants
        self._clock = clock

    async def take(self, session: TenantSession, asked: Asked, intent_id: IntentId) -> bool:
        """Take the key for the intent that this transaction stores; False when somebody else has it."""
        now = self._clock()
        row = IdempotencyRow(
            tenant_id=session.tenant_id,
            endpoint=asked.door,
            key=asked.key,
            request_hash=asked.fingerprint,
            status=None,
            body=None,
            intent_id=intent_id,
            created_at=now,
            expires_at=now + KEY_LIFE,
        )
        return await take_key(session, row)

    async def settle(self, session: TenantSession, asked: Asked, answer: Accepted | ApiError) -> Accepted | ApiError:
        """Write the answer down, unless there is one already; answers the one that stands."""
        stands = await settle_answer(session, asked.door, asked.key, *_pack(answer))
        return _unpack(session.tenant_id, *stands)

    async def recall(self, tenant_id: TenantId, asked: Asked) -> Accepted | None:
        """What the same request was answered before; None when the key is new.

        Raises:
            ApiError: IDEMPOTENCY_MISMATCH when the key came with another request; what that request was refused with.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + WAIT_S
        while True:
            async with self._tenants.transaction(tenant_id) as session:
                record = await find_record(session, asked.door, asked.key)
                if record is None:
                    return None
                if record.request_hash != asked.fingerprint:
                    detail = f"Idempotency-Key {asked.key!r} was used before, with another request."
                    raise ApiError(Code.IDEMPOTENCY_MISMATCH, detail)
                answer = await self._look(session, asked, record, late=loop.time() > until)
            match answer:
                case Accepted():
                    return answer
                case ApiError():
                    raise answer
                case None:
                    await asyncio.sleep(_LOOK_AGAIN_S)

    async def _look(
        self, session: TenantSession, asked: Asked, record: IdempotencyRow, *, late: bool
    ) -> Accepted | ApiError | None:
        if record.status is not None and record.body is not None:
            return _unpack(session.tenant_id, record.status, record.body)
        intent = None if record.intent_id is None else await find_intent(session, IntentId(record.intent_id))
        if intent is None:
            # the guest's session that asked has moved to a user's tenant, and its intents with it
            raise ApiError(Code.NOT_FOUND, f"What was asked under {asked.key!r} is no longer this session's.")
        if intent.status == "pending" and not intent.deferred and not late:
            return None
        return await self.settle(session, asked, show_accepted(intent))


def _pack(answer: Accepted | ApiError) -> tuple[int, dict[str, Any]]:
    if isinstance(answer, Accepted):
        return 202, answer.model_dump(mode="json", include=_STORED)
    faults = [fault.model_dump(mode="json") for fault in answer.faults]
    body = {"code": answer.code.value, "detail": answer.detail, "hint": answer.hint, "faults": faults}
    return answer.code.status, body


def _unpack(tenant_id: TenantId, status: int, body: dict[str, Any]) -> Accepted | ApiError:
    if status == 202:  # noqa: PLR2004  # what Accepted comes with
        # links name what there is now: a record may be older than some of it
        links = show_links(tenant_id, UUID(body["execution_id"]))
        return Accepted.model_validate(body | {"links": links})
    faults = [Fault.model_validate(fault) for fault in body["faults"]]
    return ApiError(Code(body["code"]), body["detail"], body["hint"], faults=faults)
