"""Each client sees each event exactly once and in order, whatever happens to the feed, the log and the client."""

from dataclasses import dataclass, field
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from contracts.model import LogId
from experience.realtime.subscription import (
    Allowance,
    Asked,
    Due,
    Place,
    Resumed,
    Subscription,
    Tail,
    Timetable,
    resume,
)

LOG, OTHER = LogId(UUID(int=1)), LogId(UUID(int=2))


@dataclass(frozen=True)
class Item:
    seq: int
    size: int = 10
    fact: object = None
    terminal: bool = False


def tail_of(after: int, end: int, *, frames: int = 256, size: int = 1_000) -> Tail[Item]:
    tail: Tail[Item] = Tail(after, frames=frames, size=size)
    tail.meet(LOG, end)
    tail.append([Item(seq) for seq in range(after + 1, end + 1)])
    return tail


# --- the tail


def test_a_tail_holds_the_latest_by_number_and_by_size() -> None:
    assert (tail_of(0, 10, frames=4).base, tail_of(0, 10, size=35).base) == (6, 7)
    tail = tail_of(0, 3)
    tail.append([Item(4, size=5_000)])
    assert (tail.base, tail.end) == (3, 4)  # one event is always held, however large


def test_a_tail_takes_only_what_follows() -> None:
    tail = tail_of(0, 3)
    for wrong in (3, 5):
        with pytest.raises(ValueError, match="does not follow"):
            tail.append([Item(wrong)])


def test_a_tail_gives_chunks_by_number_and_size_but_never_nothing() -> None:
    tail = tail_of(2, 10)
    assert [item.seq for item in tail.after(4, 3, 1_000)] == [5, 6, 7]
    assert [item.seq for item in tail.after(4, 100, 25)] == [5, 6]
    assert [item.seq for item in tail.after(4, 100, 1)] == [5]
    assert [item.seq for item in tail.after(9, 1, 1)] == [10]
    assert list(tail.after(10, 5, 1_000)) == []
    assert tail.next(2).seq == 3


def test_meeting_the_same_log_goes_on_and_another_one_starts_anew() -> None:
    tail = tail_of(0, 5)
    assert tail.meet(LOG, 7)
    assert (tail.base, tail.end, tail.head, tail.epoch) == (0, 5, 7, 0)
    assert not tail.meet(OTHER, 3)
    assert (tail.base, tail.end, tail.head, tail.epoch, tail.log_id) == (3, 3, 3, 1, OTHER)
    assert not tail.meet(OTHER, 2)  # a log never shrinks: this is another one, whatever its name
    assert (tail.base, tail.epoch) == (2, 2)


def test_a_first_subscriber_who_asks_beyond_the_head_moves_the_start_and_nobody_is_astray() -> None:
    tail: Tail[Item] = Tail(99)
    assert not tail.meet(LOG, 5)
    assert (tail.base, tail.epoch) == (5, 0)


# --- places


@pytest.mark.parametrize(
    ("cursor", "place"), [(3, Place.BEHIND), (4, Place.HELD), (9, Place.HELD), (10, Place.CURRENT), (12, Place.CURRENT)]
)
def test_where_a_cursor_stands(cursor: int, place: Place) -> None:
    assert Subscription(cursor, 0).place(tail_of(4, 10)) is place


def test_at_the_end_of_an_ended_log_it_is_done() -> None:
    tail = tail_of(0, 3)
    tail.ended = True
    assert Subscription(3, 0).place(tail) is Place.DONE
    assert Subscription(2, 0).place(tail) is Place.HELD


def test_after_the_terminal_event_it_is_done_even_if_the_tail_has_not_heard() -> None:
    subscription = Subscription(5, 0)
    subscription.give(6, terminal=True)
    assert subscription.place(tail_of(0, 3)) is Place.DONE


def test_only_the_next_event_can_be_given() -> None:
    subscription = Subscription(5, 0)
    for wrong in (5, 7):
        with pytest.raises(ValueError, match="does not follow"):
            subscription.give(wrong, terminal=False)


# --- resuming


@pytest.mark.parametrize(
    ("asked", "log_id", "head", "resumed"),
    [
        (Asked(), LOG, 5, Resumed.FRESH),
        (Asked(0, LOG), LOG, 5, Resumed.FRESH),
        (Asked(3), LOG, 5, Resumed.RECOVERED),
        (Asked(5, LOG), LOG, 5, Resumed.RECOVERED),
        (Asked(6, LOG), LOG, 5, Resumed.RESET),
        (Asked(3, OTHER), LOG, 5, Resumed.RESET),
        (Asked(0, OTHER), LOG, 5, Resumed.RESET),
        (Asked(), None, 0, Resumed.FRESH),
        (Asked(1), None, 0, Resumed.RESET),
        (Asked(0, LOG), None, 0, Resumed.RESET),
    ],
)
def test_how_a_stream_begins(asked: Asked, log_id: LogId | None, head: int, resumed: Resumed) -> None:
    assert resume(asked, log_id, head) is resumed


# --- the whole, against a model


@dataclass
class World:
    """A log in the store, as it is now."""

    log_id: int = 1
    facts: list[str] = field(default_factory=list)
    ended: bool = False

    def item(self, seq: int) -> Item:
        return Item(seq, fact=self.facts[seq - 1], terminal=self.ended and seq == len(self.facts))


@dataclass(eq=False)
class Viewer:
    """A client: what it was given since its last reset, and where it stands."""

    subscription: Subscription | None = None
    seen: list[str] = field(default_factory=list)
    base: int = 0
    log_id: int = 0
    closed: bool = False

    @property
    def position(self) -> int:
        return self.base + len(self.seen)


class Streams(RuleBasedStateMachine):
    """One feed with a small tail, any number of clients; everything that can happen happens at any time."""

    viewers = Bundle("viewers")

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.facts = 0
        self.tail: Tail[Item] | None = None
        self.upstream = 0
        self.all: list[Viewer] = []

    # the log

    @rule(count=st.integers(1, 6))
    def record(self, count: int) -> None:
        if not self.world.ended:
            for _ in range(count):
                self.facts += 1
                self.world.facts.append(f"fact {self.facts}")

    @rule()
    def finish(self) -> None:
        if not self.world.ended and self.world.facts:
            self.record(1)
            self.world.ended = True

    @rule(kept=st.integers(0, 20))
    def restore_a_backup(self, kept: int) -> None:
        self.world = World(self.world.log_id + 1, self.world.facts[:kept])
        self.facts += 1_000

    # the feed

    @rule()
    def meet(self) -> None:
        """What happens on each (re)connect upstream."""
        if self.tail is not None:
            self.tail.meet(LogId(UUID(int=self.world.log_id)), len(self.world.facts))
            self.upstream = self.tail.end

    @rule(count=st.integers(1, 8), repeat=st.integers(0, 4))
    def deliver(self, count: int, repeat: int) -> None:
        """A batch comes down, some of it for the second time, as the subscriber would pass it on."""
        tail = self.tail
        if tail is None or tail.log_id != LogId(UUID(int=self.world.log_id)):
            return
        start = max(0, self.upstream - repeat)
        batch = [self.world.item(seq) for seq in range(start + 1, min(start + count, len(self.world.facts)) + 1)]
        tail.append([item for item in batch if item.seq > tail.end])
        self.upstream = tail.end
        if self.world.ended and tail.end == len(self.world.facts):
            tail.ended = True

    @rule()
    def drop_the_feed(self) -> None:
        """The process dies: every client is cut off."""
        self.tail = None
        for viewer in self.all:
            viewer.subscription = None

    # clients

    @rule(target=viewers)
    def arrive(self) -> Viewer:
        viewer = Viewer()
        self.all.append(viewer)
        self.connect(viewer)
        return viewer

    @rule(viewer=viewers)
    def reconnect(self, viewer: Viewer) -> None:
        if not viewer.closed:
            self.connect(viewer)

    def connect(self, viewer: Viewer) -> None:
        asked = Asked(viewer.position, LogId(UUID(int=viewer.log_id)) if viewer.log_id else None)
        if self.tail is None:
            self.tail = Tail(asked.after, frames=5, size=1_000)
            self.meet()
        tail = self.tail
        viewer.subscription = Subscription(asked.after, tail.epoch)
        if resume(asked, tail.log_id, tail.head) is Resumed.RESET:
            head = len(self.world.facts)  # the second look, at the log itself
            same_log = tail.log_id is not None and tail.log_id.int == self.world.log_id
            if not same_log or resume(asked, tail.log_id, head) is Resumed.RESET:
                self.reset(viewer, tail)
        elif not viewer.log_id:
            viewer.log_id = tail.log_id.int if tail.log_id else 0

    def reset(self, viewer: Viewer, tail: Tail[Item]) -> None:
        self.meet()  # a snapshot shows the new log; the feed has met it by then, or is made to
        assert viewer.subscription is not None
        viewer.base = len(self.world.facts)
        viewer.seen = []
        viewer.log_id = self.world.log_id
        viewer.subscription.reset(viewer.base, tail.epoch)

    @rule(viewer=viewers, frames=st.integers(1, 4))
    def serve(self, viewer: Viewer, frames: int) -> None:
        """The socket can take something; a slow client is one whom this rarely happens to."""
        subscription, tail = viewer.subscription, self.tail
        if subscription is None or tail is None:
            return
        match subscription.place(tail):
            case Place.HELD:
                self.give(viewer, tail.after(subscription.cursor, frames, 25))
            case Place.BEHIND:
                if tail.log_id is not None and tail.log_id.int == self.world.log_id:
                    last = min(subscription.cursor + frames, len(self.world.facts))
                    self.give(viewer, [self.world.item(seq) for seq in range(subscription.cursor + 1, last + 1)])
            case Place.ASTRAY:
                self.reset(viewer, tail)
            case Place.DONE:
                viewer.closed = True
                viewer.subscription = None
            case Place.CURRENT:
                pass

    def give(self, viewer: Viewer, items: object) -> None:
        assert viewer.subscription is not None
        for item in items:  # type: ignore[attr-defined]
            viewer.subscription.give(item.seq, terminal=item.terminal)
            viewer.seen.append(item.fact)

    @invariant()
    def nobody_saw_a_hole_a_repeat_or_another_log(self) -> None:
        for viewer in self.all:
            if viewer.subscription is not None and viewer.log_id == self.world.log_id:
                assert viewer.seen == self.world.facts[viewer.base : viewer.position]

    @invariant()
    def who_was_closed_had_the_terminal_event(self) -> None:
        for viewer in self.all:
            if viewer.closed and viewer.log_id == self.world.log_id:
                assert self.world.ended
                assert viewer.position == len(self.world.facts)

    def teardown(self) -> None:
        """When everything calms down, everybody gets everything."""
        open_viewers = [viewer for viewer in self.all if not viewer.closed]
        for viewer in open_viewers:
            if viewer.subscription is None:
                self.connect(viewer)
        self.meet()
        for _ in range(len(self.world.facts) + 1):
            self.deliver(8, 0)
        for viewer in open_viewers:
            for _ in range(len(self.world.facts) + 3):
                self.serve(viewer, 4)
            assert viewer.closed == self.world.ended
            assert viewer.position == len(self.world.facts)
            assert viewer.log_id == self.world.log_id
        self.nobody_saw_a_hole_a_repeat_or_another_log()


TestStreams = Streams.TestCase
TestStreams.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


# --- time


def timetable_of(now: float = 0.0, *, ping_s: float = 30.0, expires_at: float | None = None) -> Timetable:
    return Timetable(now, ping_s=ping_s, check_s=1_000.0, warn_s=60.0, expires_at=expires_at)


def test_pings_keep_their_beat_whatever_else_happens() -> None:
    timetable = timetable_of(100.0)
    assert timetable.next_at == 130.0
    assert timetable.take_due(129.9) is Due.NOTHING
    assert timetable.take_due(130.2) is Due.PING
    assert timetable.take_due(130.2) is Due.NOTHING
    assert timetable.next_at == 160.0
    assert timetable.take_due(255.0) is Due.PING  # a loop that stood still owes one ping, not four
    assert timetable.take_due(255.0) is Due.NOTHING
    assert timetable.next_at == 280.0


def test_a_credential_is_warned_of_once_and_ends() -> None:
    timetable = timetable_of(expires_at=100.0)
    assert [timetable.take_due(29.0), timetable.take_due(40.0), timetable.take_due(40.0)] == [
        Due.NOTHING,
        Due.EXPIRING,
        Due.PING,
    ]
    assert timetable.next_at == 60.0
    assert [timetable.take_due(99.9), timetable.take_due(99.9)] == [Due.PING, Due.NOTHING]
    assert timetable.take_due(100.0) is Due.EXPIRED


def test_a_renewed_credential_is_warned_of_anew() -> None:
    timetable = timetable_of(expires_at=100.0)
    assert timetable.take_due(40.0) is Due.EXPIRING
    timetable.renew(200.0)
    assert [timetable.take_due(50.0), timetable.take_due(50.0)] == [Due.PING, Due.NOTHING]
    assert timetable.take_due(140.0) is Due.EXPIRING
    timetable.renew(None)
    assert timetable.take_due(900.0) is Due.PING


def test_a_credential_is_asked_after_now_and_then_and_renewing_counts() -> None:
    timetable = Timetable(0.0, ping_s=1_000.0, check_s=60.0, warn_s=30.0, expires_at=100.0)
    assert timetable.next_at == 60.0
    assert [timetable.take_due(60.0), timetable.take_due(60.0)] == [Due.CHECK, Due.NOTHING]
    assert timetable.take_due(75.0) is Due.EXPIRING
    timetable.renew(500.0)
    assert timetable.next_at == 135.0


@given(st.floats(1, 100), st.lists(st.floats(0, 50), max_size=50))
def test_at_most_one_interval_passes_without_a_ping_being_due(interval: float, steps: list[float]) -> None:
    timetable = Timetable(0.0, ping_s=interval, check_s=1e9, warn_s=1.0, expires_at=None)
    now = 0.0
    for step in steps:
        now += step
        while timetable.take_due(now) is Due.PING:
            pass
        assert now < timetable.next_at <= now + interval * 1.000001


def test_an_allowance_lets_bursts_through_and_floods_not() -> None:
    allowance = Allowance(0.0, rate=10, burst=3)
    assert [allowance.take(0.0) for _ in range(4)] == [True, True, True, False]
    assert [allowance.take(0.2) for _ in range(3)] == [True, True, False]
