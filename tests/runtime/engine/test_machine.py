"""The machine in scenes that a person would describe."""

import pytest

from contracts.execution import ExecutionStatus, FailureCode, StepStatus
from contracts.workflow import JsonObject, Scheduling
from runtime.engine.commands import (
    GRACE_S,
    Command,
    EndAttempt,
    Finish,
    Recorded,
    SkipNode,
    SkipReason,
    StartNode,
    StopRunning,
)
from runtime.engine.machine import Machine
from runtime.engine.plan import Plan
from tests.runtime.engine.drawn import PAGE, edge, node, plan
from tests.runtime.engine.scenes import BROWSE, TWO, end, fail, page, skipped, started


def test_a_walk_through_a_page_ends_with_what_nobody_took() -> None:
    machine = Machine(BROWSE, {})
    assert started(machine.start()) == ["open"]
    assert machine.current_node == "open"
    (fill,) = machine.on_succeeded("open", page("open"))
    assert fill == StartNode("fill", 1, 2, {PAGE: "open"}, 0.0)
    assert machine.progress == pytest.approx(1 / 3)
    machine.on_succeeded("fill", page("open"))
    finish = end(machine.on_succeeded("read", page("open", out="text")))
    assert finish == Finish(ExecutionStatus.COMPLETED, {"read": {"Out": "text"}}, None, 3, 0)


def test_an_empty_plan_is_complete_at_once() -> None:
    finish = end(Machine(plan([node("a", "work")], []).model_copy(update={"nodes": []}), {}).start())
    assert finish.status is ExecutionStatus.COMPLETED


def test_siblings_run_at_once_up_to_the_limit_and_the_next_phase_waits_for_all() -> None:
    five = plan(
        [*(node(f"w{number}", "work") for number in range(4)), node("last", "need")],
        [edge("w0.Out", "last.Must")],
        max_parallel=3,
    )
    machine = Machine(five, {})
    assert started(machine.start()) == ["w0", "w1", "w2"]
    assert started(machine.on_succeeded("w0", {"Out": 0})) == ["w3"]
    assert machine.on_succeeded("w1", {"Out": 1}) == []
    assert machine.on_succeeded("w2", {"Out": 2}) == []
    assert started(machine.on_succeeded("w3", {"Out": 3})) == ["last"]


def test_two_nodes_of_one_page_take_turns_and_another_page_does_not_wait() -> None:
    pages = plan(
        [node("p", "open"), node("q", "open"), node("p1", "touch"), node("p2", "touch"), node("q1", "touch")],
        [edge(f"p.{PAGE}", f"p1.{PAGE}"), edge(f"p.{PAGE}", f"p2.{PAGE}"), edge(f"q.{PAGE}", f"q1.{PAGE}")],
    )
    machine = Machine(pages, {})
    machine.start()
    machine.on_succeeded("p", page("p"))
    assert started(machine.on_succeeded("q", page("q"))) == ["p1", "q1"]
    assert started(machine.on_succeeded("p1", page("p"))) == ["p2"]


def test_a_join_after_a_branch_runs_with_the_side_that_was_taken() -> None:
    branch = plan(
        [node("fork", "fork"), node("yes", "gate"), node("no", "gate"), node("join", "work")],
        [
            edge("fork.Yes", "yes.When"),
            edge("fork.No", "no.When"),
            edge("yes.Out", "join.In"),
            edge("no.Out", "join.In"),
        ],
    )
    machine = Machine(branch, {})
    machine.start()
    commands = machine.on_succeeded("fork", {"Yes": "taken", "Out": 1})
    assert started(commands) == ["yes"]
    assert skipped(commands) == {"no": SkipReason.NOT_REACHED}
    (join,) = machine.on_succeeded("yes", {"Out": "from yes"})
    assert isinstance(join, StartNode)
    assert join.inputs == {"In": ["from yes"]}
    assert end(machine.on_succeeded("join", {"Out": "done"})).nodes_completed == 3


@pytest.mark.parametrize(
    ("join", "inputs"),
    [("any", {"In": ["left"]}), ("first", {"In": ["left"]}), ("all", None)],
)
def test_joins_differ_in_what_one_dead_edge_of_two_means(join: str, inputs: JsonObject | None) -> None:
    merging = plan(
        [node("left", "work"), node("right", "work", on_error="continue"), node("both", "work", join=join)],
        [edge("left.Out", "both.In"), edge("right.Out", "both.In")],
    )
    machine = Machine(merging, {})
    machine.start()
    machine.on_succeeded("left", {"Out": "left"})
    commands = machine.on_failed("right", fail(), retryable=False)
    assert [one.inputs for one in commands if isinstance(one, StartNode)] == ([] if inputs is None else [inputs])
    assert skipped(commands) == ({"both": SkipReason.NOT_REACHED} if inputs is None else {})


def _finish_branch(plan_: Plan, way: str) -> tuple[Machine, list[Command]]:
    """A machine whose node `fork` has gone one way, with what it says to that."""
    machine = Machine(plan_, {})
    machine.start()
    return machine, machine.on_succeeded("fork", {way: "taken", "Out": 1})


@pytest.mark.parametrize("ends", [("A", "A"), ("A", "B"), ("B", "C")])
@pytest.mark.parametrize(("way", "taken", "other"), [("Yes", "yes", "no"), ("No", "no", "yes")])
def test_a_join_that_requires_two_values_goes_on_with_the_one_of_the_side_taken(
    ends: tuple[str, str], way: str, taken: str, other: str
) -> None:
    drawn = plan(
        [node("fork", "fork"), node("yes", "gate"), node("no", "gate"), node("join", "join")],
        [
            edge("fork.Yes", "yes.When"),
            edge("fork.No", "no.When"),
            edge("yes.Out", f"join.{ends[0]}"),
            edge("no.Out", f"join.{ends[1]}"),
        ],
    )
    machine, commands = _finish_branch(drawn, way)
    assert (started(commands), skipped(commands)) == ([taken], {other: SkipReason.NOT_REACHED})
    (join,) = machine.on_succeeded(taken, {"Out": "value"})
    assert isinstance(join, StartNode)
    assert join.inputs == {ends[("yes", "no").index(taken)]: ["value"]}


def test_a_branch_within_a_branch_and_joins_of_both() -> None:
    drawn = plan(
        [
            node("fork", "fork"),
            node("inner", "fork"),
            *(node(name, "gate") for name in ("a", "b", "c")),
            *(node(name, "join") for name in ("near", "far")),
        ],
        [
            edge("fork.Yes", "inner.When"),
            edge("inner.Yes", "a.When"),
            edge("inner.No", "b.When"),
            edge("fork.No", "c.When"),
            edge("a.Out", "near.A"),
            edge("b.Out", "near.B"),
            edge("near.Out", "far.A"),
            edge("c.Out", "far.B"),
        ],
    )
    machine, commands = _finish_branch(drawn, "No")
    assert started(commands) == ["c"]
    assert set(skipped(commands)) == {"inner"}
    commands = machine.on_succeeded("c", {"Out": "c"})
    assert set(skipped(commands)) == {"a", "b", "near"}
    assert [one.inputs for one in commands if isinstance(one, StartNode)] == [{"B": ["c"]}]
    machine, commands = _finish_branch(drawn, "Yes")
    assert (started(commands), set(skipped(commands))) == (["inner"], {"c"})


def test_behind_nothing_but_dead_edges_a_node_is_skipped_whatever_is_typed_into_it() -> None:
    drawn = plan(
        [node("fork", "fork"), node("dead", "gate"), node("need", "need", {"Must": 1}), node("free", "work")],
        [edge("fork.No", "dead.When"), edge("dead.Out", "need.In"), edge("dead.Out", "free.In")],
    )
    machine, commands = _finish_branch(drawn, "Yes")
    assert set(skipped(commands)) == {"dead", "need", "free"}
    assert end(commands).nodes_completed == 1
    assert machine.running == []


def test_a_page_comes_on_from_whichever_side_was_taken() -> None:
    drawn = plan(
        [node("fork", "fork"), node("p", "open"), *(node(name, "touch") for name in ("yes", "no", "after"))],
        [
            edge("p.Out", "fork.In"),
            edge("fork.Yes", "yes.When"),
            edge("fork.No", "no.When"),
            *(edge(f"p.{PAGE}", f"{name}.{PAGE}") for name in ("yes", "no")),
            *(edge(f"{name}.{PAGE}", f"after.{PAGE}") for name in ("yes", "no")),
        ],
    )
    machine = Machine(drawn, {})
    machine.start()
    machine.on_succeeded("p", page("p", out=1))
    assert started(machine.on_succeeded("fork", {"No": "taken", "Out": 1})) == ["no"]
    (after,) = machine.on_succeeded("no", page("p"))
    assert isinstance(after, StartNode)
    assert after.inputs == {PAGE: "p"}


@pytest.mark.parametrize(("join", "runs"), [("any", True), ("first", True), ("all", False)])
def test_of_several_ways_in_one_is_enough_unless_all_are_asked_for(join: str, runs: bool) -> None:  # noqa: FBT001
    drawn = plan(
        [node("fork", "fork"), node("other", "fork"), node("gate", "gate", join=join)],
        [edge("fork.Yes", "gate.When"), edge("other.Yes", "gate.When")],
    )
    machine, _ = _finish_branch(drawn, "Yes")
    assert started(machine.on_succeeded("other", {"No": "taken", "Out": 1})) == (["gate"] if runs else [])


def test_a_live_edge_wins_over_a_literal_and_a_dead_one_leaves_it() -> None:
    fed = plan(
        [node("source", "work", on_error="continue"), node("other", "work"), node("sink", "need", {"Must": "typed"})],
        [edge("source.Out", "sink.Must"), edge("other.Out", "sink.In")],
    )
    machine = Machine(fed, {})
    machine.start()
    machine.on_succeeded("other", {"Out": 1})
    (live,) = machine.on_succeeded("source", {"Out": "sent"})
    machine = Machine(fed, {})
    machine.start()
    machine.on_succeeded("other", {"Out": 1})
    dead = machine.on_failed("source", fail(), retryable=False)[-1]
    assert isinstance(live, StartNode)
    assert isinstance(dead, StartNode)
    assert (live.inputs["Must"], dead.inputs["Must"]) == ("sent", "typed")


class TestErrors:
    """What follows a failure."""

    def test_stop_lets_siblings_finish_and_starts_nothing_more(self) -> None:
        machine = Machine(TWO, {})
        machine.start()
        commands = machine.on_failed("a", fail(), retryable=True)
        assert commands == [EndAttempt("a", 1, 1, StepStatus.FAILED, fail()), StopRunning(GRACE_S)]
        commands = machine.on_succeeded("b", {"Out": "partial"})
        assert skipped(commands) == {"c": SkipReason.STOPPED}
        assert end(commands) == Finish(ExecutionStatus.FAILED, {"b": {"Out": "partial"}}, fail(), 1, 1)

    def test_two_failures_say_once_to_stop_and_the_first_is_the_reason(self) -> None:
        machine = Machine(plan([node(name, "work", attempts=1) for name in "abc"], []), {})
        machine.start()
        machine.on_failed("a", fail(), retryable=False)
        commands = machine.on_failed("b", fail(FailureCode.TIMEOUT), retryable=False)
        assert commands == [EndAttempt("b", 1, 1, StepStatus.FAILED, fail(FailureCode.TIMEOUT))]
        assert end(machine.on_succeeded("c", {})).failure == fail()

    @pytest.mark.parametrize("settings", [{"on_error": "continue"}, {"critical": False}])
    def test_continue_hands_the_page_on_but_no_data(self, settings: JsonObject) -> None:
        banner = plan(
            [node("open", "open"), node("banner", "press", **settings), node("next", "touch"), node("data", "need")],
            [
                edge(f"open.{PAGE}", f"banner.{PAGE}"),
                edge(f"banner.{PAGE}", f"next.{PAGE}"),
                edge("banner.Out", "data.Must"),
            ],
        )
        machine = Machine(banner, {})
        machine.start()
        machine.on_succeeded("open", page("open"))
        commands = machine.on_failed("banner", fail(FailureCode.ELEMENT_NOT_FOUND), retryable=False)
        assert started(commands) == ["next"]
        assert skipped(commands) == {"data": SkipReason.NOT_REACHED}
        finish = end(machine.on_succeeded("next", page("open")))
        assert (finish.status, finish.nodes_failed) == (ExecutionStatus.COMPLETED, 1)

    def test_use_default_puts_out_what_was_declared(self) -> None:
        fallback = plan(
            [node("a", "work", on_error="use_default", default={"Out": []}), node("b", "need")],
            [edge("a.Out", "b.Must")],
        )
        machine = Machine(fallback, {})
        machine.start()
        start = machine.on_failed("a", fail(), retryable=False)[-1]
        assert isinstance(start, StartNode)
        assert start.inputs == {"Must": []}

    def test_route_takes_the_error_way_only(self) -> None:
        routed = plan(
            [node("a", "work", on_error="route"), node("well", "need"), node("ill", "need")],
            [edge("a.Out", "well.Must"), edge("a.Error", "ill.Must")],
        )
        machine = Machine(routed, {})
        machine.start()
        commands = machine.on_failed("a", fail(), retryable=False)
        assert skipped(commands) == {"well": SkipReason.NOT_REACHED}
        start = commands[-1]
        assert isinstance(start, StartNode)
        assert start.inputs["Must"] == {"code": "navigation_failed", "message": "It broke.", "hint": "Mend it."}

    def test_a_retryable_failure_is_tried_again_after_a_while(self) -> None:
        machine = Machine(plan([node("a", "work")], []), {})
        machine.start()
        delays = []
        for attempt in range(1, 5):
            ended, start = machine.on_failed("a", fail(FailureCode.TIMEOUT), retryable=True)
            assert ended == EndAttempt("a", attempt, 1, StepStatus.RETRYING, fail(FailureCode.TIMEOUT))
            assert isinstance(start, StartNode)
            assert start.attempt == attempt + 1
            delays.append(start.delay_s)
        assert delays == [2, 4, 8, 16]
        assert end(machine.on_failed("a", fail(FailureCode.TIMEOUT), retryable=True)).status is ExecutionStatus.FAILED

    def test_an_unsafe_node_is_tried_once_unless_a_person_allows_more(self) -> None:
        for attempts, status in ((None, StepStatus.FAILED), (2, StepStatus.RETRYING)):
            press = node("press", "press", attempts=attempts) if attempts else node("press", "press")
            machine = Machine(plan([node("open", "open"), press], [edge(f"open.{PAGE}", f"press.{PAGE}")]), {})
            machine.start()
            machine.on_succeeded("open", page("open"))
            ended = machine.on_failed("press", fail(FailureCode.TIMEOUT), retryable=True)[0]
            assert isinstance(ended, EndAttempt)
            assert ended.status is status


class TestEnding:
    """Cancel and the time limit."""

    def test_cancel_stops_what_runs_and_keeps_what_was_done(self) -> None:
        machine = Machine(BROWSE, {})
        machine.start()
        machine.on_succeeded("open", page("open", out="kept"))
        assert machine.on_cancel("no longer needed") == [StopRunning(0.0)]
        assert machine.on_cancel("again") == []
        commands = machine.on_failed("fill", fail(FailureCode.STOPPED), retryable=True)
        assert [type(command) for command in commands] == [EndAttempt, SkipNode, Finish]
        finish = end(commands)
        assert finish.status is ExecutionStatus.CANCELLED
        assert finish.reason == "no longer needed"
        assert finish.output == {"open": {"Out": "kept"}}

    def test_cancel_before_anything_runs_is_the_end(self) -> None:
        machine = Machine(BROWSE, {})
        commands = machine.on_cancel("early")
        assert end(commands).status is ExecutionStatus.CANCELLED
        assert machine.start() == []

    def test_cancel_during_the_grace_of_a_failure_shortens_it_and_stays_a_failure(self) -> None:
        machine = Machine(TWO, {})
        machine.start()
        machine.on_failed("a", fail(), retryable=False)
        assert machine.on_cancel("hurry") == [StopRunning(0.0)]
        assert end(machine.on_failed("b", fail(FailureCode.STOPPED), retryable=False)).failure == fail()

    def test_the_time_limit_fails_it_and_says_which_limit(self) -> None:
        machine = Machine(BROWSE, {})
        machine.start()
        assert machine.on_deadline() == [StopRunning(0.0)]
        finish = end(machine.on_failed("open", fail(FailureCode.STOPPED), retryable=False))
        assert finish.failure is not None
        assert finish.failure.code is FailureCode.DEADLINE_EXCEEDED
        assert "900 s" in finish.failure.message

    def test_an_outcome_nobody_waits_for_is_named(self) -> None:
        machine = Machine(BROWSE, {})
        with pytest.raises(ValueError, match="open was reported, but it is pending"):
            machine.on_succeeded("open", {})
        machine.on_cancel("")
        with pytest.raises(ValueError, match="after the end"):
            machine.on_failed("open", fail(), retryable=False)

    def test_how_far_it_came_stays_as_it_was_when_it_ended_early(self) -> None:
        for stop in ("failure", "cancel", "deadline"):
            machine = Machine(BROWSE, {})
            machine.start()
            machine.on_succeeded("open", page("open"))
            match stop:
                case "cancel":
                    machine.on_cancel("enough")
                case "deadline":
                    machine.on_deadline()
                case _:
                    pass
            end(machine.on_failed("fill", fail(FailureCode.STOPPED), retryable=False))
            assert machine.progress == pytest.approx(1 / 3), stop

    def test_a_failure_that_is_tolerated_is_no_reason_to_have_come_less_far(self) -> None:
        lenient = plan([node("a", "open", on_error="continue"), node("b", "open")], [])
        machine = Machine(lenient, {})
        machine.start()
        machine.on_failed("a", fail(), retryable=False)
        end(machine.on_succeeded("b", {}))
        assert machine.progress == 1.0

    def test_a_run_that_takes_over_knows_how_far_a_failed_one_came(self) -> None:
        rows = [
            Recorded("open", 1, StepStatus.SUCCESS, page("open")),
            Recorded("fill", 1, StepStatus.FAILED, None, fail()),
        ]
        machine = Machine.recover(BROWSE, {}, rows)
        end(machine.start())
        assert machine.progress == pytest.approx(1 / 3)


def _draw_two_ways_to_one_page(scheduling: Scheduling) -> Plan:
    """`early` (phase 3) and `late` (phase 4) touch one page; each waits for its own chain of work."""
    chains = [node(one, "work") for one in ("a1", "a2", "b1", "b2", "b3")]
    nodes = [node("open", "open"), *chains, node("early", "touch"), node("late", "touch")]
    pages = [edge(f"open.{PAGE}", f"{one}.{PAGE}") for one in ("early", "late")]
    steps = [("a1", "a2"), ("a2", "early"), ("b1", "b2"), ("b2", "b3"), ("b3", "late")]
    works = [edge(f"{source}.Out", f"{target}.In") for source, target in steps]
    return plan(nodes, [*pages, *works], scheduling=scheduling)


def test_eager_starts_a_node_before_its_phase_and_lets_none_overtake_on_the_way_to_a_page() -> None:
    machine = Machine(_draw_two_ways_to_one_page("eager"), {})
    machine.start()
    machine.on_succeeded("open", {PAGE: "p"})
    for chain in ("b1", "b2", "b3"):
        assert chain in machine.running
        machine.on_succeeded(chain, {"Out": chain})
    assert machine.running == ["a1"], "`late` has all its inputs, and `early` comes first at the page"
    machine.on_succeeded("a1", {"Out": "a1"})
    machine.on_succeeded("a2", {"Out": "a2"})
    assert machine.running == ["early"]
    machine.on_succeeded("early", {PAGE: "p"})
    assert machine.running == ["late"]


def test_by_phases_no_node_starts_before_its_phase() -> None:
    machine = Machine(_draw_two_ways_to_one_page("phases"), {})
    machine.start()
    machine.on_succeeded("open", {PAGE: "p"})
    machine.on_succeeded("b1", {"Out": "b1"})
    assert machine.running == ["a1"]
