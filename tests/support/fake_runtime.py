"""Runtime as Experience meets it: the real wire on a real socket, with answers that a test chooses.

It checks the internal token, keeps executions apart by tenant, and knows an execution by its id. It can be down (nobody
listens), slow, refusing, and it can do what was asked and then cut the connection, so that its answer is lost.
"""

import asyncio
import hashlib
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from contracts.api.runtime import RuntimeApi
from contracts.declare import NOTHING, Endpoint, endpoints
from contracts.errors import ApiError, Code, Fault
from contracts.events import EventPage, ExecutionAccepted
from contracts.execution import (
    AdoptTenant,
    Artifact,
    ArtifactKind,
    ArtifactRef,
    Artifacts,
    CancelExecution,
    Cost,
    Execution,
    ExecutionRef,
    ExecutionStatus,
    ExecutionSummary,
    Failure,
    IntentType,
    ListExecutions,
    Moved,
    Question,
    ReadArtifact,
    ReadEvents,
    ReadExecution,
    Realm,
    Realms,
    ResolveArtifacts,
    RuntimeExport,
    Screen,
    Steps,
    SubmitExecution,
    TenantState,
    Visuals,
)
from contracts.model import ArtifactId, ExecutionId, Nothing, Page, TenantId, WorkflowId
from contracts.recovery import DeadLetter, DeadLetterDetail, DiscardDeadLetter, ListDeadLetters, PauseExecution
from contracts.wiring.internal import InternalCaller, InternalVerifier
from contracts.wiring.server import Call, Download, Envelope, Server, build_app
from contracts.workflow import (
    CreateWorkflow,
    DeleteWorkflow,
    ListWorkflows,
    NodeType,
    NodeTypes,
    ReadWorkflow,
    SaveWorkflow,
    ValidateDocument,
    Validation,
    Workflow,
    WorkflowDocument,
    WorkflowRef,
    WorkflowStatus,
    WorkflowSummary,
    WorkflowVersion,
    WorkflowVersions,
)
from experience.cli.ports import find_free_port
from tests.support.fake_egress import FakeEgress
from tests.support.fake_profiles import FakeProfiles
from tests.support.fake_tools import FakeTools
from tests.support.fake_vault import FakeVault
from tests.support.served import ServedThread, listen

Caller = Call[InternalCaller]

VISIT = IntentType(
    intent="visit",
    title="Visit a page",
    description="Opens an address.",
    parameters={
        "type": "object",
        "properties": {
            "url": {"type": "string", "minLength": 1, "maxLength": 2000},
            "screenshot": {"type": "boolean"},
            "tries": {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}]},
            "fields": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["url"],
        "additionalProperties": False,
    },
    example={"url": "https://example.com"},
)
RUN = IntentType(
    intent="run",
    title="Run a workflow",
    description="Starts a stored workflow.",
    parameters={
        "type": "object",
        "properties": {
            "workflow_id": {"type": "string", "format": "uuid"},
            "version": {"type": "integer", "minimum": 1},
            "inputs": {"type": "object"},
        },
        "required": ["workflow_id"],
        "additionalProperties": False,
    },
    example={"workflow_id": "0199a000-0000-7000-8000-000000000000"},
)
RETRY = IntentType(
    intent="retry",
    title="Retry an execution",
    description="Does a finished execution once more.",
    parameters={
        "type": "object",
        "properties": {
            "execution_id": {"type": "string", "format": "uuid"},
            "start_at": {"enum": ["failed", "node", "beginning"]},
            "node_id": {"type": ["string", "null"]},
            "version": {"enum": ["same", "latest"]},
            "answers": {"type": "object", "additionalProperties": {"enum": ["happened", "run_again"]}},
            "dead_letter": {"type": "boolean"},
        },
        "required": ["execution_id"],
        "additionalProperties": False,
    },
    example={"execution_id": "0199a000-0000-7000-8000-000000000000"},
)
REALMS = Realms(
    realms=[
        Realm(realm="browser", title="Browser", intents=[VISIT]),
        Realm(realm="execution", title="Executions", intents=[RETRY]),
        Realm(realm="workflow", title="Workflow", intents=[RUN]),
    ]
)
NODE_TYPES = NodeTypes(
    items=[
        NodeType(
            type="navigate",
            title="Navigate",
            group="browser",
            icon="compass",
            description="Goes to an address.",
            inputs=[],
            outputs=[],
            credits=1,
            can_be_start_node=False,
            safe=True,
        )
    ]
)
EMPTY_DOCUMENT: dict[str, Any] = {"name": "Nothing", "nodes": [], "edges": []}


@dataclass
class Kept:
    """One execution."""

    submitted: SubmitExecution
    cancels: list[str] = field(default_factory=list)
    status: ExecutionStatus = ExecutionStatus.PENDING
    failure: Failure | None = None
    question: Question | None = None


@dataclass
class FakeRuntime(FakeVault, FakeProfiles, FakeEgress, FakeTools):
    """What it was told, and how it is to behave. Lives in a thread of its own."""

    public_pem: bytes
    port: int = field(default_factory=find_free_port)
    delay_s: float = 0
    """Before every answer."""
    refusal: ApiError | None = None
    """For submits, as long as they are not deferred."""
    refuses_deferred: bool = False
    cancel_refusal: ApiError | None = None
    adopt_refusal: ApiError | None = None
    answers_lost: int = 0
    """So many submits are carried out before the connection is cut."""
    calls: Counter[str] = field(default_factory=Counter)
    callers: dict[str, list[InternalCaller]] = field(default_factory=lambda: defaultdict(list))
    deliveries: Counter[UUID] = field(default_factory=Counter)
    executions: dict[UUID, dict[UUID, Kept]] = field(default_factory=lambda: defaultdict(dict))
    dead_letters: dict[UUID, dict[UUID, DeadLetterDetail]] = field(default_factory=lambda: defaultdict(dict))
    artifacts: dict[UUID, tuple[TenantId, Artifact, bytes]] = field(default_factory=dict)
    workflows: dict[UUID, tuple[TenantId, Workflow]] = field(default_factory=dict)
    deleted: list[TenantId] = field(default_factory=list)
    moved: list[tuple[TenantId, TenantId]] = field(default_factory=list)
    realms: Realms = REALMS
    _thread: ServedThread | None = None

    @property
    def url(self) -> str:
        """Its base URL, also while it is down."""
        return f"http://127.0.0.1:{self.port}"

    def up(self) -> None:
        """Listen; on the same port as before."""
        if self._thread is None:
            self._thread = ServedThread(self._app(), listen(self.port), abrupt=True)

    def down(self) -> None:
        """Stop listening and cut what is open. What it knows it keeps, as its database would."""
        if self._thread is not None:
            self._thread.close()
            self._thread = None

    def behave(self) -> None:
        """Everything as it should be again."""
        self.delay_s, self.answers_lost, self.refuses_deferred = 0, 0, False
        self.refusal = self.cancel_refusal = self.adopt_refusal = None
        self.realms = REALMS
        self.up()

    def store_artifact(
        self, tenant_id: TenantId, content: bytes, *, media_type: str = "image/png", name: str = "shot.png"
    ) -> Artifact:
        """Something to download."""
        artifact = Artifact(
            artifact_id=ArtifactId(uuid4()),
            execution_id=ExecutionId(uuid4()),
            node_id=None,
            kind=ArtifactKind.SCREENSHOT,
            name=name,
            media_type=media_type,
            size=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            created_at=datetime.now(UTC),
        )
        self.artifacts[artifact.artifact_id] = (tenant_id, artifact, content)
        return artifact

    def _app(self) -> Starlette:
        verifier = InternalVerifier(self.public_pem)
        names = {id(endpoint): name for name, endpoint in endpoints(RuntimeApi)}

        async def guard(envelope: Envelope, endpoint: Endpoint[Any, Any]) -> InternalCaller:
            caller = verifier.verify(envelope.headers.get("authorization", "").removeprefix("Bearer "))
            assert caller.request_id == envelope.request_id
            self.calls[names[id(endpoint)]] += 1
            self.callers[names[id(endpoint)]].append(caller)
            await asyncio.sleep(self.delay_s)
            return caller

        server: Server[InternalCaller] = Server(RuntimeApi, guard)
        for name, endpoint in endpoints(RuntimeApi):
            server.on(endpoint, getattr(self, f"_{name}"))
        return build_app([*server.routes(), Route("/health", lambda _request: Response())])

    async def _get_realms(self, _call: Caller, _: Nothing) -> Realms:
        return self.realms

    async def _submit_execution(self, call: Caller, request: SubmitExecution) -> ExecutionSummary:
        mine = self.executions[call.caller.tenant_id]
        if self.refusal is not None and (self.refuses_deferred or not request.deferred):
            raise self.refusal
        if request.execution_id not in mine and request.parameters.get("dead_letter"):
            letter = self.dead_letters[call.caller.tenant_id][UUID(request.parameters["execution_id"])]
            if letter.resolution is not None:
                raise ApiError(Code.CONFLICT, "This dead letter was decided already.")
        self.deliveries[request.execution_id] += 1
        kept = mine.setdefault(request.execution_id, Kept(request))
        if (request.realm, request.intent) == ("execution", "retry"):
            self._resolve(call, UUID(request.parameters["execution_id"]), "retried", request.execution_id)
        if self.answers_lost > 0:
            self.answers_lost -= 1
            assert self._thread is not None
            self._thread.cut()
            await asyncio.sleep(30)
        fields = _execution(kept).model_dump(include=set(ExecutionSummary.model_fields))
        return ExecutionSummary.model_validate(fields)

    async def _list_executions(self, call: Caller, request: ListExecutions) -> Page[ExecutionSummary]:
        if request.cursor not in (None, "next"):
            fault = Fault(where="query.cursor", rule="bad_cursor", detail="Not a cursor of this list.")
            raise ApiError(Code.INVALID, "The cursor can't be read.", faults=[fault])
        found = [_execution(kept) for kept in self.executions[call.caller.tenant_id].values()]
        wanted = [one for one in found if request.status in (None, one.status)]
        if request.asks is not None:
            wanted = [one for one in wanted if (one.question is not None) is request.asks]
        items = [ExecutionSummary(**one.model_dump(include=set(ExecutionSummary.model_fields))) for one in wanted]
        return Page(items=items[: request.limit], next_cursor=None)

    async def _get_execution(self, call: Caller, request: ReadExecution) -> Execution:
        execution = _execution(self._find(call, request.execution_id))
        nothing = Visuals(latest=None, per_step=[], screen=Screen(available=True, url="/somewhere"))
        extra: dict[str, Any] = {
            "artifacts": [] if request.include_artifacts else None,
            "visuals": nothing if request.include_visuals else None,
        }
        return execution.model_copy(update=extra)

    async def _read_events(self, call: Caller, request: ReadEvents) -> EventPage:
        kept = self._find(call, request.execution_id)
        first = ExecutionAccepted(
            execution_id=request.execution_id,
            seq=1,
            timestamp=kept.submitted.submitted_at,
            name="visit",
            realm="browser",
            intent="visit",
            workflow_id=None,
            workflow_version=None,
        )
        events = [first] if request.after < 1 else []
        return EventPage(execution_id=request.execution_id, events=[*events], head_seq=1, terminal=False)

    async def _read_steps(self, call: Caller, request: ExecutionRef) -> Steps:
        self._find(call, request.execution_id)
        return Steps(items=[])

    async def _list_artifacts(self, call: Caller, request: ExecutionRef) -> Artifacts:
        self._find(call, request.execution_id)
        return Artifacts(items=[])

    async def _cancel_execution(self, call: Caller, request: CancelExecution) -> Execution:
        kept = self._find(call, request.execution_id)
        if self.cancel_refusal is not None:
            raise self.cancel_refusal
        kept.cancels.append(request.reason)
        kept.status = ExecutionStatus.CANCELLED
        return _execution(kept)

    async def _pause_execution(self, call: Caller, request: PauseExecution) -> Execution:
        kept = self._find(call, request.execution_id)
        kept.status = ExecutionStatus.PAUSED
        return _execution(kept)

    async def _resume_execution(self, call: Caller, request: ExecutionRef) -> Execution:
        kept = self._find(call, request.execution_id)
        kept.status = ExecutionStatus.PENDING
        return _execution(kept)

    async def _list_dead_letters(self, call: Caller, request: ListDeadLetters) -> Page[DeadLetter]:
        mine = self.dead_letters[call.caller.tenant_id].values()
        wanted = [one for one in mine if (one.resolution is not None) is request.resolved]
        items = [DeadLetter(**one.model_dump(include=set(DeadLetter.model_fields))) for one in wanted]
        return Page(items=items[: request.limit], next_cursor=None)

    async def _get_dead_letter(self, call: Caller, request: ExecutionRef) -> DeadLetterDetail:
        letter = self.dead_letters[call.caller.tenant_id].get(request.execution_id)
        if letter is None:
            raise ApiError(Code.NOT_FOUND, f"There is no dead letter of an execution {request.execution_id}.")
        return letter

    async def _discard_dead_letter(self, call: Caller, request: DiscardDeadLetter) -> DeadLetter:
        await self._get_dead_letter(call, ExecutionRef(execution_id=request.execution_id))
        letter = self._resolve(call, request.execution_id, "discarded", None)
        if letter is None or letter.resolution == "retried":
            raise ApiError(Code.CONFLICT, "It was retried already.")
        return DeadLetter(**letter.model_dump(include=set(DeadLetter.model_fields)))

    def _resolve(
        self, call: Caller, execution_id: UUID, resolution: str, retried_as: UUID | None
    ) -> DeadLetterDetail | None:
        mine = self.dead_letters[call.caller.tenant_id]
        if (letter := mine.get(execution_id)) is not None and letter.resolution is None:
            made = {"resolution": resolution, "resolved_at": datetime.now(UTC), "retried_as": retried_as}
            mine[execution_id] = letter.model_copy(update={**made, "resolved_by": call.caller.user_id})
        return mine.get(execution_id)

    async def _get_artifact(self, call: Caller, request: ArtifactRef) -> Artifact:
        return self._open(call, request.artifact_id)[0]

    async def _resolve_artifacts(self, call: Caller, request: ResolveArtifacts) -> Artifacts:
        mine = [self.artifacts[one] for one in request.artifact_ids if one in self.artifacts]
        return Artifacts(items=[artifact for tenant, artifact, _ in mine if tenant == call.caller.tenant_id])

    async def _read_artifact(self, call: Caller, request: ReadArtifact) -> Download:
        _, content = self._open(call, request.artifact_id)
        status, headers = 200, {"accept-ranges": "bytes"}
        if request.range is not None:
            first, _, last = request.range.removeprefix("bytes=").partition("-")
            begin, end = int(first), min(int(last or len(content) - 1), len(content) - 1)
            if begin >= len(content):
                raise ApiError(Code.RANGE_NOT_SATISFIABLE, f"The artifact has {len(content)} bytes.")
            status, headers["content-range"] = 206, f"bytes {begin}-{end}/{len(content)}"
            content = content[begin : end + 1]
        return Download("application/octet-stream", _chunks(content), len(content), status, headers)

    async def _get_node_types(self, _call: Caller, _: Nothing) -> NodeTypes:
        return NODE_TYPES

    async def _create_workflow(self, call: Caller, request: CreateWorkflow) -> Workflow:
        stored = _workflow(WorkflowId(uuid4()), 1, request)
        self.workflows[stored.workflow_id] = (call.caller.tenant_id, stored)
        return stored

    async def _list_workflows(self, call: Caller, _request: ListWorkflows) -> Page[WorkflowSummary]:
        mine = [workflow for tenant, workflow in self.workflows.values() if tenant == call.caller.tenant_id]
        shown = set(WorkflowSummary.model_fields) - {"nodes"}
        items = [WorkflowSummary(**one.model_dump(include=shown), nodes=len(one.document.nodes)) for one in mine]
        return Page(items=items, next_cursor=None)

    async def _validate_document(self, _call: Caller, request: ValidateDocument) -> Validation:
        return Validation(valid=not request.nodes, faults=[], phases=[])

    async def _get_workflow(self, call: Caller, request: ReadWorkflow) -> Workflow:
        return self._drawn(call, request.workflow_id)

    async def _save_workflow(self, call: Caller, request: SaveWorkflow) -> Workflow:
        before = self._drawn(call, request.workflow_id)
        if request.if_match is not None and request.if_match.strip('"') not in ("*", before.etag):
            raise ApiError(Code.VERSION_CONFLICT, f"The latest is version {before.version}.")
        stored = _workflow(request.workflow_id, before.version + 1, request)
        self.workflows[request.workflow_id] = (call.caller.tenant_id, stored)
        return stored

    async def _delete_workflow(self, call: Caller, request: DeleteWorkflow) -> Nothing:
        self._drawn(call, request.workflow_id)
        del self.workflows[request.workflow_id]
        return NOTHING

    async def _list_versions(self, call: Caller, request: WorkflowRef) -> WorkflowVersions:
        drawn = self._drawn(call, request.workflow_id)
        one = WorkflowVersion(
            version=drawn.version, etag=drawn.etag, content_hash="0", created_at=drawn.created_at, created_by=None
        )
        return WorkflowVersions(items=[one])

    async def _validate_workflow(self, call: Caller, request: WorkflowRef) -> Validation:
        self._drawn(call, request.workflow_id)
        return Validation(valid=True, faults=[], phases=[])

    async def _set_tenant(self, _call: Caller, _request: TenantState) -> Nothing:
        return NOTHING

    async def _adopt_tenant(self, call: Caller, request: AdoptTenant) -> Moved:
        if self.adopt_refusal is not None:
            raise self.adopt_refusal
        theirs = self.executions.pop(request.guest_tenant_id, {})
        self.executions[call.caller.tenant_id] |= theirs
        self.moved.append((request.guest_tenant_id, call.caller.tenant_id))
        return Moved(executions=len(theirs))

    async def _export_tenant(self, _call: Caller, _: Nothing) -> RuntimeExport:
        return RuntimeExport(workflows=[], executions=[], artifacts=[])

    async def _delete_tenant(self, call: Caller, _: Nothing) -> Nothing:
        mine = self.executions[call.caller.tenant_id].values()
        if any(kept.status is ExecutionStatus.RUNNING for kept in mine):
            raise ApiError(Code.CONFLICT, "Something is running.")
        self.deleted.append(call.caller.tenant_id)
        return NOTHING

    def _find(self, call: Caller, execution_id: ExecutionId) -> Kept:
        kept = self.executions[call.caller.tenant_id].get(execution_id)
        if kept is None:
            raise ApiError(Code.NOT_FOUND, f"There is no execution {execution_id}.")
        return kept

    def _open(self, call: Caller, artifact_id: ArtifactId) -> tuple[Artifact, bytes]:
        tenant_id, artifact, content = self.artifacts.get(artifact_id, (None, None, b""))
        if artifact is None or tenant_id != call.caller.tenant_id:
            raise ApiError(Code.NOT_FOUND, f"There is no artifact {artifact_id}.")
        return artifact, content

    def _drawn(self, call: Caller, workflow_id: WorkflowId) -> Workflow:
        tenant_id, workflow = self.workflows.get(workflow_id, (None, None))
        if workflow is None or tenant_id != call.caller.tenant_id:
            raise ApiError(Code.NOT_FOUND, f"There is no workflow {workflow_id}.")
        return workflow


def _execution(kept: Kept) -> Execution:
    submitted = kept.submitted
    return Execution(
        execution_id=submitted.execution_id,
        status=kept.status,
        name=submitted.intent,
        realm=submitted.realm,
        intent=submitted.intent,
        workflow_id=None,
        workflow_version=None,
        progress=0,
        current_node=None,
        phases=[],
        nodes=[],
        head_seq=1,
        created_at=submitted.submitted_at,
        started_at=None,
        finished_at=None,
        result=None,
        error=kept.failure,
        question=kept.question,
        cost=Cost(credits=0, usd="0"),
        cancel_requested=bool(kept.cancels),
    )


def _workflow(workflow_id: WorkflowId, version: int, document: WorkflowDocument) -> Workflow:
    fields = document.model_dump(include=set(WorkflowDocument.model_fields))
    now = datetime.now(UTC)
    return Workflow(
        workflow_id=workflow_id,
        name=document.name,
        description=document.description,
        status=WorkflowStatus.DRAFT,
        version=version,
        etag=f"v{version}",
        document=WorkflowDocument.model_validate(fields),
        valid=True,
        faults=[],
        phases=[],
        created_at=now,
        updated_at=now,
        created_by=None,
    )


async def _chunks(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 65_536):
        yield content[start : start + 65_536]
