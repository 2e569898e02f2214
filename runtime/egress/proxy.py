"""The forward proxy of one worker: whatever its browsers send goes through here, by CONNECT or in absolute form.

Each browser context has credentials of its own, which name a run once it has been leased to one. So one proxy tells
apart what shares a browser: whose lists count, whose bytes they are, whom a refusal is told to. Nothing is decrypted.
"""

import asyncio
import base64
import binascii
import hmac
import secrets
import socket
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import structlog

from runtime.egress.door import BUFFER, Connection, Door, Unreachable
from runtime.egress.hosts import NotAHost, split_port
from runtime.egress.message import BadRequest, Head, read_body, read_head
from runtime.egress.permit import Permit
from runtime.egress.policy import Refused
from runtime.egress.upstream import Upstream, connect_through

GREETING_HOST: Final = "stagedoor.invalid"
"""Answered by the proxy itself to whoever has credentials; a name that never exists (RFC 6761)."""
REFUSED_HEADER: Final = "x-stagedoor-refused"
_HOST: Final = "127.0.0.1"
_REALM: Final = "stagedoor"
_PIECE: Final = 65_536
_IDLE_S: Final = 120.0
"""Between two requests of a connection."""
_MAX_STRANGERS: Final = 256
"""Connections on which nobody has said yet who they are: browsers do so within milliseconds. Beyond that the oldest one
goes, so that whoever says nothing takes nobody's room."""
_STILL_S: Final = 3_600.0
"""Without a byte in either direction of a connection that was let through: a quiet WebSocket may live long."""
_LINGER_S: Final = 60.0
"""For the rest of an answer, once the client has ended its side."""
_WRITE_S: Final = 60.0
_MAX_CLIENTS: Final = 4_096
"""Connections to the proxy, of all runs together."""
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a browser context says at the proxy."""

    username: str
    password: str


@dataclass(slots=True)
class _Guest:
    password: str
    permit: Permit | None = None
    upstream: Upstream | None = None


_Recognise = Callable[[Head], _Guest | None]


class EgressProxy:
    """Listens on a port of loopback while its context lasts."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._guests: dict[str, _Guest] = {}
        self._clients = 0
        self._strangers: dict[_Client, None] = {}
        """Oldest first."""
        self._server: asyncio.Server | None = None
        self._also: list[asyncio.Server] = []
        self.port = 0

    async def __aenter__(self) -> Self:
        """Listen. Raises OSError."""
        self._server = await asyncio.start_server(self._serve, _HOST, 0, limit=BUFFER)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cut off everybody, and listen no more."""
        for server in (self._server, *self._also):
            if server is not None:
                server.close()
        for guest in self._guests.values():
            if guest.permit is not None:
                guest.permit.close()
        self._guests.clear()

    @property
    def url(self) -> str:
        """The proxy's address, as browsers are told it."""
        return f"http://{_HOST}:{self.port}"

    async def listen_on(self, listener: socket.socket) -> asyncio.Server:
        """Serve those who come by another socket too, which may be in another network. Close what it answers."""
        listener.settimeout(0)
        server = await asyncio.start_server(self._serve, sock=listener, limit=BUFFER)
        self._also = [server, *(one for one in self._also if one.is_serving())]
        return server

    def issue(self) -> Credentials:
        """Credentials that belong to no run yet: they open nothing, and are greeted."""
        made = Credentials(secrets.token_hex(8), secrets.token_hex(16))
        self._guests[made.username] = _Guest(made.password)
        return made

    def bind(self, credentials: Credentials, permit: Permit, upstream: Upstream | None = None) -> None:
        """From now on they speak for this run, whose traffic goes on through `upstream` if it names one."""
        guest = self._guests[credentials.username]
        guest.permit, guest.upstream = permit, upstream

    def revoke(self, credentials: Credentials) -> None:
        """From now on they are nobody's."""
        self._guests.pop(credentials.username, None)

    # --- one client

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = _Client(reader, writer)
        if self._clients >= _MAX_CLIENTS:
            writer.transport.abort()
            return
        self._clients += 1
        self._let_in(client)
        try:
            await self._answer_all(client)
        except* BadRequest as group:
            await client.answer(400, "Bad Request", str(group.exceptions[0]), last=True)
        except* (OSError, EOFError, TimeoutError, Refused):
            client.broken = True  # either side has gone, or the run has used up its traffic on the way
        except* Exception:  # noqa: BLE001 — the shell around connections: the next one is served
            _log.exception("a connection to the proxy failed in a way it should not")
            client.broken = True
        finally:
            self._clients -= 1
            self._strangers.pop(client, None)
            client.close()

    def _let_in(self, client: "_Client") -> None:
        if len(self._strangers) >= _MAX_STRANGERS:
            oldest = next(iter(self._strangers))
            del self._strangers[oldest]
            oldest.abort()
        self._strangers[client] = None

    async def _answer_all(self, client: "_Client") -> None:
        while True:
            async with asyncio.timeout(_IDLE_S):
                head = await read_head(client.reader)
            if head is None:
                return
            guest = self._recognise(head)
            if guest is None:
                await self._ask_who(client, head)
                continue
            self._strangers.pop(client, None)
            if _is_greeting(head):
                await client.answer(204, "No Content")
            else:
                await self._let_through(client, head, guest)
                return

    async def _ask_who(self, client: "_Client", head: Head) -> None:
        async with asyncio.timeout(_IDLE_S):
            async for _ in read_body(client.reader, head.length):
                pass  # the next request comes after it
        challenge = {"proxy-authenticate": f'Basic realm="{_REALM}"'}
        await client.answer(407, "Proxy Authentication Required", fields=challenge)

    def _recognise(self, head: Head) -> _Guest | None:
        said = _read_credentials(head.authorization)
        guest = self._guests.get(said.username) if said is not None else None
        if said is None or guest is None or not hmac.compare_digest(guest.password, said.password):
            return None
        return guest

    async def _let_through(self, client: "_Client", head: Head, guest: _Guest) -> None:
        if guest.permit is None:
            await client.refuse("unbound", "This browser context belongs to no run.")
            return
        host, port = _find_target(head)
        try:
            connection = await self._connect(guest.permit, guest.upstream, host, port)
        except Refused as refused:
            await client.refuse(refused.refusal.rule.value, f"{refused.refusal.message} {refused.refusal.hint}")
            return
        except Unreachable as error:
            status, title = (504, "Gateway Timeout") if error.timed_out else (502, "Bad Gateway")
            await client.answer(status, title, f"{error.target}: {error.reason}.", last=True)
            return
        try:
            if head.method == "CONNECT":
                await client.say(b"HTTP/1.1 200 Connection established\r\n\r\n")
                await _join(client, connection)
            else:
                await _pass_on(client, connection, head, self._recognise, guest)
        finally:
            await connection.close()

    async def _connect(self, permit: Permit, upstream: Upstream | None, host: str, port: int) -> Connection:
        if upstream is None:
            return await self._door.connect(permit, host, port)
        return await connect_through(self._door, permit, upstream, host, port)


class _Client:
    """The browser's side of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.broken = False

    def close(self) -> None:
        if self.broken:
            self.writer.transport.abort()
        else:
            self.writer.close()

    def abort(self) -> None:
        """Cut it off, whatever is under way."""
        self.broken = True
        self.writer.transport.abort()

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        async with asyncio.timeout(_WRITE_S):
            await self.writer.drain()

    async def refuse(self, rule: str, words: str) -> None:
        await self.answer(403, "Forbidden", words, {REFUSED_HEADER: rule}, last=True)

    async def answer(
        self, status: int, title: str, words: str = "", fields: dict[str, str] | None = None, *, last: bool = False
    ) -> None:
        body = f"{words}\n".encode() if words else b""
        said = {"content-type": "text/plain; charset=utf-8", "cache-control": "no-store", **(fields or {})}
        if last:
            said["connection"] = "close"
        if status != 204:  # noqa: PLR2004 — it never has a body
            said["content-length"] = str(len(body))
        lines = [f"HTTP/1.1 {status} {title}", *(f"{name}: {value}" for name, value in said.items()), "", ""]
        with suppress(OSError, TimeoutError):
            await self.say("\r\n".join(lines).encode() + body)


async def _join(client: _Client, connection: Connection) -> None:
    """Carry bytes both ways until both sides have ended, or one has broken off."""
    await _carry_both(_carry_up(client, connection), _carry_down(client, connection))


async def _pass_on(client: _Client, connection: Connection, head: Head, recognise: _Recognise, guest: _Guest) -> None:
    """Requests of one client to one server, one after the other, on one connection.

    Answers are carried as they come. A request for another server ends the connection before it is read: browsers send
    it again on a new one, and no server's late bytes can be taken for another's answer.
    """
    upward = _send_requests(client, connection, head, recognise, guest)
    await _carry_both(upward, _carry_down(client, connection))


async def _carry_both(upward: Coroutine[Any, Any, None], downward: Coroutine[Any, Any, None]) -> None:
    """The end of the answers is the end; who asks nothing more still hears the answer to what it asked."""
    async with asyncio.TaskGroup() as tasks:
        up, down = tasks.create_task(upward), tasks.create_task(downward)
        await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({down}, timeout=_LINGER_S)
        up.cancel()
        down.cancel()


async def _send_requests(
    client: _Client, connection: Connection, head: Head, recognise: _Recognise, guest: _Guest
) -> None:
    authority = head.authority
    upcoming: Head | None = head
    while upcoming is not None:
        if upcoming.method == "CONNECT" or upcoming.authority != authority or recognise(upcoming) is not guest:
            connection.abort()
            return
        await connection.write(upcoming.make_direct())
        async for piece in read_body(client.reader, upcoming.length):
            await connection.write(piece)
        if upcoming.upgrades:
            await _carry_up(client, connection)
            return
        upcoming = await read_head(client.reader)
    connection.end_writing()


async def _carry_up(client: _Client, connection: Connection) -> None:
    while piece := await client.reader.read(_PIECE):
        await connection.write(piece)
    connection.end_writing()


async def _carry_down(client: _Client, connection: Connection) -> None:
    while True:
        async with asyncio.timeout(_STILL_S):
            piece = await connection.read(_PIECE)
        if not piece:
            return
        client.writer.write(piece)
        await client.writer.drain()


def _is_greeting(head: Head) -> bool:
    return head.method == "GET" and head.authority == GREETING_HOST


def _find_target(head: Head) -> tuple[str, int]:
    try:
        host, port = split_port(head.authority)
    except NotAHost as error:
        raise BadRequest(str(error)) from error
    return host, port or (443 if head.method == "CONNECT" else 80)


def _read_credentials(header: str | None) -> Credentials | None:
    kind, _, value = (header or "").partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        username, colon, password = base64.b64decode(value.strip(), validate=True).decode("ascii").partition(":")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None
    return Credentials(username, password) if colon else None
