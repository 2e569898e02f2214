"""Wake-ups over core NATS, for installations that commit more often than NOTIFY can tell (docs/adr/0012).

`ring` is called after a commit and only remembers; `listen` sends what was remembered and hears what others send, over
one connection. So a server that is away, slow or frozen costs no writer anything: what is remembered is bounded, the
oldest goes first, and readers look by themselves meanwhile.

nats-py neither reconnects nor buffers for us: its first connect would repeat for ever and its full buffer would make a
publisher wait. `Wakeups.run` reconnects, with jitter, and what waits to be sent waits here.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import ConnectionClosedError, Error, NoServersError, SlowConsumerError

from runtime.store.wakeups import CarrierAway

log = structlog.get_logger()

SUBJECT = "stagedoor.wake"
"""`stagedoor.wake.<execution id>` with nothing in it is a wake-up."""
CAPACITY = 10_000
"""Wake-ups that may wait to be sent; then the oldest are dropped, and their readers look by themselves."""
WINDOW_S = 0.005
"""The first wake-up goes out at once; those of the time after it go together, one for each execution."""
BATCH = 500
"""Sent at a time: the event loop has other things to do."""
BACKLOG_BYTES = 1_000_000
"""With more than this not taken off our hands the server counts as away; nats-py would begin to wait at twice that."""
CHECK_S = 5.0
"""Between proofs that the connection is alive: a black hole says nothing by itself."""
_CONNECT_TIMEOUT_S = 5.0
_CHECK_TIMEOUT_S = 5.0
_CLOSE_TIMEOUT_S = 1.0


class NatsCarrier:
    """One connection, over which every process hears every wake-up.

    Args:
        urls: servers of one cluster, nats:// or tls://; any of them will do. They may carry a token, or user:password.
        token_file: holds the token where the addresses carry nothing; read anew for each connection.
    """

    name = "NATS"

    def __init__(self, urls: Sequence[str], token_file: Path | None = None) -> None:
        self._urls = list(urls)
        self._token_file = token_file
        self._waiting: dict[UUID, None] = {}  # a set that remembers its order
        self._rung = asyncio.Event()

    def ring(self, execution_ids: Iterable[UUID]) -> None:
        """Let everybody know that these logs may have grown. Returns at once and never fails."""
        self._waiting.update(dict.fromkeys(execution_ids))
        while len(self._waiting) > CAPACITY:
            del self._waiting[next(iter(self._waiting))]
        self._rung.set()

    async def listen(self, begin: Callable[[], None], hear: Callable[[UUID], None]) -> None:
        """As the port says."""
        token = self._read_token()
        line = _Line(self._rung)
        try:
            await line.open(self._urls, token)
            await line.subscribe(hear)
            begin()
            await self._send_while_open(line)
        except (OSError, Error) as error:  # TimeoutError is an OSError
            raise CarrierAway(line.explain(error)) from error
        finally:
            await self._leave(line)
        raise CarrierAway(line.explain(None))

    async def _send_while_open(self, line: "_Line") -> None:
        checked = time.monotonic()
        while line.is_open:
            if not self._waiting:
                self._rung.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(CHECK_S):
                        await self._rung.wait()
            await self._send(line)
            if time.monotonic() - checked >= CHECK_S:
                await line.check()
                checked = time.monotonic()
            await asyncio.sleep(WINDOW_S)

    async def _send(self, line: "_Line") -> None:
        for execution_id in list(islice(self._waiting, BATCH)):
            if not line.is_open:
                return
            await line.send(execution_id)
            self._waiting.pop(execution_id, None)

    async def _leave(self, line: "_Line") -> None:
        """Say what is left to say, and close; within a second."""
        with suppress(OSError, Error, CarrierAway):
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                await self._send(line)
                await line.close()
        line.abort()

    def _read_token(self) -> str | None:
        if self._token_file is None or any(urlsplit(url).username for url in self._urls):
            return None
        try:
            return self._token_file.read_text().strip()
        except OSError as error:
            raise CarrierAway(str(error)) from error


class _Client(Client):
    """nats-py's client, which would say its credentials in the clear where a tls:// server offers no TLS."""

    def _connect_command(self) -> bytes:
        """What is said first, after TLS where the server asked for it."""
        server = self._current_server
        if server is not None and server.uri.scheme == "tls" and not self._server_info.get("tls_required"):
            raise Error("a tls:// server that offers no TLS")
        return super()._connect_command()


class _Line:
    """One connection of nats-py's, held to deadlines and to ending when it is broken."""

    def __init__(self, stir: asyncio.Event) -> None:
        self._client = _Client()
        self._stir = stir  # set when the connection ends: who waits for it has to look
        self._fault: Exception | None = None

    @property
    def is_open(self) -> bool:
        return self._client.is_connected

    async def open(self, urls: list[str], token: str | None) -> None:
        """Connect. Raises OSError (also as TimeoutError) or nats' Error."""
        async with asyncio.timeout(_CONNECT_TIMEOUT_S):
            await self._client.connect(
                urls,
                name="stagedoor-wakeups",
                token=token,
                allow_reconnect=False,
                max_reconnect_attempts=1,  # each address twice, then NoServersError; 0 and less mean for ever
                reconnect_time_wait=0,
                connect_timeout=2,
                error_cb=self._note,
                closed_cb=self._end,
            )

    async def subscribe(self, hear: Callable[[UUID], None]) -> None:
        """Hear every wake-up, from now on."""

        async def take(message: Msg) -> None:
            with suppress(ValueError):
                hear(UUID(message.subject.rpartition(".")[2]))

        await self._client.subscribe(f"{SUBJECT}.*", cb=take)
        await self.check()  # the server has seen the subscription

    async def send(self, execution_id: UUID) -> None:
        """Put a wake-up into nats-py's buffer; waits for nothing."""
        if self._client.pending_data_size > BACKLOG_BYTES:
            raise CarrierAway("it takes nothing")
        await self._client.publish(f"{SUBJECT}.{execution_id}")

    async def check(self) -> None:
        """There and back. Raises nats' Error when no answer comes in time."""
        await self._client.flush(int(_CHECK_TIMEOUT_S))

    async def close(self) -> None:
        """Send what is in the buffer and hang up."""
        await self._client.close()

    def abort(self) -> None:
        """Let go of a peer that would not take the last of it; after a close it changes nothing."""
        # nats-py has no name for this: its close waits until everything is taken
        writer = getattr(self._client._transport, "_io_writer", None)  # noqa: SLF001
        if writer is not None:
            writer.transport.abort()

    def explain(self, error: Exception | None) -> str:
        """Why it does not work."""
        if error is None or isinstance(error, (NoServersError, ConnectionClosedError)):
            error = self._fault  # which led there
        if isinstance(error, TimeoutError):
            return "no answer in time"
        return str(error or "the connection was closed")

    async def _note(self, error: Exception) -> None:
        self._fault = error
        if isinstance(error, SlowConsumerError):
            log.warning("wake-ups came faster than they were heard; some readers look by themselves")

    async def _end(self) -> None:
        self._stir.set()
