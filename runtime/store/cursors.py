"""Pages of lists, newest first, and their cursors.

A cursor is opaque to callers: a position in the order and nothing else, so it shows no tenant anything.
"""

import base64
import binascii
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from sqlalchemy import Select, tuple_

from contracts.errors import ApiError, Code, Fault

SelectT = TypeVar("SelectT", bound=Select[*tuple[Any, ...]])
RowT = TypeVar("RowT")
_EPOCH = datetime.fromtimestamp(0, UTC)
_MICROSECOND = timedelta(microseconds=1)


class Position(NamedTuple):
    """The last row of a page, in a list ordered by instant and id, both falling."""

    at: datetime
    id: UUID


def write_cursor(position: Position) -> str:
    """The text form of a position."""
    micros = (position.at - _EPOCH) // _MICROSECOND
    raw = micros.to_bytes(8, "big", signed=True) + position.id.bytes
    return base64.urlsafe_b64encode(raw).decode()


def read_cursor(cursor: str) -> Position:
    """The position that a cursor stands for. Raises ApiError (INVALID) for anything that `write_cursor` never wrote."""
    try:
        raw = base64.b64decode(cursor, altchars=b"-_", validate=True)
        micros, identity = int.from_bytes(raw[:8], "big", signed=True), UUID(bytes=raw[8:])
        return Position(_EPOCH + micros * _MICROSECOND, identity)
    except (binascii.Error, ValueError, OverflowError):
        fault = Fault(where="query.cursor", rule="cursor", detail="Not a cursor that this list has answered.")
        raise ApiError(
            Code.INVALID, fault.detail, "Leave the cursor away to start from the first page.", faults=[fault]
        ) from None


def select_page(query: SelectT, at: Any, identity: Any, cursor: str | None, limit: int) -> SelectT:
    """The rows behind a cursor, or the first, ordered by instant and id, both falling; one more than a page holds.

    Raises:
        ApiError: INVALID for a cursor of ours not.
    """
    if cursor is not None:
        after = read_cursor(cursor)
        query = query.where(tuple_(at, identity) < tuple_(after.at, after.id))
    return query.order_by(at.desc(), identity.desc()).limit(limit + 1)


def cut_page(
    rows: Sequence[RowT], limit: int, find_position: Callable[[RowT], tuple[datetime, UUID]]
) -> tuple[Sequence[RowT], str | None]:
    """What `select_page` found as a page, and the cursor of the next."""
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], write_cursor(Position(*find_position(rows[limit - 1])))
