"""A picture with its size, read from its own bytes."""

import struct
from dataclasses import dataclass
from typing import Literal

PictureFormat = Literal["jpeg", "png"]

_PNG_SIZE_AT = 16
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers that begin a frame header (ITU T.81, table B.1)."""


@dataclass(frozen=True)
class Picture:
    """An encoded picture."""

    data: bytes
    media_type: str
    width: int
    height: int
    page_url: str


def read_size(data: bytes) -> tuple[int, int]:
    """Width and height of a PNG or a JPEG. Raises ValueError for anything else."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        width, height = struct.unpack_from(">II", data, _PNG_SIZE_AT)
        return width, height
    if data.startswith(b"\xff\xd8"):
        return _read_jpeg_size(data)
    raise ValueError("neither a PNG nor a JPEG")


def _read_jpeg_size(data: bytes) -> tuple[int, int]:
    at = 2
    while at + 9 <= len(data):
        marker = data[at + 1]
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        (length,) = struct.unpack_from(">H", data, at + 2)
        at += 2 + length
    raise ValueError("a JPEG without a frame")
