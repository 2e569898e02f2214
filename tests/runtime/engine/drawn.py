"""Made-up node types, and documents drawn with them: by hand, or by Hypothesis."""

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from contracts.workflow import DataType, Edge, Node, NodeData, NodeType, Port, WorkflowDocument, WorkflowSettings
from runtime.engine.plan import Plan, make_plan
from runtime.engine.validate import check_document

PAGE = "Web Page"


def port(name: str, type_: DataType = DataType.JSON, **more: Any) -> Port:
    """A port."""
    return Port(name=name, type=type_, description=f"{name}.", **more)


def kind(type_: str, inputs: list[Port], outputs: list[Port], **more: Any) -> NodeType:
    """A node type."""
    facts = {"credits": 1, "can_be_start_node": False, "safe": True, **more}
    return NodeType(
        type=type_,
        title=type_.title(),
        group="Test",
        icon="box",
        description=".",
        inputs=inputs,
        outputs=outputs,
        **facts,
    )


_PAGE_IN = port(PAGE, DataType.BROWSER_INSTANCE, required=True, mergeable=True)
_PAGE_OUT = port(PAGE, DataType.BROWSER_INSTANCE)
_ANY_NUMBER = port("In", DataType.ANY, mergeable=True)
_WHEN = port("When", DataType.CONDITIONAL, mergeable=True)

TYPES = [
    kind("open", [_WHEN], [port("Out"), _PAGE_OUT], can_be_start_node=True),
    kind("touch", [_ANY_NUMBER, _PAGE_IN, _WHEN], [port("Out"), _PAGE_OUT]),
    kind("press", [_ANY_NUMBER, _PAGE_IN, _WHEN], [port("Out"), _PAGE_OUT], safe=False),
    kind("work", [_ANY_NUMBER, _WHEN], [port("Out")], can_be_start_node=True),
    kind("need", [port("Must", required=True), _ANY_NUMBER, _WHEN], [port("Out")]),
    kind("join", [port(name, required=name in "AB", mergeable=True) for name in "ABC"] + [_WHEN], [port("Out")]),
    kind(
        "fork",
        [_ANY_NUMBER, _WHEN],
        [port("Yes", DataType.CONDITIONAL), port("No", DataType.CONDITIONAL), port("Out")],
        can_be_start_node=True,
    ),
    kind("gate", [_WHEN, _ANY_NUMBER], [port("Out")]),
]
CATALOGUE = {one.type: one for one in TYPES}


def node(node_id: str, type_: str, inputs: dict[str, Any] | None = None, **settings: Any) -> Node:
    """A node as drawn."""
    return Node(id=node_id, type=type_, data=NodeData(inputs=inputs or {}, settings=settings))


def edge(source: str, target: str) -> Edge:
    """An edge from `a.Out` to `b.In`."""
    (source_id, source_handle), (target_id, target_handle) = source.split("."), target.split(".")
    return Edge(
        id=f"{source}>{target}",
        source=source_id,
        target=target_id,
        sourceHandle=source_handle,
        targetHandle=target_handle,
    )


def document(nodes: list[Node], edges: list[Edge], **more: Any) -> WorkflowDocument:
    """A document."""
    return WorkflowDocument(name="drawn", nodes=nodes, edges=edges, **more)


def plan(nodes: list[Node], edges: list[Edge], **settings: Any) -> Plan:
    """A plan, after checking that the drawing is sound."""
    drawn = document(nodes, edges, settings=WorkflowSettings(**settings))
    faults = check_document(drawn, CATALOGUE)
    assert faults == [], faults
    return make_plan(drawn, CATALOGUE)


@dataclass(frozen=True)
class Wish:
    """What drawings are wanted."""

    unsafe: bool = True
    """With nodes that must not run twice."""
    press: bool = False
    """With one such node in any case."""
    stops: bool = True
    """With nodes whose failure ends the execution."""
    join: bool = False
    """With a branch whose sides are joined, as people draw it, in any case."""
    most: int = 12


ANYTHING = Wish()


@st.composite
def documents(draw: st.DrawFn, wish: Wish = ANYTHING) -> WorkflowDocument:
    """A sound drawing, its nodes in an order that is not that of its edges."""
    nodes: list[Node] = []
    edges: list[Edge] = []
    openers: dict[str, str] = {}
    for number in range(draw(st.integers(1, wish.most))):
        one, into = _draw_node(draw, f"n{number}", nodes, openers, wish)
        nodes.append(one)
        edges += into
    if wish.press:
        nodes += [node("opener", "open"), node("presser", "press")]
        edges.append(edge(f"opener.{PAGE}", f"presser.{PAGE}"))
    if wish.join:
        nodes += [node("split", "fork"), node("left", "gate"), node("right", "gate"), node("joined", "join")]
        ends = draw(st.sampled_from([("A", "A"), ("A", "B"), ("B", "C")]))
        edges += [edge("split.Yes", "left.When"), edge("split.No", "right.When")]
        edges += [edge(f"{side}.Out", f"joined.{end}") for side, end in zip(("left", "right"), ends, strict=True)]
        if len(nodes) > 4:  # nested: the branch itself hangs on something that may be dead
            edges.append(edge(f"{draw(st.sampled_from(nodes[:-4])).id}.Out", "split.In"))
    parallel = draw(st.integers(1, 4))
    scheduling = draw(st.sampled_from(["phases", "eager"]))
    return document(
        list(draw(st.permutations(nodes))),
        edges,
        settings=WorkflowSettings(max_parallel=parallel, scheduling=scheduling),
    )


def _draw_node(
    draw: st.DrawFn, node_id: str, earlier: list[Node], openers: dict[str, str], wish: Wish
) -> tuple[Node, list[Edge]]:
    """A node and the edges that end in it; `openers` says whose page each earlier node holds."""
    pages = [one.id for one in earlier if one.type in ("open", "touch", "press")]
    forks = [one.id for one in earlier if one.type == "fork"]
    types = ["open", "work", "fork"]
    types += ["touch", "touch", "press" if wish.unsafe else "touch"] if pages else []
    types += ["gate", "gate"] if forks else []
    types += ["need"] if earlier else []
    types += ["join", "join"] if len(earlier) > 1 else []
    type_ = draw(st.sampled_from(types))
    edges: list[Edge] = []
    ids = [one.id for one in earlier]
    inputs: dict[str, Any] = {}
    if type_ in ("touch", "press"):
        opener = openers[draw(st.sampled_from(pages))]
        same = [one for one in pages if openers[one] == opener]
        sides = draw(st.lists(st.sampled_from(same), min_size=1, max_size=2, unique=True))
        openers[node_id] = opener
        edges += [edge(f"{side}.{PAGE}", f"{node_id}.{PAGE}") for side in sides]
    if forks and (type_ == "gate" or draw(st.integers(0, 3)) == 0):
        chosen = draw(st.lists(st.sampled_from(forks), min_size=1, max_size=2, unique=True))
        edges += [edge(f"{fork}.{draw(st.sampled_from(['Yes', 'No']))}", f"{node_id}.When") for fork in chosen]
    if type_ == "open":
        openers[node_id] = node_id
    if type_ == "need":
        edges.append(edge(f"{draw(st.sampled_from(ids))}.Out", f"{node_id}.Must"))
        inputs = {"Must": "typed"} if draw(st.booleans()) else {}
    if type_ == "join":
        sources = draw(st.lists(st.sampled_from(ids), min_size=2, max_size=4, unique=True))
        edges += [edge(f"{source}.Out", f"{node_id}.{draw(st.sampled_from('ABC'))}") for source in sources]
    elif type_ != "open" and earlier:
        sources = draw(st.lists(st.sampled_from(ids), max_size=3, unique=True))
        edges += [edge(f"{source}.Out", f"{node_id}.In") for source in sources]
    return node(node_id, type_, inputs, **_draw_settings(draw, type_, wish)), edges


def _draw_settings(draw: st.DrawFn, type_: str, wish: Wish) -> dict[str, Any]:
    policy = draw(st.sampled_from(["continue", "use_default", "route", *(["stop"] if wish.stops else [])]))
    settings: dict[str, Any] = {"on_error": policy}
    if policy == "use_default":
        settings["default"] = {"Out": "default"}
    if type_ not in ("open", "fork") or draw(st.booleans()):
        settings["attempts"] = draw(st.integers(1, 3))
    settings["join"] = draw(st.sampled_from(["any", "any", "all", "first"]))
    return settings
