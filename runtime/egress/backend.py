"""The checked door as httpcore's network, for clients that speak HTTP: whatever they connect to passes the door.

    pool = httpcore.AsyncConnectionPool(network_backend=DoorBackend(door, permit))

Redirects are new connections, so they are checked like any other.
"""

import asyncio
import ssl
from collections.abc import Iterable
from typing import Any, Final

import httpcore

from runtime.egress.door import CONNECT_S, Connection, Door, NoSuchHost, Unreachable
from runtime.egress.hosts import NotAHost, Target, read_host
from runtime.egress.permit import Permit
from runtime.egress.upstream import Upstream, connect_through

_PAUSE_S: Final = 86_400.0


class DoorBackend(httpcore.AsyncNetworkBackend):
    """Connections of one run. Raises Refused and NoSuchHost unchanged: for whoever asked, not for httpcore to map."""

    def __init__(self, door: Door, permit: Permit, upstream: Upstream | None = None) -> None:
        """Connections go on through `upstream`, if it names one."""
        self._door = door
        self._permit = permit
        self._upstream = upstream

    def through(self, upstream: Upstream | None) -> "DoorBackend":
        """The same run's connections by way of a proxy that a tenant names; straight on for None."""
        return DoorBackend(self._door, self._permit, upstream)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 — the protocol's name
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Resolve, check, connect. Raises Refused, NoSuchHost, httpcore.ConnectError, httpcore.ConnectTimeout."""
        try:
            connection = await self._connect(host, port, CONNECT_S if timeout is None else timeout)
        except NoSuchHost:
            raise
        except Unreachable as error:
            kind = httpcore.ConnectTimeout if error.timed_out else httpcore.ConnectError
            raise kind(f"{error.target}: {error.reason}") from error
        return _Stream(connection)

    def find_missing(self, host: str, port: int) -> str | None:
        """As `Permit.find_missing`, of whatever this run's connections led to."""
        return self._permit.find_missing(host, port)

    def opens(self, host: str, port: int) -> bool:
        """Whether the owner of the installation has opened exactly this port of a host."""
        try:
            target = Target(read_host(host), port)
        except NotAHost:
            return False
        return any(entry.port == port and entry.matches(target) for entry in self._permit.policy.exceptions)

    async def _connect(self, host: str, port: int, timeout_s: float) -> Connection:
        if self._upstream is None:
            return await self._door.connect(self._permit, host, port, timeout_s=timeout_s)
        return await connect_through(self._door, self._permit, self._upstream, host, port)

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 — the protocol's name
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """There is no way out through the file system."""
        raise httpcore.ConnectError("connections to sockets of this machine are not made")

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        await asyncio.sleep(seconds)


class _Stream(httpcore.AsyncNetworkStream):
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        try:
            async with asyncio.timeout(_PAUSE_S if timeout is None else timeout):
                return await self._connection.read(max_bytes)
        except TimeoutError as error:
            raise httpcore.ReadTimeout from error
        except OSError as error:
            raise httpcore.ReadError(str(error)) from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        if not buffer:
            return
        try:
            async with asyncio.timeout(_PAUSE_S if timeout is None else timeout):
                await self._connection.write(buffer)
        except TimeoutError as error:
            raise httpcore.WriteTimeout from error
        except OSError as error:
            raise httpcore.WriteError(str(error)) from error

    async def aclose(self) -> None:
        await self._connection.close()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        try:
            async with asyncio.timeout(CONNECT_S if timeout is None else timeout):
                await self._connection.start_tls(ssl_context, server_hostname or str(self._connection.target.host))
        except TimeoutError as error:
            await self.aclose()
            raise httpcore.ConnectTimeout from error
        except OSError as error:
            await self.aclose()
            raise httpcore.ConnectError(str(error)) from error
        return self

    def get_extra_info(self, info: str) -> Any:
        names = {"server_addr": "peername", "client_addr": "sockname"}
        if info == "is_readable":
            return self._connection.at_end
        return self._connection.get_extra_info(names.get(info, info))
