"""Which executions of a tenant may lie in the queue, and when the tenants' turns come.

Of a tenant as many as its limits allow, of higher priority first, then oldest. Between tenants the queue goes round:
each execution that is let in gets the tenant's next turn, or the one that the queue has come to, if that is later. So
a tenant that sends two hundred at once has one of them in each round, and a newcomer is in the round that goes on. See
docs/adr/0014.

Whoever submits, finishes or changes limits takes the tenant's row first (`lock_tenant`), so that two of them never
count at the same time, and in every transaction before any execution's row, so that they never wait for each other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final
from uuid import UUID

from contracts.execution import Priority
from contracts.model import TenantId
from runtime.store.db import AnySession
from runtime.store.queue import Queue, entry_of
from runtime.store.statement import Statement
from runtime.store.tables import SCHEMA

DEFAULT_CONCURRENCY = 4
"""Executions of a tenant at once where its limits say nothing: half of what a worker does by default, so that a tenant
whose executions all wait does not keep the others waiting."""
RANKS: Final[Mapping[Priority, int]] = MappingProxyType({Priority.LOW: -1, Priority.NORMAL: 0, Priority.HIGH: 1})
"""Priorities as the column holds them."""


@dataclass(frozen=True)
class LockedTenant:
    """A tenant whose row the current transaction holds."""

    tenant_id: TenantId
    suspended: bool
    max_concurrent_executions: int
    max_workflows: int | None


@dataclass(frozen=True)
class _Admitted:
    """An execution that no worker has begun."""

    execution_id: UUID
    rank: int
    turn: int


async def lock_tenant(session: AnySession, tenant_id: TenantId) -> LockedTenant:
    """Take the tenant's row until commit; a tenant that nobody has announced yet gets one with default limits."""
    values = {"tenant_id": tenant_id}
    row = await _LOCK.fetch_one(session, values)
    if row is None:
        await _KNOW.fetch(session, values)
        [row] = await _LOCK.fetch(session, values)
    limit = row["max_concurrent_executions"]
    return LockedTenant(
        tenant_id=tenant_id,
        suspended=row["suspended"],
        max_concurrent_executions=DEFAULT_CONCURRENCY if limit is None else limit,
        max_workflows=row["max_workflows"],
    )


async def admit_waiting(session: AnySession, queue: Queue, tenant: LockedTenant) -> None:
    """Queue as many waiting executions as the limits leave room for, in the caller's transaction."""
    if tenant.suspended:
        return
    values = {"tenant_id": tenant.tenant_id, "limit": tenant.max_concurrent_executions}
    rows = await _ADMIT.fetch(session, values)
    if not rows:
        return
    admitted = [_Admitted(row["execution_id"], row["priority"], row["turn"]) for row in rows]
    next_turn = max(one.turn for one in admitted) + 1
    await _MOVE_ON.fetch(session, {"tenant_id": tenant.tenant_id, "next_turn": next_turn})
    admitted = await _let_pass(session, queue, tenant, admitted)
    in_order = sorted(admitted, key=lambda one: one.turn)
    await queue.enqueue(session, [entry_of(tenant.tenant_id, one.execution_id, one.turn) for one in in_order])


async def pass_turn(session: AnySession, turn: int) -> None:
    """The queue has come to a turn: whoever comes from now on is in that round at the earliest.

    It is not taken back when the transaction fails, and of two at the same moment the lower may stay: a round more or
    less, which nobody can see. What counts is that nobody waits here for anybody.
    """
    await _PASS.fetch(session, {"turn": turn})


async def _let_pass(
    session: AnySession, queue: Queue, tenant: LockedTenant, admitted: Sequence[_Admitted]
) -> list[_Admitted]:
    """Deal the tenant's turns anew where something admitted now comes before what lies in the queue already.

    The turns stay the tenant's, all of them and no more, so that its priorities change nothing for other tenants.
    """
    values = {"tenant_id": tenant.tenant_id, "ids": [one.execution_id for one in admitted]}
    rows = await _BEFORE.fetch(session, values | {"rank": max(one.rank for one in admitted)})
    held = await queue.hold(session, [row["execution_id"] for row in rows]) if rows else set()
    if not held:
        return list(admitted)
    before = [
        _Admitted(row["execution_id"], row["priority"], row["turn"]) for row in rows if row["execution_id"] in held
    ]
    mine = sorted([*before, *admitted], key=lambda one: (-one.rank, one.turn))
    turns = sorted(one.turn for one in mine)
    dealt = [_Admitted(one.execution_id, one.rank, turn) for one, turn in zip(mine, turns, strict=True)]
    moved = [one for one, was in zip(dealt, mine, strict=True) if one.turn != was.turn]
    ids, new = [one.execution_id for one in moved], [one.turn for one in moved]
    await _DEAL.fetch(session, {"tenant_id": tenant.tenant_id, "ids": ids, "turns": new})
    old = [entry_of(tenant.tenant_id, one.execution_id, one.turn) for one in moved if one.execution_id in held]
    await queue.move(session, old)
    return [one for one in dealt if one.execution_id not in held]


# NO KEY UPDATE: rows that refer to the tenant may be written meanwhile
_LOCK = Statement(f"""
    SELECT suspended, max_concurrent_executions, max_workflows
    FROM {SCHEMA}.tenants WHERE tenant_id = :tenant_id FOR NO KEY UPDATE
""")  # noqa: S608 — constants
_KNOW = Statement(
    f"INSERT INTO {SCHEMA}.tenants (tenant_id) VALUES (:tenant_id) ON CONFLICT DO NOTHING"  # noqa: S608
)
TURNS = f"{SCHEMA}.turns"
"""A sequence, not a table of tenants' rows: its last value is the turn that the queue has come to."""
UNFINISHED = "status IN ('pending', 'running', 'paused', 'waiting')"
"""As the index executions_unfinished says it."""
WAITING = f"admitted_at IS NULL AND ready AND {UNFINISHED}"
"""Wants a worker and holds no place. As the indexes executions_waiting_… say it, so that what is not let in is not read
either: it would be read at each submit and each end, while others wait for the tenant's row."""
ADMITTED = f"admitted_at IS NOT NULL AND {UNFINISHED}"
"""A place is held from admission to the end or to a pause. As the index executions_admitted says it."""
_FREE = "(workflow_concurrency IS NULL OR workflow_id IS NULL)"
"""Only the tenant's own limit holds it back."""
_LIMITED = "workflow_concurrency IS NOT NULL AND workflow_id IS NOT NULL"
_ORDER = "priority DESC, created_at, execution_id"
# Without room the last LIMIT is 0 and nothing before it is read. Of what its workflow limits, every execution that
# waits for the same workflow and comes first counts; no further than the highest limit that any of them names (their
# versions may differ), else a full workflow would be read to its end. Those chosen go through an array because the
# planner takes arrays to be short: it would expect a tenth of all that wait, and read the table to join them.
# The next turn is bounded: what was cancelled before its turn must not push back what comes after it. One that comes
# back after a pause never has a turn again that it had: an entry of before the pause may still be in a worker's hands.
_ADMIT = Statement(f"""
    WITH RECURSIVE busy AS MATERIALIZED (
        SELECT workflow_id, count(*) AS number FROM {SCHEMA}.executions
        WHERE tenant_id = :tenant_id AND {ADMITTED}
        GROUP BY workflow_id
    ), room AS MATERIALIZED (
        SELECT greatest(0, cast(:limit AS bigint) - coalesce(sum(number), 0)) AS number FROM busy
    ), limited AS (
        (SELECT workflow_id, workflow_concurrency AS most FROM {SCHEMA}.executions
         WHERE tenant_id = :tenant_id AND {WAITING} AND {_LIMITED}
         ORDER BY workflow_id, workflow_concurrency DESC LIMIT 1)
        UNION ALL
        SELECT next.workflow_id, next.most FROM limited CROSS JOIN LATERAL (
            SELECT e.workflow_id, e.workflow_concurrency AS most FROM {SCHEMA}.executions AS e
            WHERE e.tenant_id = :tenant_id AND {WAITING} AND {_LIMITED} AND e.workflow_id > limited.workflow_id
            ORDER BY e.workflow_id, e.workflow_concurrency DESC LIMIT 1
        ) AS next
    ), candidates AS (
        (SELECT execution_id, priority, created_at FROM {SCHEMA}.executions
         WHERE tenant_id = :tenant_id AND {WAITING} AND {_FREE}
         ORDER BY {_ORDER} LIMIT (SELECT number FROM room))
        UNION ALL
        SELECT mine.execution_id, mine.priority, mine.created_at
        FROM limited LEFT JOIN busy USING (workflow_id)
        CROSS JOIN LATERAL (SELECT coalesce(busy.number, 0) AS number) AS running
        CROSS JOIN LATERAL (
            SELECT execution_id, priority, created_at FROM (
                SELECT execution_id, priority, created_at, workflow_concurrency,
                       row_number() OVER (ORDER BY {_ORDER}) AS place
                FROM {SCHEMA}.executions AS e
                WHERE tenant_id = :tenant_id AND {WAITING} AND e.workflow_id = limited.workflow_id
                ORDER BY {_ORDER} LIMIT greatest(0, limited.most - running.number)
            ) AS first
            WHERE running.number + place <= workflow_concurrency
            ORDER BY {_ORDER} LIMIT (SELECT number FROM room)
        ) AS mine
    ), reached AS MATERIALIZED (
        SELECT last_value AS turn FROM {TURNS}
    ), base AS (
        SELECT greatest(reached.turn, least(t.next_turn, reached.turn + cast(:limit AS bigint))) AS turn
        FROM reached, {SCHEMA}.tenants AS t WHERE t.tenant_id = :tenant_id
    )
    UPDATE {SCHEMA}.executions AS e SET admitted_at = now(), turn = greatest(base.turn + chosen.place - 1, e.turn + 1)
    FROM base, unnest(ARRAY(
        SELECT execution_id FROM candidates ORDER BY {_ORDER} LIMIT (SELECT number FROM room)
    )) WITH ORDINALITY AS chosen (execution_id, place)
    WHERE e.tenant_id = :tenant_id AND e.execution_id = chosen.execution_id
    RETURNING e.execution_id, e.priority, e.turn
""")  # noqa: S608
_MOVE_ON = Statement(f"""
    UPDATE {SCHEMA}.tenants SET next_turn = cast(:next_turn AS bigint) WHERE tenant_id = :tenant_id
""")  # noqa: S608
_PASS = Statement(f"""
    SELECT setval('{TURNS}', cast(:turn AS bigint)) FROM {TURNS} WHERE last_value < cast(:turn AS bigint)
""")  # noqa: S608
_BEFORE = Statement(f"""
    SELECT execution_id, priority, turn FROM {SCHEMA}.executions
    WHERE tenant_id = :tenant_id AND {ADMITTED}
      AND priority < cast(:rank AS integer) AND execution_id <> ALL(cast(:ids AS uuid[]))
""")  # noqa: S608
_DEAL = Statement(f"""
    UPDATE {SCHEMA}.executions AS e SET turn = dealt.turn
    FROM unnest(cast(:ids AS uuid[]), cast(:turns AS bigint[])) AS dealt (execution_id, turn)
    WHERE e.tenant_id = :tenant_id AND e.execution_id = dealt.execution_id
""")  # noqa: S608
