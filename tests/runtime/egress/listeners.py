"""The site that pages come from, and the forbidden host, which notes whatever it hears."""

import asyncio
import errno
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit

from tests.runtime.egress.ways import Way

HOST = "127.0.0.1"
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
_ATTEMPTS = 20


@dataclass
class Forbidden:
    """Listens on one port for all, and on one for each way that can't name a path, for streams and datagrams."""

    secure: bool = False
    """Spoken to by https: each way has a port of its own then, for the attempt tells of itself before any path does."""
    port: int = 0
    own: dict[str, int] = field(default_factory=dict)
    heard: set[str] = field(default_factory=set)
    """Ways by name; `?` for what told no name."""

    def fill(self, text: str, way: Way, good: str) -> str:
        """A way's text with the addresses in it."""
        own = self.own.get(way.name, 0)
        bad = f"{HOST}:{own if self.secure else self.port}"
        tls = "s" if self.secure else ""
        text = text.replace("BADOWN", f"http{tls}://{HOST}:{own}").replace("BADWS", f"ws{tls}://{bad}")
        text = text.replace("BAD", f"http{tls}://{bad}").replace("PORT", str(self.port))
        return text.replace("OWN", str(own)).replace("GOOD", good)

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
async def forbid(ways: Sequence[Way], *, secure: bool = False) -> AsyncIterator[Forbidden]:
    """The forbidden host, on IPv4 and IPv6."""
    forbidden = Forbidden(secure)
    async with AsyncExitStack() as stack:
        forbidden.port = await _listen(stack, forbidden, "")
        for way in ways:
            if secure or way.own_port:
                forbidden.own[way.name] = await _listen(stack, forbidden, way.name)
        yield forbidden


async def _listen(stack: AsyncExitStack, forbidden: Forbidden, name: str) -> int:
    for attempt in range(_ATTEMPTS):
        async with AsyncExitStack() as trying:
            try:
                port = await _take_port(trying, forbidden, name)
            except OSError as error:
                if error.errno != errno.EADDRINUSE or attempt == _ATTEMPTS - 1:
                    raise
                continue  # somebody has a datagram's or IPv6's port of the same number
            stack.push_async_exit(trying.pop_all())
            return port
    raise AssertionError


async def _take_port(stack: AsyncExitStack, forbidden: Forbidden, name: str) -> int:
    """One port for streams and datagrams."""
    loop = asyncio.get_running_loop()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await forbidden.serve(name, reader, writer)

    port = await _serve_streams(stack, serve, HOST, 0)
    if socket.has_ipv6 and not name:
        await _serve_streams(stack, serve, "::1", port)
    transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(forbidden, name), local_addr=(HOST, port))
    stack.callback(transport.close)
    return port


async def _serve_streams(stack: AsyncExitStack, serve: Serve, host: str, port: int) -> int:
    server = await asyncio.start_server(serve, host, port)
    stack.push_async_callback(server.wait_closed)
    stack.callback(server.close)
    return int(server.sockets[0].getsockname()[1])


@dataclass
class Good:
    """The site that the pages come from."""

    url: str = ""
    """With http or https, host and port."""
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
async def serve_good(tls: ssl.SSLContext | None = None) -> AsyncIterator[Good]:
    """The site, while the context lasts."""
    good = Good()
    server = await asyncio.start_server(good.serve, HOST, 0, ssl=tls)
    good.url = f"http{'s' if tls else ''}://{HOST}:{server.sockets[0].getsockname()[1]}"
    try:
        yield good
    finally:
        server.close()
        await server.wait_closed()
