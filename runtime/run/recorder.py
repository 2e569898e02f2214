"""One writer per run: records follow each other, and log lines are gathered for a moment before they are written."""

import asyncio
from collections.abc import AsyncIterator, Sequence
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
from runtime.store.changes import Change, End, Lease
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

    One transaction at a time; what comes while one is under way goes into the next together.
    """

    def __init__(self, runs: Runs, lease: Lease, redactor: Redactor) -> None:
        self._redactor = redactor
        self._runs = runs
        self._lease = lease
        self._lines: list[Event] = []
        self._refused: list[RefusedHost] = []
        self._tools: list[ToolUse] = []
        self._pending: list[Change] = []
        self._writer: asyncio.Task[None] | None = None
        self._held = False
        """Whether what is pending waits for a write of another kind."""
        self._broken: Exception | None = None
        """Why something could not be written: nothing may follow what is missing."""
        self._waiting = asyncio.Event()
        self._taken = 0

    def note(self, change: Change) -> None:
        """Write a change soon, after the lines that were gathered before it; whoever records next waits for it, too."""
        self._pending.append(self._with_lines(change))  # now: what is said from here on comes after it
        self._begin_writing()

    async def record(self, change: Change) -> None:
        """Write a change, and whatever was noted before it. Raises what Runs.record raises."""
        self.note(change)
        await self._settle()

    async def finish(self, change: Change, end: End) -> None:
        """Write the end. Lines that come later are dropped: nothing follows the terminal event."""
        async with self._alone():
            changes, self._pending = [*self._pending, self._with_lines(change)], []
            await self._runs.finish(self._lease, join(changes), end)
            self._taken = MAX_LINES

    async def park(self, change: Change) -> bool:
        """Pause with everything written; False when that is not wanted any more. Raises what Runs.park raises."""
        await self.flush()
        async with self._alone():
            return await self._runs.park(self._lease, change)

    async def set_paused(self, *, paused: bool) -> None:
        """Say that it stands still while this run keeps it, or goes on. Raises what Runs.set_paused raises."""
        await self.flush()
        async with self._alone():
            await self._runs.set_paused(self._lease, paused=paused)

    async def flush(self) -> None:
        """Write whatever waits. Raises what Runs.record raises."""
        if self._lines or self._refused or self._tools:
            self.note(Change())
        await self._settle()

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

    def _begin_writing(self) -> None:
        if self._writer is None and self._pending and not self._held and self._broken is None:
            self._writer = asyncio.create_task(self._write_pending())

    async def _write_pending(self) -> None:
        """A task of its own: whoever asked for it may be cancelled, and the lines are everybody's."""
        try:
            while self._pending and not self._held:
                changes, self._pending = self._pending, []
                await self._runs.record(self._lease, join(changes))
        except Exception as error:  # noqa: BLE001 — raised where somebody waits for it
            self._broken = error
            self._waiting.set()  # so that somebody does
        finally:
            self._writer = None

    async def _settle(self) -> None:
        """Wait until everything noted is written, or will be by whoever holds the rest."""
        self._begin_writing()
        while self._writer is not None:
            await asyncio.wait([self._writer])
        if self._broken is not None:
            raise self._broken

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        self._held = True
        try:
            await self._settle()
            yield
        finally:
            self._held = False
            self._begin_writing()

    def _with_lines(self, change: Change) -> Change:
        lines, self._lines = self._lines, []
        refused, self._refused = self._refused, []
        tools, self._tools = self._tools, []
        self._waiting.clear()
        return replace(change, events=[*lines, *change.events], refused=refused, tools=tools)


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
    )
