"""The event log of an execution: appended inside the transaction that records the fact, read by number.

Invariants: `seq` runs 1, 2, 3 … per execution, because whoever appends has taken the numbers from the counter on the
execution's row and holds that row until commit; readers never tail a global order, whose commits come out of order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text

from contracts.errors import ApiError, Code
from contracts.events import EVENT, Event, EventPage
from contracts.execution import ExecutionStatus
from contracts.model import ExecutionId, LogId, TenantId
from runtime.store.db import Database, OfTenant
from runtime.store.statement import Statement
from runtime.store.tables import SCHEMA

CHANNEL = "stagedoor_events"
"""NOTIFY here, with the execution's id, is a wake-up and nothing more: whoever hears it reads the log. Where NATS
carries wake-ups nothing is said here."""
PAGE_BYTES = 1_048_576
"""A page ends before it grows past this, whatever its limit allows (one event always fits): whoever reads the log for a
slow client holds a page of it, and a slow client may cost no more than this (executions chapter, E7)."""


@dataclass(frozen=True, slots=True)
class LogPart:
    """Part of a log as it is stored: each body is the JSON text of one event."""

    log_id: LogId
    status: ExecutionStatus
    head_seq: int
    """The last number written so far."""
    last_seq: int
    """The number of the last body; where there is none, the number that was asked after."""
    bodies: list[str]

    @property
    def terminal(self) -> bool:
        """Whether nothing will follow the last body."""
        return self.status.final and self.last_seq >= self.head_seq


class EventLog:
    """Reads logs. Appending belongs to the transaction that has something to say."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def read_raw_after(self, tenant_id: TenantId, execution_id: ExecutionId, after: int, limit: int) -> LogPart:
        """At most `limit` events after number `after`, oldest first, as JSON text: nothing is parsed.

        Raises:
            ApiError: NOT_FOUND when the tenant has no such execution.
            DatabaseAway: the database can't be reached.
        """
        values = {"tenant_id": tenant_id, "execution_id": execution_id, "after": after, "limit": limit}
        values["bytes"] = PAGE_BYTES
        async with self._db.read(tenant_id) as session:
            rows = (await (await session.connection()).execute(_READ, values)).all()
        if not rows:
            raise unknown_execution()
        first = rows[0]
        bodies = [row.body for row in rows if row.body is not None]
        return LogPart(
            log_id=LogId(first.log_id),
            status=ExecutionStatus(first.status),
            head_seq=first.head_seq,
            last_seq=rows[-1].seq if bodies else after,
            bodies=bodies,
        )

    async def read_after(self, tenant_id: TenantId, execution_id: ExecutionId, after: int, limit: int) -> EventPage:
        """As `read_raw_after`, with the events as models."""
        part = await self.read_raw_after(tenant_id, execution_id, after, limit)
        return EventPage(
            execution_id=execution_id,
            log_id=part.log_id,
            events=[EVENT.validate_json(body) for body in part.bodies],
            head_seq=part.head_seq,
            terminal=part.terminal,
        )


# One statement, hence one snapshot: head, status and events fit each other.
_READ = text(f"""
    SELECT e.head_seq, e.status, e.log_id, part.seq, part.body
    FROM {SCHEMA}.executions e
    LEFT JOIN LATERAL (
        SELECT page.seq, page.body
        FROM (
            SELECT seq, body, sum(octet_length(body)) OVER (ORDER BY seq) AS total, min(seq) OVER () AS first
            FROM (
                SELECT seq, body FROM {SCHEMA}.events
                WHERE execution_id = e.execution_id AND tenant_id = :tenant_id AND seq > :after
                ORDER BY seq LIMIT :limit
            ) wanted
        ) page
        WHERE page.total <= :bytes OR page.seq = page.first
    ) part ON true
    WHERE e.execution_id = :execution_id AND e.tenant_id = :tenant_id
    ORDER BY part.seq
""")  # noqa: S608 — constants
# One statement for any number of events, and one text for it: PostgreSQL knows it after the first.
_APPEND = Statement(f"""
    INSERT INTO {SCHEMA}.events (execution_id, seq, tenant_id, type, body)
    SELECT cast(:execution_id AS uuid), cast(:first AS bigint) + place - 1, cast(:tenant_id AS uuid), type, body
    FROM unnest(cast(:types AS text[]), cast(:bodies AS text[])) WITH ORDINALITY AS drafts (type, body, place)
""")  # noqa: S608
_APPEND_AND_NOTIFY = Statement(f"""
    WITH told AS (SELECT pg_notify('{CHANNEL}', cast(cast(:execution_id AS uuid) AS text)))
    INSERT INTO {SCHEMA}.events (execution_id, seq, tenant_id, type, body)
    SELECT cast(:execution_id AS uuid), cast(:first AS bigint) + place - 1, cast(:tenant_id AS uuid), type, body
    FROM told, unnest(cast(:types AS text[]), cast(:bodies AS text[])) WITH ORDINALITY AS drafts (type, body, place)
""")  # noqa: S608
_NOTIFY = Statement(f"SELECT pg_notify('{CHANNEL}', cast(cast(:execution_id AS uuid) AS text))")


async def append(session: OfTenant, drafts: Sequence[Event], head_seq: int) -> None:
    """Write events whose numbers end at `head_seq`, and wake readers when the transaction commits.

    Args:
        session: of the transaction that moved the execution's counter to `head_seq`.
        drafts: in order; their own `seq` is replaced.
    """
    if not drafts:
        return
    values = {
        "execution_id": drafts[0].execution_id,
        "tenant_id": session.tenant_id,
        "first": head_seq - len(drafts) + 1,
        "types": [draft.type for draft in drafts],
        "bodies": [_render(draft, head_seq - len(drafts) + 1 + place) for place, draft in enumerate(drafts)],
    }
    session.events_appended += len(drafts)
    if session.woken is None:
        await _APPEND_AND_NOTIFY.fetch(session, values)
    else:
        await _APPEND.fetch(session, values)
        await wake_readers(session, drafts[0].execution_id)


async def wake_readers(session: OfTenant, execution_id: UUID) -> None:
    """Tell whoever watches, when the transaction commits; several in one transaction are one.

    NOTIFY goes with the commit and takes a lock that all notifying commits share; so where something else carries
    wake-ups, the session only remembers, and the database rings after the commit.
    """
    if session.woken is not None:
        session.woken.add(execution_id)
        return
    await _NOTIFY.fetch(session, {"execution_id": execution_id})


def unknown_execution() -> ApiError:
    """What another tenant's execution answers, too."""
    return ApiError(Code.NOT_FOUND, "No such execution.")


def _render(draft: Event, seq: int) -> str:
    before, after = split(draft)
    return f"{before}{seq}{after}"


def split(draft: Event) -> tuple[str, str]:
    """The JSON of an event as it stands before and after its number, for whoever learns the number in the database."""
    # An event's own fields come first, so this is its number and nothing that somebody wrote; a copy of the model with
    # another number would take twice as long as all the rest of an event.
    before, mark, after = draft.model_dump_json().partition(f'"seq":{draft.seq},')
    if not mark:
        raise AssertionError(f"an event of type {draft.type} says its number in another way")
    return f'{before}"seq":', f",{after}"
