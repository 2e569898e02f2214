"""What a run knows of its steps: which are open, how often each node was tried, which outputs were kept."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from uuid_utils.compat import uuid7

from contracts.execution import Artifact, ArtifactKind, Failure, StepStatus
from contracts.model import StepId
from contracts.workflow import JsonObject
from runtime.artifacts import ArtifactStoreFailure, ArtifactWriter
from runtime.engine.commands import StartNode
from runtime.engine.explain import explain_pause
from runtime.engine.plan import Plan
from runtime.masking import Redactor
from runtime.run.draft import Draft
from runtime.run.events import begin_step, end_step, unbegun_step
from runtime.run.outputs import describe_lost, make_storable, shrink
from runtime.run.recovery import Recovered
from runtime.telemetry import Telemetry

_APART = "\x1f"
"""Between node and handle in the flat form of a result; no id holds it."""
_MAX_MESSAGE = 8_000


class StepTracker:
    """Turns what happened to nodes into rows and events on a draft."""

    def __init__(self, epoch: int, plan: Plan, past: Recovered, writer: ArtifactWriter, telemetry: Telemetry) -> None:
        self._epoch = epoch
        self._nodes = {node.id: node for node in plan.nodes}
        self._open = past.in_flight
        self._attempts = past.attempts
        self._kept = past.kept
        self._taken_over = set(past.reused)
        self._writer = writer
        self._telemetry = telemetry

    @property
    def begun(self) -> set[str]:
        """Nodes of which an attempt has begun or that are taken over from another execution."""
        return {*self._attempts, *self._taken_over}

    def begin(self, start: StartNode, draft: Draft) -> None:
        """An attempt begins."""
        step = begin_step(StepId(uuid7()), self._nodes[start.node_id], start.attempt, self._epoch, draft.now)
        self._open[start.node_id] = step
        self._attempts[start.node_id] = start.attempt
        draft.note_step(step)

    async def succeed(self, start: StartNode, outputs: JsonObject, draft: Draft) -> None:
        """An attempt ended well. A replay costs nothing and keeps the outputs that others may have used.

        Raises:
            ArtifactStoreFailure: a large output can't be put away; nothing is on the draft then.
        """
        node = self._nodes[start.node_id]
        if not start.replay:
            self._kept[node.id] = await shrink(outputs, self._make_store(node.id, draft))
        spent = 0 if start.replay else node.credits
        self._end(node.id, StepStatus.SUCCESS, draft, outputs=self._kept.get(node.id), spent=spent)

    async def take_over(self, node_id: str, outputs: JsonObject, draft: Draft) -> None:
        """A node that ended well in the execution which this one is a retry of: it costs nothing here.

        Raises:
            ArtifactStoreFailure: a large output can't be put away.
        """
        node = self._nodes[node_id]
        self._kept[node_id] = await shrink(outputs, self._make_store(node_id, draft))
        step = unbegun_step(StepId(uuid7()), node, 1, self._epoch)
        self._attempts[node_id] = 1
        ended = end_step(step, StepStatus.SUCCESS, draft.now, outputs=self._kept[node_id])
        draft.note_step(replace(ended, reused=True))

    def fail(self, node_id: str, attempt: int, status: StepStatus, failure: Failure, draft: Draft) -> None:
        """An attempt ended badly, perhaps before it began."""
        if node_id not in self._open:
            self._open[node_id] = unbegun_step(StepId(uuid7()), self._nodes[node_id], attempt, self._epoch)
            self._attempts[node_id] = attempt
        self._end(node_id, status, draft, failure=failure)

    def cut_short(self, draft: Draft) -> None:
        """The execution is paused while nodes wait: they begin anew with the next run, and are not open meanwhile."""
        for node_id, step in self._open.items():
            failure = explain_pause(self._nodes[node_id])
            draft.note_step(end_step(step, StepStatus.RETRYING, draft.now, failure=failure))

    def skip(self, node_id: str, draft: Draft) -> None:
        """A node ends without running."""
        attempt = self._attempts.get(node_id, 0) + 1
        self._open[node_id] = unbegun_step(StepId(uuid7()), self._nodes[node_id], attempt, self._epoch)
        self._attempts[node_id] = attempt
        self._end(node_id, StepStatus.SKIPPED, draft)

    async def make_result(self, output: JsonObject, draft: Draft) -> JsonObject:
        """The result as it is kept: what was put away with its step stays a reference, and so does what is too much."""
        flat = {
            f"{node_id}{_APART}{handle}": self._kept.get(node_id, {}).get(handle, value)
            for node_id, values in output.items()
            for handle, value in values.items()
        }
        try:
            flat = await shrink(make_storable(flat), self._make_store(None, draft))
        except ArtifactStoreFailure:
            flat = describe_lost(flat)
        result: JsonObject = {}
        for name, value in flat.items():
            node_id, handle = name.split(_APART)
            result.setdefault(node_id, {})[handle] = value
        return result

    def _end(
        self,
        node_id: str,
        status: StepStatus,
        draft: Draft,
        *,
        outputs: JsonObject | None = None,
        failure: Failure | None = None,
        spent: int = 0,
    ) -> None:
        step = end_step(self._open.pop(node_id), status, draft.now, outputs=outputs, failure=failure, spent=spent)
        draft.note_step(step)
        seconds = None if step.duration_ms is None else step.duration_ms / 1_000
        self._telemetry.count_step(step.node_type, status, seconds, failure.code if failure else None)

    def _make_store(self, node_id: str | None, draft: Draft) -> Callable[[str, bytes], Awaitable[Artifact]]:
        async def store(name: str, data: bytes) -> Artifact:
            title = f"{name.rsplit(_APART, maxsplit=1)[-1]}.json"
            blob = await self._writer.put(node_id, ArtifactKind.OUTPUT, title, "application/json", data)
            draft.note_blobs([blob])
            return blob.artifact

        return store


def make_failure_storable(failure: Failure, redactor: Redactor) -> Failure:
    """A failure whose words may have come from a page."""
    return failure.model_copy(
        update={
            "message": redactor.clean(make_storable(failure.message))[:_MAX_MESSAGE],
            "hint": redactor.clean(make_storable(failure.hint)),
            "page_url": redactor.clean(make_storable(failure.page_url)),
        }
    )
