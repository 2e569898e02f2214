"""An HTTP proxy on loopback, as tenants name one: it takes CONNECT, asks who one is, and notes where it was sent."""

import asyncio
import base64
import ssl
from dataclasses import dataclass, field
from typing import Self


@dataclass
class Listener:
    """Listens while its context lasts, and serves each connection in a task of its own."""

    lands: int | None = None
    """A port of loopback that what is asked of it goes to; else it goes where it says."""
    login: tuple[str, str] | None = None
    answer: bytes | None = None
    """Said to everybody in place of doing anything."""
    tls: ssl.SSLContext | None = None
    asked: list[str] = field(default_factory=list)
    """Targets, in the order they were asked for."""
    port: int = 0
    _served: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(self._answer(reader, writer))
            self._served.add(task)
            task.add_done_callback(self._served.discard)

        self._server = await asyncio.start_server(begin, "127.0.0.1", 0, ssl=self.tls)
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

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Talk to one client."""
        raise NotImplementedError

    async def join(self, host: str, port: int, client: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        """Carry what is said between a client and where it wants to go, until both have ended."""
        reader, writer = client
        there = await asyncio.open_connection("127.0.0.1" if self.lands else host, self.lands or port)
        writer.write(self.welcome)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(carry(reader, there[1]))
                group.create_task(carry(there[0], writer))
        finally:
            there[1].close()

    @property
    def welcome(self) -> bytes:
        """Said once the way is open."""
        raise NotImplementedError

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self.serve(reader, writer)
            await writer.drain()
        except (OSError, EOFError):
            pass  # whoever asked has gone
        finally:
            writer.close()


@dataclass
class Relay(Listener):
    """Speaks HTTP."""

    heard: list[str] = field(default_factory=list)
    """Whole heads."""

    @property
    def welcome(self) -> bytes:
        """As CONNECT is answered."""
        return b"HTTP/1.1 200 OK\r\n\r\n"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One head, and what it asks for."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.heard.append(head)
        method, target, _ = head.split(" ", 2)
        if self.answer is not None:
            writer.write(self.answer)
        elif self.login is not None and self._credentials not in head:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
        elif method == "CONNECT":
            self.asked.append(target)
            host, _, port = target.rpartition(":")
            await self.join(host, int(port), (reader, writer))

    @property
    def _credentials(self) -> str:
        username, password = self.login or ("", "")
        return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Bytes of one side to the other, until it ends."""
    try:
        while piece := await reader.read(65_536):
            writer.write(piece)
            await writer.drain()
        writer.write_eof()
    except (OSError, NotImplementedError):
        writer.close()
