"""HTTP/1.1 as far as a proxy has to read it: the heads of requests, and where their bodies end.

Strict, since what two readers understand differently is a way around one of them (RFC 9112, 11.2).
"""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

MAX_HEAD: Final = 65_536
"""Bytes of a request's head."""
_PIECE: Final = 65_536
_LINE: Final = re.compile(rb"(?P<method>[!#$%&'*+.^_`|~0-9A-Za-z-]+) (?P<where>[\x21-\x7e]+) HTTP/1\.(?P<minor>[01])")
_FIELD: Final = re.compile(rb"(?P<name>[!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(?P<value>[^\x00\r\n]*?)[ \t]*")
_CHUNK: Final = re.compile(rb"(?P<size>[0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r\n")
_OURS: Final = (b"proxy-authorization", b"proxy-connection", b"host")


class BadRequest(Exception):  # noqa: N818 — what was received
    """Not a request that a proxy could pass on."""


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a request to a proxy."""

    method: str
    where: str
    """`host:port` of a CONNECT, an absolute address otherwise."""
    fields: tuple[tuple[bytes, bytes], ...]
    """Names in lower case."""
    length: int | None
    """Bytes of the body; None for one in chunks."""

    @property
    def authorization(self) -> str | None:
        """What the client says it is, if it said so once."""
        found = [value for name, value in self.fields if name == b"proxy-authorization"]
        return found[0].decode("latin-1") if len(found) == 1 else None

    @property
    def upgrades(self) -> bool:
        """Whether it asks to go on in another protocol."""
        return any(name == b"upgrade" for name, _ in self.fields)

    @property
    def authority(self) -> str:
        """Host and port that it is for. Raises BadRequest for what a proxy is not asked."""
        if self.method == "CONNECT":
            return self.where
        return _split(self.where)[0]

    def make_direct(self) -> bytes:
        """The head as the server itself is sent it: without anything that is the proxy's."""
        authority, path = _split(self.where)
        lines = [f"{self.method} {path} HTTP/1.1".encode(), b"host: " + authority.encode()]
        lines += [name + b": " + value for name, value in self.fields if name not in _OURS]
        return b"\r\n".join([*lines, b"", b""])


async def read_head(reader: asyncio.StreamReader) -> Head | None:
    """The next request's head; None when there is none any more. Raises BadRequest."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise BadRequest("the head ends in its middle") from error
        return None
    except asyncio.LimitOverrunError as error:
        raise BadRequest("the head is too large") from error
    return parse_head(raw)


def parse_head(raw: bytes) -> Head:
    """A head up to its empty line. Raises BadRequest."""
    if len(raw) > MAX_HEAD:
        raise BadRequest("the head is too large")
    first, *lines = raw.removesuffix(b"\r\n\r\n").split(b"\r\n")
    line = _LINE.fullmatch(first)
    found = [_FIELD.fullmatch(one) for one in lines]
    if line is None or not all(found):
        raise BadRequest("the head is not HTTP/1.1")
    fields = tuple((one["name"].lower(), one["value"]) for one in found if one is not None)
    return Head(line["method"].decode(), line["where"].decode(), fields, _measure(fields))


async def read_body(reader: asyncio.StreamReader, length: int | None) -> AsyncIterator[bytes]:
    """The body as it came, piece by piece, chunks with their sizes. Raises BadRequest, IncompleteReadError."""
    if length is None:
        while True:
            line = await reader.readuntil(b"\r\n")
            size = _CHUNK.fullmatch(line)
            if size is None:
                raise BadRequest("a chunk has no size")
            yield line
            left = int(size["size"], 16)
            if left == 0:
                break
            async for piece in _read_exactly(reader, left + 2):
                yield piece
        while (line := await reader.readuntil(b"\r\n")) != b"\r\n":  # trailers: nobody needs them
            pass
        yield line
        return
    async for piece in _read_exactly(reader, length):
        yield piece


async def _read_exactly(reader: asyncio.StreamReader, length: int) -> AsyncIterator[bytes]:
    while length:
        piece = await reader.read(min(length, _PIECE))
        if not piece:
            raise asyncio.IncompleteReadError(b"", length)
        length -= len(piece)
        yield piece


def _measure(fields: tuple[tuple[bytes, bytes], ...]) -> int | None:
    codings = [value for name, value in fields if name == b"transfer-encoding"]
    lengths = {value for name, value in fields if name == b"content-length"}
    if codings:
        if lengths or [coding.lower() for coding in codings] != [b"chunked"]:
            raise BadRequest("the body's length is said in two ways")
        return None
    if not lengths:
        return 0
    value = lengths.pop()
    if lengths or not value.isdigit() or len(value) > 15:  # noqa: PLR2004 — petabytes
        raise BadRequest("the body's length is no number")
    return int(value)


def _split(where: str) -> tuple[str, str]:
    """Authority without a user, and path with query."""
    try:
        parts = urlsplit(where)
    except ValueError as error:
        raise BadRequest("the address is none") from error
    if parts.scheme != "http" or not parts.netloc:
        raise BadRequest("a proxy is asked for http addresses, and by CONNECT")
    path = where[where.index("//") + 2 + len(parts.netloc) :].partition("#")[0]
    if not path.startswith("/"):
        path = f"/{path}"
    return parts.netloc.rpartition("@")[2], path
