"""One writer per run: records follow each other, and log lines are gathered for a moment before they are written."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from contracts.events import Event
from runtime.egress.policy import Refusal
from runtime.masking import Redactor
from runtime.node import Level
from runtime.run.events import tell_line
from runtime.run.outputs import make_storable
from runtime.store.changes import Change, End, Lease
from runtime.store.egress import RefusedHost
from runtime.store.runs import Runs

GATHER_S: Final = 0.01
"""Only log lines wait, and no longer than this (spec E6)."""
MAX_LINE: Final = 8_000
"""Characters of one line; a page may shout as much as it likes."""
MAX_LINES: Final = 10_000
"""Lines of one run; what comes after is counted, not kept."""


class Recorder:
    """Everything a run writes goes through here, so that lines stand before the end of the step that wrote them."""

    def __init__(self, runs: Runs, lease: Lease, redactor: Redactor) -> None:
        self._redactor = redactor
        self._runs = runs
        self._lease = lease
        self._turn = asyncio.Lock()
        self._lines: list[Event] = []
        self._refused: list[RefusedHost] = []
        self._writes: set[asyncio.Task[None]] = set()
        self._waiting = asyncio.Event()
        self._taken = 0

    async def record(self, change: Change) -> None:
        """Write a change, after the lines that were gathered before it. Raises what Runs.record raises."""
        await self._write(self._with_lines(change))  # now: what is said from here on comes after it

    async def finish(self, change: Change, end: End) -> None:
        """Write the end. Lines that come later are dropped: nothing follows the terminal event."""
        async with self._turn:
            await self._runs.finish(self._lease, self._with_lines(change), end)
            self._taken = MAX_LINES

    async def park(self, change: Change) -> bool:
        """Pause with everything written; False when that is not wanted any more. Raises what Runs.park raises."""
        await self.flush()
        async with self._turn:
            return await self._runs.park(self._lease, change)

    async def set_paused(self, *, paused: bool) -> None:
        """Say that it stands still while this run keeps it, or goes on. Raises what Runs.set_paused raises."""
        await self.flush()
        async with self._turn:
            await self._runs.set_paused(self._lease, paused=paused)

    async def flush(self) -> None:
        """Write the lines that wait."""
        if self._lines or self._refused:
            await self._write(self._with_lines(Change()))
        elif self._writes:
            await asyncio.wait(self._writes)

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

    async def keep_writing(self) -> None:
        """Write gathered lines until cancelled. Raises what Runs.record raises."""
        while True:
            await self._waiting.wait()
            await asyncio.sleep(GATHER_S)
            await self.flush()

    async def _write(self, change: Change) -> None:
        """Write in turn, also when whoever asked for it is cancelled: the lines are everybody's."""
        writing = asyncio.create_task(self._write_in_turn(change))
        self._writes.add(writing)
        writing.add_done_callback(self._writes.discard)
        await asyncio.shield(writing)

    async def _write_in_turn(self, change: Change) -> None:
        async with self._turn:
            await self._runs.record(self._lease, change)

    def _with_lines(self, change: Change) -> Change:
        lines, self._lines = self._lines, []
        refused, self._refused = self._refused, []
        self._waiting.clear()
        return replace(change, events=[*lines, *change.events], refused=refused)
