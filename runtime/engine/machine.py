"""The state machine of one execution: outcomes in, commands out. No I/O, no clock, no chance.

Invariants, each held to by a property test:
- every node ends exactly once: success, failed or skipped;
- a node starts only when all its predecessors have ended and, unless scheduling is eager, all earlier phases have;
- at most `max_parallel` nodes run at once, and never two that hold the same page; those run in canonical order;
- there is exactly one Finish, it is the last command, and nothing runs when it comes.

A page lives in one browser process while nodes are recorded in the database. When a page is lost (a new worker, a
crashed Chromium), it comes back before the next node that needs it: from its last checkpoint, and by running the nodes
since then once more, in order; their recorded outputs stand. Where one of them must not run twice, the execution ends
and a person is asked (spec W7; see pages.py).
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from enum import IntEnum

from contracts.execution import Answer, ExecutionStatus, Failure, FailureCode, StepStatus
from contracts.workflow import JsonObject, OnError
from runtime.engine.commands import (
    CUT_SHORT,
    GRACE_S,
    Command,
    EndAttempt,
    FinalStatus,
    Finish,
    Recorded,
    SkipNode,
    SkipReason,
    StartNode,
    StopRunning,
)
from runtime.engine.explain import explain_interruption, explain_lost_attempt, explain_lost_page, explain_nothing
from runtime.engine.pages import Pages
from runtime.engine.plan import Plan
from runtime.engine.progress import Progress, State
from runtime.engine.resolve import collect_results, find_pages, foresee_pages, pass_failure_on, resolve_inputs
from runtime.engine.retry import MAX_ATTEMPTS, delay_before

_PAGE_LOST = frozenset({FailureCode.BROWSER_CRASHED, FailureCode.PAGE_CLOSED})


class _Reason(IntEnum):
    """How much a recorded failure says of why an execution ends; the least number says most."""

    CAUSE = 0
    CUT_OFF = 1
    """Its worker was lost meanwhile, which ends an execution that was to go on; not one that was to be cancelled."""
    CONSEQUENCE = 2
    """It was stopped because the execution was ending, for a failure, a cancel or the time limit."""


class Machine:
    """One execution. Call `start` once, then report every StartNode's outcome once; obey what comes back, in order."""

    def __init__(
        self,
        plan: Plan,
        trigger: JsonObject,
        *,
        checkpoints: Mapping[str, Collection[str]] | None = None,
        answers: Mapping[str, Answer] | None = None,
    ) -> None:
        """`checkpoints` and `answers` as `Pages` takes them."""
        self._plan = plan
        self._trigger = trigger  # what expressions will read as `trigger`
        self._order = plan.nodes
        self._at = {node.id: Progress(node) for node in plan.nodes}
        self._pages = Pages(self._order, self._at, checkpoints or {}, answers or {})
        self._ending: Finish | None = None
        """How it will end once nothing runs any more; counts and output are filled in then."""
        self._restored: _Reason | None = None
        """What it has from an earlier run: how far that is the reason of the end. What came before it still counts."""
        self._grace_s = math.inf
        self._finished = False
        self._lost: list[Command] = []
        """Attempts that were in flight when their worker was lost."""

    @classmethod
    def recover(
        cls,
        plan: Plan,
        trigger: JsonObject,
        recorded: Sequence[Recorded],
        *,
        checkpoints: Mapping[str, Collection[str]] | None = None,
        answers: Mapping[str, Answer] | None = None,
    ) -> "Machine":
        """Go on where another run stopped: finished nodes are reused, nodes in flight run again if they may."""
        machine = cls(plan, trigger, checkpoints=checkpoints, answers=answers)
        rows: dict[str, list[Recorded]] = {}
        for row in sorted(recorded, key=lambda row: row.attempt):
            rows.setdefault(row.node_id, []).append(row)
        for node in machine._order:
            if node.id in rows:
                machine._restore(machine._at[node.id], rows[node.id])
        machine._restore_ending()
        return machine

    @property
    def progress(self) -> float:
        """Share of nodes that the execution has come past, 0 to 1; below 1 for good where it ends before its time."""
        done = sum(one.is_done for one in self._at.values())
        return done / len(self._order) if self._order else 1.0

    @property
    def current_node(self) -> str | None:
        """The first running node in canonical order."""
        return next((node.id for node in self._order if self._at[node.id].state is State.RUNNING), None)

    @property
    def running(self) -> list[str]:
        """Nodes whose outcome is awaited, in canonical order."""
        return [node.id for node in self._order if self._at[node.id].state is State.RUNNING]

    def outputs_of(self, node_id: str) -> JsonObject:
        """A node's live outputs so far."""
        return self._at[node_id].outputs

    @property
    def can_be_left(self) -> bool:
        """Whether another run could go on from here without asking a person, once nothing runs."""
        return self._pages.can_be_left

    def start(self) -> list[Command]:
        """The first commands, of a new execution or of one that goes on."""
        lost, self._lost = self._lost, []
        return [*lost, *self._advance()]

    def on_succeeded(self, node_id: str, outputs: JsonObject, checkpoints: Collection[str] = ()) -> list[Command]:
        """A node succeeded, with its live outputs by display name and the pages of which it left a checkpoint."""
        one = self._take(node_id)
        pages = [outputs[handle] for handle in one.node.page_outputs if handle in outputs]
        one.succeed(outputs, pages)
        self._pages.note_success(pages, node_id, checkpoints)
        return self._advance()

    def on_failed(
        self, node_id: str, failure: Failure, *, retryable: bool, jitter: float = 0.0, begun: bool = True
    ) -> list[Command]:
        """An attempt failed.

        Args:
            node_id: whose.
            failure: why.
            retryable: whether the same may succeed a little later.
            jitter: in [0, 1), spreads the delay before the next one.
            begun: False when the page could not be brought back, so that nothing of the node itself has run.
        """
        one = self._take(node_id)
        one.failures += 1
        if failure.code in _PAGE_LOST or not begun:
            self._pages.lose(one.pages)
        if self._may_retry(one, retryable=retryable, begun=begun):
            return self._retry(one, failure, jitter)
        attempt = EndAttempt(node_id, one.attempt, one.node.phase, StepStatus.FAILED, failure)
        policy = OnError.STOP if one.replaying else one.node.on_error
        outputs = {} if policy is OnError.STOP else pass_failure_on(one.node, one.inputs, failure)
        one.fail(failure, outputs, given_up=policy is OnError.STOP or self._ending is not None)
        if policy is OnError.STOP:
            return [attempt, *self._stop(ExecutionStatus.FAILED, failure, GRACE_S)]
        return [attempt, *self._advance()]

    def on_cancel(self, reason: str) -> list[Command]:
        """A person asked for the end. A failure that came first stays the reason of the end."""
        if self._restored in (_Reason.CUT_OFF, _Reason.CONSEQUENCE):
            self._ending = None
        return self._stop(ExecutionStatus.CANCELLED, None, 0.0, reason)

    def on_deadline(self) -> list[Command]:
        """The execution's time is up."""
        if self._restored is _Reason.CONSEQUENCE:
            self._ending = None
        failure = Failure(
            code=FailureCode.DEADLINE_EXCEEDED,
            message=f"The execution took longer than the {self._plan.timeout_s:g} s it may take.",
            hint="Raise settings.timeout_s of the workflow, or let it do less at once.",
            node_id=self.current_node,
        )
        return self._stop(ExecutionStatus.FAILED, failure, 0.0)

    # --- what is known of a run before

    def _restore(self, one: Progress, rows: list[Recorded]) -> None:
        node, last = one.node, rows[-1]
        inputs = resolve_inputs(node, self._at) or {}
        one.attempt = last.attempt
        one.failures = sum(_failed_by_itself(row) for row in rows)
        if any(not row.reused and row.status is not StepStatus.SKIPPED for row in rows):
            self._pages.spend_word(node.id)
        if last.status in (StepStatus.RUNNING, StepStatus.QUEUED):
            self._restore_in_flight(one, last)
        success = next((row for row in rows if row.status is StepStatus.SUCCESS), None)
        if success is not None:  # also while it was running again for the sake of its page
            one.state, one.outputs = State.SUCCESS, _read_outputs(one, success, inputs)
            one.pages = find_pages(node, inputs) | {
                one.outputs[handle] for handle in node.page_outputs if handle in one.outputs
            }
        elif last.status is StepStatus.FAILED:
            failure = last.failure or explain_nothing(node)
            one.state, one.failure, one.pages = State.FAILED, failure, find_pages(node, inputs)
            one.outputs = pass_failure_on(node, inputs, failure)
            if node.on_error is OnError.STOP:
                one.given_up = True
        elif last.status is StepStatus.SKIPPED:
            one.state = State.SKIPPED
        elif _failed_by_itself(last):
            one.delay_s = delay_before(one.failures + 1, 0.0)

    def _restore_in_flight(self, one: Progress, row: Recorded) -> None:
        """An attempt whose worker was lost: run it again if it may, else end and let a person say what happened."""
        node = one.node
        if node.safe or row.status is StepStatus.QUEUED:
            failure = explain_lost_attempt(node)
            self._lost.append(EndAttempt(node.id, row.attempt, node.phase, StepStatus.RETRYING, failure))
            return
        failure = explain_interruption(node)
        one.state, one.failure, one.given_up = State.FAILED, failure, True
        self._lost.append(EndAttempt(node.id, row.attempt, node.phase, StepStatus.FAILED, failure))

    def _restore_ending(self) -> None:
        """Go on with the end that another run had begun."""
        failures = [one.failure for one in self._at.values() if one.given_up and one.failure is not None]
        if failures:
            failure = min(failures, key=_weigh)  # of equal ones the first
            self._ending = Finish(ExecutionStatus.FAILED, {}, failure, 0, 0)
            self._restored = _weigh(failure)

    # --- outcomes

    def _take(self, node_id: str) -> Progress:
        if self._finished:
            raise ValueError(f"node {node_id} was reported after the end")
        one = self._at[node_id]
        if one.state is not State.RUNNING:
            raise ValueError(f"node {node_id} was reported, but it is {one.state}, not running")
        return one

    def _may_retry(self, one: Progress, *, retryable: bool, begun: bool) -> bool:
        limit = one.node.attempts if begun else MAX_ATTEMPTS
        if not retryable or self._ending is not None or one.failures >= limit:
            return False
        return not any(self._pages.find_blocker(page) for page in self._pages.find_lost(one.pages))

    def _retry(self, one: Progress, failure: Failure, jitter: float) -> list[Command]:
        attempt = EndAttempt(one.node.id, one.attempt, one.node.phase, StepStatus.RETRYING, failure)
        one.await_retry(delay_before(one.failures + 1, jitter))
        return [attempt, *self._advance()]

    def _stop(self, status: FinalStatus, failure: Failure | None, grace_s: float, reason: str = "") -> list[Command]:
        if self._finished:
            return []
        if self._ending is None:
            self._ending = Finish(status, {}, failure, 0, 0, reason)
        if not self.running:
            return self._finish(self._ending)
        if grace_s >= self._grace_s:
            return []
        self._grace_s = grace_s
        return [StopRunning(grace_s)]

    # --- going on

    def _advance(self) -> list[Command]:
        commands: list[Command] = []
        while self._ending is None and (waiting := self._find_waiting()) is not None:
            found = self._advance_through(waiting)
            if found is None:
                return commands
            commands += found
        if self._ending is None:
            self._ending = Finish(ExecutionStatus.COMPLETED, {}, None, 0, 0)
        if not self._finished and not self.running:
            commands += self._finish(self._ending)
        return commands

    def _find_waiting(self) -> list[Progress] | None:
        """Pending nodes whose turn it may be, in canonical order; None once every node has ended."""
        unsettled = [one for one in self._at.values() if not one.is_settled]  # in canonical order, as the plan is
        if not unsettled:
            return None
        first = unsettled[0].node.phase
        eager = self._plan.scheduling == "eager"
        return [one for one in unsettled if one.state is State.PENDING and (eager or one.node.phase == first)]

    def _advance_through(self, waiting: list[Progress]) -> list[Command] | None:
        """Start and skip those of the waiting that can be; None when nothing can be done for now."""
        foreseen = {node_id: self._at[node_id].pages for node_id in self.running}
        held = frozenset[str]().union(*foreseen.values())
        free = self._plan.max_parallel - len(foreseen)
        commands: list[Command] = []
        for one in waiting:
            if not all(self._at[edge.source].is_settled for edge in one.node.incoming):
                foreseen[one.node.id] = foresee_pages(one.node, self._at, foreseen)
                held |= foreseen[one.node.id]  # those behind it must not overtake it on the way to a page
                continue
            inputs = resolve_inputs(one.node, self._at)
            if inputs is None:
                one.skip()
                commands.append(SkipNode(one.node.id, one.node.phase, SkipReason.NOT_REACHED))
                continue
            pages = find_pages(one.node, inputs)
            if free > 0 and not pages & held:
                if lost := self._pages.find_lost(pages):
                    return [*commands, *self._bring_back(one, lost)]
                commands.append(self._begin(one, inputs, pages))
                free -= 1
            foreseen[one.node.id] = pages | one.pages
            held |= foreseen[one.node.id]  # also while it waits: nodes of one page keep their canonical order
        return commands or None

    def _begin(self, one: Progress, inputs: JsonObject, pages: frozenset[str]) -> StartNode:
        delay_s = one.delay_s
        one.begin(inputs, pages)
        self._pages.spend_word(one.node.id)
        restore = self._pages.take_restores(pages)
        return StartNode(one.node.id, one.attempt, one.node.phase, inputs, delay_s, one.replaying, restore)

    def _finish(self, ending: Finish) -> list[Command]:
        commands: list[Command] = []
        for node in self._order:
            one = self._at[node.id]
            if one.state is State.PENDING and one.replaying:
                one.drop_replay()
            elif one.state is State.PENDING:
                one.skip(given_up=True)
                commands.append(SkipNode(node.id, node.phase, SkipReason.STOPPED))
        self._finished = True
        states = [one.state for one in self._at.values()]
        done = replace(
            ending,
            output=collect_results(self._order, self._at),
            nodes_completed=states.count(State.SUCCESS),
            nodes_failed=states.count(State.FAILED),
        )
        return [*commands, done]

    def _bring_back(self, needed_by: Progress, lost: Sequence[str]) -> list[Command]:
        for page in lost:
            if blocker := self._pages.find_blocker(page):
                return self._stop(ExecutionStatus.FAILED, explain_lost_page(needed_by.node, blocker), GRACE_S)
            replays = self._pages.find_replays(page)
            self._pages.bring_back(page)  # before its nodes count as not ended
            for one in replays:
                one.replay()
        return []


def _read_outputs(one: Progress, success: Recorded, inputs: JsonObject) -> JsonObject:
    """What a success has put out; of one that only a person knows of, the pages it was given go on."""
    if success.outputs is not None:
        return success.outputs
    return {handle: inputs[handle] for handle in one.node.page_outputs if handle in inputs}


def _weigh(failure: Failure) -> _Reason:
    match failure.code:
        case FailureCode.STOPPED:
            return _Reason.CONSEQUENCE
        case FailureCode.INTERRUPTED_UNSAFE:
            return _Reason.CUT_OFF
        case _:
            return _Reason.CAUSE


def _failed_by_itself(row: Recorded) -> bool:
    """Whether an attempt counts against those a node has; one that a lost worker or a pause cut short doesn't."""
    cut_short = row.failure is not None and row.failure.code in CUT_SHORT
    return row.status is StepStatus.RETRYING and not cut_short
