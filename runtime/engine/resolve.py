"""Which values a node gets and what its outcome leaves for others: live and dead edges, joins, policies (W5, W6)."""

from collections.abc import Iterable, Mapping
from typing import Any, assert_never

from contracts.execution import Failure
from contracts.workflow import JsonObject, OnError
from runtime.engine.casts import apply_cast
from runtime.engine.plan import ERROR_HANDLE, PlannedNode
from runtime.engine.progress import Progress


def resolve_inputs(node: PlannedNode, progress: Mapping[str, Progress]) -> JsonObject | None:
    """Values by handle once every predecessor has ended, or None when the node can't be reached and is skipped.

    A live edge wins over a literal, a literal over a dead edge.
    """
    live: dict[str, list[Any]] = {}
    for edge in node.incoming:
        outputs = progress[edge.source].outputs
        if edge.source_handle in outputs:
            live.setdefault(edge.handle, []).append(apply_cast(edge.cast, outputs[edge.source_handle]))
    if not _has_way_in(node, live):
        return None
    values = dict(node.literals)
    for handle, found in live.items():
        if handle not in node.conditions:
            values.update(_join(node, handle, found))
    return values if all(handle in values or handle in node.conditions for handle in node.required) else None


def _has_way_in(node: PlannedNode, live: Mapping[str, list[Any]]) -> bool:
    conditional = [edge for edge in node.incoming if edge.handle in node.conditions]
    return not conditional or any(edge.handle in live for edge in conditional)


def _join(node: PlannedNode, handle: str, found: list[Any]) -> JsonObject:
    """What several edges into one handle come to: a list in edge order, or the first, or nothing yet."""
    if handle not in node.merging:
        return {handle: found[0]}
    match node.join:
        case "any":
            return {handle: found}
        case "all":
            complete = len(found) == sum(edge.handle == handle for edge in node.incoming)
            return {handle: found} if complete else {}
        case "first":
            return {handle: found[0]}
        case _:
            assert_never(node.join)


def find_pages(node: PlannedNode, inputs: JsonObject) -> frozenset[str]:
    """The pages a node would hold with these inputs."""
    return frozenset(inputs[handle] for handle in node.page_inputs if handle in inputs)


def foresee_pages(
    node: PlannedNode, progress: Mapping[str, Progress], foreseen: Mapping[str, frozenset[str]]
) -> frozenset[str]:
    """The pages, of those that are open, that a node whose predecessors have not all ended may come to hold.

    `foreseen` says the same of its open predecessors. A page that is still to be opened is nobody else's to take.
    """
    pages = find_pages(node, node.literals)
    for edge in node.incoming:
        if edge.handle not in node.page_inputs:
            continue
        source = progress[edge.source]
        if not source.has_ended:
            pages |= foreseen[edge.source]
        elif edge.source_handle in source.outputs:
            pages |= {source.outputs[edge.source_handle]}
    return pages


def pass_failure_on(node: PlannedNode, inputs: JsonObject, failure: Failure) -> JsonObject:
    """The live outputs of a node whose failure doesn't end the execution.

    The page it was given goes on under the same handle: a banner that could not be clicked away must not end the
    walk through the page behind it. With `route` nothing but `Error` is live, so that exactly one way is taken.
    """
    pages = {handle: inputs[handle] for handle in node.page_outputs if handle in inputs}
    match node.on_error:
        case OnError.STOP:
            return {}
        case OnError.CONTINUE:
            return pages
        case OnError.USE_DEFAULT:
            return {**pages, **node.defaults}
        case OnError.ROUTE:
            return {ERROR_HANDLE: {"code": failure.code, "message": failure.message, "hint": failure.hint}}
        case _:
            assert_never(node.on_error)


def collect_results(nodes: Iterable[PlannedNode], progress: Mapping[str, Progress]) -> JsonObject:
    """Data outputs that no edge takes up, of nodes that succeeded or whose defaults stand, by node and handle."""
    nodes = list(nodes)
    taken = {(edge.source, edge.source_handle) for node in nodes for edge in node.incoming}
    results: JsonObject = {}
    for node in nodes:
        outputs = progress[node.id].outputs
        free = [handle for handle in node.outputs if handle in outputs and (node.id, handle) not in taken]
        left = {handle: outputs[handle] for handle in free}
        if left:
            results[node.id] = left
    return results
