"""The document as stored: handles under their display names, whatever way an editor spelled them (spec W1)."""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

from contracts.workflow import Edge, Node, NodeType, Port, WorkflowDocument

_BREAKS = re.compile(r"[^a-z0-9]+")


@lru_cache(maxsize=4_096)
def to_kebab(name: str) -> str:
    """The editor's spelling of a display name: `Web Page` → `web-page`."""
    return _BREAKS.sub("-", name.lower()).strip("-")


def normalize_document(document: WorkflowDocument, catalogue: Mapping[str, NodeType]) -> WorkflowDocument:
    """Put every handle under its display name. Doing it twice changes nothing; unknown handles and types stay.

    Use it before a document is stored, so that what is exported is the canonical form.
    """
    used = {node.type for node in document.nodes if node.type in catalogue}
    spelled_inputs = {type_: _spellings(catalogue[type_].inputs) for type_ in used}
    spelled_outputs = {type_: _spellings(catalogue[type_].outputs) for type_ in used}
    inputs = {node.id: spelled_inputs.get(node.type, {}) for node in document.nodes}
    outputs = {node.id: spelled_outputs.get(node.type, {}) for node in document.nodes}
    nodes = [_normalize_node(node, inputs.get(node.id, {})) for node in document.nodes]
    edges = [
        _normalize_edge(edge, outputs.get(edge.source, {}), inputs.get(edge.target, {})) for edge in document.edges
    ]
    return document.model_copy(update={"nodes": nodes, "edges": edges})


def _spellings(ports: Iterable[Port]) -> dict[str, str]:
    return {to_kebab(port.name): port.name for port in ports}


def _resolve(name: str, spellings: Mapping[str, str]) -> str:
    return spellings.get(to_kebab(name), name)


def _normalize_node(node: Node, spellings: Mapping[str, str]) -> Node:
    given = node.data.inputs
    names = {name: _resolve(name, spellings) for name in given}
    if all(name == resolved for name, resolved in names.items()):
        return node
    # Where both spellings are there, the display name wins: it is the one that other tools wrote on purpose.
    inputs = {resolved: given[name] for name, resolved in names.items() if name == resolved or resolved not in given}
    return node.model_copy(update={"data": node.data.model_copy(update={"inputs": inputs})})


def _normalize_edge(edge: Edge, outputs: Mapping[str, str], inputs: Mapping[str, str]) -> Edge:
    source, target = _resolve(edge.sourceHandle, outputs), _resolve(edge.targetHandle, inputs)
    if (source, target) == (edge.sourceHandle, edge.targetHandle):
        return edge
    return edge.model_copy(update={"sourceHandle": source, "targetHandle": target})
