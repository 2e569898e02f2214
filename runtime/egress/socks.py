"""SOCKS5 (RFC 1928, RFC 1929), as a client asks a proxy for one connection. It is spoken over any reader and writer."""

from collections.abc import Awaitable, Callable
from typing import Final

from socksio import ProtocolError, SOCKSError
from socksio.socks5 import (
    SOCKS5AuthMethod,
    SOCKS5AuthMethodsRequest,
    SOCKS5AuthReply,
    SOCKS5Command,
    SOCKS5CommandRequest,
    SOCKS5Reply,
    SOCKS5ReplyCode,
    SOCKS5UsernamePasswordReply,
    SOCKS5UsernamePasswordRequest,
)

from runtime.egress.hosts import Target

Read = Callable[[int], Awaitable[bytes]]
"""Answers up to so many bytes, none at the end."""
Write = Callable[[bytes], Awaitable[None]]

MAX_LOGIN: Final = 255
"""Bytes of a user's name, and of a password (RFC 1929, 2)."""
_REPLY_HEAD: Final = 4
_ADDRESS: Final = {b"\x01": 4, b"\x04": 16}
"""Bytes of an address in a reply, by its type; of a name, the first one says it."""
_NAME: Final = b"\x03"


class SocksRefused(Exception):  # noqa: N818 — as Refused
    """The proxy does not do what was asked; the text says why, as the end of a sentence about it."""


async def ask_socks(read: Read, write: Write, wanted: Target, username: str, password: str) -> None:
    """Have a proxy connect to an address; what comes after it is that connection's.

    Raises:
        SocksRefused: it wants to know somebody else, or does not get there.
        EOFError: it broke off.
        ValueError: it does not speak SOCKS5.
    """
    try:
        await _say_who(read, write, username.encode(), password.encode())
        address = (str(wanted.host).strip("[]"), wanted.port)
        await write(SOCKS5CommandRequest.from_address(SOCKS5Command.CONNECT, address).dumps())
        reply = SOCKS5Reply.loads(await _read_reply(read))
    except (ProtocolError, SOCKSError) as error:
        raise ValueError("no answer of SOCKS5") from error
    if reply.reply_code is not SOCKS5ReplyCode.SUCCEEDED:
        raise SocksRefused(f"answered “{reply.reply_code.name.replace('_', ' ').lower()}”")


async def _say_who(read: Read, write: Write, username: bytes, password: bytes) -> None:
    named = bool(username or password)
    methods = [SOCKS5AuthMethod.NO_AUTH_REQUIRED, *([SOCKS5AuthMethod.USERNAME_PASSWORD] if named else [])]
    await write(SOCKS5AuthMethodsRequest(methods).dumps())
    answer = await _read_exactly(read, 2)
    if answer[:1] != b"\x05":
        raise ProtocolError("not version 5")
    chosen = SOCKS5AuthReply.loads(answer).method
    if chosen is SOCKS5AuthMethod.NO_AUTH_REQUIRED:
        return
    if chosen is not SOCKS5AuthMethod.USERNAME_PASSWORD or not named:
        raise SocksRefused("wants another user's name and password")
    await write(SOCKS5UsernamePasswordRequest(username, password).dumps())
    if not SOCKS5UsernamePasswordReply.loads(await _read_exactly(read, 2)).success:
        raise SocksRefused("wants another user's name and password")


async def _read_reply(read: Read) -> bytes:
    head = await _read_exactly(read, _REPLY_HEAD)
    kind = head[3:4]
    if kind == _NAME:
        length = await _read_exactly(read, 1)
        await _read_exactly(read, length[0] + 2)
        return head[:3] + b"\x01" + bytes(6)  # where it is bound is nobody's business here
    if kind not in _ADDRESS:
        raise ProtocolError("no type of an address")
    return head + await _read_exactly(read, _ADDRESS[kind] + 2)


async def _read_exactly(read: Read, count: int) -> bytes:
    found = b""
    while len(found) < count:
        piece = await read(count - len(found))
        if not piece:
            raise EOFError("it ended early")
        found += piece
    return found
