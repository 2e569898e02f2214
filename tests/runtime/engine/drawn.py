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


_PAGE_IN = port(PAGE, DataType.BROWSER_INSTANCE, required=True)
_PAGE_OUT = port(PAGE, DataType.BROWSER_INSTANCE)
_ANY_NUMBER = port("In", DataType.ANY, mergeable=True)

TYPES = [
    kind("open", [], [port("Out"), _PAGE_OUT], can_be_start_node=True),
    kind("touch", [_ANY_NUMBER, _PAGE_IN], [port("Out"), _PAGE_OUT]),
    kind("press", [_ANY_NUMBER, _PAGE_IN], [port("Out"), _PAGE_OUT], safe=False),
    kind("work", [_ANY_NUMBER], [port("Out")], can_be_start_node=True),
    kind("need", [port("Must", required=True), _ANY_NUMBER], [port("Out")]),
    kind(
        "fork",
        [_ANY_NUMBER],
        [port("Yes", DataType.CONDITIONAL), port("No", DataType.CONDITIONAL), port("Out")],
        can_be_start_node=True,
    ),
    kind("gate", [port("When", DataType.CONDITIONAL, mergeable=True), _ANY_NUMBER], [port("Out")]),
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
    most: int = 12


ANYTHING = Wish()


@st.composite
def documents(draw: st.DrawFn, wish: Wish = ANYTHING) -> WorkflowDocument:
    """A sound drawing, its nodes in an order that is not that of its edges."""
    nodes: list[Node] = []
    edges: list[Edge] = []
    for number in range(draw(st.integers(1, wish.most))):
        one, into = _draw_node(draw, f"n{number}", nodes, wish)
        nodes.append(one)
        edges += into
    if wish.press:
        nodes += [node("opener", "open"), node("presser", "press")]
        edges.append(edge(f"opener.{PAGE}", f"presser.{PAGE}"))
    parallel = draw(st.integers(1, 4))
    scheduling = draw(st.sampled_from(["phases", "eager"]))
    return document(
        list(draw(st.permutations(nodes))),
        edges,
        settings=WorkflowSettings(max_parallel=parallel, scheduling=scheduling),
    )


def _draw_node(draw: st.DrawFn, node_id: str, earlier: list[Node], wish: Wish) -> tuple[Node, list[Edge]]:
    pages = [one.id for one in earlier if one.type in ("open", "touch", "press")]
    forks = [one.id for one in earlier if one.type == "fork"]
    types = ["open", "work", "fork"]
    types += ["touch", "touch", "press" if wish.unsafe else "touch"] if pages else []
    types += ["gate", "gate"] if forks else []
    types += ["need"] if earlier else []
    type_ = draw(st.sampled_from(types))
    edges: list[Edge] = []
    if type_ in ("touch", "press"):
        edges.append(edge(f"{draw(st.sampled_from(pages))}.{PAGE}", f"{node_id}.{PAGE}"))
    if type_ == "gate":
        chosen = draw(st.lists(st.sampled_from(forks), min_size=1, max_size=2, unique=True))
        edges += [edge(f"{fork}.{draw(st.sampled_from(['Yes', 'No']))}", f"{node_id}.When") for fork in chosen]
    if type_ == "need":
        edges.append(edge(f"{draw(st.sampled_from(earlier)).id}.Out", f"{node_id}.Must"))
    if type_ != "open" and earlier:
        sources = draw(st.lists(st.sampled_from([one.id for one in earlier]), max_size=3, unique=True))
        edges += [edge(f"{source}.Out", f"{node_id}.In") for source in sources]
    return node(node_id, type_, **_draw_settings(draw, type_, wish)), edges


def _draw_settings(draw: st.DrawFn, type_: str, wish: Wish) -> dict[str, Any]:
    policy = draw(st.sampled_from(["continue", "use_default", "route", *(["stop"] if wish.stops else [])]))
    settings: dict[str, Any] = {"on_error": policy}
    if policy == "use_default":
        settings["default"] = {"Out": "default"}
    if type_ not in ("open", "fork") or draw(st.booleans()):
        settings["attempts"] = draw(st.integers(1, 3))
    if "In" in {found.name for found in CATALOGUE[type_].inputs}:
        settings["join"] = draw(st.sampled_from(["any", "all", "first"]))
    return settings
