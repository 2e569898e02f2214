"""The checked door: every connection that a tenant can name is resolved here, checked, and made to what was checked.

    connection = await door.connect(permit, "example.org", 443)

A name is resolved once per connection and never again behind the check, so that an answer which changes in between
changes nothing. TLS, if any, is laid over the connection by whoever wanted it, with the name and not the address.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Final

from runtime.egress.hosts import Address, NotAHost, Target, read_address, split_port
from runtime.egress.permit import Permit
from runtime.egress.policy import Refusal, Refused, Rule, name_host

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Resolve = Callable[[str, int], Awaitable[Sequence[Address]]]
"""Every address of a name, best first. Raises OSError; socket.gaierror with EAI_NONAME for a name that has none."""
Connect = Callable[[Address, int], Awaitable[Streams]]
"""A connection to an address, never to a name. Raises OSError."""

CONNECT_S: Final = 15.0
"""To resolve and connect, unless the caller has less time."""
BUFFER: Final = 262_144
"""Bytes that a reader holds back before it stops its sender."""
_RESOLVE_S: Final = 10.0
_ATTEMPT_S: Final = 5.0
_MAX_ATTEMPTS: Final = 4
_NO_NAME: Final = frozenset({socket.EAI_NONAME, socket.EAI_NODATA})
"""A resolver's last word on a name (RFC 3493, 6.1); every other failure of it may pass."""
_RESOLVERS: Final = 128
"""Threads; a machine's resolver blocks its caller, and one whose caller has given up blocks on."""


class Unreachable(Exception):  # noqa: N818 — what the other side is
    """The policy has nothing against it, and nobody answers. `reason` is a clause: “its name does not resolve”."""

    def __init__(self, target: Target, reason: str, *, timed_out: bool = False) -> None:
        super().__init__(f"{target}: {reason}")
        self.target = target
        self.reason = reason
        self.timed_out = timed_out


class NoSuchHost(Unreachable):
    """A resolver has answered that nobody has that name; asking again changes nothing."""

    def __init__(self, target: Target, missing: str, reason: str = "its name does not resolve") -> None:
        super().__init__(target, reason)
        self.missing = missing
        """The name that does not resolve: the target's, or that of the proxy on the way to it."""


def explain_missing_host(name: str) -> tuple[str, str]:
    """A sentence about a host that does not exist, and what to do about it."""
    return (
        f"There is no host “{name}”: its name does not resolve.",
        "Check the spelling; a name of your own network has to be known to the resolver of the machine of Runtime.",
    )


class Connection:
    """A connection that was let through. Its bytes count for the run; close it in the end."""

    def __init__(self, permit: Permit, target: Target, streams: Streams) -> None:
        """Raises Refused when the run may open no more."""
        self.target = target
        self._permit = permit
        self._reader, self._writer = streams
        self._held = ExitStack()
        self._held.enter_context(permit.hold(target, self.abort))

    async def read(self, limit: int) -> bytes:
        """Up to `limit` bytes, none at the end. Raises OSError, and Refused when the run has used up its traffic."""
        data = await self._reader.read(limit)
        self._permit.count(self.target, received=len(data))
        return data

    async def read_head(self, timeout_s: float) -> bytes:
        """Up to the first empty line, and not a byte more. Raises OSError, EOFError, TimeoutError, Refused."""
        try:
            async with asyncio.timeout(timeout_s):
                data = await self._reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError as error:
            raise EOFError("the head does not end") from error
        self._permit.count(self.target, received=len(data))
        return data

    async def write(self, data: bytes) -> None:
        """Send bytes, and wait while the other side doesn't take them. Raises as `read`."""
        self._permit.count(self.target, sent=len(data))
        self._writer.write(data)
        await self._writer.drain()

    def end_writing(self) -> None:
        """Say that nothing more will be sent."""
        if self._writer.can_write_eof() and not self._writer.is_closing():
            self._writer.write_eof()

    async def start_tls(self, context: ssl.SSLContext, server_name: str) -> None:
        """Go on encrypted. Raises ssl.SSLError (an OSError)."""
        await self._writer.start_tls(context, server_hostname=server_name)

    @property
    def at_end(self) -> bool:
        """Whether the other side has closed and everything is read."""
        return self._reader.at_eof() or self._writer.is_closing()

    def get_extra_info(self, name: str) -> object:
        """As of asyncio's transports."""
        return self._writer.get_extra_info(name)

    def abort(self) -> None:
        """Cut it off, whatever is under way."""
        self._held.close()
        self._writer.transport.abort()

    async def close(self) -> None:
        """Send what is left, and close."""
        self._held.close()
        self._writer.close()


class Door:
    """Resolve, check, connect. One per process; it keeps no state between connections."""

    def __init__(self, resolve: Resolve | None = None, connect: Connect | None = None) -> None:
        """`resolve` and `connect` are the machine's own, unless a test plays them."""
        self._threads = ThreadPoolExecutor(_RESOLVERS, "resolver") if resolve is None else None
        self._resolve = resolve or self._ask_machine
        self._connect = connect or _connect

    async def connect(
        self, permit: Permit, host: str, port: int | None = None, *, timeout_s: float = CONNECT_S
    ) -> Connection:
        """Connect to a host for a run. `port` may stand in `host` (`example.org:443`).

        Raises:
            Refused: the policy or a limit is against it; noted with the run.
            Unreachable: the name does not resolve (NoSuchHost), or nobody answers there in time.
        """
        target = self.read_target(permit, host, port)
        try:
            with permit.trying(target):
                async with asyncio.timeout(timeout_s):
                    addresses = await self.find(permit, target)
                    return await self._reach(permit, target, addresses)
        except TimeoutError:
            raise _note(permit, Unreachable(target, "it did not answer in time", timed_out=True)) from None
        except Unreachable as error:
            raise _note(permit, error) from error.__cause__

    def read_target(self, permit: Permit, host: str, port: int | None = None) -> Target:
        """Where that is. Raises Refused for what is no host."""
        try:
            if port is None:
                host, port = split_port(host)
            target = Target(name_host(host), port or 0)
        except NotAHost:
            raise permit.refuse(_describe_nothing(host)) from None
        except Refused as refused:
            raise permit.refuse(refused.refusal) from None
        if not target.port:
            raise permit.refuse(_describe_nothing(host))
        return target

    async def find(self, permit: Permit, target: Target) -> Sequence[Address]:
        """The addresses of a target, each of which the policy has let pass. Raises Refused, Unreachable."""
        permit.check(target)
        if (refusal := permit.policy.judge_name(target)) is not None:
            raise permit.refuse(refusal)
        addresses = [target.host.address] if target.host.address is not None else await self._look_up(permit, target)
        if (refusal := permit.policy.judge(target, addresses)) is not None:
            raise permit.refuse(refusal)
        return addresses

    def close(self) -> None:
        """Let go of the threads that resolve names."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def _look_up(self, permit: Permit, target: Target) -> Sequence[Address]:
        try:
            async with asyncio.timeout(_RESOLVE_S), permit.lookups:
                found = await self._resolve(target.host.name, target.port)
        except TimeoutError as error:
            raise Unreachable(target, "its name was not resolved in time", timed_out=True) from error
        except socket.gaierror as error:
            if error.errno in _NO_NAME:
                raise NoSuchHost(target, target.host.name) from error
            raise Unreachable(target, "its name can't be resolved now") from error
        except OSError as error:
            raise Unreachable(target, "its name can't be resolved now") from error
        except (NotAHost, UnicodeError) as error:
            raise NoSuchHost(target, target.host.name) from error
        if not found:
            raise NoSuchHost(target, target.host.name)
        return found

    async def _reach(self, permit: Permit, target: Target, addresses: Sequence[Address]) -> Connection:
        reason, cause, timed_out = "nobody answers there", OSError(), False
        for address in addresses[:_MAX_ATTEMPTS]:
            try:
                async with asyncio.timeout(_ATTEMPT_S if len(addresses) > 1 else None):
                    streams = await self._connect(address, target.port)
            except ConnectionRefusedError as error:
                reason, cause, timed_out = "it refuses connections", error, False
            except TimeoutError as error:
                reason, cause, timed_out = "it did not answer in time", error, True
            except OSError as error:
                reason, cause, timed_out = "it can't be reached from this machine", error, False
            else:
                with _closing_on_error(streams):
                    if (refusal := permit.policy.judge_own(target, address, _find_own(streams))) is not None:
                        raise permit.refuse(refusal)
                    return Connection(permit, target, streams)
        raise Unreachable(target, reason, timed_out=timed_out) from cause

    async def _ask_machine(self, name: str, port: int) -> Sequence[Address]:
        def ask() -> list[Address]:
            found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
            return [read_address(str(entry[4][0])) for entry in found]

        return await asyncio.get_running_loop().run_in_executor(self._threads, ask)


@contextmanager
def _closing_on_error(streams: Streams) -> Iterator[None]:
    try:
        yield
    except BaseException:
        streams[1].transport.abort()
        raise


async def _connect(address: Address, port: int) -> Streams:
    return await asyncio.open_connection(str(address), port, limit=BUFFER)


def _find_own(streams: Streams) -> Address | None:
    """The address of this machine that a connection was made from."""
    own = streams[1].get_extra_info("sockname")
    return read_address(str(own[0])) if own else None


def _note(permit: Permit, error: Unreachable) -> Unreachable:
    permit.note_unreachable(error.target, error.reason, error.missing if isinstance(error, NoSuchHost) else None)
    return error


def _describe_nothing(host: str) -> Refusal:
    return Refusal(host[:100], None, Rule.NOT_A_HOST)
