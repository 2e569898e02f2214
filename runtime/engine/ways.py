"""Which ways must have been taken for a node to run, as far as the drawing alone tells: pure graph reasoning.

Used to tell pages that can meet in one input from pages of which a branch lets only one through (ADR 13).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from graphlib import CycleError, TopologicalSorter
from itertools import combinations, islice

from contracts.workflow import DataType, Edge, Node, NodeType
from runtime.engine.plan import ERROR_HANDLE, find_port

_MOST_COMPARED = 16
"""Edges into one input that are compared with each other; what comes after them is taken on trust."""
Way = tuple[str, str, str]
"""A node, a question that its outcome answers, and the answer: which path it took, or whether it failed."""


@dataclass(frozen=True)
class Drawn:
    """A node of the drawing, its type, the edges that end in it, and whether its failure has a way of its own."""

    node: Node
    kind: NodeType
    incoming: Sequence[Edge]
    routes: bool


def find_rival_pages(drawn: Mapping[str, Drawn]) -> Iterator[tuple[Edge, Edge]]:
    """Pairs of edges that may bring different pages to one input at once, a pair an input.

    Nothing while the edges make a circle.
    """
    sources = {name: [edge.source for edge in one.incoming] for name, one in drawn.items()}
    try:
        order = list(TopologicalSorter(sources).static_order())
    except CycleError:
        return
    ways: dict[str, frozenset[Way]] = {}
    pages: dict[str, frozenset[str]] = {}
    for name in order:
        one = drawn[name]
        ways[name] = _find_ways(one, drawn, ways)
        inward = [edge for edge in one.incoming if _has_type(one, edge, DataType.BROWSER_INSTANCE)]
        pages[name] = frozenset[str]().union(*(pages[edge.source] for edge in inward)) or frozenset({name})
        if len(pages[name]) > 1:
            yield from _find_rivals(inward, pages, {edge.id: _follow(edge, drawn, ways) for edge in inward})


def _find_rivals(
    inward: Sequence[Edge], pages: Mapping[str, frozenset[str]], ways: Mapping[str, frozenset[Way]]
) -> Iterator[tuple[Edge, Edge]]:
    for handle in sorted({edge.targetHandle for edge in inward}):
        rivals = (
            (first, second)
            for first, second in combinations([e for e in inward if e.targetHandle == handle][:_MOST_COMPARED], 2)
            if len(pages[first.source] | pages[second.source]) > 1
            and not _exclude_each_other(ways[first.id], ways[second.id])
        )
        yield from islice(rivals, 1)


def _has_type(one: Drawn, edge: Edge, type_: DataType) -> bool:
    port = find_port(one.kind.inputs, edge.targetHandle)
    return port is not None and port.type is type_


def _find_ways(one: Drawn, drawn: Mapping[str, Drawn], ways: Mapping[str, frozenset[Way]]) -> frozenset[Way]:
    """One edge at least is live, one of those into conditions, and one of those into each input it can't do without."""
    groups = [list(one.incoming), [edge for edge in one.incoming if _has_type(one, edge, DataType.CONDITIONAL)]]
    groups += [
        [edge for edge in one.incoming if edge.targetHandle == port.name]
        for port in one.kind.inputs
        if port.type is DataType.BROWSER_INSTANCE and port.required
    ]
    return frozenset().union(*(_agree(_follow(edge, drawn, ways) for edge in group) for group in groups))


def _agree(ways: Iterable[frozenset[Way]]) -> frozenset[Way]:
    found = list(ways)
    return reduce(frozenset.intersection, found) if found else frozenset()


def _follow(edge: Edge, drawn: Mapping[str, Drawn], ways: Mapping[str, frozenset[Way]]) -> frozenset[Way]:
    """The ways taken when the edge is live."""
    source = drawn[edge.source]
    taken = set(ways[edge.source])
    port = find_port(source.kind.outputs, edge.sourceHandle)
    if port is not None and port.type is DataType.CONDITIONAL:
        taken.add((edge.source, "path", edge.sourceHandle))
    if source.routes:
        taken.add((edge.source, "end", "failed" if edge.sourceHandle == ERROR_HANDLE else "well"))
    return frozenset(taken)


def _exclude_each_other(one: frozenset[Way], other: frozenset[Way]) -> bool:
    answers = {(node, question): answer for node, question, answer in one}
    return any(answers.get((node, question), answer) != answer for node, question, answer in other)
