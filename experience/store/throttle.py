"""Counters of failures, shared by all processes. They belong to no tenant, so the system role only."""

from datetime import datetime

from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, delete, select, update

from experience.store.db import SystemSession
from experience.store.tables import ThrottleRow


async def lock_counters(session: SystemSession, names: list[str], now: datetime) -> dict[str, ThrottleRow]:
    """The counters of these names, begun anew where forgotten, locked until the transaction ends.

    Locked in the order of their names, so that two requests never wait for each other.
    """
    fresh = [{"name": name, "failures": 0, "blocked_until": now, "forget_at": now} for name in sorted(names)]
    await session.exec(insert(ThrottleRow).values(fresh).on_conflict_do_nothing())
    statement = select(ThrottleRow).where(col(ThrottleRow.name).in_(names)).order_by(col(ThrottleRow.name))
    rows = list(await session.exec(statement.with_for_update()))
    for row in rows:
        if row.forget_at <= now:
            row.failures, row.blocked_until = 0, now
    return {row.name: row for row in rows}


async def save_counter(session: SystemSession, row: ThrottleRow) -> None:
    """Write a locked counter back."""
    session.add(row)
    await session.flush()


async def clear_counter(session: SystemSession, name: str) -> None:
    """Forget the failures under a name."""
    await session.exec(delete(ThrottleRow).where(col(ThrottleRow.name) == name))


async def take_back(session: SystemSession, name: str, now: datetime) -> None:
    """Undo one count: what was counted in advance turned out to be no failure."""
    statement = update(ThrottleRow).where(col(ThrottleRow.name) == name, col(ThrottleRow.failures) > 0)
    await session.exec(statement.values(failures=col(ThrottleRow.failures) - 1, blocked_until=now))


async def is_marked(session: SystemSession, name: str, now: datetime) -> bool:
    """Whether a mark stands."""
    statement = select(ThrottleRow.name).where(ThrottleRow.name == name, col(ThrottleRow.forget_at) > now)
    return (await session.exec(statement)).first() is not None


async def set_mark(session: SystemSession, name: str, *, now: datetime, until: datetime) -> None:
    """Let a mark stand until a time."""
    row = {"name": name, "failures": 0, "blocked_until": now, "forget_at": until}
    statement = insert(ThrottleRow).values(row)
    await session.exec(statement.on_conflict_do_update(index_elements=["name"], set_={"forget_at": until}))
