"""Pages that were lost come back from their checkpoints; only what happened since then runs again."""

from dataclasses import replace
from itertools import pairwise

from contracts.execution import Answer, ExecutionStatus, Failure, FailureCode, StepStatus
from runtime.engine.commands import EndAttempt, Finish, Recorded, StartNode
from runtime.engine.machine import Machine
from runtime.engine.plan import Plan
from tests.runtime.engine.drawn import PAGE, edge, node, plan

OK = StepStatus.SUCCESS
CRASH = Failure(code=FailureCode.BROWSER_CRASHED, message="Gone.", hint="")


def walk(*nodes: tuple[str, str]) -> Plan:
    edges = [edge(f"{a}.{PAGE}", f"{b}.{PAGE}") for (a, _), (b, _) in pairwise(nodes)]
    return plan([node(*one) for one in nodes], edges)


BUY = walk(("open", "open"), ("press", "press"), ("fill", "touch"), ("read", "touch"))


def done(*ids: str) -> list[Recorded]:
    return [Recorded(node_id, 1, OK, {PAGE: "open"}) for node_id in ids]


def recover(rows: list[Recorded], checkpoints: list[str], **answers: Answer) -> Machine:
    return Machine.recover(BUY, {}, rows, checkpoints={"open": checkpoints}, answers=answers)


def starts(commands: list[object]) -> list[tuple[str, bool, dict[str, str]]]:
    return [(one.node_id, one.replay, dict(one.restore)) for one in commands if isinstance(one, StartNode)]


def test_a_checkpoint_behind_an_unsafe_node_makes_the_way_free() -> None:
    machine = recover(done("open", "press"), ["open", "press"])
    assert starts([*machine.start()]) == [("fill", False, {"open": "press"})]


def test_safe_nodes_since_the_checkpoint_run_again_and_the_first_of_them_opens_the_page() -> None:
    machine = recover(done("open", "press", "fill"), ["press"])
    assert starts([*machine.start()]) == [("fill", True, {"open": "press"})]
    assert starts([*machine.on_succeeded("fill", {PAGE: "open"})]) == [("read", False, {})]
    assert isinstance(machine.on_succeeded("read", {PAGE: "open"})[-1], Finish)


def test_an_unsafe_node_since_the_checkpoint_asks_a_person() -> None:
    (finish,) = [one for one in recover(done("open", "press"), ["open"]).start() if isinstance(one, Finish)]
    assert finish.status is ExecutionStatus.FAILED
    assert finish.failure is not None
    assert (finish.failure.code, finish.failure.asks_about) == (FailureCode.INTERRUPTED_UNSAFE, "press")


def test_a_person_may_let_it_run_again_or_leave_it_out() -> None:
    taken_over = [replace(one, reused=True) for one in done("open", "press")]
    again = recover(taken_over, ["open"], press=Answer.RUN_AGAIN)
    assert starts([*again.start()]) == [("press", True, {"open": "open"})]
    happened = recover(taken_over, ["open"], press=Answer.HAPPENED)
    assert starts([*happened.start()]) == [("fill", False, {"open": "open"})]


def asked_about(commands: list[object]) -> str | None:
    (finish,) = [one for one in commands if isinstance(one, Finish)]
    assert finish.failure is not None
    return finish.failure.asks_about


def test_a_word_to_run_it_again_counts_once_in_a_run() -> None:
    taken_over = [replace(one, reused=True) for one in done("open", "press")]
    machine = recover(taken_over, ["open"], press=Answer.RUN_AGAIN)
    machine.start()
    assert starts([*machine.on_succeeded("press", {PAGE: "open"})]) == [("fill", False, {})]
    assert not can_leave(machine)
    assert asked_about([*machine.on_failed("fill", CRASH, retryable=True)]) is None  # the crash is why it ended
    assert not [one for one in machine.running if one == "press"]


def test_a_word_to_run_it_again_counts_once_over_all_runs() -> None:
    rows = [*(replace(one, reused=True) for one in done("open", "press")), Recorded("press", 2, OK, {PAGE: "open"})]
    assert asked_about([*recover(rows, ["open"], press=Answer.RUN_AGAIN).start()]) == "press"
    own = [replace(done("open")[0], reused=True), *done("press")]  # it had been cut short, and ran here
    assert asked_about([*recover(own, ["open"], press=Answer.RUN_AGAIN).start()]) == "press"
    happened = recover(own, ["open"], press=Answer.HAPPENED)
    assert starts([*happened.start()]) == [("fill", False, {"open": "open"})]


def test_what_only_a_person_knows_of_hands_its_page_on() -> None:
    rows = [*done("open"), Recorded("press", 1, OK, outputs=None)]
    machine = recover(rows, ["open"], press=Answer.HAPPENED)
    assert machine.outputs_of("press") == {PAGE: "open"}
    assert starts([*machine.start()]) == [("fill", False, {"open": "open"})]


def test_a_crash_in_the_same_run_goes_back_to_the_last_checkpoint() -> None:
    machine = Machine(BUY, {})
    machine.start()
    machine.on_succeeded("open", {PAGE: "open"}, ["open"])
    machine.on_succeeded("press", {PAGE: "open"}, ["open"])
    commands = machine.on_failed("fill", CRASH, retryable=True)
    assert isinstance(commands[0], EndAttempt)
    assert starts([*commands]) == [("fill", False, {"open": "press"})]


def test_a_page_that_can_not_be_opened_again_now_is_tried_again_also_for_an_unsafe_node() -> None:
    machine = Machine.recover(BUY, {}, done("open"), checkpoints={"open": ["open"]})
    assert starts([*machine.start()]) == [("press", False, {"open": "open"})]
    down = Failure(code=FailureCode.NAVIGATION_FAILED, message="502", hint="")
    commands = machine.on_failed("press", down, retryable=True, begun=False)
    assert starts([*commands]) == [("press", False, {"open": "open"})]
    ended = machine.on_failed("press", down, retryable=False, begun=False)
    assert isinstance(ended[-1], Finish)


def can_leave(machine: Machine) -> bool:
    return machine.can_be_left


def test_a_run_can_be_left_while_no_unsafe_node_lies_behind_the_last_checkpoint() -> None:
    machine = Machine(BUY, {})
    machine.start()
    assert can_leave(machine)
    machine.on_succeeded("open", {PAGE: "open"}, ["open"])
    assert can_leave(machine)
    machine.on_succeeded("press", {PAGE: "open"})
    assert not can_leave(machine)
    machine.on_succeeded("fill", {PAGE: "open"}, ["open"])
    assert can_leave(machine)
