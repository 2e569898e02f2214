"""Traces and videos of one run: left out where they would hold secrets, stored as artifacts before its browser goes."""

import asyncio
from asyncio import Queue, Task, TaskGroup
from collections.abc import Iterable, Iterator
from typing import Final

from runtime.artifacts import ArtifactStoreFailure, ArtifactWriter
from runtime.browser.options import ContextOptions
from runtime.browser.pool import Lease as BrowserLease
from runtime.browser.recording import Recorded
from runtime.engine.plan import PlannedNode
from runtime.run.draft import Draft
from runtime.run.logins import names_logins
from runtime.run.recorder import Recorder
from runtime.run.secrets import ask_for
from runtime.run.signals import RecordingsKept, Signal
from runtime.store.changes import Lease

KEEP_S: Final = 40.0
"""To end all recordings of a run and to store them."""
HURRY_S: Final = 0.5
"""The same, once the worker has to be gone; what the run writes last needs some of the second that is left then."""


def forbid_recordings(browser: BrowserLease, nodes: Iterable[PlannedNode]) -> None:
    """Say what may be recorded of a run: nothing where its plan holds credentials, no trace where it holds logins."""
    plan = list(nodes)
    credentials = any(ask_for(node) for node in plan)
    browser.may_film = not credentials
    browser.may_trace = not credentials and not names_logins(plan)


def explain_left_out(asked: ContextOptions, given: ContextOptions) -> Iterator[str]:
    """A line for each recording that was asked for and is not made."""
    if asked.trace and not given.trace:
        yield "No trace is recorded: this workflow uses credentials or profiles, and a trace would hold them readable."
    if asked.video and not given.video:
        yield "No video is recorded: this workflow uses credentials, and pictures can't be masked."


class Keeper:
    """Ends what is recorded of a run and stores it: at its end, and beside it before a worker lets go of its browser.

    What can't be kept is a line in the log; it fails nothing.
    """

    def __init__(self, browser: BrowserLease, writer: ArtifactWriter, recorder: Recorder, lease: Lease) -> None:
        self._browser = browser
        self._writer = writer
        self._recorder = recorder
        self._lease = lease
        self._task: Task[Draft] | None = None
        self._limit: asyncio.Timeout | None = None
        self._hurried = False

    @property
    def busy(self) -> bool:
        """Whether something was begun and nobody has fetched yet what came of it."""
        return self._task is not None

    def begin(self, group: TaskGroup, inbox: "Queue[Signal]") -> None:
        """Store it beside the run, which is told when that is done. Fine when there is nothing, and again."""
        if self._browser.records and self._task is None:
            self._task = group.create_task(self._keep_aside())
            self._task.add_done_callback(lambda _: inbox.put_nowait(RecordingsKept()))

    def hurry(self) -> None:
        """Come to an end: the worker has to be gone."""
        self._hurried = True
        if self._limit is not None and not self._limit.expired():
            self._limit.reschedule(asyncio.get_running_loop().time() + HURRY_S)

    def stop(self) -> None:
        """The run is over; nobody will fetch anything."""
        if self._task is not None:
            self._task.cancel()

    async def fetch(self) -> Draft:
        """What was stored beside the run, to be recorded; waits for it."""
        task, self._task = self._task, None
        return await task if task is not None else Draft(self._lease)

    async def keep(self, draft: Draft) -> None:
        """Store what is recorded now. What is stored in time is on the draft."""
        some = False
        try:
            async with asyncio.timeout(HURRY_S if self._hurried else KEEP_S) as self._limit:
                for name, recording in await self._browser.end_recordings():
                    for trouble in recording.troubles:
                        self._recorder.add_line("warning", trouble, name)
                    for file in recording.files:
                        await _keep(name, file, self._writer, self._recorder, draft)
                        some = True
        except TimeoutError:
            what = "Some of what was recorded" if some else "What was recorded"
            self._recorder.add_line("warning", f"{what} could not be stored in time and is not kept.", None)
        finally:
            self._limit = None

    async def _keep_aside(self) -> Draft:
        draft = Draft(self._lease)
        await self.keep(draft)
        return draft


async def _keep(name: str, file: Recorded, writer: ArtifactWriter, recorder: Recorder, draft: Draft) -> None:
    try:
        with await asyncio.to_thread(file.path.open, "rb") as source:
            draft.note_blobs([await writer.put_file(name, f"{name}-{file.name}", file.media_type, source)])
    except (ArtifactStoreFailure, OSError) as error:
        said = error.message if isinstance(error, ArtifactStoreFailure) else "Its file could not be read."
        recorder.add_line("warning", f"{name}-{file.name} is not kept. {said}", name)
    else:
        recorder.add_line("info", file.remark, name)
