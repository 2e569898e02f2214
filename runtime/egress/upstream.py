"""Proxies that tenants name: what a browser sends goes on through one, after it has been checked here.

The name of the site is resolved and checked as ever, and the proxy is asked for the address that was checked: it can't
be sent to where the policy would not let anybody, whatever a name means to it. The proxy itself is reached through the
checked door, too. Everything goes by CONNECT, over HTTP or SOCKS5, so that what is sent is the same to a site with a
proxy or without.
"""

import asyncio
import base64
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Final
from urllib.parse import urlsplit

from runtime.egress.door import CONNECT_S, Connection, Door, NoSuchHost, Unreachable
from runtime.egress.hosts import Address, NotAHost, Target, read_host
from runtime.egress.permit import Permit
from runtime.egress.policy import Refused
from runtime.egress.socks import MAX_LOGIN, SocksRefused, ask_socks

_PORTS: Final = {"http": 80, "https": 443, "socks5": 1080}
_SOCKS: Final = "socks5"
_REFUSES_US: Final = 407


@dataclass(frozen=True)
class Upstream:
    """An HTTP or SOCKS5 proxy, and who one is there."""

    scheme: str
    """`http`, `https` or `socks5`: how it is spoken to, whatever is fetched through it."""
    host: str
    port: int
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @property
    def target(self) -> Target:
        """Where it is."""
        return Target(read_host(self.host), self.port)


def read_upstream(url: str, username: str = "", password: str = "") -> Upstream:
    """The proxy that an address names. Raises ValueError with a sentence about what is wrong with it."""
    try:
        parts = urlsplit(url)
        host = str(read_host(parts.hostname or ""))
        port = parts.port or _PORTS.get(parts.scheme)
    except (NotAHost, ValueError) as error:
        raise ValueError("It names no host.") from error
    if parts.scheme not in _PORTS or port is None:
        raise ValueError("It is not the address of an http, https or socks5 proxy.")
    if "@" in parts.netloc:
        raise ValueError("It holds a user's name or password.")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("There is more behind the host than a proxy has.")
    if parts.scheme == _SOCKS and max(len(username.encode()), len(password.encode())) > MAX_LOGIN:
        raise ValueError(f"SOCKS5 has room for {MAX_LOGIN} bytes of a name and of a password.")
    return Upstream(parts.scheme, host.strip("[]"), port, username, password)


async def connect_through(
    door: Door, permit: Permit, upstream: Upstream, host: str, port: int, *, tls: ssl.SSLContext | None = None
) -> Connection:
    """Connect to a host by way of a proxy.

    Args:
        tls: what an https proxy is to be trusted by, unless that is what the machine trusts.

    Raises:
        Refused: the policy or a limit is against the host; noted with the run.
        Unreachable: it does not resolve (NoSuchHost), or the proxy does not lead there; noted, too.
    """
    target = door.read_target(permit, host, port)
    try:
        address = _choose(await door.find(permit, target))
        connection = await _reach(door, permit, upstream, target)
        try:
            wanted = Target(read_host(str(address)), target.port)
            if upstream.scheme == _SOCKS:
                await _ask_socks(connection, upstream, wanted)
            else:
                await _ask(connection, upstream, wanted, tls)
        except BaseException:
            connection.abort()
            raise
    except NoSuchHost as error:
        permit.note_unreachable(target, error.reason, error.missing)
        raise NoSuchHost(target, error.missing, error.reason) from error
    except Unreachable as error:
        found = Unreachable(target, error.reason, timed_out=error.timed_out)
        permit.note_unreachable(target, found.reason)
        raise found from error
    connection.target = target  # from here on the bytes are that host's
    permit.note_reached(target)
    return connection


async def _reach(door: Door, permit: Permit, upstream: Upstream, target: Target) -> Connection:
    try:
        return await door.connect(permit, upstream.host, upstream.port)
    except Refused as refused:
        raise Unreachable(target, f"its proxy {refused.refusal.where} may not be reached from here") from refused
    except NoSuchHost as error:
        raise NoSuchHost(target, error.missing, f"of its proxy {error.target}, {error.reason}") from error
    except Unreachable as error:
        said = f"of its proxy {error.target}, {error.reason}"
        raise Unreachable(target, said, timed_out=error.timed_out) from error


async def _ask(connection: Connection, upstream: Upstream, wanted: Target, tls: ssl.SSLContext | None) -> None:
    lines = [f"CONNECT {wanted} HTTP/1.1", f"host: {wanted}"]
    if upstream.username or upstream.password:
        said = base64.b64encode(f"{upstream.username}:{upstream.password}".encode()).decode()
        lines.append(f"proxy-authorization: Basic {said}")
    try:
        if upstream.scheme == "https":
            await connection.start_tls(tls or ssl.create_default_context(), upstream.host)
        await connection.write("\r\n".join([*lines, "", ""]).encode())
        status = await _read_status(connection)
    except TimeoutError as error:
        raise Unreachable(wanted, "its proxy did not answer in time", timed_out=True) from error
    except (OSError, EOFError, ValueError) as error:
        raise Unreachable(wanted, "its proxy broke off, or spoke no HTTP") from error
    if status == _REFUSES_US:
        raise Unreachable(wanted, "its proxy wants another user's name and password")
    if not 200 <= status < 300:  # noqa: PLR2004 — RFC 9110, 9.3.6: any 2xx
        raise Unreachable(wanted, f"its proxy answered {status}")


async def _ask_socks(connection: Connection, upstream: Upstream, wanted: Target) -> None:
    try:
        async with asyncio.timeout(CONNECT_S):
            await ask_socks(connection.read, connection.write, wanted, upstream.username, upstream.password)
    except TimeoutError as error:
        raise Unreachable(wanted, "its proxy did not answer in time", timed_out=True) from error
    except SocksRefused as error:
        raise Unreachable(wanted, f"its proxy {error}") from error
    except (OSError, EOFError, ValueError) as error:
        raise Unreachable(wanted, "its proxy broke off, or spoke no SOCKS5") from error


async def _read_status(connection: Connection) -> int:
    """Of an answer's head. Raises OSError, EOFError, TimeoutError, ValueError."""
    head = await connection.read_head(CONNECT_S)
    version, _, rest = head.split(b"\r\n", 1)[0].partition(b" ")
    if not version.startswith(b"HTTP/1."):
        raise ValueError("no answer of HTTP/1.1")
    return int(rest[:3])


def _choose(addresses: Sequence[Address]) -> Address:
    """One that most proxies can reach."""
    return next((one for one in addresses if isinstance(one, IPv4Address)), addresses[0])
