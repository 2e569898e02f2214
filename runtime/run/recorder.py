"""One writer per run: records follow each other, and log lines are gathered for a moment before they are written."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from contracts.events import Event
from runtime.egress.policy import Refusal
from runtime.masking import Redactor
from runtime.node import Level
from runtime.run.events import tell_line
from runtime.run.outputs import make_storable
from runtime.store.changes import Change, End, Fenced, Lease
from runtime.store.egress import RefusedHost
from runtime.store.runs import Runs
from runtime.store.tool_events import ToolUse

GATHER_S: Final = 0.01
"""Only log lines wait, and no longer than this (spec E6)."""
MAX_LINE: Final = 8_000
"""Characters of one line; a page may shout as much as it likes."""
MAX_LINES: Final = 10_000
"""Lines of one run; what comes after is counted, not kept."""


class Recorder:
    """Everything a run writes goes through here, so that lines stand before the end of the step that wrote them.

    One transaction at a time, in the order in which things were said; what is said while one is under way goes into the
    next together. Nothing is written after something could not be, and nothing once the run is over.
    """

    def __init__(self, runs: Runs, lease: Lease, redactor: Redactor, moved: Callable[[], int] = lambda: 0) -> None:
        """`moved`: bytes that the execution has sent and received by now; they go along with every write."""
        self._moved = moved
        self._redactor = redactor
        self._runs = runs
        self._lease = lease
        self._lines: list[Event] = []
        self._refused: list[RefusedHost] = []
        self._tools: list[ToolUse] = []
        self._pending: list[_Wish] = []
        self._last: asyncio.Future[None] | None = None
        """Done when everything said so far is written."""
        self._writer: asyncio.Task[None] | None = None
        self._writing_since = 0.0
        self._reserved = False
        """Whether what is pending waits for a write of another kind."""
        self._broken: Exception | None = None
        """Why nothing is written any more."""
        self._waiting = asyncio.Event()
        self._taken = 0

    @property
    def behind_s(self) -> float:
        """How long the transaction under way has taken so far, in seconds; 0 when there is none."""
        return time.monotonic() - self._writing_since if self._writer is not None else 0.0

    def write_soon(self, change: Change) -> "asyncio.Future[None]":
        """Write a change, after the lines that were gathered before it.

        Returns: done when it is written, or failed with what Runs.record raises. Whoever waits must not cancel it.
        """
        wish = _Wish(self._with_lines(change))  # now: what is said from here on comes after it
        self._last = wish.written
        if self._broken is not None:
            wish.written.set_exception(self._broken)
            return wish.written
        self._pending.append(wish)
        self._begin_writing()
        return wish.written

    async def record(self, change: Change) -> None:
        """Write a change and wait for it. Raises what Runs.record raises."""
        await asyncio.shield(self.write_soon(change))

    async def finish(self, change: Change, end: End) -> None:
        """Write the end. Lines that come later are dropped: nothing follows the terminal event."""
        async with self._exclusively():
            wishes, self._pending = [*self._pending, _Wish(self._with_lines(change))], []
            try:
                await self._runs.finish(self._lease, join([wish.change for wish in wishes]), end)
            except Exception as error:
                _fail(wishes, error)
                raise
            _fulfil(wishes)
            self._taken = MAX_LINES
            self._close()

    async def park(self, change: Change) -> bool:
        """Pause with everything written; False when that is not wanted any more. Raises what Runs.park raises."""
        await self.flush()
        async with self._exclusively():
            parked = await self._runs.park(self._lease, replace(change, moved_bytes=self._moved()))
            if parked:
                self._close()
            return parked

    async def hand_back(self, spent_s: float) -> None:
        """Leave the run with everything written. Raises what Runs.hand_back raises."""
        await self.flush()
        async with self._exclusively():
            await self._runs.hand_back(self._lease, spent_s, self._moved())
            self._close()

    async def set_paused(self, *, paused: bool) -> None:
        """Say that it stands still while this run keeps it, or goes on. Raises what Runs.set_paused raises."""
        await self.flush()
        async with self._exclusively():
            await self._runs.set_paused(self._lease, paused=paused)

    async def flush(self) -> None:
        """Wait until everything said so far is written. Raises what Runs.record raises."""
        if self._lines or self._refused or self._tools:
            _ = self.write_soon(Change())
        if self._last is not None:
            await asyncio.shield(self._last)

    async def stop(self) -> None:
        """Write nothing more; what is under way is broken off."""
        self._close()
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.wait([self._writer])

    def add_line(self, level: Level, message: str, node_id: str | None) -> None:
        """Gather a line; `keep_writing` writes it."""
        self._taken += 1
        if self._taken > MAX_LINES:
            return
        text = self._redactor.clean_text(str(make_storable(message)))[:MAX_LINE]
        if self._taken == MAX_LINES:
            level, text = "warning", f"More than {MAX_LINES} lines: the rest of this run's log is dropped."
        self._lines.append(tell_line(self._lease.execution_id, level, text, node_id, datetime.now(UTC)))
        self._waiting.set()

    def add_refusal(self, refusal: Refusal) -> None:
        """Gather a refusal, as a line for who watches and as a record for who audits."""
        host = self._redactor.clean_text(refusal.host)  # a page may have put anything there
        self._refused.append(RefusedHost(host, refusal.port, refusal.rule.value, datetime.now(UTC)))
        self.add_line("warning", refusal.message, None)
        self._waiting.set()

    def add_tool_use(self, use: ToolUse) -> None:
        """Gather a call of a tool, as a record for who audits."""
        self._tools.append(replace(use, what=self._redactor.clean_text(str(make_storable(use.what)))))
        self._waiting.set()

    async def keep_writing(self) -> None:
        """Write gathered lines until cancelled. Raises what Runs.record raises."""
        while True:
            await self._waiting.wait()
            await asyncio.sleep(GATHER_S)
            await self.flush()
            self._check()

    def _begin_writing(self) -> None:
        if self._writer is None and self._pending and not self._reserved and self._broken is None:
            self._writer = asyncio.create_task(self._write_pending())

    async def _write_pending(self) -> None:
        """A task of its own: whoever asked for it may be cancelled, and the lines are everybody's."""
        try:
            while self._pending and not self._reserved:
                self._writing_since = time.monotonic()
                wishes, self._pending = self._pending, []
                try:
                    await self._runs.record(self._lease, join([wish.change for wish in wishes]))
                except Exception as error:  # noqa: BLE001 — raised where somebody waits for it
                    _fail(wishes, error)
                    self._break(error)
                except asyncio.CancelledError:
                    _fail(wishes, _over(self._lease))
                    raise
                else:
                    _fulfil(wishes)
        finally:
            self._writer = None

    def _break(self, error: Exception) -> None:
        """Write nothing any more: something is missing, or it is over."""
        if self._broken is None:
            self._broken = error
        wishes, self._pending = self._pending, []
        _fail(wishes, self._broken)
        self._waiting.set()  # `keep_writing` raises it where nobody else waits

    def _check(self) -> None:
        if self._broken is not None:
            raise self._broken

    def _close(self) -> None:
        self._break(_over(self._lease))

    @asynccontextmanager
    async def _exclusively(self) -> AsyncIterator[None]:
        """For a write of another kind: none is under way, and none begins."""
        self._reserved = True
        try:
            if self._writer is not None:
                await asyncio.wait([self._writer])
            self._check()
            yield
        except Exception as error:
            self._break(error)
            raise
        finally:
            self._reserved = False
            self._begin_writing()

    def _with_lines(self, change: Change) -> Change:
        lines, self._lines = self._lines, []
        refused, self._refused = self._refused, []
        tools, self._tools = self._tools, []
        self._waiting.clear()
        moved = self._moved()
        return replace(change, events=[*lines, *change.events], refused=refused, tools=tools, moved_bytes=moved)


class _Wish:
    """A change that somebody wants written."""

    def __init__(self, change: Change) -> None:
        self.change = change
        self.written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.written.add_done_callback(lambda done: done.exception())  # it may be that nobody waits for it


def _fulfil(wishes: Sequence[_Wish]) -> None:
    for wish in wishes:
        wish.written.set_result(None)


def _fail(wishes: Sequence[_Wish], error: Exception) -> None:
    for wish in wishes:
        wish.written.set_exception(error)


def _over(lease: Lease) -> Fenced:
    return Fenced(f"run {lease.epoch} of {lease.execution_id} is over")


def join(changes: Sequence[Change]) -> Change:
    """Changes in their order as one."""
    if len(changes) == 1:
        return changes[0]
    last = next((change for change in reversed(changes) if change.progress is not None), Change())
    return replace(
        last,
        events=[event for change in changes for event in change.events],
        steps=[step for change in changes for step in change.steps],
        blobs=[blob for change in changes for blob in change.blobs],
        checkpoints=[one for change in changes for one in change.checkpoints],
        refused=[one for change in changes for one in change.refused],
        tools=[one for change in changes for one in change.tools],
        moved_bytes=max(change.moved_bytes for change in changes),
    )
