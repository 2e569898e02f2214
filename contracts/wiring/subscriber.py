"""The internal channel, the client's end: event logs of many executions over one WebSocket to Runtime.

    subscribe ──► channel up:   Subscribe / Batch / Ended over the WebSocket
              └─► channel down: RuntimeApi.read_events, polled, until the WebSocket is back

Invariants, whichever way it goes and however often it changes: a listener hears `known` before events, the events of a
subscription are after, after + 1, … without gaps and without repeats, and nothing follows `ended`, `unknown` or
`unreadable`. What can't be read concerns the subscription that it was for, and no other.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, assert_never

import structlog
from pydantic import BaseModel, TypeAdapter, ValidationError
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from contracts.api.runtime import RuntimeApi
from contracts.errors import ApiError, Code
from contracts.events import Event, EventPage
from contracts.execution import ExecutionStatus, ReadEvents, ReadExecution
from contracts.frames import Batch, DownstreamFrame, Ended, Subscribe, Subscribed, Unknown, Unsubscribe
from contracts.model import ExecutionId, LogId, Seq, TenantId
from contracts.wiring.client import NotUnderstood, RuntimeClient

log = structlog.get_logger()

POLL_S = 0.3
"""Between two looks at the logs while the channel is down."""
_POLLERS = 8
_POLL_PAGE = 200
_OPEN_S = 5.0
_ALIVE_S = 5.0
"""Ping and pong on the channel: a frozen Runtime is noticed within twice this."""
_PAUSE_S = (0.1, 2.0)
_STARTING_S = 20.0
"""Both tiers start at the same time: for so long it is nothing to warn of that Runtime is not there yet."""
_FRAME_LIMIT = 16 * 1_048_576
_FRAME: TypeAdapter[DownstreamFrame] = TypeAdapter(DownstreamFrame)


class _Envelope(BaseModel):
    """What is read of a frame whose rest can't be."""

    type: str
    subscription: int


class Listener(Protocol):
    """Hears a subscription, in the event loop and in order. None of these may block or raise."""

    def on_known(self, log_id: LogId, head_seq: Seq, status: ExecutionStatus) -> None:
        """The execution exists; said first, and again whenever the subscription had to be renewed."""

    def on_events(self, events: Sequence[Event]) -> None:
        """What follows the last event heard, without a gap."""

    def on_ended(self) -> None:
        """The terminal event has been heard; the subscription is over."""

    def on_unknown(self) -> None:
        """There is no such execution, or not yet; the subscription is over."""

    def on_unreadable(self) -> None:
        """Something of the log is not known to this version; the subscription is over, and anew would end so again."""


@dataclass(slots=True, eq=False)
class Subscription:
    """One listener's place in one log."""

    number: int
    tenant_id: TenantId
    execution_id: ExecutionId
    after: Seq
    """The last event heard."""
    listener: Listener
    log_id: LogId | None = None
    """The log that `after` counts in, once it is known."""


class Subscriber:
    """Subscriptions of one Experience process at Runtime. `run` must be running for anything to be heard.

    Args:
        runtime_url: base URL of Runtime.
        headers: asked before each connection, so that its short-lived token is fresh.
        runtime: a client of Runtime in the name of a tenant, for polling.
    """

    def __init__(
        self,
        runtime_url: str,
        headers: Callable[[], dict[str, str]],
        runtime: Callable[[TenantId], RuntimeClient],
        *,
        poll_s: float = POLL_S,
        starting_s: float = _STARTING_S,
    ) -> None:
        self._url = "ws" + runtime_url.removeprefix("http").rstrip("/") + RuntimeApi.events.path
        self._headers = headers
        self._runtime = runtime
        self._poll_s = poll_s
        self._starting_s = starting_s
        self._warned = False
        """Whether it has been said that the channel is down."""
        self._subscriptions: dict[int, Subscription] = {}
        self._last_number = 0
        self._outbox: deque[str] = deque()
        self._told = asyncio.Event()
        self._down = asyncio.Event()
        self._down.set()
        self.connections = 0
        """Times that the channel has come up."""

    @property
    def subscriptions(self) -> int:
        """How many logs are heard now."""
        return len(self._subscriptions)

    @property
    def connected(self) -> bool:
        """Whether the channel is up; while it is not, logs are polled."""
        return not self._down.is_set()

    def subscribe(self, tenant_id: TenantId, execution_id: ExecutionId, after: Seq, listener: Listener) -> Subscription:
        """Hear the log of an execution after event number `after`."""
        self._last_number += 1
        subscription = Subscription(self._last_number, tenant_id, execution_id, after, listener)
        self._subscriptions[subscription.number] = subscription
        self._tell(_subscribe(subscription))
        return subscription

    def cancel(self, subscription: Subscription) -> None:
        """Hear nothing more; also of one that is over already."""
        if self._subscriptions.pop(subscription.number, None) is not None:
            self._tell(Unsubscribe(subscription=subscription.number).model_dump_json())

    async def run(self) -> None:
        """Keep the channel up, and poll while it is down, until cancelled."""
        self._down.set()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_channel())
            tasks.create_task(self._keep_polling())

    def _tell(self, text: str) -> None:
        if self.connected:  # otherwise the next connection begins with every subscription there is
            self._outbox.append(text)
            self._told.set()

    # --- the channel

    async def _keep_channel(self) -> None:
        clock = asyncio.get_running_loop().time
        shortest, longest = _PAUSE_S
        pause = shortest
        started = clock()
        while True:
            began = clock()
            try:
                await self._converse()
            except* (OSError, WebSocketException, ValidationError) as failure:
                starting = not self.connections and clock() - started < self._starting_s
                self._say_why(failure.exceptions[0], starting=starting)
            self._down.set()
            # one that fails at once would otherwise be tried without end, also when it fails after the handshake
            pause = shortest if clock() - began > _ALIVE_S else min(longest, pause * 2)
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 — jitter

    def _say_why(self, reason: BaseException, *, starting: bool) -> None:
        """Warn once, and not with every attempt."""
        said = log.debug if starting or (self._warned and not self.connected) else log.warning
        self._warned = not starting
        said("no channel to Runtime; polling", reason=f"{type(reason).__name__}: {reason}"[:300])

    async def _converse(self) -> None:
        opening = connect(
            self._url,
            additional_headers=self._headers(),
            proxy=None,
            compression=None,
            open_timeout=_OPEN_S,
            close_timeout=1,
            ping_interval=_ALIVE_S,
            ping_timeout=_ALIVE_S,
            max_size=_FRAME_LIMIT,
        )
        async with opening as connection, asyncio.TaskGroup() as tasks:
            self._outbox = deque(_subscribe(one) for one in self._subscriptions.values())
            self._told.set()
            self._down.clear()
            self.connections += 1
            log.info("channel to Runtime is up", subscriptions=len(self._subscriptions))
            tasks.create_task(self._speak(connection))
            tasks.create_task(self._hear(connection))

    async def _speak(self, connection: ClientConnection) -> None:
        while True:
            await self._told.wait()
            self._told.clear()
            while self._outbox:
                await connection.send(self._outbox.popleft())

    async def _hear(self, connection: ClientConnection) -> None:
        while True:
            self._dispatch(await connection.recv())
            await asyncio.sleep(0)  # recv does not wait while frames lie ready, and others want their turn

    def _dispatch(self, text: str | bytes) -> None:
        try:
            frame = _FRAME.validate_json(text)
        except ValidationError as error:
            # a Runtime that is newer than this process: what concerns one log must not end the channel for all of them
            self._give_up(self._subscriptions.get(_Envelope.model_validate_json(text).subscription), error)
            return
        subscription = self._subscriptions.get(frame.subscription)
        if subscription is None:
            return  # cancelled while this was on its way
        match frame:
            case Subscribed():
                self._know(subscription, frame.log_id, frame.head_seq, frame.status)
            case Batch():
                if not self._take(subscription, frame.events):
                    self._renew(subscription)
            case Ended():
                self._end(subscription)
            case Unknown():
                self._forget(subscription)
            case _:
                assert_never(frame)

    def _renew(self, subscription: Subscription) -> None:
        log.error("a gap in the channel; subscribing anew", execution_id=str(subscription.execution_id))
        self.cancel(subscription)
        self._last_number += 1
        subscription.number = self._last_number
        self._subscriptions[subscription.number] = subscription
        self._tell(_subscribe(subscription))

    # --- polling

    async def _keep_polling(self) -> None:
        while True:
            await self._down.wait()
            await asyncio.sleep(self._poll_s)
            if self.connected:
                continue
            waiting = iter(list(self._subscriptions.values()))
            async with asyncio.TaskGroup() as tasks:
                for _ in range(min(_POLLERS, len(self._subscriptions))):
                    tasks.create_task(self._poll_some(waiting))

    async def _poll_some(self, waiting: Iterator[Subscription]) -> None:
        for subscription in waiting:
            try:
                while not self.connected and self._is_current(subscription) and await self._poll(subscription):
                    pass
            except NotUnderstood as error:
                self._give_up(subscription if self._is_current(subscription) else None, error)
            except ApiError as error:
                if error.code is not Code.NOT_FOUND:
                    return  # Runtime is away altogether; the next round tries again
                if self._is_current(subscription) and not self.connected:
                    self._forget(subscription)

    async def _poll(self, subscription: Subscription) -> bool:
        """Read one page; whether another may follow at once."""
        runtime = self._runtime(subscription.tenant_id)
        asked = ReadEvents(execution_id=subscription.execution_id, after=subscription.after, limit=_POLL_PAGE)
        page: EventPage = await runtime.read_events(asked)
        if self._is_overtaken(subscription, asked.after):
            return False
        log_id = page.log_id
        if log_id is None or log_id != subscription.log_id or page.head_seq < subscription.after:
            execution = await runtime.get_execution(ReadExecution(execution_id=subscription.execution_id))
            if log_id is None or self._is_overtaken(subscription, asked.after):
                return False
            self._know(subscription, log_id, page.head_seq, execution.status)
        if not self._is_current(subscription) or not self._take(subscription, page.events):
            return False
        if page.terminal and subscription.after >= page.head_seq:
            self._end(subscription)
            return False
        return subscription.after < page.head_seq

    def _is_overtaken(self, subscription: Subscription, after: Seq) -> bool:
        """Whether what was asked for is of no use any more: cancelled, or the channel is back.

        A head that is older than what the channel has brought since would look like a log that was restored.
        """
        return self.connected or not self._is_current(subscription) or subscription.after != after

    # --- what a listener hears

    def _is_current(self, subscription: Subscription) -> bool:
        return self._subscriptions.get(subscription.number) is subscription

    def _know(self, subscription: Subscription, log_id: LogId, head_seq: Seq, status: ExecutionStatus) -> None:
        subscription.log_id = log_id
        subscription.listener.on_known(log_id, head_seq, status)

    def _take(self, subscription: Subscription, events: Sequence[Event]) -> bool:
        """Pass on what is new; whether it fits what was heard before."""
        new = [event for event in events if event.seq > subscription.after]
        if not new:
            return True
        if new[0].seq != subscription.after + 1:
            return False
        subscription.after = new[-1].seq
        subscription.listener.on_events(new)
        return True

    def _end(self, subscription: Subscription) -> None:
        del self._subscriptions[subscription.number]
        subscription.listener.on_ended()

    def _give_up(self, subscription: Subscription | None, reason: Exception) -> None:
        if subscription is None:
            return
        log.error(
            "Runtime says something that this version does not know",
            execution_id=str(subscription.execution_id),
            after=subscription.after,
            reason=f"{type(reason).__name__}: {reason}"[:300],
        )
        self.cancel(subscription)
        subscription.listener.on_unreadable()

    def _forget(self, subscription: Subscription) -> None:
        del self._subscriptions[subscription.number]
        subscription.listener.on_unknown()


def _subscribe(subscription: Subscription) -> str:
    return Subscribe(
        subscription=subscription.number,
        tenant_id=subscription.tenant_id,
        execution_id=subscription.execution_id,
        after=subscription.after,
    ).model_dump_json()
