"""Sizes read from a picture's own bytes."""

import struct

import pytest

from runtime.browser.picture import read_size


def test_sizes() -> None:
    png = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + struct.pack(">II", 640, 480)
    assert read_size(png) == (640, 480)
    app = b"\xff\xe0" + struct.pack(">H", 16) + b"JFIF" + b"\0" * 10
    frame = b"\xff\xc2" + struct.pack(">HBHH", 11, 8, 480, 640) + b"\0" * 10
    assert read_size(b"\xff\xd8" + app + frame) == (640, 480)


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"\xff\xd8\xff\xd9" + b"\0" * 5])
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"PNG|JPEG"):
        read_size(data)
