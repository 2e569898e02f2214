"""A SOCKS5 proxy on loopback, as tenants name one: it asks who one is, connects, and notes where it was sent."""

import asyncio
import socket
from dataclasses import dataclass, field
from typing import Self

from tests.support.relay import carry

_NONE, _LOGIN, _NO_METHOD = 0, 2, 255


@dataclass
class SocksRelay:
    """Listens while its context lasts. What is asked of it goes to `lands`, a port of loopback, or where it says."""

    lands: int | None = None
    login: tuple[str, str] | None = None
    code: int = 0
    """Answered to every request; 0 connects."""
    bound: bytes = b"\x01" + bytes(6)
    """What it says of its own end: type, address and port."""
    answer: bytes | None = None
    """Said to everybody in place of doing anything."""
    asked: list[str] = field(default_factory=list)
    """Targets, in the order they were asked for."""
    port: int = 0
    _served: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(self._serve(reader, writer))
            self._served.add(task)
            task.add_done_callback(self._served.discard)

        self._server = await asyncio.start_server(begin, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._served:
            task.cancel()
        if self._served:
            await asyncio.wait(self._served)

    @property
    def host(self) -> str:
        """As policies name it."""
        return f"127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self.answer is not None:
                await reader.read(1)
                writer.write(self.answer)
            elif await self._let_in(reader, writer):
                await self._connect(reader, writer)
            await writer.drain()
        except (OSError, EOFError):
            pass  # whoever asked has gone
        finally:
            writer.close()

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
        there = await asyncio.open_connection("127.0.0.1" if self.lands else host, self.lands or port)
        writer.write(bytes([5, 0, 0]) + self.bound)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(carry(reader, there[1]))
                group.create_task(carry(there[0], writer))
        finally:
            there[1].close()
