"""A SOCKS5 proxy on loopback, as tenants name one: it asks who one is, connects, and notes where it was sent."""

import asyncio
import socket
from dataclasses import dataclass

from tests.support.relay import Listener

_NONE, _LOGIN, _NO_METHOD = 0, 2, 255


@dataclass
class SocksRelay(Listener):
    """Speaks SOCKS5."""

    code: int = 0
    """Answered to every request; 0 connects."""
    bound: bytes = b"\x01" + bytes(6)
    """What it says of its own end: type, address and port."""

    @property
    def welcome(self) -> bytes:
        """As a connection that stands is answered."""
        return bytes([5, 0, 0]) + self.bound

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Let it in, and connect it."""
        if self.answer is not None:
            await reader.read(1)
            writer.write(self.answer)
        elif await self._let_in(reader, writer):
            await self._connect(reader, writer)

    async def _let_in(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        version, count = await reader.readexactly(2)
        assert version == 5
        offered = await reader.readexactly(count)
        wanted = _NONE if self.login is None else _LOGIN
        writer.write(bytes([5, wanted if wanted in offered else _NO_METHOD]))
        if wanted == _NONE or wanted not in offered:
            return wanted == _NONE
        assert await reader.readexactly(1) == b"\x01"
        said = []
        for _ in range(2):
            (length,) = await reader.readexactly(1)
            said.append((await reader.readexactly(length)).decode())
        known = tuple(said) == self.login
        writer.write(bytes([1, 0 if known else 1]))
        return known

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        version, command, _, kind = await reader.readexactly(4)
        assert (version, command) == (5, 1)
        family, size = {1: (socket.AF_INET, 4), 4: (socket.AF_INET6, 16)}[kind]  # never a name
        host = socket.inet_ntop(family, await reader.readexactly(size))
        port = int.from_bytes(await reader.readexactly(2), "big")
        self.asked.append(f"{host}:{port}")
        if self.code:
            writer.write(bytes([5, self.code, 0]) + self.bound)
            return
        await self.join(host, port, (reader, writer))
