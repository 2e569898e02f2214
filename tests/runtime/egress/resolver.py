"""A played resolver that is asked by https (RFC 8484), so that a look-up that leads to nothing more is heard too."""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from tests.runtime.egress.listeners import HOST

_HEADER_BYTES = 12


@dataclass
class Resolver:
    """It answers nobody, and remembers who was asked for."""

    tls: ssl.SSLContext
    port: int = 0
    asked: set[str] = field(default_factory=set)
    """Names."""

    @property
    def settings(self) -> dict[str, object]:
        """What makes Chromium ask it, and no other, in its file `Local State`."""
        return {"dns_over_https": {"mode": "secure", "templates": f"https://{HOST}:{self.port}/dns-query{{?dns}}"}}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One question."""
        try:
            await writer.start_tls(self.tls)
            line = (await reader.readline()).decode("latin-1").split(" ")
            for message in parse_qs(urlsplit(line[1]).query)["dns"]:
                self.asked.add(read_question(base64.urlsafe_b64decode(message + "==")))
            writer.write(b"HTTP/1.1 503 x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            await writer.drain()
        except (OSError, IndexError, KeyError):
            pass
        finally:
            writer.close()


def read_question(message: bytes) -> str:
    """The name that a DNS message asks for (RFC 1035, 4.1.2)."""
    labels, at = [], _HEADER_BYTES
    while size := message[at]:
        labels.append(message[at + 1 : at + 1 + size].decode())
        at += size + 1
    return ".".join(labels)


@asynccontextmanager
async def serve_names(tls: ssl.SSLContext) -> AsyncIterator[Resolver]:
    """The resolver, while the context lasts."""
    resolver = Resolver(tls)
    server = await asyncio.start_server(resolver.serve, HOST, 0)
    resolver.port = server.sockets[0].getsockname()[1]
    try:
        yield resolver
    finally:
        server.close()
        await server.wait_closed()
