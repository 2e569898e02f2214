"""A valid document becomes a plan: phases, canonical order, and per node all that running it needs (spec W4).

A plan is stored with its workflow version and never changes, so that a run resumed elsewhere sees the same graph.
"""

from collections.abc import Iterable, Mapping
from graphlib import TopologicalSorter
from typing import Any, Literal

from contracts.model import Contract
from contracts.workflow import (
    DataType,
    Edge,
    JsonObject,
    Node,
    NodeType,
    OnError,
    Port,
    Scheduling,
    WorkflowDocument,
)
from runtime.engine.casts import Cast, choose_cast
from runtime.engine.document import normalize_document
from runtime.engine.literals import coerce_literal
from runtime.engine.references import name_credentials
from runtime.engine.retry import default_attempts

Join = Literal["any", "all", "first"]
ERROR_HANDLE = "Error"
"""The output that a node with `on_error: route` gains: {code, message, hint} of its failure."""
NOT_BLANK = r"\S"
"""The pattern, in the JSON Schema of an input, that says that blanks alone leave it empty."""

_NO_DATA = (DataType.BROWSER_INSTANCE, DataType.CONDITIONAL)


class Incoming(Contract):
    """An edge as its target sees it."""

    source: str
    source_handle: str
    handle: str
    cast: Cast | None = None


class PlannedNode(Contract):
    """One node, ready to be run by whoever holds the plan."""

    id: str
    type: str
    name: str
    phase: int
    """1 plus the longest path from a start node."""
    literals: JsonObject
    incoming: list[Incoming]
    """In the document's edge order."""
    required: list[str]
    """Those in `merging` may go without, as long as one of them has a value."""
    merging: list[str]
    """Inputs that take several edges at once. Data comes as a list, a page as the first that is live."""
    conditions: list[str]
    """Inputs of type CONDITIONAL: when any of them is connected, one must be live for the node to run."""
    page_inputs: list[str]
    page_outputs: list[str]
    outputs: list[str]
    """Data outputs, pages and conditions apart."""
    credential_inputs: tuple[str, ...] = ()
    """Those whose typed value asks for credentials."""
    safe: bool
    attempts: int
    timeout_s: float
    """Of one attempt."""
    on_error: OnError
    defaults: JsonObject
    """Outputs in place of a failure, with `on_error: use_default`."""
    join: Join
    credits: int


class Plan(Contract):
    """`nodes` are in canonical order: by phase, then as the document lists them."""

    nodes: list[PlannedNode]
    max_parallel: int
    timeout_s: float
    """Of the whole execution, waits not counted."""
    scheduling: Scheduling = "phases"
    """Plans from before there was a choice don't say, and go by phases."""
    allowed_domains: tuple[str, ...] = ()
    """All that may be reached; empty: what the tenant lets through."""

    @property
    def phases(self) -> list[list[str]]:
        """Node ids by phase, in canonical order."""
        phases: list[list[str]] = []
        for node in self.nodes:
            if node.phase > len(phases):
                phases.append([])
            phases[-1].append(node.id)
        return phases


def compute_phases(document: WorkflowDocument) -> dict[str, int]:
    """Phase of each node; raises graphlib.CycleError (its second argument is the path) when there is a cycle."""
    predecessors: dict[str, list[str]] = {node.id: [] for node in document.nodes}
    for edge in document.edges:
        predecessors[edge.target].append(edge.source)
    phases: dict[str, int] = {}
    for node_id in TopologicalSorter(predecessors).static_order():
        phases[node_id] = 1 + max((phases[source] for source in predecessors[node_id]), default=0)
    return phases


def make_plan(document: WorkflowDocument, catalogue: Mapping[str, NodeType]) -> Plan:
    """Plan a document that `check_document` found no fault in; anything else may raise KeyError or CycleError."""
    document = normalize_document(document, catalogue)
    phases = compute_phases(document)
    types = {node.id: catalogue[node.type] for node in document.nodes}
    incoming: dict[str, list[Edge]] = {node.id: [] for node in document.nodes}
    for edge in document.edges:
        incoming[edge.target].append(edge)
    nodes = [
        _plan_node(node, phases[node.id], types, incoming[node.id], document)
        for node in sorted(document.nodes, key=lambda node: phases[node.id])
    ]
    settings = document.settings
    return Plan(
        nodes=nodes,
        max_parallel=settings.max_parallel,
        timeout_s=settings.timeout_s,
        scheduling=settings.scheduling,
        allowed_domains=tuple(settings.allowed_domains),
    )


def _plan_node(
    node: Node, phase: int, types: Mapping[str, NodeType], edges: list[Edge], document: WorkflowDocument
) -> PlannedNode:
    kind, settings = types[node.id], node.data.settings
    return PlannedNode(
        id=node.id,
        type=node.type,
        name=node.name or kind.title,
        phase=phase,
        literals=_plan_literals(node, kind),
        incoming=[_plan_edge(edge, types) for edge in edges],
        required=[port.name for port in kind.inputs if is_needed(port, node, edges)],
        merging=[port.name for port in kind.inputs if port.mergeable],
        conditions=_names(kind.inputs, DataType.CONDITIONAL),
        page_inputs=_names(kind.inputs, DataType.BROWSER_INSTANCE),
        page_outputs=_names(kind.outputs, DataType.BROWSER_INSTANCE),
        outputs=[port.name for port in kind.outputs if port.type not in _NO_DATA],
        credential_inputs=tuple(
            port.name for port in kind.inputs if name_credentials(node.data.inputs.get(port.name), port)
        ),
        safe=(safe := is_safe(node, kind, edges)),
        attempts=int(settings.get("attempts", default_attempts(safe=safe))),
        timeout_s=float(settings.get("timeout_s", document.settings.node_timeout_s)),
        on_error=choose_on_error(node, document.settings.on_error),
        defaults=dict(settings.get("default", {})),
        join=settings.get("join", "any"),
        credits=kind.credits,
    )


def _plan_literals(node: Node, kind: NodeType) -> JsonObject:
    """Typed values by handle; one that stands beside the values of edges is read as they are, JSON text and all."""
    typed = node.data.inputs
    return {
        port.name: coerce_literal(typed[port.name], port.type) if port.mergeable else typed[port.name]
        for port in kind.inputs
        if port.name in typed and is_given(typed[port.name], port)
    }


def is_needed(port: Port, node: Node, edges: Iterable[Edge]) -> bool:
    """Whether a node can't run without a value for the input: it is required, and nothing typed makes it needless.

    `edges` are those that end in the node: what comes over one is not known yet, and makes nothing needless.
    """
    fed = {edge.targetHandle for edge in edges}
    return port.required and not any(
        name not in fed and node.data.inputs.get(name) in values for name, values in port.unless.items()
    )


def is_safe(node: Node, kind: NodeType, edges: Iterable[Edge]) -> bool:
    """Whether running the node twice does no harm: by its type, or by what is typed, or else is an input's default.

    `edges` are those that end in the node: what comes over one is not known yet, and makes nothing safe.
    """
    if kind.safe or not kind.safe_if:
        return kind.safe
    fed = {edge.targetHandle for edge in edges}
    return any(
        all(
            name not in fed and _find_typed(node, find_port(kind.inputs, name)) in values
            for name, values in wanted.items()
        )
        for wanted in kind.safe_if
    )


def _find_typed(node: Node, port: Port | None) -> Any:
    if port is None:
        return None
    typed = node.data.inputs.get(port.name)
    return typed if is_given(typed, port) else port.value_schema.get("default")


def choose_on_error(node: Node, fallback: OnError) -> OnError:
    """A node's own `on_error`, else `continue` where it is marked `critical: false`, else the workflow's."""
    settings = node.data.settings
    if "on_error" in settings:
        return OnError(settings["on_error"])
    return OnError.CONTINUE if settings.get("critical") is False else fallback


def is_given(value: Any, port: Port) -> bool:
    """Whether a literal counts as a value: editors send null and "" for fields nobody filled in.

    An empty text is a value only where the port may be empty, such as the text to fill into a field, and so are blanks
    where they are stripped.
    """
    if isinstance(value, str) and value.strip() == "" and port.value_schema.get("pattern") == NOT_BLANK:
        return False
    if value == "" and isinstance(value, str):
        return port.type is DataType.STRING and port.value_schema.get("minLength", 0) == 0
    return value is not None


def _plan_edge(edge: Edge, types: Mapping[str, NodeType]) -> Incoming:
    source = find_port(types[edge.source].outputs, edge.sourceHandle)
    target = find_port(types[edge.target].inputs, edge.targetHandle)
    cast = choose_cast(source.type, target.type) if source and target else None
    return Incoming(source=edge.source, source_handle=edge.sourceHandle, handle=edge.targetHandle, cast=cast)


def find_port(ports: list[Port], name: str) -> Port | None:
    """The port of that display name."""
    return next((port for port in ports if port.name == name), None)


def _names(ports: list[Port], type_: DataType) -> list[str]:
    return [port.name for port in ports if port.type is type_]
