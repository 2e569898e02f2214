"""What a run gathers is everybody's: it is written in order, whoever is cancelled while it is written."""

import asyncio
from typing import Any, cast
from uuid import uuid4

import pytest

from contracts.model import ExecutionId, TenantId
from runtime.masking import Redactor
from runtime.run.recorder import Recorder
from runtime.store.changes import Change, Lease
from runtime.store.runs import Runs


class SlowRuns:
    """Takes its time for each write, and remembers the lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.gate = asyncio.Event()

    async def record(self, _lease: Lease, change: Change) -> None:
        await self.gate.wait()
        self.lines += [cast("Any", event).log.message for event in change.events]


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
