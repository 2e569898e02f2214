"""The site that pages come from, and the forbidden host, which notes whatever it hears."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit

from tests.runtime.egress.ways import Way

HOST = "127.0.0.1"


@dataclass
class Forbidden:
    """Listens on one port for all, and on one for each way that can't name a path, for streams and datagrams."""

    port: int = 0
    own: dict[str, int] = field(default_factory=dict)
    heard: set[str] = field(default_factory=set)
    """Ways by name; `?` for what told no name."""

    def fill(self, text: str, way: Way, good: str) -> str:
        """A way's text with the addresses in it."""
        bad = f"{HOST}:{self.port}"
        text = text.replace("BADWS", f"ws://{bad}").replace("BAD", f"http://{bad}").replace("PORT", str(self.port))
        return text.replace("OWN", str(self.own.get(way.name, 0))).replace("GOOD", good)

    async def serve(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: having been made is enough for a port of its own."""
        try:
            if name:
                self.heard.add(name)
                return
            line = await reader.readline()
            parts = line.decode("latin-1").split(" ")
            self.heard.add(urlsplit(parts[1]).path.strip("/") if len(parts) > 1 else "?")
            body = b"x"
            kind = b"application/octet-stream" if b"download-attached" in line else b"text/html"
            writer.write(
                b"HTTP/1.1 200 OK\r\naccess-control-allow-origin: *\r\naccess-control-allow-methods: *\r\n"
                b"connection: close\r\ncontent-type: %s\r\ncontent-length: %d\r\n\r\n%s" % (kind, len(body), body)
            )
            await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, forbidden: Forbidden, name: str) -> None:
        self._forbidden = forbidden
        self._name = name

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._forbidden.heard.add(self._name or "?")


@asynccontextmanager
async def forbid(ways: Sequence[Way]) -> AsyncIterator[Forbidden]:
    """The forbidden host, on IPv4 and IPv6."""
    forbidden = Forbidden()
    async with AsyncExitStack() as stack:
        forbidden.port = await _listen(stack, forbidden, "")
        for way in ways:
            if way.own_port:
                forbidden.own[way.name] = await _listen(stack, forbidden, way.name)
        yield forbidden


async def _listen(stack: AsyncExitStack, forbidden: Forbidden, name: str) -> int:
    loop = asyncio.get_running_loop()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await forbidden.serve(name, reader, writer)

    server = await asyncio.start_server(serve, HOST, 0)
    stack.push_async_callback(server.wait_closed)
    stack.callback(server.close)
    port = int(server.sockets[0].getsockname()[1])
    if socket.has_ipv6 and not name:
        also = await asyncio.start_server(serve, "::1", port)
        stack.push_async_callback(also.wait_closed)
        stack.callback(also.close)
    transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(forbidden, name), local_addr=(HOST, port))
    stack.callback(transport.close)
    return port


@dataclass
class Good:
    """The site that the pages come from."""

    url: str = ""
    pages: dict[str, tuple[str, dict[str, str]]] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            parts = urlsplit(head.split(" ")[1])
            status, fields, body = self.answer(parts.path, {k: v[0] for k, v in parse_qs(parts.query).items()})
            self.asked.add(parts.path)
            fields = {"content-type": "text/html", "connection": "close", "content-length": str(len(body)), **fields}
            lines = [f"HTTP/1.1 {status} x", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
            writer.write("\r\n".join(lines).encode() + body.encode())
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def answer(self, path: str, query: dict[str, str]) -> tuple[int, dict[str, str], str]:
        """Status, fields, body."""
        match path:
            case "/go":
                return int(query["code"]), {"location": query["to"]}, ""
            case "/refresh":
                return 200, {"refresh": f"0;url={query['to']}"}, "x"
            case "/say":
                return 200, {}, unquote(query["html"])
            case "/service-worker.js":
                script = f"self.skipWaiting(); fetch('{query['bad']}/service-worker-fetch', {{mode: 'no-cors'}})"
                return 200, {"content-type": "text/javascript", "service-worker-allowed": "/"}, script
            case _:
                page = self.pages.get(path)
                return (200, page[1], page[0]) if page is not None else (404, {}, "no such page")


@asynccontextmanager
async def serve_good() -> AsyncIterator[Good]:
    """The site, while the context lasts."""
    good = Good()
    server = await asyncio.start_server(good.serve, HOST, 0)
    good.url = f"http://{HOST}:{server.sockets[0].getsockname()[1]}"
    try:
        yield good
    finally:
        server.close()
        await server.wait_closed()
