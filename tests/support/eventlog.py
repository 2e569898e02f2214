"""An event log in memory that keeps the store's promises, and a Runtime that serves it over the real channel."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID, uuid4

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from starlette.applications import Starlette

from contracts.api.runtime import RuntimeApi
from contracts.errors import ApiError, Code
from contracts.events import (
    EVENT,
    Cancelled,
    Completed,
    CompletionResult,
    Event,
    EventPage,
    ExecutionAccepted,
    Failed,
    LogEntry,
    Logged,
    StatusChanged,
    StatusData,
)
from contracts.execution import Cost, Execution, ExecutionStatus, ReadEvents, ReadExecution
from contracts.model import ExecutionId, LogId, TenantId
from contracts.wiring.channel import Channels
from contracts.wiring.client import RuntimeClient
from contracts.wiring.internal import InternalCaller, InternalSigner, InternalVerifier
from contracts.wiring.server import Call, Server, build_app
from runtime.api.streams import Bells, EventStreams, Logs, make_guard
from runtime.store.events import LogPart
from tests.support.sockets import Served, serve

NOBODY = TenantId(UUID(int=0))
EPOCH = datetime(2026, 11, 21, 6, 30, tzinfo=UTC)


@dataclass
class Log:
    """One execution's log."""

    tenant_id: TenantId
    execution_id: ExecutionId
    log_id: LogId = field(default_factory=lambda: LogId(uuid4()))
    status: ExecutionStatus = ExecutionStatus.PENDING
    events: list[Event] = field(default_factory=list)


class Bell:
    """One reader's bell."""

    def __init__(self, poll_s: float) -> None:
        self.rung = asyncio.Event()
        self._poll_s = poll_s

    async def wait(self) -> None:
        try:
            async with asyncio.timeout(self._poll_s):
                await self.rung.wait()
        except TimeoutError:
            pass
        self.rung.clear()


class Store:
    """Logs of any number of executions, with bells; `late` swallows bells, `broken` is a database that is away."""

    def __init__(self, poll_s: float = 0.2) -> None:
        self.logs: dict[ExecutionId, Log] = {}
        self.reads = 0
        self.broken = False
        self.deaf = False
        self._poll_s = poll_s
        self._bells: dict[ExecutionId, set[Bell]] = {}

    def create(self, tenant_id: TenantId, execution_id: ExecutionId | None = None) -> Log:
        log = Log(tenant_id, execution_id or ExecutionId(uuid4()))
        self.logs[log.execution_id] = log
        self.append(log, accepted(log))
        return log

    def append(self, log: Log, *events: Event) -> None:
        """Record facts in one transaction: numbered, then told."""
        for event in events:
            log.events.append(event.model_copy(update={"seq": len(log.events) + 1}))
            match event:
                case StatusChanged():
                    log.status = event.status
                case Completed():
                    log.status = ExecutionStatus.COMPLETED
                case Cancelled():
                    log.status = ExecutionStatus.CANCELLED
                case Failed():
                    log.status = log.status if log.status.final else ExecutionStatus.FAILED
                case _:
                    pass
        if not self.deaf:
            self.ring(log)

    def ring(self, log: Log) -> None:
        for bell in self._bells.get(log.execution_id, ()):
            bell.rung.set()

    @contextmanager
    def subscribe(self, execution_id: ExecutionId) -> Iterator[Bell]:
        bell = Bell(self._poll_s)
        self._bells.setdefault(execution_id, set()).add(bell)
        try:
            yield bell
        finally:
            self._bells[execution_id].discard(bell)

    @property
    def watched(self) -> int:
        """How many readers there are."""
        return sum(len(bells) for bells in self._bells.values())

    async def read_raw_after(self, tenant_id: TenantId, execution_id: ExecutionId, after: int, limit: int) -> LogPart:
        await asyncio.sleep(0)
        self.reads += 1
        if self.broken:
            raise ApiError(Code.UNAVAILABLE, "The database can't be reached.")
        log = self.find(tenant_id, execution_id)
        page = log.events[after : after + limit]
        return LogPart(
            log_id=log.log_id,
            status=log.status if not log.status.final or is_over(log) else ExecutionStatus.RUNNING,
            head_seq=len(log.events),
            last_seq=page[-1].seq if page else after,
            bodies=[event.model_dump_json() for event in page],
        )

    def find(self, tenant_id: TenantId, execution_id: ExecutionId) -> Log:
        log = self.logs.get(execution_id)
        if log is None or log.tenant_id != tenant_id:
            raise ApiError(Code.NOT_FOUND, "No such execution.")
        return log

    def snapshot(self, tenant_id: TenantId, execution_id: ExecutionId) -> Execution:
        log = self.find(tenant_id, execution_id)
        return execution(execution_id, status=log.status, head_seq=len(log.events))


def is_over(log: Log) -> bool:
    return bool(log.events) and log.events[-1].type in ("completion", "error", "cancelled")


def execution(execution_id: ExecutionId, **changes: Any) -> Execution:
    """A status answer."""
    fields: dict[str, Any] = {
        "execution_id": execution_id,
        "status": ExecutionStatus.PENDING,
        "name": "demo",
        "realm": "workflow",
        "intent": "run",
        "workflow_id": None,
        "workflow_version": None,
        "progress": 0.0,
        "current_node": None,
        "phases": [],
        "nodes": [],
        "head_seq": 0,
        "created_at": EPOCH,
        "started_at": None,
        "finished_at": None,
        "result": None,
        "error": None,
        "cost": Cost(credits=0, usd="0"),
        "cancel_requested": False,
    }
    return Execution(**fields | changes)


def accepted(log: Log) -> ExecutionAccepted:
    return ExecutionAccepted(
        execution_id=log.execution_id,
        seq=0,
        timestamp=EPOCH,
        name="demo",
        realm="workflow",
        intent="run",
        workflow_id=None,
        workflow_version=None,
    )


def status(log: Log, value: ExecutionStatus, reason: str | None = None) -> StatusChanged:
    data = StatusData(progress=0.5, current_node="node-2", reason=reason)
    return StatusChanged(execution_id=log.execution_id, seq=0, timestamp=EPOCH, status=value, data=data)


def line(log: Log, message: str) -> Logged:
    entry = LogEntry(level="info", message=message, node_id=None, timestamp=EPOCH)
    return Logged(execution_id=log.execution_id, seq=0, timestamp=EPOCH, log=entry)


def completed(log: Log) -> Completed:
    result = CompletionResult(output={"answer": 42}, nodes_completed=3, nodes_failed=0, duration=45.2)
    return Completed(execution_id=log.execution_id, seq=0, timestamp=EPOCH, result=result)


def failed(log: Log, error: str = "Node 'node-2' failed: API key invalid") -> Failed:
    return Failed(execution_id=log.execution_id, seq=0, timestamp=EPOCH, error=error)


def cancelled(log: Log, reason: str = "") -> Cancelled:
    return Cancelled(execution_id=log.execution_id, seq=0, timestamp=EPOCH, reason=reason)


class Novel(Logged):
    """An event of the next release: this one knows none of its type."""

    type: Literal["novel"] = "novel"  # type: ignore[assignment]


def novel(log: Log) -> Event:
    return Novel(**line(log, "from the future").model_dump(exclude={"type"}))


class StreamApi:
    """The part of RuntimeApi that streams stand on."""

    read_events = RuntimeApi.read_events
    get_execution = RuntimeApi.get_execution
    events = RuntimeApi.events


@dataclass
class Keys:
    """A pair of internal keys."""

    signer: InternalSigner
    verifier: InternalVerifier

    @classmethod
    def make(cls) -> "Keys":
        key = Ed25519PrivateKey.generate()
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return cls(InternalSigner(private), InternalVerifier(public))

    def headers(self, tenant_id: TenantId = NOBODY) -> dict[str, str]:
        token = self.signer.token(tenant_id=tenant_id, user_id=None, request_id="test")
        return {"authorization": f"Bearer {token}"}


KEYS = Keys.make()


Snapshot = Callable[[TenantId, ExecutionId], Execution]


def runtime_app(logs: Logs, bells: Bells, snapshot: Snapshot, *, channel: bool = True) -> Starlette:
    """A Runtime that knows logs and nothing else; without `channel` it can only be polled."""

    async def guard(envelope: Any, endpoint: Any) -> InternalCaller:
        return KEYS.verifier.verify(envelope.headers.get("authorization", "").removeprefix("Bearer "))

    async def read_events(call: Call[InternalCaller], request: ReadEvents) -> EventPage:
        part = await logs.read_raw_after(call.caller.tenant_id, request.execution_id, request.after, request.limit)
        return EventPage(
            execution_id=request.execution_id,
            log_id=part.log_id,
            events=[EVENT.validate_json(body) for body in part.bodies],
            head_seq=part.head_seq,
            terminal=part.terminal,
        )

    async def get_execution(call: Call[InternalCaller], request: ReadExecution) -> Execution:
        return snapshot(call.caller.tenant_id, request.execution_id)

    server: Server[InternalCaller] = Server(StreamApi, guard)
    server.on(StreamApi.read_events, read_events)
    server.on(StreamApi.get_execution, get_execution)
    channels: Channels[InternalCaller] = Channels(StreamApi, make_guard(KEYS.verifier), private=True)
    channels.on(StreamApi.events, EventStreams(logs, bells).serve)
    return build_app([*server.routes(), *(channels.routes() if channel else ())])


@asynccontextmanager
async def serve_runtime(store: Store, port: int = 0, *, channel: bool = True) -> AsyncIterator[Served]:
    async with serve(runtime_app(store, store, store.snapshot, channel=channel), port) as served:
        yield served


class RuntimeClients:
    """Clients of one Runtime, one per tenant, over shared connections."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    def __call__(self, tenant_id: TenantId) -> RuntimeClient:
        return RuntimeClient(self._http, lambda: KEYS.headers(tenant_id), timeout_s=5)
