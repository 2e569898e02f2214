"""What a client gets next, and when: cursors, gaps, resuming, pings. Pure: no I/O, no clock.

    Tail          the end of one log, as far as it is held here; shared by all who watch it
    Subscription  one client's place in that log

There is no queue per client: what a client has not got yet is what the tail holds after its cursor. A client that falls
out of the tail reads the log instead, so nobody's slowness costs memory, and nothing is ever left out or sent twice:
the only thing a client is given is the event after its cursor.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Generic, Protocol, TypeVar

from contracts.model import LogId, Seq

TAIL_FRAMES = 256
TAIL_SIZE = 1_048_576
"""Characters; what a slow client may be behind before it has to read the log (executions chapter, E7)."""


class Held(Protocol):
    """An event in a tail."""

    @property
    def seq(self) -> Seq:
        """Its number."""

    @property
    def size(self) -> int:
        """What it weighs."""


HeldT = TypeVar("HeldT", bound=Held)


class Tail(Generic[HeldT]):
    """The last events of one log: number `base + 1` to number `end`, without gaps.

    `head` is the last number known to be written (at least `end`); `epoch` changes whenever what was given out before
    can't be continued.
    """

    __slots__ = ("_frames", "_items", "_limit", "_size", "base", "end", "ended", "epoch", "head", "log_id")

    def __init__(self, after: Seq, *, frames: int = TAIL_FRAMES, size: int = TAIL_SIZE) -> None:
        self._frames = frames
        self._limit = size
        self._items: list[HeldT] = []
        self._size = 0
        self.base = after
        self.end = after
        self.head: Seq = 0
        self.log_id: LogId | None = None
        self.ended = False
        self.epoch = 0

    def meet(self, log_id: LogId, head: Seq) -> bool:
        """Take note of a log and its head; whether it continues what is held here.

        If not, the tail starts anew behind `head`, and whoever fills it must start there too.
        """
        if self.log_id in (None, log_id) and head >= self.end:
            self.log_id = log_id
            self.head = max(self.head, head)
            return True
        if self.log_id is not None:
            self.epoch += 1
        self._items.clear()
        self._size = 0
        self.base = self.end = self.head = head
        self.log_id = log_id
        self.ended = False
        return False

    def append(self, items: Sequence[HeldT]) -> None:
        """Hold more events; the oldest give way.

        Raises:
            ValueError: they do not follow what is held.
        """
        for item in items:
            if item.seq != self.end + 1:
                raise ValueError(f"event {item.seq} does not follow {self.end}")
            self._items.append(item)
            self.end += 1
            self._size += item.size
        self.head = max(self.head, self.end)
        surplus = 0
        while len(self._items) - surplus > self._frames or (
            self._size > self._limit and len(self._items) - surplus > 1
        ):
            self._size -= self._items[surplus].size
            surplus += 1
        if surplus:
            del self._items[:surplus]
            self.base += surplus

    def next(self, cursor: Seq) -> HeldT:
        """The event after `cursor`, which must be held."""
        return self._items[cursor - self.base]

    def after(self, cursor: Seq, frames: int, size: int) -> Sequence[HeldT]:
        """Events held after `cursor`: at most `frames`, and no more once `size` is reached, but at least one."""
        start = cursor - self.base
        found = self._items[start : start + frames]
        weight = 0
        for place, item in enumerate(found):
            weight += item.size
            if weight > size and place:
                return found[:place]
        return found


class Place(Enum):
    """Where a client stands, and with that what it needs next."""

    CURRENT = auto()
    """It has all there is: wait."""
    HELD = auto()
    """The tail holds what comes next."""
    BEHIND = auto()
    """What comes next is in the log only."""
    ASTRAY = auto()
    """The log is not the one it counted in: reset it."""
    DONE = auto()
    """It has the terminal event: close."""


class Subscription:
    """One client's place. `cursor` is the number of the last event it was given."""

    __slots__ = ("cursor", "done", "epoch")

    def __init__(self, cursor: Seq, epoch: int) -> None:
        self.cursor = cursor
        self.epoch = epoch
        self.done = False

    def place(self, tail: Tail[HeldT]) -> Place:
        """Where it stands against `tail`."""
        if self.epoch != tail.epoch:
            return Place.ASTRAY
        if self.done:
            return Place.DONE
        if self.cursor < tail.end:
            return Place.HELD if self.cursor >= tail.base else Place.BEHIND
        return Place.DONE if tail.ended else Place.CURRENT

    def give(self, seq: Seq, *, terminal: bool) -> None:
        """It was given the next event.

        Raises:
            ValueError: that is not the next one.
        """
        if seq != self.cursor + 1:
            raise ValueError(f"event {seq} does not follow {self.cursor}")
        self.cursor = seq
        self.done = terminal

    def reset(self, cursor: Seq, epoch: int) -> None:
        """It forgot what it had and took a snapshot of the log as it was after event `cursor`."""
        self.cursor = cursor
        self.epoch = epoch
        self.done = False


# --- resuming


class Resumed(Enum):
    """How a stream begins; the values are those of `hello`."""

    FRESH = "fresh"
    RECOVERED = "recovered"
    RESET = "reset"


@dataclass(frozen=True, slots=True)
class Asked:
    """Where a client wants to go on."""

    after: Seq = 0
    log_id: LogId | None = None


def resume(asked: Asked, log_id: LogId | None, head: Seq) -> Resumed:
    """How to begin, given the log and its head.

    RESET only means that continuity can't be shown from what is known here. A head that is not fresh may be behind what
    the client got elsewhere: look again, at the log itself, before resetting.
    """
    if asked.log_id is not None and asked.log_id != log_id:
        return Resumed.RESET
    if asked.after > head:
        return Resumed.RESET
    return Resumed.FRESH if asked.after == 0 else Resumed.RECOVERED


# --- time


class Due(Enum):
    """What time asks for."""

    NOTHING = auto()
    PING = auto()
    CHECK = auto()
    """Ask whether the credential still stands."""
    EXPIRING = auto()
    """The credential ends soon: renew it, or warn."""
    EXPIRED = auto()


class Timetable:
    """What a socket is due for. All instants are seconds on one clock of the caller's.

    Pings keep their beat: each is due one interval after the last was due, however late that one went out.
    """

    __slots__ = ("_check_s", "_expires_at", "_next_check", "_next_ping", "_ping_s", "_warn_s", "_warned")

    def __init__(self, now: float, *, ping_s: float, check_s: float, warn_s: float, expires_at: float | None) -> None:
        self._ping_s = ping_s
        self._next_ping = now + ping_s
        self._check_s = check_s
        self._next_check = now + check_s
        self._warn_s = warn_s
        self._warned = False
        self._expires_at = expires_at

    @property
    def next_at(self) -> float:
        """When something is due next."""
        soonest = min(self._next_ping, self._next_check)
        if self._expires_at is None:
            return soonest
        return min(soonest, self._expires_at - (0 if self._warned else self._warn_s))

    def take_due(self, now: float) -> Due:
        """What is due, one thing at a time, the gravest first; ask until it is NOTHING."""
        if self._expires_at is not None and now >= self._expires_at:
            return Due.EXPIRED
        if self._expires_at is not None and not self._warned and now >= self._expires_at - self._warn_s:
            self._warned = True
            self._next_check = now + self._check_s  # renewing is a check
            return Due.EXPIRING
        if now >= self._next_check:
            self._next_check = now + self._check_s
            return Due.CHECK
        if now >= self._next_ping:
            missed = int((now - self._next_ping) / self._ping_s)
            self._next_ping += self._ping_s * (missed + 1)
            return Due.PING
        return Due.NOTHING

    def renew(self, expires_at: float | None) -> None:
        """The credential lives longer."""
        self._expires_at = expires_at
        self._warned = False


class Allowance:
    """How many messages a client may send: `burst` at once, `rate` a second in the long run."""

    __slots__ = ("_burst", "_left", "_rate", "_seen_at")

    def __init__(self, now: float, *, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._left = burst
        self._seen_at = now

    def take(self, now: float) -> bool:
        """Use one; whether there was one left."""
        self._left = min(self._burst, self._left + (now - self._seen_at) * self._rate)
        self._seen_at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
