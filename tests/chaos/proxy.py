"""A TCP proxy that passes bytes on, or does to them what networks do: refuse, swallow, delay, cut in the middle."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from contracts.execution import StepStatus

_CHUNK = 65_536
_END_S = 10.0
_COMMIT = b"COMMIT"


class Fault(StrEnum):
    """What happens to connections."""

    NONE = "none"
    REFUSE = "refuse"
    """New ones are closed at once, and those that are open are cut."""
    BLACK_HOLE = "black_hole"
    """Taken, and nothing ever comes through, in either direction."""
    SLOW = "slow"
    """Each chunk waits, and chunks are small."""
    RESET = "reset"
    """Cut with a TCP reset after some bytes, again and again."""


class Moment(StrEnum):
    """Where a `Trip` strikes, seen from the transaction that it waits for."""

    BEFORE_COMMIT = "before_commit"
    """All was written and the commit never arrives: nothing of it has happened."""
    AFTER_COMMIT = "after_commit"
    """The commit happened, and whoever asked for it never hears of it."""
    HELD = "held"
    """The commit is kept on its way for as long as the trap stays: its transaction stays open, with all its locks."""
    INSIDE = "inside"
    """The commit happened and was answered; `delay_s` later."""


@dataclass
class Trip:
    """A trap on the way to PostgreSQL: strikes once, at the first transaction that sends what it `wants`."""

    wants: Callable[[bytes], bool]
    moment: Moment
    strike: Callable[[], None]
    delay_s: float = 0.0
    sprung: asyncio.Event = field(default_factory=asyncio.Event)

    def is_meant(self, chunk: bytes) -> bool:
        """Whether this is what the trap waits for."""
        return not self.sprung.is_set() and self.wants(chunk)


def step_written(node_id: str, status: str) -> Callable[[bytes], bool]:
    """Finds a change that brings a step there, among the parameters of runtime/store/changes.py.

    What a safe step did may be written together, and then its beginning is never seen by itself: a step that has ended
    has begun.
    """

    def is_written(chunk: bytes) -> bool:
        arrays = list(_read_arrays(chunk))
        for place, node_ids in enumerate(arrays):
            for statuses in arrays[place + 1 :] if node_id in node_ids else ():
                if len(statuses) == len(node_ids) and _STATUSES.issuperset(statuses):
                    found = statuses[node_ids.index(node_id)]
                    return found == status or (status == StepStatus.RUNNING and found != StepStatus.SKIPPED)
        return False

    return is_written


_STATUSES = frozenset(map(str, StepStatus))
_ARRAY = re.compile(rb"\x00{3}\x01\x00{3}[\x00\x01]\x00{3}\x19(\x00{2}.{2})\x00{3}\x01", re.DOTALL)
"""A text[] in PostgreSQL's binary form: one dimension, whether there are nulls, the type, length, first index."""


def _read_arrays(chunk: bytes) -> Iterator[list[str]]:
    """Every text[] that lies whole in the chunk; nulls as empty texts."""
    for head in _ARRAY.finditer(chunk):
        texts, at = [], head.end()
        for _ in range(int.from_bytes(head[1], "big")):
            size = int.from_bytes(chunk[at : at + 4], "big", signed=True)
            at += 4
            texts.append(chunk[at : at + max(size, 0)].decode("utf-8", "replace"))
            at += max(size, 0)
        if at <= len(chunk):
            yield texts


@dataclass(eq=False)
class _Line:
    """One connection through the proxy."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    marked: bool = False
    """It has sent what the trap waits for, in a transaction that is still open."""
    mute: bool = False
    """What the server answers is dropped."""

    def cut(self) -> None:
        """End it with a reset rather than a goodbye."""
        for writer in (self.client, self.server):
            writer.transport.abort()


class FaultProxy:
    """Listens at `listen`, leads to one of `targets`. A port or a path of a Unix socket each."""

    def __init__(self, listen: int | Path, *targets: int | Path) -> None:
        self.listen = listen
        self.targets = list(targets)
        self.fault = Fault.NONE
        self.delay_s = 0.05
        """Of each chunk while SLOW."""
        self.piece = 512
        """Bytes of a chunk while SLOW."""
        self.reset_after = 2_000
        """Bytes from the server after which RESET cuts."""
        self.trip: Trip | None = None
        self.passed = 0
        """Connections taken so far."""
        self._lines: set[_Line] = set()
        self._clients: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = 0

    @asynccontextmanager
    async def run(self) -> AsyncIterator["FaultProxy"]:
        """Serve while the block runs."""
        if isinstance(self.listen, Path):
            server = await asyncio.start_unix_server(self._take, self.listen)
        else:
            server = await asyncio.start_server(self._take, "127.0.0.1", self.listen)
        try:
            yield self
        finally:
            server.close()
            self.fault = Fault.NONE
            self.cut_all()
            async with asyncio.timeout(_END_S):
                await asyncio.gather(*self._tasks)

    def break_with(self, fault: Fault) -> None:
        """From now on; what is open is cut where the fault is one of opening, else goes on under it."""
        self.fault = fault
        if fault is Fault.REFUSE:
            self.cut_all()

    def heal(self) -> None:
        """Pass everything again. What a black hole holds stays lost: those connections are cut."""
        swallowed, self.fault = self.fault is Fault.BLACK_HOLE, Fault.NONE
        if swallowed:
            self.cut_all()

    def mute_open(self) -> int:
        """Drop what is answered on the lines that are open now; new ones pass. Returns how many that are."""
        for line in self._lines:
            line.mute = True
        return len(self._lines)

    def cut_all(self) -> None:
        """Reset every open connection."""
        for line in list(self._lines):
            line.cut()
        for writer in list(self._clients):
            writer.transport.abort()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._clients.add(writer)
        try:
            await self._carry(reader, writer)
        except OSError:
            pass
        finally:
            writer.transport.abort()
            self._clients.discard(writer)
            self._tasks.discard(task)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.passed += 1
        if self.fault is Fault.REFUSE:
            return
        if self.fault is Fault.BLACK_HOLE:
            while await reader.read(_CHUNK):
                pass
            return
        back, server = await self._connect()
        line = _Line(writer, server)
        self._lines.add(line)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump_out(line, reader))
                group.create_task(self._pump_back(line, back))
        except* OSError:
            pass
        finally:
            self._lines.discard(line)
            line.cut()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The next target that answers."""
        for _ in self.targets:
            target = self.targets[self._turn % len(self.targets)]
            self._turn += 1
            with suppress(OSError):
                if isinstance(target, Path):
                    return await asyncio.open_unix_connection(target)
                return await asyncio.open_connection("127.0.0.1", target)
        raise ConnectionRefusedError

    async def _pump_out(self, line: _Line, reader: asyncio.StreamReader) -> None:
        while chunk := await reader.read(_CHUNK):
            if await self._spring(line, chunk):
                line.cut()
                return
            await self._pass_on(line.server, chunk)
        if line.server.can_write_eof():
            line.server.write_eof()

    async def _pump_back(self, line: _Line, reader: asyncio.StreamReader) -> None:
        carried = 0
        while chunk := await reader.read(_CHUNK):
            if line.mute:
                continue
            carried += len(chunk)
            if self.fault is Fault.RESET and carried > self.reset_after:
                await self._pass_on(line.client, chunk[: len(chunk) // 2])
                line.cut()
                return
            await self._pass_on(line.client, chunk)
        if line.client.can_write_eof():
            line.client.write_eof()

    async def _pass_on(self, writer: asyncio.StreamWriter, chunk: bytes) -> None:
        while self.fault is Fault.BLACK_HOLE:  # until it heals, which cuts the line  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        if self.fault is not Fault.SLOW:
            writer.write(chunk)
        else:
            for start in range(0, len(chunk), self.piece):
                await asyncio.sleep(self.delay_s)
                writer.write(chunk[start : start + self.piece])
        await writer.drain()

    async def _spring(self, line: _Line, chunk: bytes) -> bool:
        """Strike if this is the moment. True when the line is over."""
        trip = self.trip
        if trip is None:
            return False
        line.marked = line.marked or trip.is_meant(chunk)
        if not line.marked or _COMMIT not in chunk or trip.sprung.is_set():
            return False
        line.marked = False
        trip.sprung.set()
        if trip.moment is Moment.BEFORE_COMMIT:
            trip.strike()
            return True
        if trip.moment is Moment.AFTER_COMMIT:
            line.mute = True
            line.server.write(chunk)
            await line.server.drain()
            await asyncio.sleep(0.05)  # for the server to commit; nobody hears of it
            trip.strike()
            return True
        if trip.moment is Moment.HELD:
            trip.strike()
            while self.trip is trip:  # noqa: ASYNC110 — the test takes it away
                await asyncio.sleep(0.02)
            return False
        asyncio.get_running_loop().call_later(trip.delay_s, trip.strike)
        return False
