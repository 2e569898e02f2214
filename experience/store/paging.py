"""Cursors of lists that run along an id."""

from collections.abc import Sequence
from typing import TypeVar
from uuid import UUID

from contracts.errors import ApiError, Code, Fault

RowT = TypeVar("RowT")


def read_uuid_cursor(cursor: str | None) -> UUID | None:
    """Where the last page ended; raises ApiError(INVALID) for a cursor that no list has given."""
    try:
        return None if cursor is None else UUID(cursor)
    except ValueError:
        raise _bad_cursor() from None


def read_number_cursor(cursor: str | None) -> int | None:
    """As read_uuid_cursor, for lists along a counter."""
    if cursor is None:
        return None
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):  # noqa: PLR2004  # digits that fit a bigint
        raise _bad_cursor()
    return int(cursor)


def read_pair_cursor(cursor: str | None) -> tuple[int | None, str | None]:
    """As read_number_cursor, for a list that runs along a counter here and along another list elsewhere."""
    here, dot, there = (cursor or "").partition(".")
    return read_number_cursor(here or None), there if dot and there else None


def write_pair_cursor(here: int | None, there: str | None) -> str:
    """The text form; None stands for a list that has not begun."""
    return f"{'' if here is None else here}.{there or ''}"


def cut(rows: Sequence[RowT], limit: int) -> tuple[Sequence[RowT], bool]:
    """The page, and whether there is more: lists are read one row further than asked."""
    return rows[:limit], len(rows) > limit


def _bad_cursor() -> ApiError:
    fault = Fault(where="query.cursor", rule="bad_cursor", detail="This is not a cursor of this list.")
    hint = "Send next_cursor of the page before as it came, or nothing to start over."
    return ApiError(Code.INVALID, "The cursor can't be read.", hint, faults=[fault])
