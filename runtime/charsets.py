"""Charsets of what sites answer, as browsers know them (WHATWG Encoding), and no other of Python's codecs.

What a site names is looked up here and never by `bytes.decode`: among Python's codecs are some that take time in the
square of what they are given (punycode), refuse everything (undefined) or read escapes (unicode_escape). Those of the
standard's list are linear.
"""

import codecs
from dataclasses import dataclass
from typing import Final

import webencodings

_PIECE: Final = 1_048_576
"""Bytes between which other threads get a turn: a codec keeps Python's lock while it works."""
_MARKS: Final = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16le"), (b"\xfe\xff", "utf-16be"))
"""A byte order mark goes before what was said (WHATWG Encoding, 6.1)."""


@dataclass(frozen=True)
class Charset:
    """One charset of the list."""

    name: str
    _codec: codecs.CodecInfo
    _mark: bytes = b""

    def decode(self, data: bytes, errors: str = "replace") -> str:
        """The text of bytes, without their byte order mark. Raises UnicodeDecodeError if errors are `strict`."""
        assert self._codec.incrementaldecoder is not None  # noqa: S101 — all of the list have one
        decoder = self._codec.incrementaldecoder(errors)
        starts = range(len(self._mark), len(data), _PIECE)
        return "".join([*(decoder.decode(data[at : at + _PIECE]) for at in starts), decoder.decode(b"", True)])  # noqa: FBT003

    def encode(self, text: str) -> bytes:
        """The bytes of a text, with the mark that `decode` left out; what has no place in it becomes `?`."""
        return self._mark + self._codec.encode(text, "replace")[0]


def find_charset(label: str, data: bytes) -> Charset | None:
    """The charset that an answer calls so, unless its first bytes say another; None for a label of no charset."""
    for mark, name in _MARKS:
        if data.startswith(mark):
            return Charset(name, codecs.lookup(name), mark)
    found = webencodings.lookup(label)
    # the standard's “replacement” stands for charsets that no browser reads, as they hide scripts
    return Charset(found.name, found.codec_info) if found is not None and found.name != "replacement" else None


def read_text(data: bytes, label: str) -> str:
    """Bytes as text: in the charset they are said to have, if it is one, else as UTF-8; what is neither is replaced."""
    charset = find_charset(label, data) or UTF_8
    return charset.decode(data)


UTF_8: Final = Charset("utf-8", codecs.lookup("utf-8"))
"""What is not said to be anything else."""
LATIN_1: Final = Charset("iso-8859-1", codecs.lookup("iso-8859-1"))
"""Every byte a character: what can be read as nothing else, without a loss."""
