"""An HTTP proxy on loopback, as tenants name one: it takes CONNECT, asks who one is, and notes where it was sent."""

import asyncio
import base64
import ssl
from dataclasses import dataclass, field
from typing import Self


@dataclass
class Relay:
    """Listens while its context lasts. What is asked of it goes to `lands`, a port of loopback, or where it says."""

    lands: int | None = None
    login: tuple[str, str] | None = None
    answer: bytes | None = None
    """Said to everybody in place of doing anything."""
    tls: ssl.SSLContext | None = None
    asked: list[str] = field(default_factory=list)
    """Targets, in the order they were asked for."""
    heard: list[str] = field(default_factory=list)
    """Whole heads."""
    port: int = 0
    _served: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(self._serve(reader, writer))
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

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heard.append(head)
            method, target, _ = head.split(" ", 2)
            if self.answer is not None:
                writer.write(self.answer)
            elif self.login is not None and self._credentials not in head:
                writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            elif method == "CONNECT":
                self.asked.append(target)
                await self._join(target, reader, writer)
            await writer.drain()
        except (OSError, EOFError):
            pass  # whoever asked has gone
        finally:
            writer.close()

    @property
    def _credentials(self) -> str:
        username, password = self.login or ("", "")
        return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()

    async def _join(self, target: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = target.rpartition(":")
        there = await asyncio.open_connection("127.0.0.1" if self.lands else host, self.lands or int(port))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(carry(reader, there[1]))
                group.create_task(carry(there[0], writer))
        finally:
            there[1].close()


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Bytes of one side to the other, until it ends."""
    try:
        while piece := await reader.read(65_536):
            writer.write(piece)
            await writer.drain()
        writer.write_eof()
    except (OSError, NotImplementedError):
        writer.close()
