"""Workflows: the document a person draws, its versions, and the catalogue of node types it is drawn from."""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints

from contracts.errors import Fault
from contracts.model import (
    Contract,
    Cursor,
    IdempotencyKey,
    InHeader,
    InQuery,
    Instant,
    Limit,
    Name,
    NodeId,
    UserId,
    WorkflowId,
)

HandleName = Annotated[str, StringConstraints(min_length=1, max_length=100)]
JsonObject = dict[str, Any]
Description = Annotated[str, StringConstraints(max_length=8_000)]


class DataType(StrEnum):
    """What travels along an edge."""

    STRING = "STRING"
    NUMBER = "NUMBER"
    BOOLEAN = "BOOLEAN"
    JSON = "JSON"
    HTML = "HTML"
    FILE = "FILE"
    """A reference to an artifact."""
    SELECT = "SELECT"
    """One of a fixed list of strings."""
    BROWSER_INSTANCE = "BROWSER_INSTANCE"
    """A page handle; never cast to or from data."""
    CREDENTIAL = "CREDENTIAL"
    CONDITIONAL = "CONDITIONAL"
    """Control: says which way a branch went; carries no data. It ends in the `Execute Condition` of any node."""
    ANY = "ANY"


class Port(Contract):
    """An input or output of a node type."""

    name: str
    """The display name; it is also the handle's id in edges and the key in `data.inputs`."""
    type: DataType
    description: str
    required: bool = False
    """Inputs only: must be there as a literal, an expression or an edge."""
    connectable: bool = True
    """Inputs only: whether an edge may end here."""
    mergeable: bool = False
    """Inputs only: whether several edges may end here. Data gets all that is live, a page the first live one."""
    unless: dict[str, list[str]] = {}
    """Inputs only: not required after all while another input, by name, is typed as one of these values."""
    secret: bool = False
    """Inputs only: a typed text may refer to credentials, as `{{credential.NAME.FIELD}}`."""
    value_schema: JsonObject = {}
    """Inputs only: JSON Schema of a literal value, from which forms are made."""


class NodeType(Contract):
    """One entry of the node catalogue: all that the editor, the validator and the documents need to know."""

    type: str
    title: str
    group: str
    icon: str
    description: str
    inputs: list[Port]
    outputs: list[Port]
    credits: int
    """Cost of one successful attempt."""
    can_be_start_node: bool
    safe: bool
    """Whether running it twice does no harm (reads, and writes that are the same when repeated)."""
    safe_if: list[dict[str, list[str | bool]]] = []
    """Of a type that is not safe: a node of it is safe nevertheless where one of these holds, each by input the typed
    values that it has to have."""
    unavailable: str = ""
    """Why no worker can run it now, and what to do; empty where one can. A document may hold it all the same."""


class NodeTypes(Contract):
    items: list[NodeType]


class Position(Contract):
    x: float = 0
    y: float = 0


class NodeData(Contract):
    """What a person typed into a node."""

    model_config = ConfigDict(extra="ignore")  # editors keep ornaments of their own here

    inputs: dict[HandleName, Any] = {}
    settings: JsonObject = {}


class OnError(StrEnum):
    STOP = "stop"
    CONTINUE = "continue"
    USE_DEFAULT = "use_default"
    ROUTE = "route"


class Node(Contract):
    """A node as drawn. Editors' ornaments (`selected`, `measured`, `width` …) are accepted and dropped."""

    model_config = ConfigDict(extra="ignore")

    id: NodeId
    type: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    name: Annotated[str, StringConstraints(max_length=200)] | None = None
    position: Position = Position()
    data: NodeData = NodeData()
    parentId: NodeId | None = None  # noqa: N815 — the name on the wire, React Flow's


class Edge(Contract):
    model_config = ConfigDict(extra="ignore")

    id: Annotated[str, StringConstraints(min_length=1, max_length=400)]
    source: NodeId
    target: NodeId
    sourceHandle: HandleName  # noqa: N815
    targetHandle: HandleName  # noqa: N815


Scheduling = Literal["phases", "eager"]
"""When a node may start: once every node of the phases before has ended, or as soon as its own inputs are resolved."""


AllowedDomains = Annotated[
    list[Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=300)]], Field(max_length=100)
]
"""Hosts, written as in `/api/admin/egress`: `example.org`, `*.example.org`, an address or a network, with a port or
without. Where there is one, nothing else is reached, and never more than the tenant lets through."""


class WorkflowSettings(Contract):
    max_parallel: Annotated[int, Field(ge=1, le=64)] = 8
    """How many nodes may run at once."""
    scheduling: Scheduling = "phases"
    """`eager` starts a node as soon as its inputs are resolved instead of waiting for its phase; a completed execution
    has the same outputs either way, and nodes of one page keep their order."""
    timeout_s: Annotated[float, Field(gt=0, le=86_400)] = 900
    """Time an execution may take, waits not counted."""
    node_timeout_s: Annotated[float, Field(gt=0, le=3_600)] = 60
    on_error: OnError = OnError.STOP
    concurrency: Annotated[int, Field(ge=1, le=1_000)] | None = None
    """How many executions of this workflow may run at once; null means as many as the tenant may."""
    retention_days: Annotated[int, Field(ge=1, le=3_650)] | None = None
    allowed_domains: AllowedDomains = []
    """All that executions of this workflow may reach; empty: what the tenant lets through."""


class WorkflowStatus(StrEnum):
    DRAFT = "draft"
    ACTIVE = "active"
    PAUSED = "paused"


class WorkflowDocument(Contract):
    """The graph as a person draws it; what import and export carry. The plan is always computed by the server."""

    id: Annotated[str, StringConstraints(max_length=200)] | None = None
    """Accepted for round trips and never trusted: the server's own id stands."""
    name: Name
    description: Description = ""
    nodes: Annotated[list[Node], Field(max_length=2_000)] = []
    edges: Annotated[list[Edge], Field(max_length=10_000)] = []
    triggers: Annotated[list[JsonObject], Field(max_length=50)] = []
    """Stored with the version; this release starts workflows by intent only, and fires none of them."""
    settings: WorkflowSettings = WorkflowSettings()
    cron: Annotated[str, StringConstraints(max_length=100)] | None = None
    """Five fields; checked and stored with the version, not fired by this release."""
    status: WorkflowStatus | None = None


class CreateWorkflow(WorkflowDocument):
    """A document to store as version 1 of a new workflow. It may be invalid: the answer lists what is missing."""


class SaveWorkflow(WorkflowDocument):
    """A document to store as the next version of a workflow."""

    workflow_id: WorkflowId
    if_match: Annotated[str, StringConstraints(max_length=100), InHeader("If-Match")] | None = None
    """The `etag` of the version this change was made on; another latest version answers `version_conflict`, and none
    `precondition_required`. `*` saves on top of whatever is there."""


class ValidateDocument(WorkflowDocument):
    """A document to check without storing it."""


class Validation(Contract):
    """Whether a workflow could be activated, and every reason why not."""

    valid: bool
    faults: list[Fault]
    phases: list[list[str]]
    """Node ids by phase, in canonical order; empty while the document is invalid."""
    warnings: list[Fault] = []
    """What does not make it invalid and would make it fail now, such as nodes that no worker can run."""


class Workflow(Contract):
    """A stored workflow with its latest version."""

    workflow_id: WorkflowId
    name: str
    description: str
    status: WorkflowStatus
    version: int
    etag: str
    document: WorkflowDocument
    valid: bool
    faults: list[Fault]
    phases: list[list[str]]
    created_at: Instant
    updated_at: Instant
    created_by: UserId | None


class WorkflowSummary(Contract):
    workflow_id: WorkflowId
    name: str
    description: str
    status: WorkflowStatus
    version: int
    valid: bool
    nodes: int
    created_at: Instant
    updated_at: Instant


class WorkflowRef(Contract):
    workflow_id: WorkflowId


TextFormat = Literal["json", "yaml"]
MAX_TEXT_LENGTH = 4 * 1_048_576


class ExportWorkflow(Contract):
    """Asks for a workflow's latest document as a file."""

    workflow_id: WorkflowId
    format: TextFormat = "json"


class ImportWorkflow(Contract):
    """A document as text, to store as version 1 of a new workflow."""

    text: Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT_LENGTH)]
    """YAML without aliases and tags; plain scalars mean what they mean in JSON, and anything else is text."""
    format: TextFormat | None = None
    """By default guessed: what begins with a brace is JSON."""


class ReadWorkflow(Contract):
    workflow_id: WorkflowId
    version: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    """By default the latest."""


class ListWorkflows(Contract):
    text: Annotated[str, StringConstraints(max_length=200)] | None = None
    status: WorkflowStatus | None = None
    cursor: Cursor | None = None
    limit: Limit = 50


class WorkflowVersion(Contract):
    version: int
    etag: str
    content_hash: str
    """SHA-256 of the canonical document without layout: equal hashes do the same."""
    created_at: Instant
    created_by: UserId | None


class WorkflowVersions(Contract):
    items: list[WorkflowVersion]


class RunWorkflow(Contract):
    """Starts an execution of a workflow."""

    workflow_id: WorkflowId
    version: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    inputs: JsonObject = {}
    """Kept with the execution; no node reads them yet."""
    allowed_domains: AllowedDomains | None = None
    """All that this execution may reach, of what its workflow may."""
    priority: Literal["low", "normal", "high"] = "normal"
    """As an intent's: which of the tenant's own executions go first."""
    idempotency_key: IdempotencyKey | None = None


class DeleteWorkflow(Contract):
    workflow_id: WorkflowId
    force: Annotated[bool, InQuery()] = False
    """Also cancel what is still running; without it a running execution answers `conflict`."""
