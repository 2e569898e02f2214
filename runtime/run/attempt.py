"""What the worker lends a node for one attempt: pages of this run, a place for artifacts, the log, and a clock."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, BinaryIO
from uuid import uuid5

import structlog

from contracts.execution import Artifact, ArtifactKind, Failure, FailureCode
from contracts.model import ExecutionId, TenantId
from runtime.artifacts import ArtifactStoreFailure, ArtifactWriter
from runtime.browser.options import DEFAULT, ContextOptions
from runtime.browser.page import Evidence, Page
from runtime.browser.pool import Lease as BrowserLease
from runtime.catalogue import Catalogue
from runtime.egress.backend import DoorBackend
from runtime.engine.commands import StartNode
from runtime.engine.explain import ask_about
from runtime.engine.plan import PlannedNode
from runtime.handles import FileRef, PageRef
from runtime.node import Level, NodeFailure, Opened
from runtime.run.checkpoints import Checkpoints
from runtime.run.clock import Clock
from runtime.run.events import tell_artifact
from runtime.run.logins import Logins
from runtime.run.recorder import Recorder
from runtime.run.recordings import explain_left_out
from runtime.run.secrets import NodeSecrets
from runtime.run.shelf import Shelf
from runtime.run.signals import Failed, Succeeded
from runtime.sandbox.sandbox import Sandbox
from runtime.store.changes import Change
from runtime.store.checkpoints import SealedCheckpoint
from runtime.store.records import StoredBlob
from runtime.store.tool_events import ToolUse

log = structlog.get_logger()

EVIDENCE_S = 8.0
"""For everything that is kept of a failing attempt's pages."""
_CUT_OFF = frozenset({FailureCode.BROWSER_CRASHED, FailureCode.PAGE_CLOSED})
"""The page was gone: what the node was doing there may have happened."""


@dataclass(frozen=True)
class Ground:
    """What all attempts of a run stand on."""

    tenant_id: TenantId
    execution_id: ExecutionId
    browser: BrowserLease
    network: DoorBackend
    writer: ArtifactWriter
    recorder: Recorder
    clock: Clock
    checkpoints: Checkpoints
    sandbox: Sandbox
    shelf: Shelf
    logins: Logins
    tell_waiting: Callable[[], None]
    """Tells the run that one of its attempts begins to wait."""


class AttemptStage:
    """One attempt's view of its run; see `runtime.node.Stage`."""

    def __init__(
        self, node: PlannedNode, ground: Ground, secrets: NodeSecrets, *, since: datetime | None = None
    ) -> None:
        """`since`: when the first of the attempts began that this one goes on for, which were cut short."""
        self.network = ground.network
        """Connections of this run through the checked door."""
        self.sandbox = ground.sandbox
        """Where code of strangers runs."""
        self.tenant_id = ground.tenant_id
        """Whose execution it is."""
        self._node_id = node.id
        self._execution_id = ground.execution_id
        self._ends = time.monotonic() + node.timeout_s
        self._since = since
        self._limit: asyncio.Timeout | None = None
        self._clock = ground.clock
        self._tell_waiting = ground.tell_waiting
        self._checkpoints = ground.checkpoints
        self._shelf = ground.shelf
        self._logins = ground.logins
        self._secrets = secrets
        self._redactor = secrets.redactor
        self.waits = False
        """Whether the node only lets time pass."""
        self._browser = ground.browser
        self._writer = ground.writer
        self._recorder = ground.recorder
        self._used: dict[PageRef, Page] = {}

    @property
    def node_id(self) -> str:
        """The node that runs."""
        return self._node_id

    @property
    def idempotency_key(self) -> str:
        """Names what the node does in this execution: the same for each attempt, whichever worker makes it."""
        return str(uuid5(self._execution_id, self._node_id))

    @property
    def seconds_left(self) -> float:
        """Until this attempt's deadline; never negative."""
        return max(0.0, self._ends - time.monotonic())

    def time_by(self, limit: asyncio.Timeout) -> None:
        """Name the deadline that waits put off."""
        self._limit = limit

    async def wait(self, seconds: float) -> None:
        """Put both deadlines off by what is left of `seconds`, and wait that long.

        A wait is over when it was due, however many workers and pauses it has gone through.
        """
        if self._since is not None:
            gone_s = (datetime.now(UTC) - self._since).total_seconds()
            seconds -= min(max(gone_s, 0.0), seconds)
        self._ends += seconds
        if self._limit is not None and (when := self._limit.when()) is not None:
            self._limit.reschedule(when + seconds)
        self.waits = True
        self._tell_waiting()  # whoever wanted to leave before this could not
        try:
            with self._clock.stand_still():
                await asyncio.sleep(seconds)
        finally:
            self.waits = False

    async def open_page(self, options: ContextOptions = DEFAULT, login: str | None = None) -> PageRef:
        """Open a page in a browser context of its own, named after this node. Raises BrowserFailure, NodeFailure."""
        ref = PageRef(self._node_id)
        storage = await self._logins.load(self._node_id, login) if login is not None else None
        for line in explain_left_out(options, self._browser.allow(options)):
            await self.log("warning", line)
        page = await self._browser.open_page(ref, options, storage)
        page.conceal(self._redactor)
        self._used[ref] = page
        return ref

    def page(self, ref: PageRef) -> Page:
        """The page behind a handle. Raises BrowserFailure (page_closed) when this run has no such page."""
        page = self._browser.page(ref)
        if ref not in self._used:
            page.trail.forget()  # where it went before this node is not this node's to keep
        self._used[ref] = page
        page.conceal(self._redactor)
        return page

    async def save_login(self, name: str, page: Page) -> None:
        """Keep what sites keep in the page's context. Raises BrowserFailure, NodeFailure."""
        kept = await self._logins.save(self._node_id, name, await page.read_storage())
        await self.log("info", f"Saved the login “{name}”, version {kept.version}.")

    async def load_login(self, name: str, ref: PageRef) -> None:
        """Open the page anew with a saved login. Raises BrowserFailure, NodeFailure."""
        state = await self._logins.load(self._node_id, name)
        page = self._used[ref] = await self._browser.replace_login(ref, state)
        page.conceal(self._redactor)

    def holds_credentials(self, handle: str) -> bool:
        """Whether what a person typed into this input asks for credentials."""
        return self._secrets.holds(handle)

    async def reveal(self, handle: str, value: Any, url: str) -> Any:
        """The input's value with the credentials in it. Raises NodeFailure."""
        return await self._secrets.reveal(handle, value, url)

    async def open_credential(self, handle: str, url: str) -> Opened | None:
        """The credential that an input names. Raises NodeFailure."""
        return await self._secrets.open_credential(handle, url)

    async def store_artifact(
        self,
        kind: ArtifactKind,
        name: str,
        media_type: str,
        data: bytes,
        *,
        width: int | None = None,
        height: int | None = None,
        page_url: str | None = None,
    ) -> Artifact:
        """Store a blob and record it with the execution. Raises NodeFailure (artifact_store, output_too_large)."""
        size = (width, height) if width is not None and height is not None else None
        try:
            blob = await self._writer.put(self._node_id, kind, name, media_type, data, size=size, page_url=page_url)
        except ArtifactStoreFailure as failure:
            raise NodeFailure(failure.code, failure.message, failure.hint, page_url=page_url) from failure
        return await self._record(blob)

    async def _record(self, blob: StoredBlob) -> Artifact:
        told = tell_artifact(blob.artifact.execution_id, blob.artifact, blob.artifact.created_at)
        # When that fails, nobody knows whether the row stands, fenced or not: an answer may have been lost before. So
        # the file stays, and goes with its execution's folder.
        await self._recorder.record(Change(blobs=[blob], events=[told]))
        return blob.artifact

    async def store_file(
        self, name: str, media_type: str, source: BinaryIO, *, page_url: str | None = None
    ) -> Artifact:
        """Store a copy of a file and record it. Raises NodeFailure (artifact_store, output_too_large)."""
        try:
            blob = await self._writer.put_file(self._node_id, name, media_type, source, page_url=page_url)
        except ArtifactStoreFailure as failure:
            raise NodeFailure(failure.code, failure.message, failure.hint, page_url=page_url) from failure
        return await self._record(blob)

    async def read_file(self, file: FileRef, max_bytes: int) -> bytes:
        """What is in a stored file. Raises NodeFailure (not_found, output_too_large, artifact_store)."""
        return await self._shelf.read(file, max_bytes)

    def note_tool(self, use: ToolUse) -> None:
        """Write down a call of a tool."""
        self._recorder.add_tool_use(use)

    async def log(self, level: Level, message: str) -> None:
        """Write a line to the execution's log."""
        self._recorder.add_line(level, message, self._node_id)

    async def keep_checkpoints(self) -> Sequence[SealedCheckpoint]:
        """Where this node has taken its pages, if it has taken any somewhere."""
        kept = []
        for ref, page in self._used.items():
            await page.trail.settle()
            if page.trail.moved and (one := await self._checkpoints.take(self._node_id, ref, page)) is not None:
                kept.append(one)
        return kept

    async def keep_evidence(self) -> Sequence[StoredBlob]:
        """Put away a picture, the address and the console's tail of every page this attempt used.

        What can't be had is left out: a failure must not hide behind another one.
        """
        blobs: list[StoredBlob] = []
        try:
            async with asyncio.timeout(EVIDENCE_S):
                for page in self._used.values():
                    blobs += await self._put_away(await page.collect_evidence())
        except (TimeoutError, ArtifactStoreFailure) as error:
            log.warning("evidence of a failure is incomplete", node=self._node_id, reason=str(error))
        return blobs

    async def _put_away(self, evidence: Evidence) -> list[StoredBlob]:
        blobs: list[StoredBlob] = []
        if (picture := evidence.picture) is not None:
            blob = await self._writer.put(
                self._node_id,
                ArtifactKind.FAILURE_SCREENSHOT,
                f"{self._node_id}-failure.{picture.media_type.removeprefix('image/')}",
                picture.media_type,
                picture.data,
                size=(picture.width, picture.height),
                page_url=picture.page_url,
            )
            blobs.append(blob)
        text = "\n".join([f"page: {evidence.page_url}", *evidence.console]).encode("utf-8", "replace")
        name = f"{self._node_id}-console.txt"
        blobs.append(
            await self._writer.put(
                self._node_id, ArtifactKind.CONSOLE, name, "text/plain; charset=utf-8", text, page_url=evidence.page_url
            )
        )
        return blobs


async def attempt(
    catalogue: Catalogue, planned: PlannedNode, start: StartNode, stage: AttemptStage
) -> Succeeded | Failed:
    """Run a node to its end or its deadline, in a task of its own. Only a cancel escapes."""
    structlog.contextvars.bind_contextvars(node_id=planned.id, attempt=start.attempt)
    node = catalogue.node(planned.type)
    try:
        async with asyncio.timeout(planned.timeout_s) as limit:
            stage.time_by(limit)
            outputs = await node.perform(start.inputs, stage)
    except NodeFailure as failure:
        told = failure.describe(planned.id)
        unknown = failure.acted or told.code in _CUT_OFF
        failed = Failed(start, ask_about(planned, told) if unknown else told, failure.retryable)
    except TimeoutError:
        failed = Failed(start, ask_about(planned, _explain_timeout(planned)), retryable=True)
    except Exception:  # the shell around node types: whatever they do, the run goes on
        log.exception("a node type failed in a way it should not", node_type=planned.type)
        failed = Failed(start, ask_about(planned, _explain_unexpected(planned)))
    else:
        return Succeeded(start, outputs, () if node.edits else await _keep_checkpoints(stage))
    return replace(failed, evidence=await stage.keep_evidence())


async def _keep_checkpoints(stage: AttemptStage) -> Sequence[SealedCheckpoint]:
    try:
        return await stage.keep_checkpoints()
    except Exception:  # what the node has done stands; its page is walked to again, if it is ever lost
        log.exception("a checkpoint failed in a way it should not")
        return ()


def _explain_timeout(planned: PlannedNode) -> Failure:
    return Failure(
        code=FailureCode.TIMEOUT,
        message=f"“{planned.name}” was not done within {planned.timeout_s:g} s.",
        hint="Give the node a longer timeout_s, or less to do.",
        node_id=planned.id,
    )


def _explain_unexpected(planned: PlannedNode) -> Failure:
    return Failure(
        code=FailureCode.INTERNAL,
        message=f"“{planned.name}” failed in a way it should not.",
        hint="Report it with the execution's id; the server's log has the reason.",
        node_id=planned.id,
    )
