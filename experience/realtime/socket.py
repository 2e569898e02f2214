"""The execution streams: how a socket begins, the one loop that reads its client, and what time brings.

A socket is one task: the loop that reads. What is sent, the feed writes in its own turn; pings and expiry come from the
wheel. So an idle socket costs what an idle socket of Starlette costs.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import assert_never

from contracts.api.public import PublicApi
from contracts.errors import ApiError, Code
from contracts.execution import Execution, IntentStatus
from contracts.frames import (
    AuthExpiring,
    ClientFrame,
    ClientPing,
    ClientPong,
    Close,
    Hello,
    OpenGuideStream,
    OpenStream,
    Ping,
    Reset,
    StreamFault,
)
from contracts.model import ExecutionId, Seq
from contracts.wiring.channel import UNKNOWN, Channels, Frames, Keepalive, Socket, close_for
from contracts.wiring.outlet import Outlet
from experience.auth.principal import Principal
from experience.realtime.dialects import GUIDE, NATIVE, Dialect
from experience.realtime.hub import Feed, Hub
from experience.realtime.subscription import Allowance, Asked, Due, Resumed, Subscription, Timetable, resume
from experience.realtime.watcher import Aside, Watcher
from experience.realtime.wheel import Wheel

OPEN_S = 5.0
"""How long a new socket waits for Runtime's first word before it is asked to come back."""
PENDING_S = 1.0
"""How long one waits that only wants to see an accepted execution begin."""
WARN_S = 60.0
"""How long before its credential ends a client is told to renew."""
CHECK_S = 60.0
"""How often it is asked whether a credential still stands: a revoked one ends its sockets within this time."""
GUIDE_KEEPALIVE = Keepalive(interval_s=20.0, timeout_s=60.0)
"""The API guide's ping interval and timeout; they are the protocol ping's, since its clients need not send any."""
MESSAGES_PER_S = 10.0
MESSAGES_AT_ONCE = 60.0
_FRAMES = Frames(ClientFrame)


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """What streams ask of the parts above them."""

    find_promise: Callable[[Principal, ExecutionId], Awaitable[IntentStatus | None]]
    """How far the intent has come that asked for this execution; None where there is none."""
    read_snapshot: Callable[[Principal, ExecutionId], Awaitable[Execution]]
    """How it stands right now, read and not remembered; NOT_FOUND as ApiError."""
    renew: Callable[[Principal], Awaitable[Principal]]
    """The principal as it stands now; UNAUTHENTICATED or FORBIDDEN as ApiError."""


class Streams:
    """Serves PublicApi.execution_stream and PublicApi.guide_stream. `run` must be running."""

    def __init__(
        self,
        hub: Hub,
        doors: Doors,
        *,
        ping_interval_s: float,
        guide_keepalive: Keepalive = GUIDE_KEEPALIVE,
        check_s: float = CHECK_S,
        warn_s: float = WARN_S,
    ) -> None:
        self.hub = hub
        self.doors = doors
        self.ping_interval_s = ping_interval_s
        self.guide_keepalive = guide_keepalive
        self.check_s = check_s
        self.warn_s = warn_s
        self.wheel = Wheel(tick_s=min(0.25, ping_interval_s / 8))
        self.open = {dialect.name: 0 for dialect in (NATIVE, GUIDE)}
        """Sockets that are served now, by dialect."""
        self.pings = 0
        """Sent so far; the protocol's own are not counted."""

    def serve(self, channels: Channels[Principal]) -> None:
        """Bind the handlers."""
        channels.on(PublicApi.execution_stream, self.serve_native)
        channels.on(PublicApi.guide_stream, self.serve_guide, keepalive=self.guide_keepalive)

    async def run(self) -> None:
        """Keep time until cancelled."""
        await self.wheel.run()

    async def serve_native(self, socket: Socket[Principal], opened: OpenStream) -> None:
        """`/api/execution/{id}/stream`.

        Raises:
            Gone: the client left.
            ApiError: what the close code tells.
        """
        if opened.tenant_id not in (None, socket.caller.tenant_id):
            raise ApiError(Code.NOT_FOUND, UNKNOWN)
        asked = Asked(opened.after, opened.log)
        await self._serve(socket, opened.execution_id, asked, NATIVE, batch=opened.batch)

    async def serve_guide(self, socket: Socket[Principal], opened: OpenGuideStream) -> None:
        """`/api/ws/executions/{id}`: the whole log from its beginning, in the API guide's words; raises as above."""
        await self._serve(socket, opened.execution_id, Asked(), GUIDE, batch=False)

    async def _serve(
        self, socket: Socket[Principal], execution_id: ExecutionId, asked: Asked, dialect: Dialect, *, batch: bool
    ) -> None:
        feed = self.hub.join(socket.caller.tenant_id, execution_id, asked.after)
        self.open[dialect.name] += 1
        try:
            await Stream(self, socket, feed, dialect, batch=batch).run(asked)
        finally:
            self.open[dialect.name] -= 1
            self.hub.leave(feed)


class Stream:
    """One open socket."""

    __slots__ = ("_allowance", "_batch", "_dialect", "_feed", "_owner", "_principal", "_socket", "_times", "_watcher")

    def __init__(self, owner: Streams, socket: Socket[Principal], feed: Feed, dialect: Dialect, *, batch: bool) -> None:
        now = asyncio.get_running_loop().time()
        self._owner = owner
        self._socket = socket
        self._principal = socket.caller if dialect.can_warn else socket.caller.outlive_token()
        self._feed = feed
        self._dialect = dialect
        self._batch = batch
        self._allowance = Allowance(now, rate=MESSAGES_PER_S, burst=MESSAGES_AT_ONCE)
        self._times = Timetable(
            now,
            ping_s=owner.ping_interval_s,
            check_s=owner.check_s,
            warn_s=owner.warn_s,
            expires_at=self._expires_at(),
        )
        self._watcher: Watcher | None = None

    async def run(self, asked: Asked) -> None:
        """Begin, then read until the client leaves or does something wrong.

        Raises:
            Gone: it left.
            ApiError: it may not be here, or sent what it may not send.
        """
        place = await self._begin(asked)
        watcher = self._watcher = Watcher(
            feed=self._feed,
            outlet=self._socket.outlet,
            tasks=self._socket.tasks,
            place=place,
            dialect=self._dialect,
            batch=self._batch,
            read_snapshot=self._read_snapshot,
        )
        self._feed.add(watcher)
        self._owner.wheel.add(self, self._times.next_at)
        try:
            await self._listen(watcher)
        except ApiError as error:
            self._explain(error)
            raise
        finally:
            self._feed.remove(watcher)
            self._watcher = None
            self._socket.outlet.ready = None

    # --- the beginning

    async def _begin(self, asked: Asked) -> Subscription:
        """Say hello, and with it where the client stands."""
        feed = self._feed
        await self._find(asked)
        tail = feed.tail
        epoch, head, log_id = tail.epoch, tail.head, tail.log_id
        resumed = resume(asked, log_id, head)
        cursor, reset = asked.after, None
        if resumed is Resumed.RESET:
            # this feed may be behind what the client got from another replica: the log itself decides
            snapshot = await self._read_snapshot()
            if snapshot.head_seq < head:
                raise ApiError(Code.UNAVAILABLE, "The log is not what it was a moment ago.")
            head = snapshot.head_seq
            resumed = resume(asked, log_id, head)
            if resumed is Resumed.RESET:
                cursor = head
                reason = "ahead_of_log" if asked.log_id in (None, log_id) else "log_changed"
                reset = Reset(reason=reason, snapshot=snapshot, seq=cursor)
        hello = Hello(
            execution_id=feed.execution_id,
            log_id=log_id,
            from_seq=cursor,
            head_seq=head,
            status=reset.snapshot.status if reset else feed.status,
            resumed=resumed.value,
            ping_interval=self._owner.ping_interval_s,
        )
        await self._write(self._dialect.say(hello))
        if reset is not None:
            await self._write(self._dialect.say(reset))
        return Subscription(cursor, epoch)

    async def _find(self, asked: Asked) -> None:
        """Wait until it is known what this execution is; return when a stream of it can begin.

        Raises:
            ApiError: NOT_FOUND; UNAVAILABLE when only Runtime could say, and does not.
        """
        feed = self._feed
        heard = await feed.settle(PENDING_S)
        if heard and not feed.unknown and not feed.gone:
            return
        status = await self._find_promise()
        # promised and not begun, as far as anybody knows: it begins when Runtime has heard of it. One that Runtime has
        # confirmed was there already: where Runtime knows it no more, it is pruned
        promised = status is IntentStatus.PENDING or (status is IntentStatus.DELIVERED and not heard)
        if promised and asked == Asked() and not feed.gone:
            return
        # but that events a client has already still count can only be shown with Runtime's word
        if not heard and not await feed.settle(OPEN_S - PENDING_S):
            raise ApiError(Code.UNAVAILABLE, "Runtime does not answer.")
        if feed.gone:
            raise ApiError(Code.NOT_FOUND, UNKNOWN)
        if feed.unknown and status is not IntentStatus.PENDING:
            await self._make_sure()

    async def _find_promise(self) -> IntentStatus | None:
        return await self._owner.doors.find_promise(self._principal, self._feed.execution_id)

    async def _make_sure(self) -> None:
        """Ask once more: Runtime may have heard of it since it said that it had not."""
        try:
            snapshot = await self._read_snapshot()
        except ApiError as error:
            if error.code is Code.NOT_FOUND:
                raise ApiError(Code.NOT_FOUND, UNKNOWN) from error
            raise
        if snapshot.head_seq == 0:
            # shown in place of one that was refused: it has no log and never gets one
            raise ApiError(Code.NOT_FOUND, UNKNOWN)
        self._feed.look_again()

    async def _read_snapshot(self) -> Execution:
        return await self._owner.doors.read_snapshot(self._principal, self._feed.execution_id)

    async def _write(self, text: str | None) -> None:
        outlet = self._socket.outlet
        if text is not None and not outlet.closed:
            outlet.write(text)
            await outlet.settle()

    # --- the loop

    async def _listen(self, watcher: Watcher) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            text = await self._socket.read()
            if not self._allowance.take(clock()):
                raise ApiError(Code.RATE_LIMITED, f"More than {MESSAGES_PER_S:g} messages a second.")
            # "ping" is the API guide's own; the frame is ours
            frame = ClientPing() if text == "ping" else _FRAMES.parse(text)
            match frame:
                case ClientPing():
                    watcher.say(Aside.PONG, self._dialect.pong)
                case ClientPong():
                    pass
                case _:
                    assert_never(frame)

    def _explain(self, error: ApiError) -> None:
        outlet: Outlet = self._socket.outlet
        close = close_for(error.code)
        retry = close.retry or error.renewable
        text = self._dialect.say(StreamFault(code=close.name.lower(), detail=error.detail, retry=retry))
        if text is not None and not outlet.busy and not outlet.closed:
            outlet.write(text)

    # --- time

    def on_time(self, now: float) -> float | None:
        """See Timed."""
        while self._watcher is not None:
            match self._times.take_due(now):
                case Due.NOTHING:
                    return self._times.next_at
                case Due.PING:
                    head: Seq = self._feed.tail.head
                    self._owner.pings += 1
                    self._watcher.say(Aside.PING, self._dialect.say(Ping(ts=time.time(), seq=head)))
                case Due.CHECK:
                    self._socket.tasks.create_task(self._check(warn=False))
                case Due.EXPIRING:
                    self._socket.tasks.create_task(self._check(warn=True))
                case Due.EXPIRED:
                    self._watcher.fail(Close.UNAUTHENTICATED, "The credential has ended.", renewable=True)
                    return None
        return None

    async def _check(self, *, warn: bool) -> None:
        """Ask whether the credential still stands, and take its new end, if it has one."""
        before = self._principal.expires_at
        try:
            self._principal = await self._owner.doors.renew(self._principal)
        except ApiError as error:
            if error.code in (Code.UNAUTHENTICATED, Code.FORBIDDEN) and self._watcher is not None:
                self._watcher.fail(close_for(error.code), error.detail, renewable=error.renewable)
                return
        if self._feed.unknown:
            await self._look_for()
        if self._principal.expires_at != before:
            self._times.renew(self._expires_at())
        elif warn and before is not None and self._watcher is not None:
            warning = AuthExpiring(expires_at=before.timestamp())
            self._watcher.say(Aside.WARNING, self._dialect.say(warning))

    async def _look_for(self) -> None:
        """End the stream of what was waited for and never comes: refused by now, or pruned while Runtime was away."""
        try:
            if await self._find_promise() is not IntentStatus.PENDING:
                await self._make_sure()
        except ApiError as error:
            if error.code is Code.NOT_FOUND and self._watcher is not None:
                self._watcher.fail(Close.NOT_FOUND, error.detail)

    def _expires_at(self) -> float | None:
        """When the credential ends, on the loop's clock."""
        end = self._principal.expires_at
        return None if end is None else asyncio.get_running_loop().time() + end.timestamp() - time.time()
