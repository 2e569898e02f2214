"""What a retry takes over: what ended well, nothing behind what runs again; and where a person has to say more."""

import pytest

from contracts.execution import Answer, Failure, FailureCode, StepStatus
from contracts.recovery import Retry, RetryStart
from runtime.engine.commands import Recorded
from runtime.engine.reuse import (
    choose_reused,
    find_asked,
    find_contradicted,
    find_failed,
    find_named,
    find_repeated,
    find_unanswered,
    find_unknown_outputs,
    keep_word,
)
from tests.runtime.engine.drawn import PAGE, edge, node, plan

OK = StepStatus.SUCCESS
BUY = plan(
    [node("open", "open"), node("press", "press"), node("read", "touch"), node("aside", "work")],
    [edge(f"open.{PAGE}", f"press.{PAGE}"), edge(f"press.{PAGE}", f"read.{PAGE}")],
)
BROKE = Failure(code=FailureCode.TIMEOUT, message="Slow.", hint="")
LOST = Failure(code=FailureCode.INTERRUPTED_UNSAFE, message="?", hint="", asks_about="press")


def row(node_id: str, status: StepStatus = OK, failure: Failure | None = None, attempt: int = 1) -> Recorded:
    return Recorded(node_id, attempt, status, {"Out": node_id} if status is OK else None, failure)


def at(node_id: str, **answers: Answer) -> Retry:
    return Retry(start_at=RetryStart.NODE, node_id=node_id, answers=answers)


def reused(rows: list[Recorded], **retry: object) -> list[str]:
    return [one.node_id for one in choose_reused(BUY, BUY, rows, Retry.model_validate(retry))]


HALF = [row("open"), row("aside"), row("press", StepStatus.FAILED, BROKE), row("read", StepStatus.SKIPPED)]
DONE = [row("open"), row("aside"), row("press"), row("read")]


def test_from_what_failed_takes_over_what_ended_well() -> None:
    assert reused(HALF) == ["open", "aside"]
    assert [one.attempt for one in choose_reused(BUY, BUY, [*HALF, row("open", attempt=3)], Retry())] == [1, 1]


def test_nobody_has_what_one_hands_on_that_only_a_person_knows_of() -> None:
    hands_on = plan(
        [node("open", "open"), node("press", "press"), node("needs", "need"), node("takes", "work")],
        [edge(f"open.{PAGE}", f"press.{PAGE}"), edge("press.Out", "needs.Must"), edge("press.Out", "takes.In")],
    )
    rows = [row("open"), row("press", StepStatus.FAILED, LOST)]
    happened = Retry(answers={"press": Answer.HAPPENED})
    assert find_unknown_outputs(hands_on, rows, happened) == [("press", "Out", "needs")]
    assert find_unknown_outputs(hands_on, [row("open"), row("press")], happened) == []
    assert find_unknown_outputs(hands_on, rows, Retry(answers={"press": Answer.RUN_AGAIN})) == []
    assert find_unknown_outputs(BUY, rows, happened) == [], "its page can be brought back"


def test_from_a_node_runs_it_and_what_follows_again() -> None:
    assert reused(DONE, start_at="node", node_id="press") == ["open", "aside"]
    assert reused(DONE, start_at="node", node_id="aside") == ["open", "press", "read"]
    assert reused(DONE, start_at="node", node_id="open") == ["aside"]


def test_whole_takes_nothing_over() -> None:
    assert reused(DONE, start_at="beginning") == []


def test_a_node_that_changed_runs_again_with_what_follows() -> None:
    changed = BUY.model_copy(
        update={
            "nodes": [
                one.model_copy(update={"literals": {"In": 1}} if one.id == "press" else {"name": "renamed"})
                for one in BUY.nodes
            ]
        }
    )
    assert [one.node_id for one in choose_reused(BUY, changed, DONE, Retry())] == ["open", "aside"]


def test_what_a_person_says_has_happened_counts_as_done() -> None:
    rows = [row("open"), row("press", StepStatus.FAILED, LOST)]
    assert find_unanswered(BUY, BUY, rows, Retry()) == ["press"]
    happened = Retry(answers={"press": Answer.HAPPENED})
    assert find_unanswered(BUY, BUY, rows, happened) == []
    taken = choose_reused(BUY, BUY, rows, happened)
    assert [(one.node_id, one.outputs) for one in taken] == [("open", {"Out": "open"}), ("press", None)]
    again = Retry(answers={"press": Answer.RUN_AGAIN})
    assert [one.node_id for one in choose_reused(BUY, BUY, rows, again)] == ["open"]


@pytest.mark.parametrize("status", [StepStatus.RUNNING, StepStatus.FAILED])
def test_only_a_person_knows_of_an_unsafe_node_that_was_cut_short(status: StepStatus) -> None:
    lost = Failure(code=FailureCode.WORKER_LOST, message="", hint="")
    rows = [row("open"), row("press", status, lost if status is StepStatus.FAILED else None)]
    assert find_unanswered(BUY, BUY, rows, Retry()) == ["press"]
    for named in (Retry(start_at=RetryStart.BEGINNING), at("press"), at("open")):  # whoever says so has decided
        assert find_unanswered(BUY, BUY, rows, named) == []


@pytest.mark.parametrize("start", ["read", "aside"])
def test_naming_another_node_is_no_word_for_one_that_was_cut_short(start: str) -> None:
    rows = [row("open"), row("aside"), row("press", StepStatus.FAILED, LOST), row("read", StepStatus.SKIPPED)]
    assert find_unanswered(BUY, BUY, rows, at(start)) == ["press"]
    assert find_unanswered(BUY, BUY, rows, at(start, press=Answer.RUN_AGAIN)) == []
    happened = at(start, press=Answer.HAPPENED)
    assert find_unanswered(BUY, BUY, rows, happened) == []
    assert "press" in [one.node_id for one in choose_reused(BUY, BUY, rows, happened)]


def test_a_node_that_is_named_brings_in_what_comes_after_it_and_nothing_else() -> None:
    assert find_named(BUY, Retry()) == set()
    assert find_named(BUY, at("press")) == {"press", "read"}
    assert find_named(BUY, at("aside")) == {"aside"}
    assert find_named(BUY, Retry(start_at=RetryStart.BEGINNING)) == {"open", "press", "read", "aside"}


def test_a_changed_node_elsewhere_that_must_not_run_twice_needs_a_word() -> None:
    changed = BUY.model_copy(
        update={
            "nodes": [one.model_copy(update={"literals": {"In": 1}}) if one.id == "press" else one for one in BUY.nodes]
        }
    )
    assert find_repeated(BUY, changed, DONE, at("aside")) == ["press"]
    assert find_repeated(BUY, changed, DONE, at("aside", press=Answer.RUN_AGAIN)) == []
    assert find_repeated(BUY, changed, DONE, at("open")) == find_repeated(BUY, changed, DONE, at("press")) == []


def test_what_runs_again_elsewhere_takes_what_follows_along() -> None:
    rows = [row("open"), row("aside", StepStatus.FAILED, BROKE), row("press"), row("last")]
    assert [one.node_id for one in choose_reused(FORK, FORK, rows, at("last"))] == ["open"]
    assert find_repeated(FORK, FORK, rows, at("last")) == ["press"]


def test_what_is_begun_at_can_not_have_happened() -> None:
    assert find_contradicted(BUY, at("press", press=Answer.HAPPENED)) == ["press"]
    assert find_contradicted(BUY, at("open", press=Answer.HAPPENED)) == [], "it stands, whatever runs before it"
    assert find_contradicted(BUY, at("press", press=Answer.RUN_AGAIN)) == []
    whole = Retry(start_at=RetryStart.BEGINNING, answers={"read": Answer.HAPPENED})
    assert find_contradicted(BUY, whole) == ["read"]


def test_a_safe_node_or_one_that_failed_by_itself_needs_no_answer() -> None:
    assert find_unanswered(BUY, BUY, [row("open", StepStatus.RUNNING)], Retry()) == []
    assert find_unanswered(BUY, BUY, HALF, Retry()) == []


def test_what_is_asked_and_what_failed() -> None:
    assert find_asked([*HALF, row("read", StepStatus.FAILED, LOST)]) == {"press"}
    again = Recorded("press", 2, StepStatus.SUCCESS, outputs={})
    assert find_asked([row("press", StepStatus.RETRYING, LOST), again]) == set()
    assert find_failed(HALF) == ["press", "read"]
    assert find_failed(DONE) == []


FORK = plan(
    [node("open", "open"), node("aside", "work"), node("press", "press"), node("last", "touch")],
    [
        edge(f"open.{PAGE}", f"press.{PAGE}"),
        edge("aside.Out", "press.In"),
        edge(f"press.{PAGE}", f"last.{PAGE}"),
    ],
)


def test_what_ended_well_behind_a_side_that_was_not_taken_stands() -> None:
    rows = [row("open"), row("aside", StepStatus.SKIPPED), row("press"), row("last", StepStatus.FAILED, BROKE)]
    assert [one.node_id for one in choose_reused(FORK, FORK, rows, Retry())] == ["open", "press"]
    assert find_repeated(FORK, FORK, rows, Retry()) == []


def test_an_unsafe_node_behind_what_runs_again_needs_a_word_and_keeps_to_it() -> None:
    rows = [row("open"), row("aside", StepStatus.FAILED, BROKE), row("press"), row("last", StepStatus.FAILED, BROKE)]
    assert find_repeated(FORK, FORK, rows, Retry()) == ["press"]
    happened, again = Retry(answers={"press": Answer.HAPPENED}), Retry(answers={"press": Answer.RUN_AGAIN})
    assert find_repeated(FORK, FORK, rows, happened) == find_repeated(FORK, FORK, rows, again) == []
    assert [one.node_id for one in choose_reused(FORK, FORK, rows, happened)] == ["open", "press"]
    assert [one.node_id for one in choose_reused(FORK, FORK, rows, again)] == ["open"]
    assert find_repeated(FORK, FORK, rows, Retry(start_at=RetryStart.NODE, node_id="aside")) == []


def test_what_a_person_said_before_still_holds_of_what_is_taken_over() -> None:
    rows = [row("open"), row("aside"), row("press"), row("last", StepStatus.FAILED, LOST)]
    earlier = {"press": Answer.HAPPENED, "open": Answer.RUN_AGAIN, "last": Answer.HAPPENED}
    assert keep_word(FORK, FORK, rows, Retry(), earlier).answers == {"press": Answer.HAPPENED}
    from_before = Retry(start_at=RetryStart.NODE, node_id="open")
    assert keep_word(FORK, FORK, rows, from_before, earlier).answers == {}
