"""What a run gathers is everybody's: it is written in order, whoever is cancelled while it is written."""

import asyncio
from typing import Any, cast
from uuid import uuid4

import pytest

from contracts.execution import ExecutionStatus
from contracts.model import ExecutionId, TenantId
from runtime.masking import Redactor
from runtime.run.recorder import Recorder
from runtime.store.changes import Change, End, Fenced, Lease
from runtime.store.runs import Runs


class SlowRuns:
    """Takes its time for each write, and remembers the lines of each."""

    def __init__(self) -> None:
        self.writes: list[list[str]] = []
        self.gate = asyncio.Event()
        self.failing: Exception | None = None

    @property
    def lines(self) -> list[str]:
        return [line for write in self.writes for line in write]

    async def record(self, _lease: Lease, change: Change) -> None:
        await self.gate.wait()
        if self.failing is not None:
            raise self.failing
        self.writes.append([cast("Any", event).log.message for event in change.events])

    async def finish(self, lease: Lease, change: Change, _end: End) -> None:
        await self.record(lease, change)

    async def park(self, lease: Lease, change: Change) -> bool:
        await self.record(lease, change)
        return True

    async def hand_back(self, lease: Lease, _spent_s: float, _moved_bytes: int) -> None:
        await self.record(lease, Change())


@pytest.fixture
def runs() -> SlowRuns:
    return SlowRuns()


@pytest.fixture
def recorder(runs: SlowRuns) -> Recorder:
    lease = Lease(TenantId(uuid4()), ExecutionId(uuid4()), 1)
    return Recorder(cast("Runs", runs), lease, Redactor())


async def test_lines_survive_whoever_asked_for_their_writing(recorder: Recorder, runs: SlowRuns) -> None:
    recorder.add_line("info", "said by a neighbour", None)
    asking = asyncio.create_task(recorder.record(Change()))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait([asking])
    runs.gate.set()
    await recorder.flush()
    assert runs.lines == ["said by a neighbour"]


async def test_lines_are_written_in_the_order_they_were_said(recorder: Recorder, runs: SlowRuns) -> None:
    writes = []
    for word in ("one", "two", "three"):
        recorder.add_line("info", word, None)
        writes.append(asyncio.create_task(recorder.flush() if word == "two" else recorder.record(Change())))
        await asyncio.sleep(0)
    recorder.add_line("info", "four", None)
    runs.gate.set()
    await recorder.flush()
    await asyncio.gather(*writes)
    assert runs.lines == ["one", "two", "three", "four"]


async def say(recorder: Recorder, *words: str) -> None:
    """Say them one after the other, each in a change of its own, without waiting for any."""
    for word in words:
        recorder.add_line("info", word, None)
        _ = recorder.write_soon(Change())
        await asyncio.sleep(0)


async def test_what_is_said_during_a_write_goes_into_the_next_together(recorder: Recorder, runs: SlowRuns) -> None:
    await say(recorder, "one", "two", "three")
    assert recorder.behind_s > 0
    runs.gate.set()
    await recorder.record(Change())
    assert runs.writes == [["one"], ["two", "three"]]
    assert recorder.behind_s == 0


async def test_after_something_that_could_not_be_written_nothing_is(recorder: Recorder, runs: SlowRuns) -> None:
    recorder.add_line("info", "one", None)
    written = recorder.write_soon(Change())
    runs.gate.set()
    await written
    runs.failing = Fenced("test")
    await say(recorder, "two", "three")
    with pytest.raises(Fenced):
        await recorder.flush()
    runs.failing = None
    for late in (recorder.record(Change()), recorder.finish(Change(), End(status=ExecutionStatus.COMPLETED))):
        with pytest.raises(Fenced):
            await late
    with pytest.raises(Fenced):
        await asyncio.wait_for(recorder.keep_writing(), 5)
    assert (runs.lines, written.exception()) == (["one"], None), "what was written stays written, for whoever asked"


async def test_the_end_takes_along_what_waits_and_nothing_follows_it(recorder: Recorder, runs: SlowRuns) -> None:
    await say(recorder, "one", "two")
    ending = asyncio.create_task(recorder.finish(Change(), End(status=ExecutionStatus.COMPLETED)))
    await asyncio.sleep(0)
    await say(recorder, "three")
    runs.gate.set()
    await ending
    await say(recorder, "late")
    assert runs.writes == [["one"], ["two", "three"]]


@pytest.mark.parametrize("how", ["park", "hand_back"])
async def test_nothing_follows_when_the_run_was_left(recorder: Recorder, runs: SlowRuns, how: str) -> None:
    await say(recorder, "one")
    leaving = asyncio.create_task(recorder.park(Change()) if how == "park" else recorder.hand_back(1))
    runs.gate.set()
    await leaving
    with pytest.raises(Fenced):
        await recorder.record(Change())
    assert runs.lines == ["one"]


async def test_a_run_that_stops_leaves_no_write_behind(recorder: Recorder, runs: SlowRuns) -> None:
    recorder.add_line("info", "one", None)
    written = recorder.write_soon(Change())
    await asyncio.sleep(0)
    await recorder.stop()
    runs.gate.set()
    with pytest.raises(Fenced):
        await written
    assert runs.writes == []
