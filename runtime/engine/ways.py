"""Which ways must have been taken for a node to run, as far as the drawing alone tells: pure graph reasoning.

Used to tell pages that can meet in one input from pages of which a branch lets only one through (ADR 13).
"""

import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from graphlib import CycleError, TopologicalSorter
from itertools import combinations, islice

from contracts.workflow import DataType, Edge, Node, NodeType
from runtime.engine.plan import ERROR_HANDLE, find_port

_MOST_COMPARED = 16
"""Edges into one input that are compared with each other; what comes after them is taken on trust."""
Ways = int
"""Facts as bits, so that a large drawing is no burden: an even bit says that something happened, the odd one above it
that it did not. Things that happen are a path taken and a failure."""


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
    tracer = _Tracer(drawn)
    pages: dict[str, frozenset[str]] = {}
    for name in order:
        one = drawn[name]
        tracer.trace(one)
        inward = [edge for edge in one.incoming if _has_type(one, edge, DataType.BROWSER_INSTANCE)]
        pages[name] = frozenset[str]().union(*(pages[edge.source] for edge in inward)) or frozenset({name})
        if len(pages[name]) > 1:
            for handle in sorted({edge.targetHandle for edge in inward}):
                ends = [edge for edge in inward if edge.targetHandle == handle][:_MOST_COMPARED]
                yield from islice(_find_rivals(ends, pages, tracer), 1)


def _find_rivals(
    ends: Sequence[Edge], pages: Mapping[str, frozenset[str]], tracer: "_Tracer"
) -> Iterator[tuple[Edge, Edge]]:
    for first, second in combinations(ends, 2):
        if len(pages[first.source] | pages[second.source]) > 1 and not tracer.exclude_each_other(first, second):
            yield first, second


class _Tracer:
    """What must have happened for each node, and each edge, to be reached."""

    def __init__(self, drawn: Mapping[str, Drawn]) -> None:
        self._drawn = drawn
        self._ways: dict[str, Ways] = {}
        self._facts: dict[tuple[str, str], int] = {}

    def trace(self, one: Drawn) -> None:
        """Follow the edges into a node whose predecessors have been traced.

        One of them all is live, one of those into conditions, and one of those into each page it can't do without.
        """
        groups = [one.incoming, [edge for edge in one.incoming if _has_type(one, edge, DataType.CONDITIONAL)]]
        groups += [
            [edge for edge in one.incoming if edge.targetHandle == port.name]
            for port in one.kind.inputs
            if port.type is DataType.BROWSER_INSTANCE and port.required
        ]
        agreed = [reduce(operator.and_, map(self._follow, group)) for group in groups if group]
        self._ways[one.node.id] = reduce(operator.or_, agreed, 0)

    def exclude_each_other(self, one: Edge, other: Edge) -> bool:
        """Whether the two edges are never live together: what happened for the one did not for the other."""
        ways, others = self._follow(one), self._follow(other)
        happened = (1 << 2 * len(self._facts)) // 3  # every even bit: 0b0101…
        return bool((ways & happened) << 1 & others or (others & happened) << 1 & ways)

    def _follow(self, edge: Edge) -> Ways:
        """What must have happened for the edge to be live."""
        source = self._drawn[edge.source]
        ways = self._ways[edge.source]
        paths = [port.name for port in source.kind.outputs if port.type is DataType.CONDITIONAL]
        if edge.sourceHandle in paths:
            for path in paths:
                ways |= self._say(edge.source, path, happened=path == edge.sourceHandle)
        if source.routes:
            ways |= self._say(edge.source, ERROR_HANDLE, happened=edge.sourceHandle == ERROR_HANDLE)
        return ways

    def _say(self, node_id: str, what: str, *, happened: bool) -> Ways:
        number = self._facts.setdefault((node_id, what), len(self._facts))
        return 1 << (2 * number + (not happened))


def _has_type(one: Drawn, edge: Edge, type_: DataType) -> bool:
    port = find_port(one.kind.inputs, edge.targetHandle)
    return port is not None and port.type is type_
