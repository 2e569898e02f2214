"""The machine after pages, workers and time were lost, in scenes that a person would describe."""

import pytest

from contracts.execution import ExecutionStatus, FailureCode, StepStatus
from runtime.engine.commands import (
    Command,
    EndAttempt,
    Recorded,
    SkipReason,
    StartNode,
)
from runtime.engine.machine import Machine
from tests.runtime.engine.drawn import PAGE, edge, node, plan
from tests.runtime.engine.scenes import BROWSE, TWO, end, fail, page, skipped, started


class TestLostPages:
    """A page that has to be brought back."""

    def test_a_crash_runs_the_way_to_the_page_again_and_keeps_the_first_outputs(self) -> None:
        machine = Machine(BROWSE, {})
        machine.start()
        machine.on_succeeded("open", page("open"))
        machine.on_succeeded("fill", page("open", out="first"))
        ended, start = machine.on_failed("read", fail(FailureCode.BROWSER_CRASHED), retryable=True)
        assert isinstance(ended, EndAttempt)
        assert start == StartNode("open", 2, 1, {}, 0.0, replay=True)
        assert machine.progress == pytest.approx(2 / 3)
        assert started(machine.on_succeeded("open", page("open"))) == ["fill"]
        (again,) = machine.on_succeeded("fill", page("open", out="second"))
        assert again == StartNode("read", 2, 3, {PAGE: "open"}, 2.0)
        assert end(machine.on_succeeded("read", page("open"))).output == {"fill": {"Out": "first"}}

    def test_a_crash_after_something_unsafe_is_not_made_good(self) -> None:
        bought = plan(
            [node("open", "open"), node("buy", "press"), node("read", "touch")],
            [edge(f"open.{PAGE}", f"buy.{PAGE}"), edge(f"buy.{PAGE}", f"read.{PAGE}")],
        )
        machine = Machine(bought, {})
        machine.start()
        machine.on_succeeded("open", page("open"))
        machine.on_succeeded("buy", page("open"))
        commands = machine.on_failed("read", fail(FailureCode.BROWSER_CRASHED), retryable=True)
        assert started(commands) == []
        assert end(commands).failure == fail(FailureCode.BROWSER_CRASHED)

    def test_a_replay_that_fails_ends_it_whatever_the_policy(self) -> None:
        lenient = plan(
            [node("open", "open"), node("fill", "touch", on_error="continue"), node("read", "touch")],
            [edge(f"open.{PAGE}", f"fill.{PAGE}"), edge(f"fill.{PAGE}", f"read.{PAGE}")],
        )
        machine = Machine(lenient, {})
        machine.start()
        machine.on_succeeded("open", page("open"))
        machine.on_succeeded("fill", page("open"))
        machine.on_failed("read", fail(FailureCode.BROWSER_CRASHED), retryable=True)
        machine.on_succeeded("open", page("open"))
        finish = end(machine.on_failed("fill", fail(FailureCode.ELEMENT_NOT_FOUND), retryable=False))
        assert finish.status is ExecutionStatus.FAILED
        assert finish.failure == fail(FailureCode.ELEMENT_NOT_FOUND)


class TestRecovery:
    """Going on after a worker was lost."""

    DONE = (
        Recorded("open", 1, StepStatus.SUCCESS, page("open")),
        Recorded("fill", 1, StepStatus.SUCCESS, page("open", out="kept")),
    )

    def test_a_safe_node_in_flight_runs_again_once_its_page_is_back(self) -> None:
        machine = Machine.recover(BROWSE, {}, [*self.DONE, Recorded("read", 1, StepStatus.RUNNING)])
        lost, start = machine.start()
        assert isinstance(lost, EndAttempt)
        assert (lost.status, lost.failure.code) == (StepStatus.RETRYING, FailureCode.WORKER_LOST)
        assert start == StartNode("open", 2, 1, {}, 0.0, replay=True)
        machine.on_succeeded("open", page("open"))
        (again,) = machine.on_succeeded("fill", page("open"))
        assert again == StartNode("read", 2, 3, {PAGE: "open"}, 0.0)

    def test_data_alone_needs_no_page_and_no_replay(self) -> None:
        data = plan(
            [node("open", "open"), node("read", "touch"), node("sum", "need")],
            [edge(f"open.{PAGE}", f"read.{PAGE}"), edge("read.Out", "sum.Must")],
        )
        rows = [self.DONE[0], Recorded("read", 1, StepStatus.SUCCESS, page("open", out="text"))]
        machine = Machine.recover(data, {}, rows)
        assert machine.start() == [StartNode("sum", 1, 3, {"Must": "text"}, 0.0)]

    def test_a_way_back_past_something_unsafe_asks_a_person(self) -> None:
        bought = plan(
            [node("open", "open"), node("buy", "press"), node("read", "touch")],
            [edge(f"open.{PAGE}", f"buy.{PAGE}"), edge(f"buy.{PAGE}", f"read.{PAGE}")],
        )
        rows = [self.DONE[0], Recorded("buy", 1, StepStatus.SUCCESS, page("open"))]
        commands = Machine.recover(bought, {}, rows).start()
        finish = end(commands)
        assert skipped(commands) == {"read": SkipReason.STOPPED}
        assert finish.failure is not None
        assert finish.failure.code is FailureCode.INTERRUPTED_UNSAFE
        assert "“Press”, which led to it, must not run twice" in finish.failure.message

    def test_a_click_that_found_nothing_does_not_bar_the_way_back(self) -> None:
        banner = plan(
            [node("open", "open"), node("banner", "press", critical=False), node("read", "touch")],
            [edge(f"open.{PAGE}", f"banner.{PAGE}"), edge(f"banner.{PAGE}", f"read.{PAGE}")],
        )
        missed = Recorded("banner", 1, StepStatus.FAILED, failure=fail(FailureCode.ELEMENT_NOT_FOUND))
        machine = Machine.recover(banner, {}, [self.DONE[0], missed])
        assert started(machine.start()) == ["open"]
        assert started(machine.on_succeeded("open", page("open"))) == ["read"]

    def test_a_retry_that_was_due_keeps_its_count_and_its_delay(self) -> None:
        work = plan([node("a", "work", attempts=3)], [])
        retrying = [Recorded("a", number, StepStatus.RETRYING, failure=fail(FailureCode.TIMEOUT)) for number in (1, 2)]
        machine = Machine.recover(work, {}, retrying)
        assert machine.start() == [StartNode("a", 3, 1, {}, 4.0)]
        assert end(machine.on_failed("a", fail(FailureCode.TIMEOUT), retryable=True)).status is ExecutionStatus.FAILED

    def test_a_failure_that_was_ending_it_still_ends_it(self) -> None:
        rows = [Recorded("a", 1, StepStatus.FAILED, failure=fail()), Recorded("b", 1, StepStatus.RUNNING)]
        commands = Machine.recover(TWO, {}, rows).start()
        assert started(commands) == []
        assert end(commands).failure == fail()

    @pytest.mark.parametrize("stopped", ["a", "b", "c"])
    def test_it_ends_for_a_cause_and_not_for_what_was_stopped_in_consequence(self, stopped: str) -> None:
        three = plan([node(name, "work", attempts=1) for name in "abc"], [])
        failed = next(name for name in "abc" if name != stopped)
        rows = [
            Recorded(stopped, 1, StepStatus.FAILED, failure=fail(FailureCode.STOPPED)),
            Recorded(failed, 1, StepStatus.FAILED, failure=fail(FailureCode.TIMEOUT)),
        ]
        for late in (None, "cancel", "deadline"):
            machine = Machine.recover(three, {}, rows)
            commands = _stop_before_start(machine, late)
            assert (end(commands).status, end(commands).failure) == (ExecutionStatus.FAILED, fail(FailureCode.TIMEOUT))
            assert skipped(commands).keys() == set("abc") - {stopped, failed}

    def test_a_cancel_of_which_something_was_stopped_already_is_still_a_cancel(self) -> None:
        rows = [Recorded("a", 1, StepStatus.FAILED, failure=fail(FailureCode.STOPPED))]
        rows.append(Recorded("b", 1, StepStatus.RUNNING))
        commands = _stop_before_start(Machine.recover(TWO, {}, rows), "cancel")
        assert (end(commands).status, end(commands).reason) == (ExecutionStatus.CANCELLED, "enough")
        assert (started(commands), end(commands).failure) == ([], None)

    def test_a_time_limit_for_which_something_was_stopped_already_stays_the_reason(self) -> None:
        rows = [Recorded("a", 1, StepStatus.FAILED, failure=fail(FailureCode.STOPPED))]
        failure = end(_stop_before_start(Machine.recover(TWO, {}, rows), "deadline")).failure
        assert failure is not None
        assert failure.code is FailureCode.DEADLINE_EXCEEDED

    def test_what_was_stopped_for_a_reason_that_nobody_knows_any_more_ends_it_all_the_same(self) -> None:
        rows = [Recorded("a", 1, StepStatus.FAILED, failure=fail(FailureCode.STOPPED))]
        commands = Machine.recover(TWO, {}, rows).start()
        assert (started(commands), end(commands).failure) == ([], fail(FailureCode.STOPPED))

    def test_what_a_lost_worker_cut_off_yields_to_a_cause_and_to_a_cancel_and_still_asks(self) -> None:
        pressed = plan(
            [node("open", "open"), node("a", "press"), node("b", "work", attempts=1)],
            [edge(f"open.{PAGE}", f"a.{PAGE}")],
        )
        opened, cut_off = self.DONE[0], Recorded("a", 1, StepStatus.RUNNING)
        cause = Recorded("b", 1, StepStatus.FAILED, failure=fail(FailureCode.TIMEOUT))
        for rows, late, code in (
            ([opened, cut_off, cause], None, FailureCode.TIMEOUT),
            ([opened, cut_off, cause], "cancel", FailureCode.TIMEOUT),
            ([opened, cut_off], "cancel", None),
            ([opened, cut_off], "deadline", FailureCode.INTERRUPTED_UNSAFE),
            ([opened, cut_off], None, FailureCode.INTERRUPTED_UNSAFE),
        ):
            commands = _stop_before_start(Machine.recover(pressed, {}, rows), late)
            failure = end(commands).failure
            assert (failure.code if failure else None) is code, (rows, late)
            (lost,) = [one for one in commands if isinstance(one, EndAttempt)]
            assert (lost.failure.code, lost.failure.asks_about) == (FailureCode.INTERRUPTED_UNSAFE, "a")

    def test_a_replay_in_flight_counts_as_the_success_it_was(self) -> None:
        rows = [*self.DONE, Recorded("read", 1, StepStatus.RUNNING), Recorded("open", 2, StepStatus.RUNNING)]
        machine = Machine.recover(BROWSE, {}, rows)
        commands = machine.start()
        assert commands[-1] == StartNode("open", 3, 1, {}, 0.0, replay=True)

    def test_one_that_was_only_queued_may_run_even_if_unsafe(self) -> None:
        pressed = plan([node("open", "open"), node("press", "press")], [edge(f"open.{PAGE}", f"press.{PAGE}")])
        machine = Machine.recover(pressed, {}, [self.DONE[0], Recorded("press", 1, StepStatus.QUEUED)])
        machine.start()
        assert started(machine.on_succeeded("open", page("open"))) == ["press"]


def _stop_before_start(machine: Machine, late: str | None) -> list[Command]:
    """What a new run makes of a wish that was uttered before its worker had the execution: it is told it first."""
    match late:
        case "cancel":
            commands = machine.on_cancel("enough")
        case "deadline":
            commands = machine.on_deadline()
        case _:
            commands = []
    return [*machine.start(), *commands]
