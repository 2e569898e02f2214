"""Which values a node gets and what its outcome leaves for others: live and dead edges, joins, policies (W5, W6)."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, assert_never

from contracts.execution import Failure
from contracts.workflow import JsonObject, OnError
from runtime.engine.casts import apply_cast
from runtime.engine.plan import ERROR_HANDLE, PlannedNode
from runtime.engine.progress import Progress


def resolve_inputs(node: PlannedNode, progress: Mapping[str, Progress]) -> JsonObject | None:
    """Values by handle once every predecessor has ended, or None when the node can't be reached and is skipped.

    A live edge wins over a literal, a literal over a dead edge; behind nothing but dead edges no node runs (ADR 13).
    """
    live: dict[str, list[Any]] = {}
    for edge in node.incoming:
        outputs = progress[edge.source].outputs
        if edge.source_handle in outputs:
            live.setdefault(edge.handle, []).append(apply_cast(edge.cast, outputs[edge.source_handle]))
    if not _has_way_in(node, live):
        return None
    values = {handle: [value] if _gathers(node, handle) else value for handle, value in node.literals.items()}
    for handle, found in live.items():
        if handle not in node.conditions:
            values[handle] = _join(node, handle, found)
    return values if _has_enough(node, values) else None


def _has_way_in(node: PlannedNode, live: Mapping[str, list[Any]]) -> bool:
    """Whether the live edges lead into the node: any at all, and one of those that say so; with `all`, every one."""
    if node.incoming and not live:
        return False
    conditions = {edge.handle for edge in node.incoming if edge.handle in node.conditions}
    if conditions and conditions.isdisjoint(live):
        return False
    wanted = Counter(edge.handle for edge in node.incoming if edge.handle in node.merging)
    return node.join != "all" or all(len(live.get(handle, ())) == count for handle, count in wanted.items())


def _has_enough(node: PlannedNode, values: JsonObject) -> bool:
    """Whether what is required is there. A join needs one of the values it could put together, not each."""
    needed = [handle for handle in node.required if handle not in node.conditions]
    joined = [handle for handle in needed if _gathers(node, handle)]
    return all(handle in values for handle in needed if handle not in joined) and (
        not joined or any(handle in values for handle in node.merging if _gathers(node, handle))
    )


def _gathers(node: PlannedNode, handle: str) -> bool:
    """Whether the handle takes the values of several edges together, as a list."""
    return handle in node.merging and handle not in node.page_inputs and handle not in node.conditions


def _join(node: PlannedNode, handle: str, found: list[Any]) -> Any:
    """What the live edges into one handle come to: all of them in edge order or the first; a page is one in any case.

    That `all` are live has been seen before.
    """
    if not _gathers(node, handle):
        return found[0]
    return found[:1] if node.join == "first" else found


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
