"""The promises (spec O4), each as a function that names every place where it is broken. Pure: rows in, words out."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

from contracts.events import TERMINAL
from contracts.execution import ExecutionStatus, FailureCode, StepStatus
from runtime.store.claims import MAX_LOSSES
from tests.chaos.ledger import Ledger, Sighting
from tests.chaos.snapshot import Row, Snapshot

Violations = Iterator[str]
Invariant = Callable[[Snapshot, Ledger], Violations]

_GOES_ON = re.compile(r"Run (\d+) goes on")
_ENDS = {
    ExecutionStatus.COMPLETED: "completion",
    ExecutionStatus.FAILED: "error",
    ExecutionStatus.BUDGET_EXCEEDED: "error",
    ExecutionStatus.CANCELLED: "cancelled",
}
_NO_EFFECT = frozenset(
    {
        FailureCode.INVALID_INPUT,
        FailureCode.INVALID_SELECTOR,
        FailureCode.ELEMENT_NOT_FOUND,
        FailureCode.HOST_REFUSED,
    }
)
_NOT_THE_NODES_FAULT = frozenset({FailureCode.WORKER_LOST, FailureCode.INTERRUPTED_UNSAFE, FailureCode.STOPPED})


def find_violations(snapshot: Snapshot, ledger: Ledger, *, settled: bool, artifacts: Path | None = None) -> list[str]:
    """Every broken promise. `settled`: everything had time to end, so nothing may be under way any more.

    Args:
        artifacts: the artifact folder, to look for the files that rows tell of.
    """
    found = [f"{check.__name__}: {words}" for check in ALWAYS for words in check(snapshot, ledger)]
    if settled:
        found += [f"{check.__name__}: {words}" for check in IN_THE_END for words in check(snapshot, ledger)]
    if artifacts is not None:
        found += [f"row_without_file: {words}" for words in _find_missing_files(snapshot, artifacts)]
    return found


# --- submits


def one_execution_for_each_acknowledged_submit(snapshot: Snapshot, ledger: Ledger) -> Violations:
    """What was answered 202 exists once, in the right tenant; and nothing exists that nobody asked for."""
    asked = Counter(row["execution_id"] for row in snapshot.intents)
    for execution_id, tenant_id in ledger.accepted.items():
        if asked[execution_id] != 1:
            yield f"{execution_id} has {asked[execution_id]} intents"
        row = snapshot.executions.get(execution_id)
        if row is not None and row["tenant_id"] != tenant_id:
            yield f"{execution_id} is of tenant {row['tenant_id']}, asked for by {tenant_id}"
    for execution_id in snapshot.executions:
        if not asked[execution_id]:
            yield f"{execution_id} runs, and no intent asks for it"


def every_acknowledged_submit_arrived(snapshot: Snapshot, ledger: Ledger) -> Violations:
    """Delivered to Runtime, however long it was away."""
    for execution_id in ledger.accepted:
        if execution_id not in snapshot.executions:
            yield f"{execution_id} was acknowledged and does not exist"
    for row in snapshot.intents:
        if row["next_attempt_at"] is not None:
            yield f"intent {row['intent_id']} still waits in the outbox"


# --- the log


def seq_without_gaps(snapshot: Snapshot, ledger: Ledger) -> Violations:
    """1 … head, as the execution's row counts, and `accepted` first."""
    for execution_id, row in snapshot.executions.items():
        events = snapshot.events.get(execution_id, [])
        seqs = [event["seq"] for event in events]
        if seqs != list(range(1, row["head_seq"] + 1)):
            yield f"{execution_id} has head {row['head_seq']} and events {seqs}"
        if [event["seq"] for event in events if event["type"] == "accepted"] != [1]:
            yield f"{execution_id} does not begin with its one `accepted`"
        if any(event["body"]["seq"] != event["seq"] for event in events):
            yield f"{execution_id} has an event that tells another number than it has"


def one_terminal_event_and_it_is_last(snapshot: Snapshot, ledger: Ledger) -> Violations:
    """It says what the row says; an unfinished execution has none."""
    for execution_id, row in snapshot.executions.items():
        types = [event["type"] for event in snapshot.events.get(execution_id, [])]
        ends = [kind for kind in types if kind in TERMINAL]
        status = ExecutionStatus(row["status"])
        if ends != ([_ENDS[status]] if status.final else []):
            yield f"{execution_id} is {status} and has the terminal events {ends}"
        elif ends and types[-1] not in TERMINAL:
            yield f"{execution_id} goes on after its end: {types[-3:]}"


def every_client_saw_each_event_once_in_order(snapshot: Snapshot, ledger: Ledger) -> Violations:
    """From the first to where it stopped, word for word what the log says."""
    for sighting in ledger.sightings:
        if sighting.seqs != list(range(1, len(sighting.seqs) + 1)):
            yield f"a client of {sighting.execution_id} saw {_shorten(sighting)}"
            continue
        if sighting.resets:
            yield f"a client of {sighting.execution_id} was reset {sighting.resets} times, without a restored backup"
        logged = [event["body"] for event in snapshot.events.get(sighting.execution_id, [])]
        if sighting.bodies != logged[: len(sighting.bodies)]:
            yield f"a client of {sighting.execution_id} saw other words than the log has"
        if sighting.done and len(sighting.seqs) != len(logged):
            yield f"a client of {sighting.execution_id} was let go at {sighting.head} of {len(logged)}"


def every_client_saw_the_end(snapshot: Snapshot, ledger: Ledger) -> Violations:
    """Nobody is left watching an execution that has ended."""
    for sighting in ledger.sightings:
        row = snapshot.executions.get(sighting.execution_id)
        if row is not None and ExecutionStatus(row["status"]).final and not sighting.done:
            yield f"a client of {sighting.execution_id} still waits at {sighting.head} of {row['head_seq']}"


# --- runs and steps


def runs_agree_with_the_execution(snapshot: Snapshot, ledger: Ledger) -> Violations:
    """Epochs 1 … n; at most one run open, none of a finished one; losses are counted, and end in time."""
    for execution_id, row in snapshot.executions.items():
        runs = snapshot.runs.get(execution_id, [])
        if [run["epoch"] for run in runs] != list(range(1, row["epoch"] + 1)):
            yield f"{execution_id} is at epoch {row['epoch']} and has runs {[run['epoch'] for run in runs]}"
        open_ones = [run["epoch"] for run in runs if run["ended_at"] is None]
        if ExecutionStatus(row["status"]).final and open_ones:
            yield f"{execution_id} is {row['status']} and its runs {open_ones} are open"
        if open_ones and open_ones != [row["epoch"]]:
            yield f"{execution_id} has open runs {open_ones}, though its last is {row['epoch']}"
        lost = sum(run["outcome"] == "lost" for run in runs)
        if lost != row["losses"]:
            yield f"{execution_id} counts {row['losses']} losses and has {lost} lost runs"
        if row["losses"] > MAX_LOSSES + 1:
            yield f"{execution_id} was tried again after {row['losses']} losses"


def dead_letters_are_those_that_lost_too_many_workers(snapshot: Snapshot, ledger: Ledger) -> Violations:
    """Each execution that took too many workers down has failed and is in the list, and no other is."""
    for execution_id, row in snapshot.executions.items():
        letters = len(snapshot.dead_letters.get(execution_id, []))
        code = row["error"]["code"] if row["error"] else None
        if letters and (row["status"], code) != (ExecutionStatus.FAILED, FailureCode.WORKER_LOST):
            yield f"{execution_id} is {row['status']} ({code}) and a dead letter"
        died = row["losses"] > MAX_LOSSES and code == FailureCode.WORKER_LOST
        if letters != int(died):
            yield f"{execution_id} lost {row['losses']} workers and has {letters} dead letters"


def attempts_within_their_limit(snapshot: Snapshot, ledger: Ledger) -> Violations:
    """Numbered without gaps, and no more failures of its own than a node may have."""
    for execution_id, row in snapshot.executions.items():
        planned = _nodes(row)
        for node_id, steps in _by_node(snapshot, execution_id).items():
            numbers = sorted(step["attempt"] for step in steps)
            if numbers != list(range(1, len(numbers) + 1)):
                yield f"{execution_id}/{node_id} has attempts {numbers}"
            own = [step for step in steps if _failed_by_itself(step)]
            if node_id in planned and len(own) > planned[node_id]["attempts"]:
                yield f"{execution_id}/{node_id} failed {len(own)} times, allowed are {planned[node_id]['attempts']}"


def no_write_by_a_stale_run(snapshot: Snapshot, ledger: Ledger) -> Violations:
    """Once a run has begun, no step begins or succeeds in the name of an earlier one."""
    for execution_id, row in snapshot.executions.items():
        epoch = 1
        for event in snapshot.events.get(execution_id, []):
            body = event["body"]
            if event["type"] == "log" and (said := _GOES_ON.match(body["log"]["message"])):
                epoch = int(said[1])
            if event["type"] != "step_update":
                continue
            step = body["step"]
            if step["status"] in (StepStatus.RUNNING, StepStatus.SUCCESS) and step["epoch"] != epoch:
                yield f"{execution_id}: run {step['epoch']} wrote {step['node_id']} during run {epoch}"
        if any(step["epoch"] > row["epoch"] for step in snapshot.steps.get(execution_id, [])):
            yield f"{execution_id} has a step of a run that never was"


def no_step_open_after_the_end(snapshot: Snapshot, ledger: Ledger) -> Violations:
    """Every attempt of a finished execution has an end; every node has exactly one final state."""
    for execution_id, row in snapshot.executions.items():
        if not ExecutionStatus(row["status"]).final or row["epoch"] == 0:
            continue
        steps = _by_node(snapshot, execution_id)
        for node_id, rows in steps.items():
            if left := [step["status"] for step in rows if step["status"] in (StepStatus.RUNNING, StepStatus.QUEUED)]:
                yield f"{execution_id}/{node_id} is left {left} after the end"
        if row["status"] == ExecutionStatus.COMPLETED and (missing := _nodes(row).keys() - steps.keys()):
            yield f"{execution_id} is completed without {sorted(missing)}"


def credits_add_up(snapshot: Snapshot, ledger: Ledger) -> Violations:
    """What the steps cost is what the execution cost."""
    for execution_id, row in snapshot.executions.items():
        spent = sum(step["credits"] for step in snapshot.steps.get(execution_id, []))
        if spent != row["credits"]:
            yield f"{execution_id} cost {row['credits']}, its steps {spent}"


def no_unsafe_step_ran_twice(snapshot: Snapshot, ledger: Ledger) -> Violations:
    """At most one attempt that may have had its effect, unless a person said so; and the shop agrees."""
    for execution_id, row in snapshot.executions.items():
        unsafe = {node_id for node_id, node in _nodes(row).items() if not node["safe"]}
        for node_id, steps in _by_node(snapshot, execution_id).items():
            acted = [step["attempt"] for step in steps if _may_have_acted(step)]
            if node_id in unsafe and len(acted) > 1 and execution_id not in ledger.person_said_again:
                yield f"{execution_id}/{node_id} acted in attempts {acted}"
    for who, times in ledger.orders.items():
        if times > 1 and who not in ledger.person_said_again:
            yield f"{who or 'somebody'} ordered {times} times"


# --- queue and tenants


def no_row_across_tenants(snapshot: Snapshot, ledger: Ledger) -> Violations:
    """Whatever belongs to an execution belongs to its tenant."""
    for execution_id, row in snapshot.executions.items():
        for table in ("events", "steps", "runs", "artifacts", "checkpoints", "dead_letters"):
            for child in getattr(snapshot, table).get(execution_id, []):
                if child["tenant_id"] != row["tenant_id"]:
                    yield f"{table} of {execution_id} have a row of {child['tenant_id']}"
    rows = [*snapshot.intents, *snapshot.queue]
    for row in rows:
        execution = snapshot.executions.get(row["execution_id"])
        if execution is not None and row["tenant_id"] != execution["tenant_id"]:
            yield f"{row['execution_id']} is asked for or queued in the name of {row['tenant_id']}"


def queue_agrees_with_the_executions(snapshot: Snapshot, ledger: Ledger) -> Violations:
    """An entry for each admitted execution that goes on, and for nothing else."""
    entries = Counter(row["execution_id"] for row in snapshot.queue)
    for execution_id, times in entries.items():
        execution = snapshot.executions.get(execution_id)
        if execution is None or ExecutionStatus(execution["status"]).final:
            yield f"{execution_id} has ended and lies in the queue"
        if times > 1:
            yield f"{execution_id} lies in the queue {times} times"
    for execution_id in snapshot.unfinished:
        if snapshot.executions[execution_id]["admitted_at"] is not None and not entries[execution_id]:
            yield f"{execution_id} is admitted and lies in no queue"


ALWAYS: tuple[Invariant, ...] = (
    one_execution_for_each_acknowledged_submit,
    seq_without_gaps,
    one_terminal_event_and_it_is_last,
    every_client_saw_each_event_once_in_order,
    runs_agree_with_the_execution,
    dead_letters_are_those_that_lost_too_many_workers,
    attempts_within_their_limit,
    no_write_by_a_stale_run,
    no_step_open_after_the_end,
    credits_add_up,
    no_unsafe_step_ran_twice,
    no_row_across_tenants,
)
"""Hold at every instant, also in the middle of a fault."""
IN_THE_END: tuple[Invariant, ...] = (
    every_acknowledged_submit_arrived,
    every_client_saw_the_end,
    queue_agrees_with_the_executions,
)
"""Hold once everything had time to end."""


def _nodes(row: Row) -> dict[str, Row]:
    plan = row["whole_plan"]
    return {node["id"]: node for node in plan["nodes"]} if plan else {}


def _by_node(snapshot: Snapshot, execution_id: str) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for step in snapshot.steps.get(execution_id, []):
        found.setdefault(step["node_id"], []).append(step)
    return found


def _code(step: Row) -> str | None:
    return step["error"]["code"] if step["error"] else None


def _failed_by_itself(step: Row) -> bool:
    return step["status"] in (StepStatus.RETRYING, StepStatus.FAILED) and _code(step) not in _NOT_THE_NODES_FAULT


def _may_have_acted(step: Row) -> bool:
    if step["reused"]:  # it acted in the execution that this one is a retry of
        return False
    if step["started_at"] is None or step["status"] in (StepStatus.QUEUED, StepStatus.SKIPPED):
        return False
    return _code(step) not in _NO_EFFECT


def _shorten(sighting: Sighting) -> str:
    jumps = [(before, after) for before, after in pairwise([0, *sighting.seqs]) if after != before + 1]
    return f"{len(sighting.seqs)} events with the jumps {jumps[:5]}"


def _find_missing_files(snapshot: Snapshot, folder: Path) -> Violations:
    for rows in snapshot.artifacts.values():
        for row in rows:
            path = folder / row["path"]
            if not path.is_file() or path.stat().st_size != row["size"]:
                yield f"artifact {row['artifact_id']} of {row['execution_id']} has no whole file"
