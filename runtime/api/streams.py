"""The internal channel, Runtime's end: many event logs over one WebSocket, each read from the store when it has grown.

One task per subscription: it reads what there is, sends it, and sleeps until its bell rings. A peer that reads slowly
slows its own channel down and nothing else, since every send waits for the connection to take it; what waits to be sent
is no more than a few pages, however many logs the peer follows.
"""

import asyncio
import random
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from typing import Protocol, assert_never

import structlog

from contracts.declare import Channel
from contracts.errors import ApiError, Code
from contracts.frames import Ended, OpenEvents, Subscribe, Subscribed, Unknown, Unsubscribe, UpstreamFrame
from contracts.model import ExecutionId, LogId, TenantId
from contracts.wiring.channel import Frames, Gone, Guard, Opening, Socket
from contracts.wiring.internal import InternalCaller, InternalVerifier
from runtime.store.events import LogPart

log = structlog.get_logger()

BATCH = 100
"""Events of one log sent in one frame."""
SUBSCRIPTIONS = 20_000
"""Most of one channel: far more than an Experience process can watch."""
_READERS = 4
"""Reads under way at once: a pool of connections is shared with everything else that Runtime does."""
_IN_HAND = 4
"""Pages of one channel that are read and that the peer has not taken yet: as many as can be read at once."""
_RETRY_S = 0.5
_FRAMES = Frames(UpstreamFrame)


class Logs(Protocol):
    """What is asked of runtime.store.events.EventLog."""

    async def read_raw_after(self, tenant_id: TenantId, execution_id: ExecutionId, after: int, limit: int) -> LogPart:
        """Stored events after a number; NOT_FOUND or UNAVAILABLE as ApiError."""
        ...


class Bell(Protocol):
    """What is asked of runtime.store.wakeups.Wakeup."""

    async def wait(self) -> None:
        """Return when the log may have grown."""


class Bells(Protocol):
    """What is asked of runtime.store.wakeups.Wakeups."""

    def subscribe(self, execution_id: ExecutionId) -> AbstractContextManager[Bell]:
        """A bell while the block runs."""
        ...


class _Next(Enum):
    """What follows when a page has been sent."""

    PAGE = auto()
    BELL = auto()
    NOTHING = auto()


@dataclass(slots=True)
class _Place:
    """How far a subscription has come."""

    after: int
    log_id: LogId | None = None


class EventStreams:
    """Serves RuntimeApi.events."""

    def __init__(self, logs: Logs, bells: Bells) -> None:
        self._logs = logs
        self._bells = bells
        self._readers = asyncio.Semaphore(_READERS)

    async def serve(self, socket: Socket[InternalCaller], _opened: OpenEvents) -> None:
        """One channel, from handshake to goodbye.

        Raises:
            Gone: the peer left.
            ApiError: it sent what is no frame, or used a number twice.
        """
        following: dict[int, asyncio.Task[None]] = {}
        in_hand = asyncio.Semaphore(_IN_HAND)
        while True:
            frame: Subscribe | Unsubscribe = _FRAMES.parse(await socket.read())
            match frame:
                case Subscribe():
                    if frame.subscription in following or len(following) >= SUBSCRIPTIONS:
                        raise ApiError(Code.MALFORMED, f"Subscription {frame.subscription} is one too many.")
                    task = socket.tasks.create_task(self._follow(socket, frame, in_hand))
                    following[frame.subscription] = task
                    task.add_done_callback(partial(_forget, following, frame.subscription))
                case Unsubscribe():
                    if frame.subscription in following:  # otherwise it has ended on its own
                        following[frame.subscription].cancel()
                case _:
                    assert_never(frame)

    async def _follow(self, socket: Socket[InternalCaller], asked: Subscribe, in_hand: asyncio.Semaphore) -> None:
        try:
            with self._bells.subscribe(asked.execution_id) as bell:
                await self._send_log(socket, asked, bell, in_hand)
        except Gone:
            return  # whoever reads the socket learns it too

    async def _send_log(
        self, socket: Socket[InternalCaller], asked: Subscribe, bell: Bell, in_hand: asyncio.Semaphore
    ) -> None:
        place = _Place(asked.after)
        while True:
            try:
                async with in_hand:
                    follows = await self._send_page(socket, asked, place)
            except ApiError as error:
                log.warning("a log can't be read now", execution_id=str(asked.execution_id), reason=error.detail)
                await asyncio.sleep(_RETRY_S * random.uniform(0.5, 1.5))  # noqa: S311 — jitter
                continue
            match follows:
                case _Next.PAGE:
                    pass
                case _Next.BELL:
                    await bell.wait()
                case _Next.NOTHING:
                    return
                case _:
                    assert_never(follows)

    async def _send_page(self, socket: Socket[InternalCaller], asked: Subscribe, place: _Place) -> _Next:
        """Read what follows, and return once the peer has taken it. Raises ApiError where it can't be read now."""
        number = asked.subscription
        part = await self._read(asked, place.after)
        if part is None:
            await socket.send(Unknown(subscription=number).model_dump_json())
            return _Next.NOTHING
        if part.log_id != place.log_id:  # at first, and when a backup was restored underneath
            place.log_id = part.log_id
            await socket.send(_subscribed(number, part))
        if part.bodies:
            # as stored: nothing is parsed between PostgreSQL and Experience
            events = ",".join(part.bodies)
            await socket.send(f'{{"type":"batch","subscription":{number},"events":[{events}]}}')
            place.after = part.last_seq
        if part.terminal:
            await socket.send(Ended(subscription=number).model_dump_json())
            return _Next.NOTHING
        return _Next.BELL if place.after >= part.head_seq else _Next.PAGE

    async def _read(self, asked: Subscribe, after: int) -> LogPart | None:
        """What follows `after`, or None when the tenant has no such execution."""
        try:
            async with self._readers:
                return await self._logs.read_raw_after(asked.tenant_id, asked.execution_id, after, BATCH)
        except ApiError as error:
            if error.code is Code.NOT_FOUND:
                return None
            raise


def make_guard(verifier: InternalVerifier) -> Guard[InternalCaller]:
    """Lets in who brings the signed internal token as bearer."""

    async def let_in(opening: Opening, _channel: Channel[OpenEvents, object, object]) -> InternalCaller:
        scheme, _, token = opening.headers.get("authorization", "").partition(" ")
        return verifier.verify(token if scheme.lower() == "bearer" else "")

    return let_in


def _subscribed(number: int, part: LogPart) -> str:
    frame = Subscribed(subscription=number, log_id=part.log_id, head_seq=part.head_seq, status=part.status)
    return frame.model_dump_json()


def _forget(following: dict[int, asyncio.Task[None]], number: int, _done: asyncio.Task[None]) -> None:
    following.pop(number, None)
