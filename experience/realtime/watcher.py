"""One socket's share of a feed: gives its client what comes next, from the tail or from the log, and never waits."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from enum import Enum, auto

import structlog

from contracts.errors import ApiError, Code
from contracts.execution import Execution
from contracts.frames import Close, Reset
from contracts.wiring.channel import close_for
from contracts.wiring.client import NotUnderstood
from contracts.wiring.outlet import Outlet
from experience.realtime.dialects import Dialect
from experience.realtime.hub import Feed, Item, join_texts
from experience.realtime.subscription import Place, Subscription, Tail

log = structlog.get_logger()

BATCH_FRAMES = 256
BATCH_SIZE = 65_536
"""What one array frame may hold: clients of common libraries refuse a frame of a megabyte."""
_RETRY_S = 0.3

ReadSnapshot = Callable[[], Awaitable[Execution]]


class Aside(Enum):
    """Frames beside the events; of each kind at most one waits for a slow client."""

    PONG = auto()
    PING = auto()
    WARNING = auto()


class Watcher:
    """Serves one client.

    Args:
        feed: where events come from; it calls `advance` when there is something new.
        outlet: where they go.
        tasks: of the socket; for reading the log, which may take its time.
        place: where the client stands.
        dialect: how events read.
        batch: several events in one frame.
        read_snapshot: how things stand, for a client whose place in the log is lost.
    """

    __slots__ = (
        "_aside",
        "_dialect",
        "_feed",
        "_head",
        "_outlet",
        "_owed",
        "_place",
        "_read_snapshot",
        "_tasks",
        "batch",
    )

    def __init__(
        self,
        *,
        feed: Feed,
        outlet: Outlet,
        tasks: asyncio.TaskGroup,
        place: Subscription,
        dialect: Dialect,
        batch: bool,
        read_snapshot: ReadSnapshot,
    ) -> None:
        self.batch = batch
        self._feed = feed
        self._outlet = outlet
        self._tasks = tasks
        self._place = place
        self._dialect = dialect
        self._read_snapshot = read_snapshot
        self._head = feed.tail.head
        """Where the log stood when it came: to be behind that is no slowness."""
        self._aside: asyncio.Task[None] | None = None
        self._owed: dict[Aside, str] | None = None
        outlet.ready = self._go_on

    def advance(self, budget: int) -> bool:
        """Give at most `budget` frames now; whether more could be given at once."""
        outlet, place, tail = self._outlet, self._place, self._feed.tail
        while not outlet.busy and not outlet.closed and self._aside is None:
            stands = place.place(tail)
            if stands is not Place.HELD:
                self._leave_the_tail(stands)
                return False
            if budget == 0:
                return True
            budget -= 1
            self._give_one(tail)
            if place.cursor == tail.end and not place.done and not tail.ended:
                return False  # the usual end, and this runs for each event and each socket
        return False

    def say(self, kind: Aside, text: str | None) -> None:
        """Send a frame beside the events; to a client that takes nothing now, the latest of its kind later."""
        if text is None or self._outlet.closed:
            return
        if self._outlet.busy:
            self._owed = (self._owed or {}) | {kind: text}
        else:
            self._outlet.write(text)

    def fail(self, close: Close, detail: str = "", *, renewable: bool = False) -> None:
        """End it; `renewable` as of ApiError."""
        self._outlet.close(close, detail, renewable=renewable)

    def _give_one(self, source: Tail[Item]) -> None:
        """Give the next frame that `source` holds."""
        place = self._place
        if self.batch:
            items = source.after(place.cursor, BATCH_FRAMES, BATCH_SIZE)
            for item in items:
                place.give(item.seq, terminal=item.terminal)
            shared = source is self._feed.tail
            self._outlet.write(self._feed.join_texts(items) if shared else join_texts(items))
            return
        item = source.next(place.cursor)
        place.give(item.seq, terminal=item.terminal)
        text = item.text(self._dialect)
        if text is not None:
            self._outlet.write(text)

    def _go_on(self) -> None:
        """The client takes frames again."""
        while self._owed and not self._outlet.busy and not self._outlet.closed:
            self._outlet.write(self._owed.pop(next(iter(self._owed))))
        if self.advance(BATCH_FRAMES):
            self._feed.serve_again(self)

    def _leave_the_tail(self, stands: Place) -> None:
        match stands:
            case Place.CURRENT:
                return
            case Place.DONE:
                self._outlet.close(Close.DONE)
            case _:
                work = self._catch_up if stands is Place.BEHIND else self._start_over
                if stands is Place.BEHIND and self._place.cursor >= self._head:
                    self._feed.hub.dropped += 1
                self._aside = self._tasks.create_task(self._step_aside(work))

    async def _step_aside(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do what takes time while the feed leaves this client alone."""
        hub = self._feed.hub
        hub.reading_log += 1
        try:
            await self._retry(work)
        finally:
            hub.reading_log -= 1
        self._aside = None
        self._go_on()

    async def _retry(self, work: Callable[[], Awaitable[None]]) -> None:
        while not self._outlet.closed:
            try:
                await work()
            except NotUnderstood:
                self.fail(Close.RESTARTING)  # a newer replica may understand it
                break
            except ApiError as error:
                if error.code in (Code.NOT_FOUND, Code.FORBIDDEN):
                    self.fail(close_for(error.code))
                    break
            else:
                break
            await asyncio.sleep(_RETRY_S * random.uniform(0.5, 1.5))  # noqa: S311 — jitter

    async def _catch_up(self) -> None:
        """Read the log until the tail holds what comes next; as fast as the client takes it, and no faster."""
        while self._place.place(self._feed.tail) is Place.BEHIND and not self._outlet.closed:
            page = await self._feed.read_log(self._place.cursor)
            if page.log_id != self._feed.tail.log_id:
                raise ApiError(Code.UNAVAILABLE, "The log was restored; the feed has not heard of it yet.")
            if not page.events or page.events[0].seq != self._place.cursor + 1:
                log.error("a log has a hole", execution_id=str(self._feed.execution_id), after=self._place.cursor)
                await self._start_over()
                return
            found: Tail[Item] = Tail(self._place.cursor, frames=len(page.events), size=2**62)
            found.append([Item(event) for event in page.events])
            epoch = self._feed.tail.epoch
            while self._place.cursor < found.end and self._feed.tail.epoch == epoch and not self._outlet.closed:
                await self._settle()
                if not self._outlet.closed:
                    self._give_one(found)

    async def _start_over(self) -> None:
        """The client's place is lost: tell it to forget, or give it everything again."""
        tail = self._feed.tail
        epoch = tail.epoch
        if not self._dialect.can_reset:
            if self._place.epoch == epoch:
                raise ApiError(Code.UNAVAILABLE, "The log lacks what it should have.")
            self._place.reset(0, epoch)
            return
        snapshot = await self._read_snapshot()
        if tail.epoch != epoch or snapshot.head_seq < tail.base:
            raise ApiError(Code.UNAVAILABLE, "The log changed once more.")
        await self._settle()
        if not self._outlet.closed:
            self._place.reset(snapshot.head_seq, epoch)
            reset = Reset(reason="log_changed", snapshot=snapshot, seq=snapshot.head_seq)
            self._outlet.write(self._dialect.say(reset) or "")

    async def _settle(self) -> None:
        while self._outlet.busy:
            await self._outlet.settle()
