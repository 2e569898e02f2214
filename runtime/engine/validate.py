"""Every reason why a document can't run, in one answer: each names the node, the handle and the rule (spec W2)."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from contracts.errors import Fault
from contracts.workflow import DataType, Edge, Node, NodeType, OnError, Port, WorkflowDocument
from runtime.engine.casts import may_connect
from runtime.engine.cron import find_cron_fault
from runtime.engine.document import normalize_document
from runtime.engine.literals import find_literal_fault, find_setting_faults
from runtime.engine.plan import ERROR_HANDLE, choose_on_error, find_port, is_given, is_needed
from runtime.engine.ways import Drawn, find_rival_pages

_MAX_CYCLES = 20
"""Cycles shown at once; one more appears when these are mended."""
_ERROR_PORT = Port(name=ERROR_HANDLE, type=DataType.JSON, description="What went wrong.")


@dataclass(frozen=True)
class Limits:
    """How large a workflow may be."""

    nodes: int = 1_000
    edges: int = 5_000
    max_parallel: int = 64
    timeout_s: float = 86_400


def check_document(
    document: WorkflowDocument, catalogue: Mapping[str, NodeType], limits: Limits | None = None
) -> list[Fault]:
    """All faults of a document; none means that `make_plan` makes a plan of it."""
    graph = _Graph(normalize_document(document, catalogue), catalogue)
    return [
        *_check_limits(graph.document, limits or Limits()),
        *_check_schedule(graph.document),
        *_check_nodes(graph),
        *_check_edges(graph),
        *_check_pages(graph),
        *_check_inputs(graph),
        *_check_order(graph),
    ]


def find_unavailable(document: WorkflowDocument, catalogue: Mapping[str, NodeType]) -> Iterator[Fault]:
    """Nodes that no worker can run now. They are no faults: the document is sound, and may run later or elsewhere."""
    for index, node in enumerate(document.nodes):
        kind = catalogue.get(node.type)
        if kind is not None and kind.unavailable:
            said = f"“{node.name or kind.title}” can't be run now: {kind.unavailable}"
            yield Fault(where=f"body.nodes[{index}].type", rule="unavailable_node_type", detail=said, node_id=node.id)


class _Graph:
    """A document with what the checks look up again and again."""

    def __init__(self, document: WorkflowDocument, catalogue: Mapping[str, NodeType]) -> None:
        self.document = document
        self.catalogue = catalogue
        self.nodes: dict[str, Node] = {}
        self.index: dict[str, int] = {}
        for index, node in enumerate(document.nodes):
            self.nodes.setdefault(node.id, node)
            self.index.setdefault(node.id, index)
        self.edges = [edge for edge in document.edges if edge.source in self.nodes and edge.target in self.nodes]
        """Those with both ends."""
        self.incoming: dict[str, list[Edge]] = {node_id: [] for node_id in self.nodes}
        for edge in self.edges:
            self.incoming[edge.target].append(edge)

    def kind(self, node_id: str) -> NodeType | None:
        """The type of a node, None while it is unknown."""
        return self.catalogue.get(self.nodes[node_id].type)

    def name(self, node_id: str) -> str:
        """How to call a node in a sentence."""
        node, kind = self.nodes[node_id], self.kind(node_id)
        return f"“{node.name or (kind.title if kind else node.id)}”"

    def fault(self, node_id: str, rule: str, detail: str, *, path: str = "", handle: str | None = None) -> Fault:
        """A fault of one node."""
        where = f"body.nodes[{self.index[node_id]}]{path}"
        return Fault(where=where, rule=rule, detail=detail, node_id=node_id, handle=handle)


def _check_limits(document: WorkflowDocument, limits: Limits) -> Iterator[Fault]:
    settings = document.settings
    measured: list[tuple[str, float, float, str]] = [
        ("body.nodes", len(document.nodes), limits.nodes, "nodes"),
        ("body.edges", len(document.edges), limits.edges, "edges"),
        ("body.settings.max_parallel", settings.max_parallel, limits.max_parallel, "nodes at once"),
        ("body.settings.timeout_s", settings.timeout_s, limits.timeout_s, "seconds"),
    ]
    for where, count, limit, unit in measured:
        if count > limit:
            yield Fault(where=where, rule="limit", detail=f"{count:g} {unit}; at most {limit:g} are allowed.")
    if not document.nodes:
        yield Fault(where="body.nodes", rule="empty", detail="The workflow has no nodes; add one that can start it.")
    if settings.on_error in (OnError.USE_DEFAULT, OnError.ROUTE):
        said = f"“{settings.on_error}” can only be said of a node, which has outputs to fill or to route."
        yield Fault(where="body.settings.on_error", rule="wrong_setting", detail=said)


def _check_schedule(document: WorkflowDocument) -> Iterator[Fault]:
    if document.cron is not None and (found := find_cron_fault(document.cron)):
        yield Fault(where="body.cron", rule=found[0], detail=found[1])


def _check_nodes(graph: _Graph) -> Iterator[Fault]:
    seen: set[str] = set()
    for index, node in enumerate(graph.document.nodes):
        if node.id in seen:
            where, said = f"body.nodes[{index}].id", f"Two nodes have the id “{node.id}”."
            yield Fault(where=where, rule="duplicate_id", detail=said, node_id=node.id)
            continue
        seen.add(node.id)
        kind = graph.catalogue.get(node.type)
        if kind is None:
            said = f"There is no node type “{node.type}”; GET /api/node-types lists those there are."
            yield graph.fault(node.id, "unknown_node_type", said, path=".type")
        else:
            yield from _check_settings(graph, node, kind)
        if node.parentId is not None:
            said = f"{graph.name(node.id)} stands inside another node; this version has no loops yet."
            yield graph.fault(node.id, "containers_not_supported_yet", said, path=".parentId")


def _check_settings(graph: _Graph, node: Node, kind: NodeType) -> Iterator[Fault]:
    for name, rule, detail in find_setting_faults(node.data.settings, kind):
        yield graph.fault(node.id, rule, detail, path=f'.data.settings["{name}"]')


def _check_edges(graph: _Graph) -> Iterator[Fault]:
    seen: set[str] = set()
    taken: Counter[tuple[str, str]] = Counter()
    for index, edge in enumerate(graph.document.edges):
        where = f"body.edges[{index}]"
        if edge.id in seen:
            yield Fault(where=f"{where}.id", rule="duplicate_id", detail=f"Two edges have the id “{edge.id}”.")
        seen.add(edge.id)
        dangling = list(_check_ends(graph, edge, where))
        yield from dangling
        if not dangling:
            yield from _check_handles(graph, edge, where, taken)
            taken[edge.target, edge.targetHandle] += 1


def _check_ends(graph: _Graph, edge: Edge, where: str) -> Iterator[Fault]:
    ends = (("source", edge.source, edge.sourceHandle), ("target", edge.target, edge.targetHandle))
    for (end, node_id, _), (_, other, handle) in zip(ends, reversed(ends), strict=True):
        if node_id not in graph.nodes:
            said = f"The {end} of edge “{edge.id}”, “{node_id}”, is not a node of this workflow."
            there = {"node_id": other, "handle": handle} if other in graph.nodes else {}
            yield Fault(where=f"{where}.{end}", rule="dangling_edge", detail=said, **there)


def _check_handles(graph: _Graph, edge: Edge, where: str, taken: Counter[tuple[str, str]]) -> Iterator[Fault]:
    source, target = _find_output(graph, edge), _find_input(graph, edge)
    if isinstance(source, str):
        yield Fault(
            where=f"{where}.sourceHandle",
            rule="unknown_handle",
            detail=source,
            node_id=edge.source,
            handle=edge.sourceHandle,
        )
    for rule, said in _find_target_complaints(graph, edge, source, target, taken):
        yield Fault(
            where=f"{where}.targetHandle", rule=rule, detail=said, node_id=edge.target, handle=edge.targetHandle
        )


def _find_target_complaints(
    graph: _Graph, edge: Edge, source: Port | str | None, target: Port | str | None, taken: Counter[tuple[str, str]]
) -> Iterator[tuple[str, str]]:
    if isinstance(target, str):
        yield "unknown_handle", target
    if not isinstance(target, Port):
        return
    name = graph.name(edge.target)
    if not target.connectable:
        yield "edge_not_allowed", f"“{target.name}” of {name} takes a typed value, not an edge."
    elif isinstance(source, Port) and not may_connect(source.type, target.type):
        said = f"“{source.name}” of {graph.name(edge.source)} is {source.type}, “{target.name}” of {name} {target.type}"
        yield "type_mismatch", f"{said}: the one does not become the other."
    if taken[edge.target, edge.targetHandle] and not target.mergeable:
        yield "several_edges", f"“{target.name}” of {name} takes one edge, and another ends there already."


def _check_pages(graph: _Graph) -> Iterator[Fault]:
    kinds = {node_id: kind for node_id in graph.nodes if (kind := graph.kind(node_id)) is not None}
    if len(kinds) < len(graph.nodes):
        return  # what an unknown type does with a page is not known either
    drawn = {
        node_id: Drawn(
            graph.nodes[node_id],
            kind,
            graph.incoming[node_id],
            _choose_on_error(graph.nodes[node_id], graph.document.settings.on_error) is OnError.ROUTE,
        )
        for node_id, kind in kinds.items()
    }
    for first, second in find_rival_pages(drawn):
        sources = f"{graph.name(first.source)} and {graph.name(second.source)}"
        taker = f"“{second.targetHandle}” of {graph.name(second.target)}"
        yield Fault(
            where=f"body.edges[{graph.document.edges.index(second)}].targetHandle",
            rule="several_pages",
            detail=f"{taker} takes one page, and {sources} bring different ones; let a branch decide which is there.",
            node_id=second.target,
            handle=second.targetHandle,
        )


def _find_output(graph: _Graph, edge: Edge) -> Port | str | None:
    """The port an edge leaves from, a complaint, or None while the node's type is unknown."""
    kind = graph.kind(edge.source)
    if kind is None:
        return None
    port = find_port(kind.outputs, edge.sourceHandle)
    if port is not None:
        return port
    name = graph.name(edge.source)
    if edge.sourceHandle == ERROR_HANDLE:
        if _choose_on_error(graph.nodes[edge.source], graph.document.settings.on_error) is OnError.ROUTE:
            return _ERROR_PORT
        return f"{name} has the output “{ERROR_HANDLE}” only with the setting on_error: route."
    outputs = ", ".join(f"“{port.name}”" for port in kind.outputs) or "none"
    return f"{name} has no output “{edge.sourceHandle}”; its outputs: {outputs}."


def _choose_on_error(node: Node, fallback: OnError) -> OnError:
    """As `choose_on_error`, for a document whose settings may be wrong."""
    try:
        return choose_on_error(node, fallback)
    except ValueError:
        return fallback


def _find_input(graph: _Graph, edge: Edge) -> Port | str | None:
    """The port an edge ends in, a complaint, or None while the node's type is unknown."""
    kind = graph.kind(edge.target)
    if kind is None:
        return None
    port = find_port(kind.inputs, edge.targetHandle)
    if port is not None:
        return port
    inputs = ", ".join(f"“{port.name}”" for port in kind.inputs) or "none"
    return f"{graph.name(edge.target)} has no input “{edge.targetHandle}”; its inputs: {inputs}."


def _check_inputs(graph: _Graph) -> Iterator[Fault]:
    for node in graph.nodes.values():
        kind = graph.kind(node.id)
        if kind is None:
            continue
        known = {port.name for port in kind.inputs}
        for name in (name for name in node.data.inputs if name not in known):
            said = f"{graph.name(node.id)} has no input “{name}”; its inputs: {', '.join(sorted(known))}."
            yield graph.fault(node.id, "unknown_handle", said, path=_literal_path(name), handle=name)
        for port in kind.inputs:
            yield from _check_input(graph, node, port, kind)


def _check_input(graph: _Graph, node: Node, port: Port, kind: NodeType) -> Iterator[Fault]:
    value = node.data.inputs.get(port.name)
    incoming = graph.incoming[node.id]
    if is_given(value, port):
        if found := find_literal_fault(value, port):
            yield graph.fault(node.id, *found, path=_literal_path(port.name), handle=port.name)
    elif any(edge.targetHandle == port.name for edge in incoming) or not is_needed(port, node, incoming):
        return
    elif not (_gathers(port) and _has_enough_to_join(node, kind, incoming)):
        said = f"“{port.name}” of {graph.name(node.id)} is missing; it needs {_say_needs(port, kind)}."
        yield graph.fault(node.id, "missing_input", said, path=_literal_path(port.name), handle=port.name)


def _gathers(port: Port) -> bool:
    """Whether the input puts the values of several edges together."""
    return port.mergeable and port.type not in (DataType.BROWSER_INSTANCE, DataType.CONDITIONAL)


def _has_enough_to_join(node: Node, kind: NodeType, incoming: list[Edge]) -> bool:
    """Whether as many values can arrive as inputs are required, wherever they come in (ADR 13)."""
    joining = [port for port in kind.inputs if _gathers(port)]
    fed = [edge.targetHandle for edge in incoming]
    typed = [port for port in joining if port.name not in fed and is_given(node.data.inputs.get(port.name), port)]
    arriving = sum(fed.count(port.name) for port in joining)
    return len(typed) + arriving >= sum(port.required for port in joining)


def _say_needs(port: Port, kind: NodeType) -> str:
    if port.type is DataType.BROWSER_INSTANCE:
        return "an edge from a node that puts out a page"
    if not port.connectable:
        return "a typed value"
    others = [other.name for other in kind.inputs if _gathers(other) and other.name != port.name]
    more = f", or another edge into “{others[0]}”" if _gathers(port) and others else ""
    return f"a typed value or an edge{more}"


def _literal_path(name: str) -> str:
    return f'.data.inputs["{name}"]'


def _check_order(graph: _Graph) -> Iterator[Fault]:
    cycles = _find_cycles(graph)
    for cycle in cycles:
        path = " → ".join(graph.name(node_id) for node_id in cycle)
        yield graph.fault(cycle[0], "cycle", f"The edges lead in a circle: {path}. Loops are not made by edges.")
    starts = [node_id for node_id in graph.nodes if not graph.incoming[node_id] and _can_start(graph, node_id)]
    if graph.nodes and not starts:
        titles = ", ".join(sorted(f"“{kind.title}”" for kind in graph.catalogue.values() if kind.can_be_start_node))
        said = f"Nothing starts this workflow: it needs a node without incoming edges that can come first ({titles})."
        yield Fault(where="body.nodes", rule="no_start_node", detail=said)
        return
    in_circles = {node_id for cycle in cycles for node_id in cycle}
    reached = _find_reachable(graph, starts) | in_circles
    for node_id in (node_id for node_id in graph.nodes if node_id not in reached):
        said = f"No way leads from a start node to {graph.name(node_id)}; connect it, or remove it."
        yield graph.fault(node_id, "unreachable", said)


def _can_start(graph: _Graph, node_id: str) -> bool:
    kind = graph.kind(node_id)
    return kind is None or kind.can_be_start_node  # an unknown type is a fault of its own


def _find_cycles(graph: _Graph) -> list[list[str]]:
    """Paths that come back to where they began, first node repeated at the end."""
    predecessors = {node_id: {edge.source for edge in edges} for node_id, edges in graph.incoming.items()}
    cycles: list[list[str]] = []
    while len(cycles) < _MAX_CYCLES:
        try:
            TopologicalSorter(predecessors).prepare()
        except CycleError as error:
            path: list[str] = error.args[1]
            cycles.append(path)
            predecessors[path[1]].discard(path[0])
        else:
            break
    return cycles


def _find_reachable(graph: _Graph, starts: list[str]) -> set[str]:
    followers: dict[str, list[str]] = {node_id: [] for node_id in graph.nodes}
    for edge in graph.edges:
        followers[edge.source].append(edge.target)
    reached, waiting = set(starts), list(starts)
    while waiting:
        for follower in followers[waiting.pop()]:
            if follower not in reached:
                reached.add(follower)
                waiting.append(follower)
    return reached
