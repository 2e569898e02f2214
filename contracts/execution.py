"""Intents and executions: what was asked for, what became of it, and what it left behind."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from contracts.model import (
    ArtifactId,
    Contract,
    Cursor,
    ExecutionId,
    IdempotencyKey,
    InHeader,
    Instant,
    IntentId,
    Limit,
    NodeId,
    Seq,
    SessionId,
    StepId,
    TenantId,
    UserId,
    Whence,
    WorkflowId,
)
from contracts.workflow import JsonObject


class ExecutionStatus(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    """Nothing starts until somebody resumes it. Holds no worker, unless its page can't be brought back otherwise."""
    WAITING = "waiting"
    """For a person, a time or a takeover; holds no worker."""
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    BUDGET_EXCEEDED = "budget_exceeded"

    @property
    def final(self) -> bool:
        """Whether nothing can follow."""
        return self in _FINAL


_FINAL = frozenset(
    {
        ExecutionStatus.COMPLETED,
        ExecutionStatus.FAILED,
        ExecutionStatus.CANCELLED,
        ExecutionStatus.BUDGET_EXCEEDED,
    }
)


class StepStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    RETRYING = "retrying"
    SUCCESS = "success"
    FAILED = "failed"
    SKIPPED = "skipped"

    @property
    def final(self) -> bool:
        """Whether this attempt has ended (retrying is followed by another)."""
        return self in (StepStatus.SUCCESS, StepStatus.FAILED, StepStatus.SKIPPED)


class FailureCode(StrEnum):
    """Why a node or an execution failed."""

    INVALID_INPUT = "invalid_input"
    INVALID_SELECTOR = "invalid_selector"
    ELEMENT_NOT_FOUND = "element_not_found"
    TIMEOUT = "timeout"
    NAVIGATION_FAILED = "navigation_failed"
    HOST_REFUSED = "host_refused"
    HOST_NOT_FOUND = "host_not_found"
    """There is no host of that name; trying again does not help."""
    HTTP_FAILED = "http_failed"
    """A request over HTTP got no answer, or one that says that it failed."""
    CREDENTIAL_MISSING = "credential_missing"
    """There is no credential of that name, or it has no such field."""
    CREDENTIAL_REFUSED = "credential_refused"
    """A credential may not go to that host."""
    CREDENTIAL_SEALED = "credential_sealed"
    """A credential can't be opened: the key it was sealed with is not here."""
    PAGE_CLOSED = "page_closed"
    BROWSER_CRASHED = "browser_crashed"
    BROWSER_MISSING = "browser_missing"
    OUTPUT_TOO_LARGE = "output_too_large"
    ARTIFACT_STORE = "artifact_store"
    SANDBOX_UNAVAILABLE = "sandbox_unavailable"
    """No code was run, because nothing could have shut it in."""
    CODE_FAILED = "code_failed"
    CODE_TIMEOUT = "code_timeout"
    CODE_LIMIT = "code_limit"
    """Code in the sandbox used up its memory, processes, output, result or files."""
    WORKFLOW_INVALID = "workflow_invalid"
    NOT_FOUND = "not_found"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    """The execution's own time limit."""
    STOPPED = "stopped"
    """Ended before it was done, because the execution ended: by a cancel, its time limit or another node's failure."""
    WORKER_LOST = "worker_lost"
    INTERRUPTED_UNSAFE = "interrupted_unsafe"
    """A worker was lost inside a node that must not run twice without a person's word."""
    BUDGET_EXCEEDED = "budget_exceeded"
    INTERNAL = "internal"


class Failure(Contract):
    """What went wrong, in a way that a program can switch on and a person can act on."""

    code: FailureCode
    message: str
    hint: str
    node_id: NodeId | None = None
    page_url: str | None = None
    asks_about: NodeId | None = None
    """The node of which only a person can say whether it happened; a retry needs the answer."""


class Priority(StrEnum):
    """Which of a tenant's executions go first. Between tenants it changes nothing: those take turns."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


class Answer(StrEnum):
    """What a person says of a node that was interrupted and must not run twice by itself."""

    HAPPENED = "happened"
    """Its effect is there: go on behind it."""
    RUN_AGAIN = "run_again"
    """Its effect is not there, or may come twice: run it."""


class Question(Contract):
    """What only a person can know, asked by an execution that ended because of it."""

    node_id: NodeId
    node_name: str
    message: str
    """What happened, in words."""
    hint: str
    answers: list[Answer] = [Answer.HAPPENED, Answer.RUN_AGAIN]


class IntentStatus(StrEnum):
    PENDING = "pending"
    """Stored; Runtime has not confirmed it yet."""
    DELIVERED = "delivered"
    REFUSED = "refused"
    """Runtime answered that it can never run (see `error`)."""


class SubmitIntent(Contract):
    realm: Annotated[str, StringConstraints(min_length=1, max_length=50)]
    intent: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    parameters: JsonObject = {}
    """Checked against the intent's JSON Schema; see the catalogue."""
    priority: Priority = Priority.NORMAL
    session_id: SessionId | None = None
    idempotency_key: IdempotencyKey | None = None


class Links(Contract):
    """Where to go on from here, as paths on this origin."""

    status: str
    events: str
    steps: str
    artifacts: str
    cancel: str
    """POST, as the next four."""
    pause: str
    resume: str
    retry: str
    """Once it has ended."""
    answer: str
    """Where it ended with a question."""
    stream: str
    """WebSocket."""
    page: str


class Accepted(Contract):
    """Stored for good: this execution will run exactly once, even if Runtime is away right now."""

    intent_id: IntentId
    execution_id: ExecutionId
    status: ExecutionStatus
    links: Links


class Intent(Contract):
    intent_id: IntentId
    execution_id: ExecutionId
    session_id: SessionId | None
    realm: str
    intent: str
    parameters: JsonObject
    status: IntentStatus
    error: str | None
    cancel_requested: bool
    created_at: Instant
    delivered_at: Instant | None
    created_by: UserId | None
    question: Question | None = None
    """What its execution waits for a person to answer; only in the list of pending intents."""
    links: Links


class IntentRef(Contract):
    intent_id: IntentId


class ListPendingIntents(Contract):
    """Intents that wait for a person or for Runtime."""

    cursor: Cursor | None = None
    limit: Limit = 50


class IntentType(Contract):
    """One thing that Runtime can be asked to do."""

    intent: str
    title: str
    description: str
    parameters: JsonObject
    """JSON Schema (2020-12) of the parameters."""
    example: JsonObject


class Realm(Contract):
    realm: str
    title: str
    intents: list[IntentType]


class Realms(Contract):
    realms: list[Realm]


class SubmitExecution(Contract):
    """Experience hands an intent to Runtime. The same execution_id again answers the same and starts nothing."""

    execution_id: ExecutionId
    intent_id: IntentId
    session_id: SessionId | None
    user_id: UserId | None
    realm: str
    intent: str
    parameters: JsonObject
    priority: Priority = Priority.NORMAL
    deferred: bool = False
    """The caller has been told 202 already: record what can never run as a failed execution instead of refusing it."""
    cancelled: Annotated[str, StringConstraints(max_length=500)] | None = Field(
        default=None,
        # a Runtime of before this field refuses for good what has it, and what was accepted would be lost
        exclude_if=lambda reason: reason is None,
    )
    """The reason, where it was cancelled before it was handed over: it is recorded as cancelled and never begins. One
    that is known already is ended by CancelExecution alone."""
    submitted_at: Instant


class ExecutionSummary(Contract):
    execution_id: ExecutionId
    status: ExecutionStatus
    workflow_id: WorkflowId | None
    workflow_version: int | None
    name: str
    realm: str
    intent: str
    progress: float
    current_node: str | None
    error: Failure | None
    retry_of: ExecutionId | None = None
    """The execution whose finished nodes this one has taken over."""
    question: Question | None = None
    """Unanswered; `POST …/answer` goes on from there."""
    created_at: Instant
    started_at: Instant | None
    finished_at: Instant | None


class ExecutionRef(Contract):
    execution_id: ExecutionId


class ListExecutions(Contract):
    status: ExecutionStatus | None = None
    workflow_id: WorkflowId | None = None
    since: Instant | None = None
    """Created at or after."""
    until: Instant | None = None
    """Created before."""
    text: Annotated[str, StringConstraints(max_length=200)] | None = None
    """Part of the name."""
    asks: bool | None = None
    """Only those that wait for a person's answer (true), or only the others (false)."""
    cursor: Cursor | None = None
    limit: Limit = 50


class ReadStatus(Contract):
    execution_id: ExecutionId
    tenant_id: Annotated[
        TenantId,
        Whence("links.status of what started this holds yours, and GET /api/auth/me has it as tenant.tenant_id"),
    ]
    """Must be the caller's, as `links.status` has it and `GET /api/auth/me` answers it in `tenant.tenant_id`; any other
    answers as an unknown execution."""
    include_artifacts: bool = False
    include_visuals: bool = False


class ReadExecution(Contract):
    """Status as Runtime serves it: the tenant is in the token."""

    execution_id: ExecutionId
    include_artifacts: bool = False
    include_visuals: bool = False


class PhaseState(Contract):
    number: int
    nodes: list[str]
    status: StepStatus


class NodeState(Contract):
    """A node of an execution, as its latest attempt stands."""

    node_id: str
    type: str
    name: str
    phase: int
    status: StepStatus
    attempt: int
    started_at: Instant | None
    finished_at: Instant | None
    error: Failure | None


class Cost(Contract):
    credits: int
    usd: Annotated[str, StringConstraints(pattern=r"^\d+(\.\d+)?$")]
    """Decimal text, so that no digit is lost."""


class ArtifactKind(StrEnum):
    SCREENSHOT = "screenshot"
    FAILURE_SCREENSHOT = "failure_screenshot"
    CONSOLE = "console"
    OUTPUT = "output"
    FILE = "file"


class Artifact(Contract):
    """A stored blob; its content is at `/api/artifact/{artifact_id}`."""

    artifact_id: ArtifactId
    execution_id: ExecutionId
    node_id: str | None
    kind: ArtifactKind
    name: str
    media_type: str
    size: int
    """Bytes."""
    sha256: str
    width: int | None = None
    height: int | None = None
    page_url: str | None = None
    created_at: Instant


class Screen(Contract):
    """Whether a live picture can be opened, and where."""

    available: bool
    url: str


class Visuals(Contract):
    latest: Artifact | None
    per_step: list[Artifact]
    """The latest screenshot of each node, in order of time."""
    screen: Screen


class Execution(Contract):
    """What `status` answers."""

    execution_id: ExecutionId
    status: ExecutionStatus
    name: str
    realm: str
    intent: str
    workflow_id: WorkflowId | None
    workflow_version: int | None
    progress: float
    """0 to 1: share of nodes that it has come past. One that failed or was cancelled says how far it came."""
    current_node: str | None
    phases: list[PhaseState]
    nodes: list[NodeState]
    head_seq: Seq
    created_at: Instant
    started_at: Instant | None
    finished_at: Instant | None
    result: JsonObject | None
    error: Failure | None
    cost: Cost
    cancel_requested: bool
    pause_requested: bool = False
    """Somebody has paused it; `status` says `paused` once nothing of it runs any more."""
    retry_of: ExecutionId | None = None
    """The execution whose finished nodes this one has taken over."""
    question: Question | None = None
    """Unanswered; `POST …/answer` goes on from there."""
    artifacts: list[Artifact] | None = None
    """With include_artifacts."""
    visuals: Visuals | None = None
    """With include_visuals."""


class CancelExecution(Contract):
    execution_id: ExecutionId
    reason: Annotated[str, StringConstraints(max_length=500)] = ""


class Step(Contract):
    """One recorded attempt at a node."""

    step_id: StepId
    node_id: str
    node_type: str
    phase: int
    attempt: int
    epoch: int
    """Number of the run (the lease) that made the attempt."""
    status: StepStatus
    outputs: JsonObject | None
    """Values over 64 KiB stand as artifact references with a preview."""
    error: Failure | None
    started_at: Instant | None
    finished_at: Instant | None
    duration_ms: int | None
    credits: int
    reused: bool = False
    """Taken over from the execution that this one is a retry of; it did not run here and cost nothing."""


class Steps(Contract):
    items: list[Step]


class Artifacts(Contract):
    items: list[Artifact]


class ReadEvents(Contract):
    """Events of one execution after a sequence number, oldest first."""

    execution_id: ExecutionId
    after: Seq = 0
    limit: Annotated[int, Field(ge=1, le=1_000)] = 200


class ArtifactRef(Contract):
    artifact_id: ArtifactId


class ReadArtifact(Contract):
    artifact_id: ArtifactId
    range: Annotated[str, StringConstraints(max_length=200), InHeader("Range")] | None = None


class ReadPublicArtifact(ReadArtifact):
    link: Annotated[str, StringConstraints(max_length=2_000)] | None = None
    """A short-lived link's signature: reads without further credentials until it expires."""


class ResolveArtifacts(Contract):
    artifact_ids: Annotated[list[ArtifactId], Field(min_length=1, max_length=100)]


class ResolvedArtifact(Contract):
    artifact: Artifact
    url: str
    """Absolute; valid until `expires_at` for whoever holds it."""
    expires_at: Instant


class ResolvedArtifacts(Contract):
    items: list[ResolvedArtifact]
    missing: list[ArtifactId]


class TenantState(Contract):
    """What Runtime must know of a tenant."""

    tenant_id: TenantId
    suspended: bool
    max_concurrent_executions: int | None = None
    max_workflows: int | None = None
    retention_days: int | None = None


class AdoptTenant(Contract):
    """Moves all that a guest's tenant owns to the caller's tenant."""

    guest_tenant_id: TenantId


class Moved(Contract):
    executions: int


class RuntimeExport(Contract):
    workflows: list[JsonObject]
    executions: list[JsonObject]
    artifacts: list[JsonObject]
    browser_profiles: list[JsonObject] = []
    credentials: list[JsonObject] = []
    credential_uses: list[JsonObject] = []
    egress_lists: list[JsonObject] = []
    egress_refusals: list[JsonObject] = []
    tool_events: list[JsonObject] = []
