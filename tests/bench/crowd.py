"""Many WebSocket clients at once, as cheap as Python can make them: what is measured is the server.

They answer the protocol's pings, count the events that arrive, and note how old each is where it says so.
"""

import asyncio
import base64
import os
import socket
import struct
import time
from collections.abc import Mapping
from typing import cast

from tests.bench.tiers import STAMP, STAMP_DIGITS

_AT_ONCE = 64
"""Handshakes under way at the same moment."""
_JOIN_S = 180.0
_TEXT, _PING = 1, 9
_EVENT = b'"type":"log"'
_LONG, _LONGEST = 126, 127


class Crowd:
    """Clients of one address. Leave at the end."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers
        self._members: list[_Member] = []
        self.events = 0
        """Log events that all have got together."""
        self.frames = 0
        self.ages_ns: list[int] | None = None
        """Age of each event on its arrival, while this is a list."""
        self.lost = 0
        """Members that the server has let go."""

    async def join(self, port: int, path: str, count: int, *, receive_buffer: int | None = None) -> None:
        """Open `count` sockets, and wait until each is served."""
        turns = asyncio.Semaphore(_AT_ONCE)

        async def one() -> None:
            async with turns:
                await self._open(port, path, receive_buffer)

        async with asyncio.timeout(_JOIN_S), asyncio.TaskGroup() as tasks:
            for _ in range(count):
                tasks.create_task(one())

    async def stall(self, port: int, path: str) -> None:
        """One member more that stops reading as soon as it is let in."""
        member = await self._open(port, path, receive_buffer=4_096)
        member.pause()

    async def until(self, events: int, timeout_s: float = 30.0) -> None:
        """Wait until that many events have arrived in all."""
        async with asyncio.timeout(timeout_s):
            while self.events < events:  # noqa: ASYNC110 — counted in the callbacks of many connections
                await asyncio.sleep(0.01)

    async def until_frames(self, frames: int, timeout_s: float = 30.0) -> None:
        """The same for frames of any kind."""
        async with asyncio.timeout(timeout_s):
            while self.frames < frames:  # noqa: ASYNC110 — as above
                await asyncio.sleep(0.01)

    async def leave(self) -> None:
        """Close all."""
        for member in self._members:
            member.leave()
        await asyncio.sleep(0.05)

    async def _open(self, port: int, path: str, receive_buffer: int | None) -> "_Member":
        loop = asyncio.get_running_loop()
        key = base64.b64encode(os.urandom(16)).decode()
        named = "".join(f"{name}: {value}\r\n" for name, value in self._headers.items())
        request = (
            f"GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{named}\r\n"
        )
        member = _Member(self, request.encode(), loop.create_future(), receive_buffer)
        await loop.create_connection(lambda: member, "127.0.0.1", port)
        await member.served
        self._members.append(member)
        return member


class _Member(asyncio.Protocol):
    __slots__ = ("_buffer", "_crowd", "_open", "_receive_buffer", "_request", "_transport", "served")

    def __init__(
        self, crowd: Crowd, request: bytes, served: "asyncio.Future[None]", receive_buffer: int | None
    ) -> None:
        self._crowd = crowd
        self._request = request
        self._receive_buffer = receive_buffer
        self._buffer = b""
        self._open = False
        self._transport: asyncio.Transport | None = None
        self.served = served
        """Done with the first frame."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # no isinstance: uvloop's transports are none of asyncio's
        writer = self._transport = cast("asyncio.Transport", transport)
        if self._receive_buffer is not None:
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
        writer.write(self._request)

    def connection_lost(self, exc: Exception | None) -> None:
        self._crowd.lost += 1
        if not self.served.done():
            self.served.set_exception(ConnectionError(f"refused: {self._buffer[:200]!r}"))

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        if not self._open:
            head, blank, rest = buffer.partition(b"\r\n\r\n")
            if not blank or not head.startswith(b"HTTP/1.1 101"):
                self._buffer = buffer
                return
            self._open, buffer = True, rest
        place, end = 0, len(buffer)
        while end - place >= 2:
            length, start = buffer[place + 1], place + 2
            if length == _LONG and end - start >= 2:
                length, start = int.from_bytes(buffer[start : start + 2]), start + 2
            elif length == _LONGEST and end - start >= 8:
                length, start = int.from_bytes(buffer[start : start + 8]), start + 8
            elif length >= _LONG:
                break
            if end - start < length:
                break
            self._take(buffer[place] & 15, buffer[start : start + length])
            place = start + length
        self._buffer = buffer[place:] if place < end else b""

    def pause(self) -> None:
        assert self._transport is not None
        self._transport.pause_reading()

    def leave(self) -> None:
        assert self._transport is not None
        self._transport.abort()

    def _take(self, kind: int, payload: bytes) -> None:
        if kind == _TEXT:
            crowd = self._crowd
            crowd.frames += 1
            crowd.events += payload.count(_EVENT)
            if crowd.ages_ns is not None and (found := payload.find(STAMP)) > 0:
                made = int(payload[found + len(STAMP) : found + len(STAMP) + STAMP_DIGITS])
                crowd.ages_ns.append(time.monotonic_ns() - made)
        elif kind == _PING and self._transport is not None:
            # a client's frames are masked; with a mask of zeros the payload stays what it is
            self._transport.write(struct.pack("!BB4x", 0x8A, 0x80 | len(payload)) + payload)
        if not self.served.done():
            self.served.set_result(None)
