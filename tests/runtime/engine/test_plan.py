"""Plans: phases, order, and what each node brings to its run."""

from contracts.workflow import DataType, OnError, WorkflowSettings
from runtime.engine.plan import Incoming, make_plan
from tests.runtime.engine.drawn import CATALOGUE, PAGE, document, edge, kind, node, plan, port


def test_a_phase_is_one_more_than_the_longest_way_there() -> None:
    drawn = plan(
        [node("end", "need"), node("b", "work"), node("a", "work"), node("lone", "work")],
        [edge("a.Out", "b.In"), edge("b.Out", "end.Must"), edge("a.Out", "end.In")],
    )
    assert drawn.phases == [["a", "lone"], ["b"], ["end"]]


def test_a_node_carries_all_that_running_it_needs() -> None:
    drawn = plan(
        [node("o", "open"), node("p", "press", attempts=2, timeout_s=5, critical=False)],
        [edge("o.web-page", "p.web-page"), edge("o.Out", "p.In")],
        node_timeout_s=30,
    )
    opener, press = drawn.nodes
    assert (opener.safe, opener.attempts, opener.timeout_s, opener.on_error) == (True, 5, 30, OnError.STOP)
    assert (press.safe, press.attempts, press.timeout_s, press.on_error) == (False, 2, 5, OnError.CONTINUE)
    assert press.incoming == [
        Incoming(source="o", source_handle=PAGE, handle=PAGE),
        Incoming(source="o", source_handle="Out", handle="In"),
    ]
    assert (press.page_inputs, press.page_outputs, press.outputs) == ([PAGE], [PAGE], ["Out"])
    assert press.name == "Press"


def test_the_workflows_own_policy_is_the_fallback() -> None:
    drawn = plan([node("a", "work"), node("b", "work", on_error="stop")], [], on_error="continue")
    assert [one.on_error for one in drawn.nodes] == [OnError.CONTINUE, OnError.STOP]


def test_edges_know_the_conversion_they_make() -> None:
    types = {
        "count": kind("count", [], [port("N", DataType.NUMBER)], can_be_start_node=True),
        "say": kind("say", [port("Text", DataType.STRING)], []),
    }
    drawn = make_plan(document([node("a", "count"), node("b", "say")], [edge("a.N", "b.Text")]), types)
    assert drawn.nodes[1].incoming[0].cast == "text"


def test_fields_that_nobody_filled_in_are_no_literals() -> None:
    drawn = make_plan(
        document([node("a", "need", {"must": "", "In": None})], [], settings=WorkflowSettings()), CATALOGUE
    )
    assert drawn.nodes[0].literals == {}
