"""What holds for every graph, every outcome, every order of outcomes and every moment to die."""

import random
from collections.abc import Callable

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from contracts.execution import ExecutionStatus, FailureCode
from contracts.workflow import JsonObject, OnError, Scheduling, WorkflowDocument
from runtime.engine.plan import Plan, PlannedNode, make_plan
from tests.runtime.engine.drawn import ANYTHING, CATALOGUE, PAGE, Wish, documents
from tests.runtime.engine.world import CRASH, Expected, Fate, World, expect, fates

QUICK = settings(max_examples=40, deadline=None)
LENIENT = Wish(stops=False)
SAFE = Wish(unsafe=False)
LENIENT_AND_SAFE = Wish(unsafe=False, stops=False)
PRESSING = Wish(press=True)
JOINING = Wish(unsafe=False, stops=False, join=True)


@st.composite
def stories(
    draw: st.DrawFn,
    wish: Wish = ANYTHING,
    *,
    crashes: bool = True,
    final: bool = True,
) -> tuple[Plan, Fate, int]:
    """A plan, what becomes of its nodes, and a seed for the order of things."""
    plan = make_plan(draw(documents(wish)), CATALOGUE)
    return plan, draw(fates(plan, crashes=crashes, final=final)), draw(st.integers(0, 2**32))


def _stops(plan: Plan, expected: Expected) -> bool:
    return any(expected.states[node.id] == "failed" and node.on_error is OnError.STOP for node in plan.nodes)


def _after(turns: int) -> Callable[[World], bool]:
    left = iter(range(turns))
    return lambda _: next(left, None) is None


@given(stories(), st.none() | st.integers(0, 20))
@QUICK
def test_every_node_ends_once_and_the_end_comes_last(story: tuple[Plan, Fate, int], cancel_at: int | None) -> None:
    plan, fate, seed = story
    world = World(plan, fate, random.Random(seed))
    finish = world.run(cancel_at=cancel_at)
    assert finish is not None
    assert dict(world.ended) == {node.id: 1 for node in plan.nodes}
    assert finish.nodes_completed + finish.nodes_failed + len(world.skipped) == len(plan.nodes)
    assert (world.machine.progress == 1.0) is (finish.status is ExecutionStatus.COMPLETED) or (
        finish.status is ExecutionStatus.CANCELLED  # what ran may have come to its end all the same
    )
    assert world.machine.current_node is None


@given(stories(LENIENT, crashes=False))
@QUICK
def test_skipped_failed_and_succeeded_are_what_the_definition_says(story: tuple[Plan, Fate, int]) -> None:
    plan, fate, seed = story
    expected = expect(plan, fate)
    world = World(plan, fate, random.Random(seed))
    finish = world.run()
    assert finish is not None
    assert finish.status is ExecutionStatus.COMPLETED
    assert world.skipped == {node_id for node_id, state in expected.states.items() if state == "skipped"}
    assert finish.nodes_failed == list(expected.states.values()).count("failed")


@given(stories(crashes=False))
@QUICK
def test_a_failure_that_stops_ends_it_as_failed_and_names_the_node(story: tuple[Plan, Fate, int]) -> None:
    plan, fate, seed = story
    expected = expect(plan, fate)
    assume(_stops(plan, expected))
    finish = World(plan, fate, random.Random(seed)).run()
    assert finish is not None
    assert finish.status is ExecutionStatus.FAILED
    assert finish.failure is not None
    assert expected.states[str(finish.failure.node_id)] == "failed"


@given(stories(LENIENT, crashes=False), st.integers(0, 2**32))
@QUICK
def test_the_order_of_outcomes_changes_nothing(story: tuple[Plan, Fate, int], other_seed: int) -> None:
    plan, fate, seed = story
    assert World(plan, fate, random.Random(seed)).run() == World(plan, fate, random.Random(other_seed)).run()


def _in_mode(plan: Plan, scheduling: Scheduling) -> Plan:
    return plan.model_copy(update={"scheduling": scheduling})


def _die_and_go_on(plan: Plan, fate: Fate, seed: int, deaths: list[int]) -> World:
    """The last of the worlds that an execution was carried through."""
    world = World(plan, fate, random.Random(seed))
    for after in deaths:
        if world.run(until=_after(after)) is not None:
            return world
        world = world.revive(seed + after)
    world.run()
    return world


def _end_states(world: World) -> dict[str, str]:
    """How each node stands at the end, by the last attempt that was none of replay."""
    rows = sorted(world.rows.values(), key=lambda row: (row.status == "success", row.attempt))
    return {row.node_id: row.status.value for row in rows}


@given(stories(LENIENT, crashes=False), st.integers(0, 2**32))
@QUICK
def test_eager_and_by_phases_come_to_the_same(story: tuple[Plan, Fate, int], other_seed: int) -> None:
    plan, fate, seed = story
    by_phases = World(_in_mode(plan, "phases"), fate, random.Random(seed))
    eager = World(_in_mode(plan, "eager"), fate, random.Random(other_seed))
    assert eager.run() == by_phases.run()
    assert _end_states(eager) == _end_states(by_phases)


@given(stories(LENIENT_AND_SAFE, crashes=False), st.lists(st.integers(0, 12), min_size=1, max_size=4))
@QUICK
def test_eager_and_by_phases_come_to_the_same_whatever_dies(story: tuple[Plan, Fate, int], deaths: list[int]) -> None:
    plan, fate, seed = story
    by_phases = _die_and_go_on(_in_mode(plan, "phases"), fate, seed, deaths)
    eager = _die_and_go_on(_in_mode(plan, "eager"), fate, seed, deaths)
    assert eager.finish == by_phases.finish
    assert _end_states(eager) == _end_states(by_phases)


@given(stories(SAFE, final=False), st.integers(0, 2**32))
@QUICK
def test_eager_and_by_phases_come_to_the_same_after_crashes(story: tuple[Plan, Fate, int], other_seed: int) -> None:
    plan, fate, seed = story
    assume(all(len(how) < _attempts(plan, node_id) for node_id, how in fate.failures.items()))
    by_phases = World(_in_mode(plan, "phases"), fate, random.Random(seed)).run()
    assert World(_in_mode(plan, "eager"), fate, random.Random(other_seed)).run() == by_phases


@given(stories(LENIENT, crashes=False))
@QUICK
def test_eager_leaves_nothing_idle_that_could_run(story: tuple[Plan, Fate, int]) -> None:
    plan, fate, seed = story
    world = World(_in_mode(plan, "eager"), fate, random.Random(seed))

    def watch(world: World) -> bool:
        idle = [
            node.id
            for node in plan.nodes
            if not node.page_inputs
            and not world.ended[node.id]
            and node.id not in world.running
            and all(world.ended[edge.source] for edge in node.incoming)
        ]
        assert not idle or len(world.running) == plan.max_parallel
        return False

    world.run(until=watch)


@given(stories())
@QUICK
def test_nodes_of_one_page_begin_in_canonical_order(story: tuple[Plan, Fate, int]) -> None:
    plan, fate, seed = story
    world = World(plan, Fate({}, fate.yes), random.Random(seed))
    world.run()
    order = [node.id for node in plan.nodes]
    for page in set(world.pages.values()):
        began = [node_id for node_id in world.began if world.pages.get(node_id) == page]
        assert began == sorted(began, key=order.index)


@given(stories(JOINING, crashes=False))
@QUICK
def test_a_join_gets_what_is_live_in_the_order_of_its_edges(story: tuple[Plan, Fate, int]) -> None:
    plan, fate, seed = story
    world = World(plan, fate, random.Random(seed))
    world.run()
    ways = {node.id: _live_ways(world, node) for node in plan.nodes}
    for start in world.starts:
        node = world.nodes[start.node_id]
        for handle in [handle for handle in node.merging if handle not in (PAGE, "When")]:
            edges = [one for one in node.incoming if one.handle == handle]
            live = [ways[one.source][one.source_handle] for one in edges if one.source_handle in ways[one.source]]
            assert start.inputs.get(handle, []) == (live[:1] if node.join == "first" else live)


def _live_ways(world: World, node: PlannedNode) -> JsonObject:
    """What a node left for others, read off what is recorded of it."""
    rows = [row for row in world.rows.values() if row.node_id == node.id]
    last = max(rows, key=lambda row: row.attempt)
    if last.status == "failed" and node.on_error is OnError.USE_DEFAULT:
        return node.defaults
    return last.outputs or {}


@given(stories(JOINING), st.lists(st.integers(0, 12), max_size=4))
@QUICK
def test_what_a_branch_left_behind_is_skipped_once_and_never_runs(
    story: tuple[Plan, Fate, int], deaths: list[int]
) -> None:
    plan, fate, seed = story
    world = _die_and_go_on(plan, fate, seed, deaths)
    began = {node_id for (node_id, _), row in world.rows.items() if row.status != "skipped"}
    assert began.isdisjoint(world.skipped)
    assert world.finish is not None
    if world.finish.status is ExecutionStatus.COMPLETED:
        for node in plan.nodes:
            sources = {one.source for one in node.incoming}
            assert not sources or node.id in world.skipped or not sources <= world.skipped


@given(stories(LENIENT_AND_SAFE, crashes=False), st.lists(st.integers(0, 12), min_size=1, max_size=4))
@QUICK
def test_a_run_that_dies_and_goes_on_elsewhere_comes_to_the_same(
    story: tuple[Plan, Fate, int], deaths: list[int]
) -> None:
    plan, fate, seed = story
    whole = World(plan, fate, random.Random(seed)).run()
    world = World(plan, fate, random.Random(seed))
    for after in deaths:
        if world.run(until=_after(after)) is not None:
            break
        world = world.revive(seed + after)
    finish = world.finish or world.run()
    assert finish == whole


@given(stories(PRESSING))
@QUICK
def test_what_was_in_flight_and_must_not_run_twice_ends_it(story: tuple[Plan, Fate, int]) -> None:
    plan, fate, seed = story
    world = World(plan, fate, random.Random(seed))
    world.run(until=lambda world: any(not world.nodes[node_id].safe for node_id in world.running))
    in_flight = [node_id for node_id in world.running if not world.nodes[node_id].safe]
    assume(in_flight)
    revived = world.revive(seed)
    finish = revived.run()
    assert finish is not None
    assert revived.began == []
    assert finish.status is ExecutionStatus.FAILED
    assert finish.failure is not None
    assert finish.failure.code is FailureCode.INTERRUPTED_UNSAFE
    assert finish.failure.node_id in in_flight


@given(stories(), st.lists(st.integers(0, 12), min_size=1, max_size=4))
@QUICK
def test_an_unsafe_node_never_succeeds_twice_whatever_dies(story: tuple[Plan, Fate, int], deaths: list[int]) -> None:
    plan, fate, seed = story
    world = World(plan, fate, random.Random(seed))
    for after in deaths:
        if world.run(until=_after(after)) is not None:
            break
        world = world.revive(seed + after)
    finish = world.finish or world.run()
    assert finish is not None
    for node in plan.nodes:
        successes = [row for row in world.rows.values() if row.node_id == node.id and row.status == "success"]
        assert node.safe or len(successes) <= 1
    assert dict(world.ended) == {node.id: 1 for node in plan.nodes}


@given(stories(SAFE, final=False))
@QUICK
def test_crashes_bring_back_the_page_and_change_no_result(story: tuple[Plan, Fate, int]) -> None:
    plan, fate, seed = story
    calm = Fate({}, fate.yes)
    assume(all(len(how) < _attempts(plan, node_id) for node_id, how in fate.failures.items()))
    assert World(plan, fate, random.Random(seed)).run() == World(plan, calm, random.Random(seed)).run()


def _attempts(plan: Plan, node_id: str) -> int:
    return next(node.attempts for node in plan.nodes if node.id == node_id)


@given(stories())
@QUICK
def test_a_crash_replays_only_what_held_the_page(story: tuple[Plan, Fate, int]) -> None:
    plan, fate, seed = story
    world = World(plan, fate, random.Random(seed))
    world.run()
    again = {node_id for node_id in world.began if world.began.count(node_id) > 1}
    crashed = {node_id for node_id, how in fate.failures.items() if how}
    pages = {node.id for node in plan.nodes if node.page_outputs}
    assert again <= crashed | (pages if any(CRASH in how for how in fate.failures.values()) else set())


@given(documents())
@QUICK
def test_phases_are_the_smallest_that_respect_the_edges(drawn: WorkflowDocument) -> None:
    plan = make_plan(drawn, CATALOGUE)
    phase = {node.id: node.phase for node in plan.nodes}
    for node in plan.nodes:
        before = [phase[one.source] for one in node.incoming]
        assert node.phase == 1 + max(before, default=0)
    assert [node.phase for node in plan.nodes] == sorted(phase.values())
    drawn_order = [node.id for node in drawn.nodes]
    for ids in plan.phases:
        assert ids == sorted(ids, key=drawn_order.index)


@given(documents())
@QUICK
def test_a_plan_survives_its_json(drawn: WorkflowDocument) -> None:
    plan = make_plan(drawn, CATALOGUE)
    assert Plan.model_validate_json(plan.model_dump_json()) == plan
