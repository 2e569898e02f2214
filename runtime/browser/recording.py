"""What is recorded of a context on request: Playwright's trace, and the page's pictures with their times.

Neither can be masked, and a trace holds the cookies that were sent: whoever asks for one has to know that no secret is
at play. Pictures are what Chromium paints (its screencast): a page that rests costs nothing, and nothing has to be
installed that could encode a video.
"""

import asyncio
import base64
import contextlib
import json
import shutil
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import structlog
from playwright.async_api import BrowserContext, CDPSession, Error
from playwright.async_api import Page as PlaywrightPage

from runtime.browser.options import ContextOptions
from runtime.browser.workspace import Workspace

MAX_BYTES: Final = 60 * 1_048_576
"""Of the pictures of one page."""
MAX_TRACE: Final = 256 * 1_048_576
"""Bytes that the traces of a browser may take up before they are packed."""
MAX_PICTURES: Final = 3_000
_INTERVAL_S: Final = 0.2
"""Between two pictures at least: Chromium paints the next one once it is told that this one was taken."""
_QUALITY: Final = 60
_START_S: Final = 10.0
_STOP_S: Final = 20.0
_LOOK_S: Final = 2.0
_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Recorded:
    """A file that a recording has become."""

    path: Path
    name: str
    """The end of a file's name: `trace.zip`, `video.zip`."""
    media_type: str
    remark: str
    """A sentence about what it is, or about what is missing of it."""


class Recording:
    """Of one page's context, from its making to its end. Its files stay until `remove`."""

    def __init__(self, page: PlaywrightPage, context: BrowserContext, options: ContextOptions, home: Path) -> None:
        """`home` is the folder in which the driver keeps what it has not packed yet."""
        self._context = context
        self._home = home
        self._folder = Workspace(home)
        self._mark = f"trace-{uuid4().hex}"
        self._traced = options.trace
        self._film = Film(page, context, self._folder.path / "video.zip") if options.video else None
        self._files: list[Recorded] = []
        self._troubles: list[str] = []
        self._stopping = asyncio.Lock()
        self._stopped = False

    async def start(self) -> None:
        """Record from now on. Raises Playwright's Error, TimeoutError."""
        async with asyncio.timeout(_START_S):
            if self._traced:
                await self._context.tracing.start(name=self._mark, screenshots=True, snapshots=True)
            if self._film is not None:
                await self._film.start()

    async def watch(self) -> None:
        """End the trace when it has grown beyond all bounds; return when the recording has ended."""
        while self._traced and not self._stopped:
            await asyncio.sleep(_LOOK_S)
            if await asyncio.to_thread(self._measure) > MAX_TRACE:
                await self._drop_trace()

    async def stop(self) -> None:
        """Record no more, and make files of it; again is fine. What goes wrong is a remark, never a failure."""
        async with self._stopping:
            if self._stopped:
                return
            self._stopped = True
            if self._traced:
                await self._pack_trace()
            if self._film is not None:
                await self._end_film(self._film)

    @property
    def files(self) -> list[Recorded]:
        """What has become of it."""
        return self._files

    @property
    def troubles(self) -> list[str]:
        """What of it could not be kept, as sentences."""
        return self._troubles

    async def remove(self) -> None:
        """Its files are needed no more."""
        await self._folder.remove()

    async def _pack_trace(self) -> None:
        path = self._folder.path / "trace.zip"
        try:
            async with asyncio.timeout(_STOP_S):
                await self._context.tracing.stop(path=path)
        except (TimeoutError, Error, OSError) as error:
            self._troubles.append("The trace is not kept: the browser was gone, or its disk full, when it ended.")
            _log.info("a trace is lost", reason=str(error) or type(error).__name__)
        else:
            remark = "The trace can be looked at with `playwright show-trace`."
            self._files.append(Recorded(path, "trace.zip", "application/zip", remark))
        await asyncio.to_thread(self._discard_pieces)

    async def _end_film(self, film: "Film") -> None:
        try:
            made = await film.stop()
        except OSError as error:
            self._troubles.append("The video is not kept: its pictures could not be written.")
            _log.warning("a video is lost", reason=str(error))
        else:
            self._files += [made] if made is not None else []

    async def _drop_trace(self) -> None:
        async with self._stopping:
            if self._stopped or not self._traced:
                return
            self._traced = False
            self._troubles.append(f"The trace is not kept: it grew beyond {MAX_TRACE} bytes.")
            with contextlib.suppress(TimeoutError, Error):
                async with asyncio.timeout(_STOP_S):
                    await self._context.tracing.stop()
            await asyncio.to_thread(self._discard_pieces)

    def _measure(self) -> int:
        return sum(_size(found) for found in self._home.glob("playwright-artifacts-*/**/*"))

    def _discard_pieces(self) -> None:
        """The driver would keep them until the browser ends."""
        for found in self._home.glob(f"playwright-artifacts-*/{self._mark}*"):
            if found.is_dir():
                shutil.rmtree(found, ignore_errors=True)
            else:
                found.unlink(missing_ok=True)
            if not any(found.parent.glob("trace-*")):  # nobody else's are among them
                for piece in found.parent.glob("*/*"):
                    piece.unlink(missing_ok=True)


async def start_recording(
    page: PlaywrightPage, context: BrowserContext, options: ContextOptions, home: Path
) -> Recording | None:
    """The recording that the options ask for; None when they ask for none. Raises Playwright's Error, TimeoutError."""
    if not (options.trace or options.video):
        return None
    recording = await asyncio.to_thread(Recording, page, context, options, home)
    await recording.start()
    return recording


class Film:
    """Pictures of a page as it is painted, in an archive: `0001.jpg` …, and `times.json` that says when each was."""

    def __init__(self, page: PlaywrightPage, context: BrowserContext, path: Path) -> None:
        self._page = page
        self._context = context
        self._path = path
        self._session: CDPSession | None = None
        self._archive: zipfile.ZipFile | None = None
        self._turn = asyncio.Lock()
        self._pictures: list[dict[str, Any]] = []
        self._size = 0
        self._next = 0.0
        self._began = 0.0
        self._cut = False

    async def start(self) -> None:
        """Take pictures from now on. Raises Playwright's Error."""
        self._archive = await asyncio.to_thread(zipfile.ZipFile, self._path, "w", zipfile.ZIP_STORED)
        self._session = await self._context.new_cdp_session(self._page)
        self._session.on("Page.screencastFrame", self._take)
        size = self._page.viewport_size
        asked: dict[str, Any] = {"format": "jpeg", "quality": _QUALITY}
        if size is not None:
            asked |= {"maxWidth": size["width"], "maxHeight": size["height"]}
        await self._session.send("Page.startScreencast", asked)

    async def _take(self, event: dict[str, Any]) -> None:
        data, at = base64.b64decode(event["data"]), float(event["metadata"].get("timestamp") or time.time())
        async with self._turn:
            await asyncio.sleep(max(0.0, self._next - time.monotonic()))
            self._next = time.monotonic() + _INTERVAL_S
            if self._archive is None or self._cut:
                return  # nothing more is painted for it
            self._cut = self._size + len(data) > MAX_BYTES or len(self._pictures) >= MAX_PICTURES
            if not self._cut:
                try:
                    await self._keep(self._archive, data, at)
                except OSError:  # the disk is full: the end of the film will say so
                    self._cut = True
        if self._session is not None:
            with contextlib.suppress(Error):  # the page has gone
                await self._session.send("Page.screencastFrameAck", {"sessionId": event["sessionId"]})

    async def _keep(self, archive: zipfile.ZipFile, data: bytes, at: float) -> None:
        name = f"{len(self._pictures) + 1:04}.jpg"
        await asyncio.to_thread(archive.writestr, name, data)
        self._size += len(data)
        self._began = self._began or at
        self._pictures.append({"file": name, "at_s": round(at - self._began, 3)})

    async def stop(self) -> Recorded | None:
        """Take no more; the archive, or None when nothing was ever painted."""
        session, self._session = self._session, None
        if session is not None:
            with contextlib.suppress(TimeoutError, Error):  # the page has gone, or hangs
                async with asyncio.timeout(_START_S):
                    await session.send("Page.stopScreencast")
        async with self._turn:
            archive, self._archive = self._archive, None
            if archive is None:
                return None
            times = json.dumps({"began_at": self._began, "pictures": self._pictures}, indent=1)
            try:
                await asyncio.to_thread(archive.writestr, "times.json", times)
            finally:
                await asyncio.to_thread(archive.close)
        if not self._pictures:
            return None
        more = "; what came later is not kept, since there is an end to how much" if self._cut else ""
        remark = f"The video is kept as {len(self._pictures)} pictures with their times, no encoder being needed{more}."
        return Recorded(self._path, "video.zip", "application/zip", remark)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
