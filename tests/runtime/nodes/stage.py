"""A stage that lends real pages and keeps artifacts and log lines in memory."""

import hashlib
import time
from datetime import UTC, datetime
from typing import Any, BinaryIO

from uuid_utils.compat import uuid7

from contracts.execution import Artifact, ArtifactKind, FailureCode
from contracts.model import ArtifactId, TenantId
from runtime.browser.options import DEFAULT, ContextOptions
from runtime.browser.page import Page
from runtime.browser.pool import Lease
from runtime.egress.backend import DoorBackend
from runtime.egress.door import Door
from runtime.engine.references import Reference, fill_references
from runtime.handles import FileRef, PageRef
from runtime.node import Level, NodeFailure, Opened
from runtime.sandbox.sandbox import Sandbox
from runtime.store.tool_events import ToolUse
from tests.runtime.egress.played import Internet


class MemoryStage:
    """See `runtime.node.Stage`."""

    def __init__(
        self,
        lease: Lease | None = None,
        *,
        seconds: float = 60.0,
        network: DoorBackend | None = None,
        sandbox: Sandbox | None = None,
    ) -> None:
        self._network = network or (DoorBackend(Door(Internet().resolve), lease.permit) if lease is not None else None)
        self.sandbox = sandbox or Sandbox(backends=(), for_others=False)
        self.lease = lease
        self.tenant_id = TenantId(uuid7())
        self.artifacts: list[tuple[Artifact, bytes]] = []
        self.lines: list[tuple[Level, str]] = []
        self.tools: list[ToolUse] = []
        self.waited = 0.0
        self.credentials: dict[str, dict[Reference, str]] = {}
        """What each input may ask for."""
        self.opened: Opened | None = None
        self.logins: dict[str, dict[str, Any]] = {}
        self.revealed: list[tuple[str, str]] = []
        self._ends = time.monotonic() + seconds

    @property
    def node_id(self) -> str:
        return "node-1"

    @property
    def idempotency_key(self) -> str:
        return "key-1"

    @property
    def seconds_left(self) -> float:
        return max(0.0, self._ends - time.monotonic())

    @property
    def network(self) -> DoorBackend:
        assert self._network is not None
        return self._network

    async def wait(self, seconds: float) -> None:
        self.waited += seconds

    async def open_page(self, options: ContextOptions = DEFAULT, login: str | None = None) -> PageRef:
        assert self.lease is not None
        storage = self.logins[login] if login is not None else None
        await self.lease.open_page(self.node_id, options, storage)
        return PageRef(self.node_id)

    def page(self, ref: PageRef) -> Page:
        assert self.lease is not None
        return self.lease.page(ref)

    async def save_login(self, name: str, page: Page) -> None:
        self.logins[name] = await page.read_storage()

    async def load_login(self, name: str, ref: PageRef) -> None:
        assert self.lease is not None
        await self.lease.replace_login(ref, self.logins[name])

    def holds_credentials(self, handle: str) -> bool:
        return handle in self.credentials

    async def reveal(self, handle: str, value: Any, url: str) -> Any:
        self.revealed.append((handle, url))
        return fill_references(value, self.credentials[handle]) if handle in self.credentials else value

    async def open_credential(self, handle: str, url: str) -> Opened | None:
        self.revealed.append((handle, url))
        return self.opened

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
        if self.lease is None:
            raise NodeFailure(FailureCode.ARTIFACT_STORE, "The store is full.", "Make room.")
        artifact = Artifact(
            artifact_id=ArtifactId(uuid7()),
            execution_id=self.lease.permit.execution_id,
            node_id=self.node_id,
            kind=kind,
            name=name,
            media_type=media_type,
            size=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            width=width,
            height=height,
            page_url=page_url,
            created_at=datetime.now(UTC),
        )
        self.artifacts.append((artifact, data))
        return artifact

    async def store_file(
        self, name: str, media_type: str, source: BinaryIO, *, page_url: str | None = None
    ) -> Artifact:
        return await self.store_artifact(ArtifactKind.FILE, name, media_type, source.read(), page_url=page_url)

    async def read_file(self, file: FileRef, max_bytes: int) -> bytes:
        return next(data for artifact, data in self.artifacts if artifact.artifact_id == file.artifact_id)

    def note_tool(self, use: ToolUse) -> None:
        self.tools.append(use)

    async def log(self, level: Level, message: str) -> None:
        self.lines.append((level, message))
