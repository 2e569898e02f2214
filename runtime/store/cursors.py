"""Cursors of lists: opaque to callers, a position in the order and nothing else, so they show no tenant anything."""

import base64
import binascii
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from contracts.errors import ApiError, Code, Fault

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
