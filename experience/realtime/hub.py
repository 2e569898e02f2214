"""One upstream subscription per watched execution and process, shared by all who watch it here.

    Runtime ══► Subscriber ──► Feed (tail of the log) ──► Watcher ──► socket
                                                     └──► Watcher ──► socket

A feed wakes its watchers; each gives its client what comes after its cursor, from the tail or from the log. Watchers
are served in rounds with a budget, so that a burst on one execution holds up neither the loop nor other executions.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import structlog

from contracts.events import TERMINAL, Cancelled, Completed, Event, EventPage, StatusChanged
from contracts.execution import ExecutionStatus, ReadEvents
from contracts.frames import Close
from contracts.model import ExecutionId, LogId, Seq, TenantId
from contracts.wiring.client import RuntimeClient
from contracts.wiring.subscriber import Listener, Subscription
from experience.realtime.dialects import NATIVE, Dialect
from experience.realtime.subscription import Tail

log = structlog.get_logger()

COALESCE_S = 0.02
"""How long events are gathered for those who take them in batches, counted from the last batch."""
PAGE = 200
"""Events read from the log at once for a client that is behind."""
_ROUND = 512
_LOG_READERS = 16
_RETRY_S = (0.05, 1.0)


class Item:
    """An event in a tail, with its texts: each is made once, when the first watcher needs it."""

    __slots__ = ("_other", "event", "native", "seq", "size", "terminal")

    def __init__(self, event: Event) -> None:
        self.event = event
        self.seq = event.seq
        self.terminal = event.type in TERMINAL
        self.native = event.model_dump_json()
        self.size = len(self.native)
        self._other: dict[str, str | None] | None = None

    def text(self, dialect: Dialect) -> str | None:
        """What `dialect` says, if anything."""
        if dialect is NATIVE:
            return self.native
        if self._other is None:
            self._other = {}
        if dialect.name not in self._other:
            self._other[dialect.name] = dialect.render(self.event)
        return self._other[dialect.name]


class Upstream(Protocol):
    """What is asked of contracts.wiring.subscriber.Subscriber."""

    def subscribe(self, tenant_id: TenantId, execution_id: ExecutionId, after: Seq, listener: Listener) -> Subscription:
        """Hear a log after a number."""
        ...

    def cancel(self, subscription: Subscription) -> None:
        """Hear nothing more."""


class Watching(Protocol):
    """Who is served by a feed."""

    batch: bool

    def advance(self, budget: int) -> bool:
        """Give at most `budget` frames now, without waiting; whether more could be given at once."""

    def fail(self, close: Close) -> None:
        """End it."""


class Audience:
    """Watchers that are served together, and which of them are due.

    An event concerns all of them. One who has just come, or takes frames again, is nobody else's business: serving the
    whole house for each would make a crowd that comes back at once cost its square.
    """

    __slots__ = ("_all_due", "_due", "_members")

    def __init__(self) -> None:
        self._members: dict[Watching, None] = {}
        self._due: dict[Watching, None] = {}
        self._all_due = False

    def __iter__(self) -> Iterator[Watching]:
        return iter(self._members)

    @property
    def due(self) -> bool:
        """Whether anybody is to be served."""
        return bool(self._due) or (self._all_due and bool(self._members))

    def add(self, watcher: Watching) -> None:
        """One more, who is due."""
        self._members[watcher] = None
        self._due[watcher] = None

    def remove(self, watcher: Watching) -> None:
        """One less, if it was one."""
        self._members.pop(watcher, None)
        self._due.pop(watcher, None)

    def call(self, watcher: Watching) -> None:
        """That one is due."""
        if watcher in self._members:
            self._due[watcher] = None

    def call_all(self) -> None:
        """Everybody is due."""
        self._all_due = True

    def serve(self, execution_id: ExecutionId) -> None:
        """Serve those who are due, within a budget; those who could take more are due again."""
        due = self._members if self._all_due else self._due
        self._all_due, self._due = False, {}
        if not due:
            return
        budget = max(1, _ROUND // len(due))
        for watcher in due:
            try:
                if watcher.advance(budget):
                    self._due[watcher] = None
            except Exception:  # the socket loop's shell: one client's failure is not the others'
                log.exception("a watcher failed", execution_id=str(execution_id))
                watcher.fail(Close.INTERNAL)


class Hub:
    """The feeds of this process."""

    def __init__(self, upstream: Upstream, runtime: Callable[[TenantId], RuntimeClient]) -> None:
        self._upstream = upstream
        self._runtime = runtime
        self._feeds: dict[tuple[TenantId, ExecutionId], Feed] = {}
        self._readers = asyncio.Semaphore(_LOG_READERS)
        self.dropped = 0
        """Times that a client was too slow for the tail and was sent to the log instead."""
        self.reading_log = 0
        """Clients that read the log now: slow ones, and those that have just come and are behind."""

    def join(self, tenant_id: TenantId, execution_id: ExecutionId, after: Seq) -> "Feed":
        """The feed of an execution; whoever is first decides where its tail begins. Leave it with `leave`."""
        key = (tenant_id, execution_id)
        feed = self._feeds.get(key)
        if feed is None:
            feed = self._feeds[key] = Feed(self, self._upstream, tenant_id, execution_id, after)
        feed.users += 1
        return feed

    def leave(self, feed: "Feed") -> None:
        """One user less; the last one ends the upstream subscription."""
        feed.users -= 1
        if feed.users == 0:
            feed.close()
            del self._feeds[(feed.tenant_id, feed.execution_id)]

    async def read_log(self, tenant_id: TenantId, execution_id: ExecutionId, after: Seq) -> EventPage:
        """A page of the log itself; raises what Runtime answers."""
        async with self._readers:
            asked = ReadEvents(execution_id=execution_id, after=after, limit=PAGE)
            return await self._runtime(tenant_id).read_events(asked)

    @property
    def feeds(self) -> int:
        """How many executions are watched here."""
        return len(self._feeds)


class Feed:
    """One execution, as it is heard here. A Listener upstream, a source for watchers."""

    def __init__(
        self, hub: Hub, upstream: Upstream, tenant_id: TenantId, execution_id: ExecutionId, after: Seq
    ) -> None:
        self.tenant_id = tenant_id
        self.execution_id = execution_id
        self.users = 0
        self.tail: Tail[Item] = Tail(after)
        self.status = ExecutionStatus.PENDING
        self.unknown = False
        """Runtime has answered that there is no such execution, or not yet."""
        self.gone = False
        """It was there and is no more: pruned, or moved to another tenant."""
        self.unreadable = False
        """Something in its log is not known to this version: who wants to see it comes back to a newer replica."""
        self._hub = hub
        self._upstream = upstream
        self._loop = asyncio.get_running_loop()
        self._settled = asyncio.Event()
        self._watchers = Audience()
        self._batched = Audience()
        self._round: asyncio.Handle | None = None
        self._flush: asyncio.TimerHandle | None = None
        self._flushed_at = 0.0
        self._joined: tuple[Seq, Seq, str] = (0, 0, "")
        self._retry: asyncio.TimerHandle | None = None
        self._pause_s = _RETRY_S[0]
        self._subscription: Subscription | None = upstream.subscribe(tenant_id, execution_id, after, self)

    async def settle(self, timeout_s: float) -> bool:
        """Wait for Runtime's first word on this execution; whether it came in time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._settled.wait()
        except TimeoutError:
            return False
        return True

    @property
    def hub(self) -> Hub:
        """Whose it is."""
        return self._hub

    async def read_log(self, after: Seq) -> EventPage:
        """A page of the log itself; raises what Runtime answers."""
        return await self._hub.read_log(self.tenant_id, self.execution_id, after)

    def add(self, watcher: Watching) -> None:
        """Serve `watcher` from now on."""
        if self.unreadable:
            watcher.fail(Close.RESTARTING)
            return
        self._audience(watcher).add(watcher)
        self._begin_round()

    def remove(self, watcher: Watching) -> None:
        """Serve it no more."""
        self._audience(watcher).remove(watcher)

    def serve_again(self, watcher: Watching) -> None:
        """Serve `watcher` in the loop's next turn: it takes frames again, and there are more."""
        self._audience(watcher).call(watcher)
        self._begin_round()

    def close(self) -> None:
        """Hear nothing more."""
        for handle in (self._round, self._flush, self._retry):
            if handle is not None:
                handle.cancel()
        self._unsubscribe()

    def look_again(self) -> None:
        """Ask for an execution that Runtime did not know."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
            self._subscribe()

    def join_texts(self, items: Sequence[Item]) -> str:
        """Several events as one JSON array, made once for all who stand at the same place."""
        first, last = items[0].seq, items[-1].seq
        if (first, last) != self._joined[:2]:
            self._joined = (first, last, join_texts(items))
        return self._joined[2]

    # --- upstream

    def on_known(self, log_id: LogId, head_seq: Seq, status: ExecutionStatus) -> None:
        """See Listener."""
        self.unknown = False
        self.status = status
        fits = self.tail.meet(log_id, head_seq)
        self._joined = (0, 0, "")
        self._settled.set()
        if not fits:
            self._unsubscribe()
            self._subscribe()
        self.wake()

    def on_events(self, events: Sequence[Event]) -> None:
        """See Listener."""
        heard = self.tail.head
        self.tail.append([Item(event) for event in events])
        for event in events:
            if event.seq > heard:  # older ones are told by the status that came with the head
                self._note(event)
        self.wake()

    def on_ended(self) -> None:
        """See Listener."""
        self._subscription = None
        self.tail.ended = True
        self.wake()

    def on_unknown(self) -> None:
        """See Listener."""
        self._subscription = None
        if self.tail.log_id is not None:
            self.gone = True
            log.info("a watched execution is gone", execution_id=str(self.execution_id))
            for watcher in [*self._watchers, *self._batched]:
                watcher.fail(Close.NOT_FOUND)
            return
        self.unknown = True
        self._settled.set()
        self._retry = self._loop.call_later(self._pause_s, self.look_again)
        self._pause_s = min(_RETRY_S[1], self._pause_s * 2)

    def on_unreadable(self) -> None:
        """See Listener."""
        self._subscription = None
        self.unreadable = True
        self._settled.set()
        for watcher in [*self._watchers, *self._batched]:
            watcher.fail(Close.RESTARTING)

    def _subscribe(self) -> None:
        end = self.tail.end
        self._subscription = self._upstream.subscribe(self.tenant_id, self.execution_id, end, self)

    def _unsubscribe(self) -> None:
        if self._subscription is not None:
            self._upstream.cancel(self._subscription)
            self._subscription = None

    def _note(self, event: Event) -> None:
        match event:
            case StatusChanged():
                self.status = event.status
            case Completed():
                self.status = ExecutionStatus.COMPLETED
            case Cancelled():
                self.status = ExecutionStatus.CANCELLED
            case _:
                pass  # an error's status event has come before it

    # --- watchers

    def wake(self) -> None:
        """Serve everybody in the loop's next turn."""
        self._watchers.call_all()
        self._batched.call_all()
        self._begin_round()

    def _audience(self, watcher: Watching) -> Audience:
        return self._batched if watcher.batch else self._watchers

    def _begin_round(self) -> None:
        if self._round is None:
            self._round = self._loop.call_soon(self._serve)

    def _serve(self) -> None:
        self._round = None
        self._watchers.serve(self.execution_id)
        if self._watchers.due:
            self._begin_round()
        if self._batched.due and self._flush is None:
            # the first goes out at once, what follows within the window goes together
            self._flush = self._loop.call_at(self._flushed_at + COALESCE_S, self._serve_batched)

    def _serve_batched(self) -> None:
        self._flush = None
        self._flushed_at = self._loop.time()
        self._batched.serve(self.execution_id)
        if self._batched.due:
            self._begin_round()


def join_texts(items: Sequence[Item]) -> str:
    """Several events as one JSON array."""
    return "[" + ",".join([item.native for item in items]) + "]"
