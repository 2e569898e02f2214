"""What a retry takes over from the execution it is made from (spec W7). Pure.

Only what ended well is taken over, and nothing that hangs on a node which runs again. Skipped nodes are not: whether
they are reached is decided anew. A node that was interrupted and must not run twice needs a person's word: an answer,
or a beginning that is named for it (`find_named`).
"""

from collections.abc import Iterable, Mapping, Sequence

from contracts.execution import Answer, FailureCode, StepStatus
from contracts.recovery import Retry, RetryStart
from runtime.engine.commands import Recorded
from runtime.engine.plan import Plan, PlannedNode

_LOOKS = frozenset({"name", "phase", "credits", "timeout_s", "attempts"})
"""Facts of a planned node that change nothing about what it has put out."""
_UNSURE = frozenset({FailureCode.INTERRUPTED_UNSAFE, FailureCode.WORKER_LOST})
"""Nobody knows whether an attempt that ended so had its effect."""


def choose_reused(before: Plan, now: Plan, recorded: Sequence[Recorded], retry: Retry) -> list[Recorded]:
    """The attempts that stand, one per node, in the plan's canonical order; their numbers begin anew.

    Args:
        before: the plan that ran.
        now: the plan that will run; the same one, or that of another version.
        recorded: all attempts of the execution that is retried.
        retry: where to begin, and what a person has answered.
    """
    if retry.start_at is RetryStart.BEGINNING:
        return []
    ended, again = _divide(before, now, recorded, retry)
    return [ended[node.id] for node in now.nodes if node.id in ended and node.id not in again]


def find_named(now: Plan, retry: Retry) -> set[str]:
    """Nodes that a person wants done once more by saying where to begin: that one and what comes after it, or all.

    That is their word for each of these, whether it happened or not, and for no other one (docs/adr/0016).
    """
    if retry.start_at is RetryStart.BEGINNING:
        return {node.id for node in now.nodes}
    named: set[str] = set()
    for node in now.nodes:  # in canonical order, so predecessors come first
        if node.id == retry.node_id or any(edge.source in named for edge in node.incoming):
            named.add(node.id)
    return named


def find_unanswered(before: Plan, now: Plan, recorded: Sequence[Recorded], retry: Retry) -> list[str]:
    """Nodes that would run again though only a person knows whether they happened, in canonical order."""
    last = _find_last(recorded)
    wanted = {node.id for node in now.nodes} - find_named(now, retry) - retry.answers.keys()
    return [node.id for node in before.nodes if not node.safe and node.id in wanted and _is_unsure(last.get(node.id))]


def find_contradicted(now: Plan, retry: Retry) -> list[str]:
    """Nodes that a person says have happened, and that run again all the same because they are begun at."""
    happened = {node_id for node_id, said in retry.answers.items() if said is Answer.HAPPENED}
    begun = find_named(now, retry) if retry.start_at is RetryStart.BEGINNING else {retry.node_id}
    return [node.id for node in now.nodes if node.id in happened and node.id in begun]


def find_unknown_outputs(now: Plan, recorded: Sequence[Recorded], retry: Retry) -> list[tuple[str, str, str]]:
    """What another node needs of one that a person says has happened, and nobody has: its id, its output, the other."""
    ended = {row.node_id for row in recorded if row.status is StepStatus.SUCCESS}
    said = {node_id for node_id, answer in retry.answers.items() if answer is Answer.HAPPENED} - ended
    data = {node.id: node.outputs for node in now.nodes if node.id in said}
    return [
        (edge.source, edge.source_handle, node.id)
        for node in now.nodes
        for edge in node.incoming
        if edge.source_handle in data.get(edge.source, ()) and edge.handle in {*node.required} - {*node.merging}
    ]


def find_repeated(before: Plan, now: Plan, recorded: Sequence[Recorded], retry: Retry) -> list[str]:
    """Nodes that ended well, must not run twice, and would run again behind what does or because they have changed.

    In canonical order; as `find_unanswered`, none where a person has given the word already.
    """
    ended, again = _divide(before, now, recorded, retry)
    repeated = again & ended.keys() - retry.answers.keys() - find_named(now, retry)
    return [node.id for node in now.nodes if not node.safe and node.id in repeated]


def keep_word(
    before: Plan, now: Plan, recorded: Sequence[Recorded], retry: Retry, earlier: Mapping[str, Answer]
) -> Retry:
    """The retry with what a person said of nodes before, where it takes them over: they have still happened."""
    kept = {row.node_id for row in choose_reused(before, now, recorded, retry)} - retry.answers.keys()
    happened = {name: said for name, said in earlier.items() if name in kept and said is Answer.HAPPENED}
    return retry.model_copy(update={"answers": {**happened, **retry.answers}})


def find_asked(recorded: Iterable[Recorded]) -> set[str]:
    """Nodes that failures of this execution ask about; an attempt that was followed by another asks nothing more."""
    last = _find_last(recorded).values()
    return {row.failure.asks_about for row in last if row.failure is not None and row.failure.asks_about}


def find_failed(recorded: Sequence[Recorded]) -> list[str]:
    """Nodes whose last attempt didn't end well, skipped ones included."""
    last = _find_last(recorded)
    return [node_id for node_id, row in last.items() if row.status is not StepStatus.SUCCESS]


def _find_last(recorded: Iterable[Recorded]) -> dict[str, Recorded]:
    last: dict[str, Recorded] = {}
    for row in sorted(recorded, key=lambda row: row.attempt):
        last[row.node_id] = row
    return last


def _find_ended(recorded: Sequence[Recorded], answers: Mapping[str, Answer]) -> dict[str, Recorded]:
    """A success of each node that had one, and of each that a person says has happened."""
    ended = {
        row.node_id: Recorded(row.node_id, 1, StepStatus.SUCCESS, outputs=row.outputs, reused=True)
        for row in recorded
        if row.status is StepStatus.SUCCESS
    }
    for node_id, answer in answers.items():
        if answer is Answer.HAPPENED and node_id not in ended:
            ended[node_id] = Recorded(node_id, 1, StepStatus.SUCCESS, outputs=None, reused=True)
    return ended


def _divide(
    before: Plan, now: Plan, recorded: Sequence[Recorded], retry: Retry
) -> tuple[dict[str, Recorded], set[str]]:
    """A success of each node that had one, and the nodes that run again, with or without one."""
    ended = _find_ended(recorded, retry.answers)
    first = _find_changed(before, now) | {node.id for node in now.nodes} - ended.keys() - _find_skipped(recorded)
    if retry.start_at is RetryStart.NODE:
        first.add(str(retry.node_id))
    happened = {name for name, said in retry.answers.items() if said is Answer.HAPPENED} - {retry.node_id}
    again: set[str] = set()
    for node in now.nodes:  # in canonical order, so predecessors come first
        if node.id in happened:
            continue  # whatever comes before it: a person has said so
        if node.id in first or any(edge.source in again for edge in node.incoming):
            again.add(node.id)
    return ended, again


def _find_skipped(recorded: Sequence[Recorded]) -> set[str]:
    """Nodes that did not run. What ended well behind one had no need of it, and stands unless something else changes.

    The machine decides anew whether they are reached.
    """
    return {node_id for node_id, row in _find_last(recorded).items() if row.status is StepStatus.SKIPPED}


def _find_changed(before: Plan, now: Plan) -> set[str]:
    known = {node.id: _describe(node) for node in before.nodes}
    return {node.id for node in now.nodes if known.get(node.id) != _describe(node)}


def _describe(node: PlannedNode) -> dict[str, object]:
    return node.model_dump(mode="json", exclude=set(_LOOKS))


def _is_unsure(row: Recorded | None) -> bool:
    if row is None or row.status is StepStatus.SUCCESS:
        return False
    return row.status is StepStatus.RUNNING or (row.failure is not None and row.failure.code in _UNSURE)
