"""Every fault of a drawing, each with node, handle and rule, all in one answer."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.errors import Fault
from contracts.model import MAX_DEPTH
from contracts.workflow import DataType, Edge, Node, WorkflowDocument, WorkflowSettings
from runtime.engine.literals import coerce_literal
from runtime.engine.plan import make_plan
from runtime.engine.validate import Limits, check_document
from tests.runtime.engine.drawn import CATALOGUE as DRAWN
from tests.runtime.engine.drawn import PAGE, document, documents, edge, kind, node, port

CATALOGUE = {
    **DRAWN,
    "form": kind(
        "form",
        [
            port("Name", DataType.STRING, value_schema={"type": "string", "minLength": 1}),
            port("Note", DataType.STRING, value_schema={"type": "string"}),
            port("Count", DataType.NUMBER, value_schema={"type": "number", "minimum": 0}),
            port("Loud", DataType.BOOLEAN, value_schema={"type": "boolean"}),
            port("Way", DataType.SELECT, connectable=False, value_schema={"enum": ["up", "down"], "type": "string"}),
            port("Plain", DataType.STRING, value_schema={"type": "string", "minLength": 1, "pattern": r"\S"}),
            port("Map", DataType.JSON, value_schema={"type": "object"}),
        ],
        [port("Text", DataType.STRING), port("Number", DataType.NUMBER), port("Html", DataType.HTML)],
        can_be_start_node=True,
    ),
    "fields": kind(
        "fields",
        [port("Required", DataType.STRING, required=True, value_schema={"type": "string", "minLength": 1})],
        [],
    ),
}


def check(nodes: list[Node], edges: list[Edge] | None = None, **more: Any) -> list[Fault]:
    return check_document(document(nodes, edges or [], **more), CATALOGUE)


def rules(faults: list[Fault]) -> list[str]:
    return [fault.rule for fault in faults]


@pytest.mark.parametrize("levels", [MAX_DEPTH, MAX_DEPTH + 1, 250, 5_000])
def test_a_text_that_says_data_too_deep_to_be_kept_stays_a_text(levels: int) -> None:
    text = "[" * levels + "]" * levels
    assert isinstance(coerce_literal(text, DataType.JSON), list if levels == MAX_DEPTH else str)
    assert rules(check([node("a", "form", {"Map": text})])) == ["wrong_type"]


@given(documents())
@settings(max_examples=60, deadline=None)
def test_sound_drawings_have_no_faults_and_a_plan(drawn: WorkflowDocument) -> None:
    assert check_document(drawn, CATALOGUE) == []
    assert len(make_plan(drawn, CATALOGUE).nodes) == len(drawn.nodes)


def test_all_faults_come_in_one_answer_each_with_its_place() -> None:
    faults = check(
        [node("a", "open"), node("b", "touch"), node("c", "no_such_type"), node("d", "fields")],
        [edge("a.Web Page", "gone.Web Page"), edge("a.Wrong", "b.In"), edge("a.Out", "b.Web Page")],
        cron="* * * * *",
    )
    assert [(fault.where, fault.rule, fault.node_id, fault.handle) for fault in faults] == [
        ("body.cron", "cron_too_often", None, None),
        ("body.nodes[2].type", "unknown_node_type", "c", None),
        ("body.edges[0].target", "dangling_edge", "a", PAGE),
        ("body.edges[1].sourceHandle", "unknown_handle", "a", "Wrong"),
        ("body.edges[2].targetHandle", "type_mismatch", "b", PAGE),
        ('body.nodes[3].data.inputs["Required"]', "missing_input", "d", "Required"),
        ("body.nodes[3]", "unreachable", "d", None),
    ]


def test_an_edge_without_an_end_is_told_of_at_the_node_that_is_there() -> None:
    faults = check([node("a", "open")], [edge("gone.Out", "a.In"), edge("gone.Out", "nowhere.In")])
    assert [(fault.where, fault.node_id, fault.handle) for fault in faults if fault.rule == "dangling_edge"] == [
        ("body.edges[0].source", "a", "In"),
        ("body.edges[1].source", None, None),
        ("body.edges[1].target", None, None),
    ]
    edges = [edge("gone.Out", "a.In")]
    (fault,) = [fault for fault in check([node("a", "open")], edges) if fault.rule == "dangling_edge"]
    assert fault.detail == f"The source of edge “{edges[0].id}”, “gone”, is not a node of this workflow."


def test_an_empty_workflow_and_one_that_nothing_starts() -> None:
    assert rules(check([])) == ["empty"]
    (fault,) = check([node("a", "need", {"Must": 1})])
    assert fault.rule == "no_start_node"
    assert "“Open”" in fault.detail


def test_a_cycle_is_shown_as_a_path() -> None:
    (fault,) = check(
        [node("s", "work"), node("a", "work"), Node(id="b", type="work", name="Second"), node("c", "work")],
        [edge("s.Out", "a.In"), edge("a.Out", "b.In"), edge("b.Out", "c.In"), edge("c.Out", "a.In")],
    )
    assert fault.rule == "cycle"
    path = fault.detail.split(": ")[1].split(". ")[0].split(" → ")
    assert len(path) == 4
    assert path[0] == path[-1]
    assert "“Second”" in path


def test_two_cycles_are_both_shown_and_a_loop_on_oneself_is_one() -> None:
    faults = check(
        [node("s", "work"), *(node(name, "work") for name in "abcd")],
        [
            edge("s.Out", "a.In"),
            edge("a.Out", "b.In"),
            edge("b.Out", "a.In"),
            edge("s.Out", "c.In"),
            edge("c.Out", "c.In"),
            edge("c.Out", "d.In"),
        ],
    )
    assert rules(faults) == ["cycle", "cycle"]


def test_what_no_start_leads_to_is_unreachable() -> None:
    faults = check([node("a", "work"), node("b", "need", {"Must": 1}), node("c", "need")], [edge("b.Out", "c.Must")])
    assert [(fault.rule, fault.node_id) for fault in faults] == [("unreachable", "b"), ("unreachable", "c")]


@pytest.mark.parametrize(
    ("source", "target", "sound"),
    [
        ("Number", "Name", True),
        ("Html", "Name", True),
        ("Text", "Map", True),
        ("Text", "Count", False),
        ("Text", "Loud", False),
        ("Html", "Count", False),
    ],
)
def test_edges_between_types(source: str, target: str, sound: bool) -> None:  # noqa: FBT001
    faults = check([node("a", "form"), node("b", "form")], [edge(f"a.{source}", f"b.{target}")])
    assert rules(faults) == ([] if sound else ["type_mismatch"])


def test_pages_credentials_and_conditions_never_mix_with_data() -> None:
    faults = check(
        [node("a", "open"), node("f", "fork"), node("b", "touch"), node("g", "gate")],
        [edge(f"a.{PAGE}", f"b.{PAGE}"), edge(f"a.{PAGE}", "b.In"), edge("f.Yes", "g.In"), edge("f.Out", "g.When")],
    )
    assert rules(faults) == ["type_mismatch"] * 3


def test_one_edge_a_handle_except_where_they_merge() -> None:
    faults = check(
        [node("a", "open"), node("b", "open"), node("c", "touch"), node("d", "need")],
        [
            edge("a.Out", "d.Must"),
            edge("b.Out", "d.Must"),
            edge(f"a.{PAGE}", f"c.{PAGE}"),
            *(edge(f"{source}.Out", "c.In") for source in "ab"),
        ],
    )
    assert [(fault.rule, fault.where) for fault in faults] == [("several_edges", "body.edges[1].targetHandle")]


_SIDES = [
    edge("f.Yes", "a.When"),
    edge("f.No", "b.When"),
    edge(f"a.{PAGE}", f"z.{PAGE}"),
    edge(f"b.{PAGE}", f"z.{PAGE}"),
]
_FALL_BACK = [
    edge("a.Error", "f.In"),
    edge("f.Yes", "b.When"),
    edge(f"a.{PAGE}", f"z.{PAGE}"),
    edge(f"b.{PAGE}", f"z.{PAGE}"),
]


@pytest.mark.parametrize(
    ("nodes", "edges"),
    [
        ([node("f", "fork"), node("a", "open"), node("b", "open")], _SIDES),
        ([node("a", "open", on_error="route"), node("f", "fork"), node("b", "open")], _FALL_BACK),
        (
            [node("p", "open"), node("a", "touch"), node("b", "touch")],
            [*(edge(f"p.{PAGE}", f"{side}.{PAGE}") for side in "ab"), *_SIDES[2:]],
        ),
        (
            [node("f", "fork"), *(node(name, "open") for name in "pq"), *(node(name, "touch") for name in "ab")],
            [
                edge("f.Yes", "p.When"),
                edge("f.No", "q.When"),
                edge(f"p.{PAGE}", f"a.{PAGE}"),
                edge(f"q.{PAGE}", f"b.{PAGE}"),
                *_SIDES[2:],
            ],
        ),
    ],
)
def test_pages_of_which_only_one_can_be_there_end_in_one_input(nodes: list[Node], edges: list[Edge]) -> None:
    assert check([*nodes, node("z", "touch")], edges) == []


@pytest.mark.parametrize(
    ("nodes", "edges"),
    [
        ([node("a", "open"), node("b", "open")], _SIDES[2:]),
        ([node("f", "fork"), node("a", "open"), node("b", "open")], _SIDES[1:]),
        ([node("f", "fork"), node("a", "open"), node("b", "open")], [edge("f.Out", "w.In"), *_SIDES[1:]]),
        ([node("f", "fork"), node("a", "open"), node("b", "open")], [*_SIDES, edge("f.Yes", "b.When")]),
        ([node("a", "open"), node("f", "fork"), node("b", "open")], [edge("a.Out", "f.In"), *_FALL_BACK[1:]]),
    ],
)
def test_pages_that_can_meet_in_one_input_are_refused(nodes: list[Node], edges: list[Edge]) -> None:
    (fault,) = check([*nodes, node("w", "work"), node("z", "touch")], edges)
    assert (fault.rule, fault.node_id, fault.handle) == ("several_pages", "z", PAGE)
    assert "“Open” and “Open” bring different ones" in fault.detail


def _feeders(*ids: str) -> list[Node]:
    return [node(one, "work") for one in ids]


@pytest.mark.parametrize(
    ("ends", "typed"),
    [("AB", {}), ("AA", {}), ("CC", {}), ("BC", {}), ("A", {"B": 1}), ("A", {"C": 1}), ("AAB", {}), ("BA", {"A": 1})],
)
def test_a_join_needs_two_values_wherever_they_come_in(ends: str, typed: dict[str, Any]) -> None:
    edges = [edge(f"s{number}.Out", f"j.{end}") for number, end in enumerate(ends)]
    assert check([*_feeders("s0", "s1", "s2"), node("j", "join", typed)], edges) == []


@pytest.mark.parametrize(
    ("ends", "typed", "missing"), [("A", {}, ["B"]), ("C", {}, ["A", "B"]), ("A", {"A": 1}, ["B"]), ("B", {}, ["A"])]
)
def test_a_join_of_one_value_says_what_else_it_needs(ends: str, typed: dict[str, Any], missing: list[str]) -> None:
    faults = check([*_feeders("s"), node("j", "join", typed)], [edge("s.Out", f"j.{end}") for end in ends])
    assert [(fault.rule, fault.handle) for fault in faults] == [("missing_input", handle) for handle in missing]
    assert "or another edge into “" in faults[0].detail


def test_an_input_can_be_needless_because_of_what_is_typed_into_another() -> None:
    compare = kind(
        "compare",
        [
            port("Left", DataType.ANY, required=True),
            port("How", DataType.SELECT, required=True, value_schema={"enum": ["is", "is empty"]}),
            port("Right", DataType.ANY, required=True, unless={"How": ["is empty"]}),
        ],
        [port("How", DataType.SELECT)],
        can_be_start_node=True,
    )
    types = {"compare": compare}

    def check_one(how: str, edges: list[Edge] | None = None) -> list[str]:
        nodes = [node("c", "compare", {"Left": 1, "How": how})]
        nodes += [node("s", "compare", {"Left": 1, "How": "is empty"})] if edges else []
        return [str(fault.handle) for fault in check_document(document(nodes, edges or []), types)]

    assert check_one("is empty") == []
    assert check_one("is") == ["Right"]
    assert check_one("is empty", [edge("s.How", "c.How")]) == ["Right"]
    assert make_plan(document([node("c", "compare", {"Left": 1, "How": "is empty"})], []), types).nodes[0].required == [
        "Left",
        "How",
    ]


def test_an_edge_into_an_input_that_takes_none() -> None:
    faults = check([node("a", "form"), node("b", "form")], [edge("a.Text", "b.Way")])
    assert rules(faults) == ["edge_not_allowed"]


def test_the_error_output_is_there_only_with_route() -> None:
    nodes = [node("a", "work"), node("b", "need")]
    (fault,) = check(nodes, [edge("a.Error", "b.Must")])
    assert fault.rule == "unknown_handle"
    assert "on_error: route" in fault.detail
    assert check([node("a", "work", on_error="route"), nodes[1]], [edge("a.Error", "b.Must")]) == []


def test_ids_are_given_once() -> None:
    twice = [edge("a.Out", "b.In"), edge("a.Out", "b.In").model_copy(update={"targetHandle": "In"})]
    faults = check([node("a", "work"), node("a", "work"), node("b", "work")], twice)
    assert [(fault.rule, fault.where) for fault in faults] == [
        ("duplicate_id", "body.nodes[1].id"),
        ("duplicate_id", "body.edges[1].id"),
    ]


@pytest.mark.parametrize(
    "inputs",
    [
        {"Count": 3}, {"Count": "3"}, {"Count": " 2.5 "}, {"Loud": True}, {"Loud": "true"}, {"Name": 5},
        {"Way": "up"}, {"Map": {"a": 1}}, {"Map": '{"a": 1}'}, {"Note": ""}, {"Name": ""}, {"Count": ""}, {"Map": None},
        {"name": "kebab"},
    ],
)  # fmt: skip
def test_literals_that_fit(inputs: dict[str, Any]) -> None:
    assert check([node("a", "form", inputs)]) == []


@pytest.mark.parametrize(
    ("inputs", "rule"),
    [
        ({"Count": "three"}, "wrong_type"),
        ({"Count": "nan"}, "wrong_type"),
        ({"Count": True}, "wrong_type"),
        ({"Count": -1}, "wrong_type"),
        ({"Loud": "perhaps"}, "wrong_type"),
        ({"Name": ["a"]}, "wrong_type"),
        ({"Way": "sideways"}, "wrong_type"),
        ({"Map": "{"}, "wrong_type"),
        ({"Map": [1]}, "wrong_type"),
        ({"Selectr": "h1"}, "unknown_handle"),
        ({"Name": "${{ nodes.a.Out }}"}, "expressions_not_supported_yet"),
        ({"Map": {"deep": ["${{ 1 }}"]}}, "expressions_not_supported_yet"),
    ],
)
def test_literals_that_do_not_fit(inputs: dict[str, Any], rule: str) -> None:
    (fault,) = check([node("a", "form", inputs)])
    (name,) = inputs
    assert (fault.rule, fault.node_id, fault.handle) == (rule, "a", name)
    assert fault.where == f'body.nodes[0].data.inputs["{name}"]'


def test_an_empty_text_fills_only_what_may_be_empty() -> None:
    faults = check([node("s", "work"), node("a", "fields", {"Required": ""})])
    assert "missing_input" in rules(faults)


def test_blanks_fill_only_what_does_not_strip_them() -> None:
    assert check([node("a", "form", {"Name": " "}), node("b", "form", {"Plain": " "})]) == []
    assert make_plan(document([node("b", "form", {"Name": " ", "Plain": " "})], []), CATALOGUE).nodes[0].literals == {
        "Name": " "
    }


def test_a_page_can_not_be_typed() -> None:
    faults = check([node("a", "open"), node("b", "touch", {PAGE: "node-1"})], [edge("a.Out", "b.In")])
    assert rules(faults) == ["literal_not_allowed"]


@pytest.mark.parametrize(
    "said",
    [
        {"attempts": 0}, {"attempts": 6}, {"attempts": True}, {"attempts": "2"}, {"timeout_s": 0}, {"timeout_s": 1e9},
        {"on_error": "ignore"}, {"critical": "no"}, {"join": "some"}, {"default": []}, {"atempts": 2},
        {"on_error": "use_default"}, {"on_error": "use_default", "default": {"Out": 1, "Extra": 2}},
        {"on_error": ["stop"]},
    ],
)  # fmt: skip
def test_settings_that_mean_nothing(said: dict[str, Any]) -> None:
    faults = check([node("a", "work", **said)])
    assert len(faults) == 1
    assert faults[0].where.startswith('body.nodes[0].data.settings["')


def test_settings_that_mean_something() -> None:
    said: dict[str, Any] = {"attempts": 5, "timeout_s": 0.5, "critical": False, "join": "all", "on_error": "continue"}
    assert check([node("a", "work", **said)]) == []


def test_join_without_anything_to_join() -> None:
    assert rules(check([node("a", "form", join="all")])) == ["wrong_setting"]


def test_what_only_a_node_can_say_is_refused_of_the_workflow() -> None:
    faults = check([node("a", "work")], settings=WorkflowSettings.model_validate({"on_error": "route"}))
    assert [(fault.rule, fault.where) for fault in faults] == [("wrong_setting", "body.settings.on_error")]


def test_limits() -> None:
    drawn = document(
        [node("a", "work"), node("b", "work")], [edge("a.Out", "b.In")], settings=WorkflowSettings(max_parallel=9)
    )
    limits = Limits(nodes=1, edges=0, max_parallel=8, timeout_s=600)
    faults = check_document(drawn, CATALOGUE, limits)
    assert [fault.where for fault in faults] == [
        "body.nodes", "body.edges", "body.settings.max_parallel", "body.settings.timeout_s",
    ]  # fmt: skip
    assert set(rules(faults)) == {"limit"}


def test_a_node_inside_another_is_refused_for_now() -> None:
    inner = node("b", "work").model_copy(update={"parentId": "a"})
    assert rules(check([node("a", "work"), inner])) == ["containers_not_supported_yet"]


_words = st.sampled_from(["a", "b", "c", "open", "touch", "Web Page", "web-page", "Out", "In", "Must", "Error", "x"])


@given(
    st.lists(st.builds(Node, id=_words, type=_words), max_size=6),
    st.lists(
        st.builds(Edge, id=_words, source=_words, target=_words, sourceHandle=_words, targetHandle=_words), max_size=8
    ),
)
@settings(max_examples=150, deadline=None)
def test_any_drawing_gets_faults_or_a_plan_and_never_an_exception(nodes: list[Node], edges: list[Edge]) -> None:
    drawn = document(nodes, edges)
    if not check_document(drawn, CATALOGUE):
        make_plan(drawn, CATALOGUE)
