"""A worker without a world: carries out commands by fate, and watches that the machine keeps its word."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from contracts.execution import Failure, FailureCode, StepStatus
from contracts.workflow import JsonObject
from runtime.engine.commands import Command, EndAttempt, Finish, Recorded, SkipNode, StartNode, StopRunning
from runtime.engine.machine import Machine
from runtime.engine.plan import Plan, PlannedNode
from tests.runtime.engine.drawn import PAGE

_LEAVES_CHECKPOINT = 0.4
CRASH, PASSING, FINAL = "crash", "passing", "final"


@dataclass
class Fate:
    """What becomes of each node, however the attempts interleave."""

    failures: dict[str, list[str]]
    """By node, how its first attempts fail, in order; after them it succeeds. Replays always succeed."""
    yes: dict[str, bool]
    """By fork, which way it goes."""


def fates(plan: Plan, *, crashes: bool = True, final: bool = True) -> st.SearchStrategy[Fate]:
    """Fates of a plan's nodes."""
    kinds = [PASSING, *([CRASH] if crashes else []), *([FINAL] if final else [])]
    ids = [node.id for node in plan.nodes]
    failing = st.dictionaries(st.sampled_from(ids), st.lists(st.sampled_from(kinds), min_size=1, max_size=3))
    return st.builds(Fate, failures=failing, yes=st.fixed_dictionaries({node_id: st.booleans() for node_id in ids}))


class World:
    """Runs a machine to its end, or until it is killed."""

    def __init__(
        self,
        plan: Plan,
        fate: Fate,
        chance: random.Random,
        rows: Sequence[Recorded] = (),
        kept: dict[str, set[str]] | None = None,
    ) -> None:
        self.kept = {page: set(nodes) for page, nodes in (kept or {}).items()}
        """By page, the nodes that left a checkpoint; whether one does is chance, as sites are."""
        self.plan = plan
        self.nodes = {node.id: node for node in plan.nodes}
        self.fate = fate
        self.chance = chance
        self.machine = Machine.recover(plan, {}, rows, checkpoints=self.kept) if rows else Machine(plan, {})
        self.rows: dict[tuple[str, int], Recorded] = {(row.node_id, row.attempt): row for row in rows}
        self.running: dict[str, StartNode] = {}
        self.replaying: set[str] = set()
        self.ended: Counter[str] = Counter()
        self.skipped: set[str] = set()
        self.began: list[str] = []
        self.own_attempts: Counter[str] = Counter()
        """Attempts at a node that were none of replay, of all runs: its fate goes by them."""
        self.starts: list[StartNode] = []
        self.pages: dict[str, str] = {}
        """By node, the page it was given."""
        self.finish: Finish | None = None
        self._restore(rows)

    def _restore(self, rows: Sequence[Recorded]) -> None:
        for node_id in self.nodes:
            mine = [row for row in rows if row.node_id == node_id]
            if any(row.status in (StepStatus.SUCCESS, StepStatus.SKIPPED) for row in mine) or (
                mine and mine[-1].status is StepStatus.FAILED
            ):
                self.ended[node_id] += 1
            if any(row.status is StepStatus.SKIPPED for row in mine):
                self.skipped.add(node_id)
            self.own_attempts[node_id] = sum(row.status is StepStatus.RETRYING and not _was_lost(row) for row in mine)

    def revive(self, seed: int) -> "World":
        """Another worker, that finds what this one has left behind."""
        return World(self.plan, self.fate, random.Random(seed), list(self.rows.values()), self.kept)

    # --- living

    def run(self, *, until: Callable[["World"], bool] = lambda _: False, cancel_at: int | None = None) -> Finish | None:
        """Go to the end; or stop as if killed, leaving rows behind."""
        self.obey(self.machine.start())
        turn = 0
        while self.finish is None and not until(self):
            assert self.running, "nothing runs, and there was no end"
            if turn == cancel_at:
                self.obey(self.machine.on_cancel("enough"))
                cancel_at = None
                continue
            self.settle(self.chance.choice(sorted(self.running)))
            turn += 1
        return self.finish

    def settle(self, node_id: str) -> None:
        """Let one running attempt come to its end."""
        start = self.running.pop(node_id)
        node = self.nodes[node_id]
        failures = self.fate.failures.get(node_id, [])
        turn = self.own_attempts[node_id]
        if not start.replay:
            self.own_attempts[node_id] += 1
        if not start.replay and turn < len(failures):
            self.obey(self._fail(node, failures[turn]))
            return
        outputs = self._make_outputs(node, start)
        if start.replay:
            self.replaying.discard(node_id)
        else:
            self.ended[node_id] += 1
        self.rows[node_id, start.attempt] = Recorded(node_id, start.attempt, StepStatus.SUCCESS, outputs)
        page = outputs.get(PAGE)
        leaves = [page] if page is not None and self.chance.random() < _LEAVES_CHECKPOINT else []
        for one in leaves:
            self.kept.setdefault(one, set()).add(node_id)
        self.obey(self.machine.on_succeeded(node_id, outputs, leaves))

    def _fail(self, node: PlannedNode, how: str) -> list[Command]:
        code = {
            CRASH: FailureCode.BROWSER_CRASHED,
            PASSING: FailureCode.TIMEOUT,
            FINAL: FailureCode.NAVIGATION_FAILED,
        }[how]
        failure = Failure(code=code, message=how, hint="", node_id=node.id)
        return self.machine.on_failed(node.id, failure, retryable=how != FINAL, jitter=self.chance.random() * 0.99)

    def _make_outputs(self, node: PlannedNode, start: StartNode) -> JsonObject:
        given = {name: value for name, value in start.inputs.items() if name != PAGE}
        outputs: JsonObject = {"Out": f"{node.id}({sorted(given.items())})"}
        if start.replay:
            outputs["Out"] = "from a replay, which nobody may see"
        if node.type == "open":
            outputs[PAGE] = node.id
        elif PAGE in start.inputs:
            outputs[PAGE] = start.inputs[PAGE]
        if node.type == "fork":
            outputs["Yes" if self.fate.yes[node.id] else "No"] = "taken"
        return outputs

    # --- watching

    def obey(self, commands: list[Command]) -> None:
        """Carry out commands, and hold them to the machine's invariants."""
        for command in commands:
            assert self.finish is None, f"{command} after the end"
            match command:
                case StartNode():
                    self._start(command)
                case SkipNode(node_id, phase):
                    assert phase == self.nodes[node_id].phase
                    self.ended[node_id] += 1
                    self.skipped.add(node_id)
                    self.rows[node_id, 1] = Recorded(node_id, 1, StepStatus.SKIPPED)
                case EndAttempt():
                    self._end_attempt(command)
                case StopRunning(grace_s):
                    assert grace_s >= 0
                    assert self.running
                case Finish():
                    assert not self.running, "the end came while something ran"
                    self.finish = command
        assert self.machine.running == [node.id for node in self.plan.nodes if node.id in self.running]

    def _end_attempt(self, command: EndAttempt) -> None:
        self.running.pop(command.node_id, None)
        if command.status is StepStatus.FAILED and command.node_id not in self.replaying:
            self.ended[command.node_id] += 1
        self.rows[command.node_id, command.attempt] = Recorded(
            command.node_id, command.attempt, command.status, failure=command.failure
        )

    def _start(self, start: StartNode) -> None:
        node = self.nodes[start.node_id]
        assert start.phase == node.phase
        assert start.delay_s >= 0
        if start.replay:
            assert self.ended[node.id] == 1
            assert node.safe, "an unsafe node runs a second time"
            self.replaying.add(node.id)
            order = list(self.nodes)
            kept = [order.index(one) for one in self.kept.get(start.inputs.get(PAGE, node.id), ())]
            assert not kept or order.index(node.id) > max(kept), "what a checkpoint holds runs again"
        else:
            assert self.ended[node.id] == 0, f"{node.id} runs again after its end"
            earlier = [other.id for other in self.plan.nodes if other.phase < node.phase]
            in_turn = self.plan.scheduling == "eager" or all(self.ended[other] for other in earlier)
            assert in_turn, "a phase began before the one before had ended"
        for incoming in node.incoming:
            assert self.ended[incoming.source] == 1, "a node began before a predecessor had ended"
            assert incoming.source not in self.running
        for restored, kept_by in start.restore.items():
            assert kept_by in self.kept[restored], "a page comes back from a checkpoint that nobody left"
        if PAGE in start.inputs:
            assert self.pages.setdefault(node.id, start.inputs[PAGE]) == start.inputs[PAGE]
        page = start.inputs.get(PAGE)
        held = [other for other in self.running.values() if other.inputs.get(PAGE) == page]
        assert page is None or not held, "two nodes hold one page"
        previous = [row for (node_id, _), row in self.rows.items() if node_id == node.id]
        assert start.attempt == 1 + max((row.attempt for row in previous), default=0)
        self.running[node.id] = start
        self.began.append(node.id)
        self.starts.append(start)
        self.rows[node.id, start.attempt] = Recorded(node.id, start.attempt, StepStatus.RUNNING)
        assert len(self.running) <= self.plan.max_parallel, "too many nodes run at once"


def _was_lost(row: Recorded) -> bool:
    return row.failure is not None and row.failure.code is FailureCode.WORKER_LOST


@dataclass
class Expected:
    """What becomes of a plan by definition, without any machine."""

    states: dict[str, str] = field(default_factory=dict)
    live: dict[str, set[str]] = field(default_factory=dict)


def expect(plan: Plan, fate: Fate) -> Expected:
    """Evaluate a plan node by node, as spec W5 and W6 define it, while no failure stops it."""
    expected = Expected()
    for node in plan.nodes:
        live: dict[str, int] = Counter(
            one.handle for one in node.incoming if one.source_handle in expected.live[one.source]
        )
        if not _is_reached(node, live):
            expected.states[node.id], expected.live[node.id] = "skipped", set()
            continue
        expected.states[node.id] = "failed" if _fails(node, fate) else "success"
        expected.live[node.id] = _live_after(node, fate, live)
    return expected


def _is_reached(node: PlannedNode, live: dict[str, int]) -> bool:
    """By ADR 13. In these drawings a handle with a required value is `Must`, the page, or one side of a join."""
    wanted = Counter(one.handle for one in node.incoming)
    if wanted and not live:
        return False  # behind nothing but dead edges
    if "When" in wanted and not live.get("When"):
        return False  # behind a branch that went the other way
    if node.join == "all" and any(live.get(handle) != wanted[handle] for handle in wanted if handle != "Must"):
        return False
    if node.type == "join":
        return any(live.get(handle) for handle in "ABC")
    return all(live.get(handle) or handle in node.literals for handle in node.required)


def _fails(node: PlannedNode, fate: Fate) -> bool:
    failures = fate.failures.get(node.id, [])
    final = failures.index(FINAL) if FINAL in failures else len(failures)
    return final < min(node.attempts, len(failures)) or len(failures) >= node.attempts


def _live_after(node: PlannedNode, fate: Fate, live: dict[str, int]) -> set[str]:
    way = {"Yes" if fate.yes[node.id] else "No"} if node.type == "fork" else set()
    page = {PAGE} if node.type in ("open", "touch", "press") else set()
    if not _fails(node, fate):
        return {"Out"} | way | page
    passed = page if live.get(PAGE) else set()
    policy: dict[str, Any] = {"continue": passed, "use_default": passed | {"Out"}, "route": {"Error"}, "stop": set()}
    return set(policy[node.on_error])
