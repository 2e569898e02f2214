"""Traces and videos of one run: left out where they would hold secrets, stored as artifacts at the end of the run."""

import asyncio
from collections.abc import Iterable, Iterator
from typing import Final

from runtime.artifacts import ArtifactStoreFailure, ArtifactWriter
from runtime.browser.options import ContextOptions
from runtime.browser.pool import Lease as BrowserLease
from runtime.browser.recording import Recorded
from runtime.engine.plan import PlannedNode
from runtime.run.draft import Draft
from runtime.run.recorder import Recorder
from runtime.run.secrets import ask_for

KEEP_S: Final = 40.0
"""To end all recordings of a run and to store them."""
_PROFILE: Final = "Profile"
"""The input by which nodes name a saved login."""


def forbid_recordings(browser: BrowserLease, nodes: Iterable[PlannedNode]) -> None:
    """Say what may be recorded of a run: nothing where its plan holds credentials, no trace where it holds logins."""
    plan = list(nodes)
    credentials = any(ask_for(node) for node in plan)
    browser.may_film = not credentials
    browser.may_trace = not credentials and not any(node.literals.get(_PROFILE) for node in plan)


def explain_left_out(asked: ContextOptions, given: ContextOptions) -> Iterator[str]:
    """A line for each recording that was asked for and is not made."""
    if asked.trace and not given.trace:
        yield "No trace is recorded: this workflow uses credentials or profiles, and a trace would hold them readable."
    if asked.video and not given.video:
        yield "No video is recorded: this workflow uses credentials, and pictures can't be masked."


async def keep_recordings(browser: BrowserLease, writer: ArtifactWriter, recorder: Recorder, draft: Draft) -> None:
    """End what is recorded and store it. What can't be kept is a line in the log: the run has ended all the same."""
    try:
        async with asyncio.timeout(KEEP_S):
            for name, recording in await browser.end_recordings():
                for trouble in recording.troubles:
                    recorder.add_line("warning", trouble, name)
                for file in recording.files:
                    await _keep(name, file, writer, recorder, draft)
    except TimeoutError:
        recorder.add_line("warning", "What was recorded could not be stored in time and is not kept.", None)


async def _keep(name: str, file: Recorded, writer: ArtifactWriter, recorder: Recorder, draft: Draft) -> None:
    try:
        with await asyncio.to_thread(file.path.open, "rb") as source:
            draft.note_blobs([await writer.put_file(name, f"{name}-{file.name}", file.media_type, source)])
    except (ArtifactStoreFailure, OSError) as error:
        said = error.message if isinstance(error, ArtifactStoreFailure) else "Its file could not be read."
        recorder.add_line("warning", f"{name}-{file.name} is not kept. {said}", name)
    else:
        recorder.add_line("info", file.remark, name)
