"""One run of one execution: drives the engine's machine, carries out its commands, records what comes of them.

Everything that decides passes one inbox, so the machine is asked by one task only, and each of its answers is recorded
in one transaction before anything starts. Attempts at nodes run beside it in the same task group; none outlives it.
"""

import asyncio
import random
from asyncio import Queue, Task, TaskGroup
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Any, assert_never

from contracts.execution import Failure, FailureCode
from runtime.artifacts import ArtifactFolder, ArtifactStoreFailure, ArtifactWriter
from runtime.browser.pool import Lease as BrowserLease
from runtime.browser.pool import Pool
from runtime.catalogue import Catalogue
from runtime.engine.commands import Command, EndAttempt, Finish, SkipNode, StartNode, StopRunning
from runtime.engine.plan import Plan
from runtime.run.attempt import AttemptStage, attempt
from runtime.run.clock import Clock
from runtime.run.draft import Draft
from runtime.run.events import tell_end
from runtime.run.outputs import make_storable
from runtime.run.recorder import Recorder
from runtime.run.recovery import Recovered
from runtime.run.signals import CancelAsked, DrainBegun, DrainOver, Due, Failed, LeaseLost, Signal, Succeeded, TimeIsUp
from runtime.run.steps import StepTracker, make_failure_storable
from runtime.run.watch import Drain, watch_clock, watch_drain, watch_lease
from runtime.store.records import Records
from runtime.store.runs import Claimed, End, Fenced, Runs
from runtime.store.wakeups import Wakeups
from runtime.telemetry import Telemetry


class Verdict(Enum):
    """How a run was left."""

    ENDED = auto()
    """The execution has its terminal event."""
    HANDED_BACK = auto()
    """The run is closed; another worker goes on from the last finished step."""
    FENCED = auto()
    """Another run has taken over already."""


@dataclass(frozen=True)
class Resources:
    """What a worker lends each of its runs."""

    runs: Runs
    records: Records
    folder: ArtifactFolder
    catalogue: Catalogue
    pool: Pool
    wakeups: Wakeups
    telemetry: Telemetry
    drain: Drain


class RunDriver:
    """A run from its claim to its end. Use it once."""

    def __init__(
        self, resources: Resources, claimed: Claimed, plan: Plan, past: Recovered, browser: BrowserLease
    ) -> None:
        lease = claimed.lease
        self._resources = resources
        self._claimed = claimed
        self._lease = lease
        self._browser = browser
        self._nodes = {node.id: node for node in plan.nodes}
        self._machine = past.machine
        self._writer = ArtifactWriter(resources.folder, lease.tenant_id, lease.execution_id)
        self._steps = StepTracker(lease.epoch, plan, past, self._writer, resources.telemetry)
        self._recorder = Recorder(resources.runs, lease)
        self._clock = Clock(claimed.spent_s)
        self._inbox: Queue[Signal] = Queue()
        self._attempts: dict[str, Task[None]] = {}
        """Attempts that run or wait for their turn, by node."""
        self._helpers: list[Task[None]] = []
        self._credits = claimed.credits
        self._told_progress = 0.0
        self._draining = False
        self._stopped_why: str | None = None

    async def drive(self) -> Verdict:
        """Run until the end, or until this worker has to leave it. Nothing of it runs any more when this returns.

        Raises:
            ExceptionGroup: the database stayed away, or something failed that should not have. The run stays open,
            and the next claim counts it as lost.
        """
        async with TaskGroup() as group:
            self._help(group, watch_lease(self._resources.runs, self._resources.wakeups, self._lease, self._inbox))
            self._help(group, watch_clock(self._claimed.timeout_s, self._clock, self._inbox))
            self._help(group, watch_drain(self._resources.drain, self._inbox))
            self._help(group, self._keep_writing())
            try:
                return await self._follow_signals(group)
            except Fenced:
                return Verdict.FENCED
            finally:
                for task in (*self._helpers, *self._attempts.values()):
                    task.cancel()

    async def _follow_signals(self, group: TaskGroup) -> Verdict:
        commands: list[Command] = []
        if (reason := self._claimed.cancel_reason) is not None:
            commands = self._machine.on_cancel(reason)  # before `start`, so that nothing starts
        ended = await self._obey([*self._machine.start(), *commands], Draft(self._lease), group)
        while not ended:
            signal = await self._inbox.get()
            if isinstance(signal, LeaseLost):
                return Verdict.FENCED
            ended = await self._take(signal, group)
            if not ended and (isinstance(signal, DrainOver) or (self._draining and not self._attempts)):
                return await self._hand_back()
        return Verdict.ENDED

    async def _take(self, signal: Signal, group: TaskGroup) -> bool:
        """Let the machine answer a signal, and obey. True when that was the end."""
        draft = Draft(self._lease)
        match signal:
            case Due(start):
                commands = self._on_due(start, draft)
            case Succeeded():
                commands = await self._on_succeeded(signal, draft)
            case Failed():
                commands = self._on_failed(signal, draft)
            case CancelAsked(reason):
                commands = self._machine.on_cancel(reason)
                self._stopped_why = self._stopped_why or "the execution was cancelled"
            case TimeIsUp():
                commands = self._machine.on_deadline()
                self._stopped_why = self._stopped_why or "the execution's time was up"
            case DrainBegun():
                commands = []
                self._drain()
            case DrainOver() | LeaseLost():
                commands = []
            case _:
                assert_never(signal)
        return await self._obey(commands, draft, group)

    # --- outcomes

    def _on_due(self, start: StartNode, draft: Draft) -> list[Command]:
        if self._stopped_why is not None:  # the order to stop came a moment before
            return self._on_failed(Failed(start, self._explain_stop(start)), draft)
        del self._attempts[start.node_id]
        if not self._draining:
            self._steps.begin(start, draft)
            draft.starts.append(start)
        return []

    async def _on_succeeded(self, signal: Succeeded, draft: Draft) -> list[Command]:
        outputs = make_storable(signal.outputs)
        try:
            await self._steps.succeed(signal.start, outputs, draft)
        except ArtifactStoreFailure as error:
            failure = Failure(code=error.code, message=error.message, hint=error.hint, node_id=signal.start.node_id)
            return self._on_failed(Failed(signal.start, failure), draft)
        del self._attempts[signal.start.node_id]
        return self._machine.on_succeeded(signal.start.node_id, outputs)

    def _on_failed(self, signal: Failed, draft: Draft) -> list[Command]:
        draft.note_blobs(signal.evidence)
        del self._attempts[signal.start.node_id]
        return self._machine.on_failed(
            signal.start.node_id,
            make_failure_storable(signal.failure),
            retryable=signal.retryable,
            jitter=random.random(),  # noqa: S311 — spreads repetitions
        )

    def _drain(self) -> None:
        """Start nothing more; what waits for its turn waits for another worker."""
        self._draining = True
        if self._stopped_why is not None:
            return  # the run is ending anyway, and each attempt is going to report how
        for node_id, task in list(self._attempts.items()):
            if task.get_name() == _WAITING:
                task.cancel()
                del self._attempts[node_id]

    async def _hand_back(self) -> Verdict:
        for task in self._attempts.values():
            task.cancel()
        await self._recorder.flush()
        await self._resources.runs.hand_back(self._lease, self._clock.spent_s)
        return Verdict.HANDED_BACK

    # --- commands

    async def _obey(self, commands: list[Command], draft: Draft, group: TaskGroup) -> bool:
        """Record what the machine answered, then do it. True when that was the end."""
        for command in commands:
            self._read(command, draft)
        self._credits += draft.credits
        if draft.finish is not None:
            await self._finish(draft, draft.finish)
            return True
        await self._record(draft)
        for start in draft.starts:
            self._begin(start, group)
        if draft.stop is not None:
            self._stopped_why = self._stopped_why or "another node failed"
            self._help(group, self._stop_attempts(draft.stop.grace_s))
        return False

    def _read(self, command: Command, draft: Draft) -> None:
        match command:
            case StartNode():
                if self._draining:
                    return  # not recorded, not begun: the next run's machine says it again
                draft.starts.append(command)
                if command.delay_s == 0:
                    self._steps.begin(command, draft)
            case EndAttempt():
                self._steps.fail(command.node_id, command.attempt, command.status, command.failure, draft)
            case SkipNode():
                self._steps.skip(command.node_id, draft)
            case StopRunning():
                draft.stop = command
            case Finish():
                draft.finish = command
            case _:
                assert_never(command)

    async def _record(self, draft: Draft) -> None:
        if draft.blank:
            return
        progress, current = self._machine.progress, self._machine.current_node
        if progress != self._told_progress:
            self._told_progress = progress
            draft.note_progress(progress, current)
        await self._recorder.record(draft.close(progress, current, self._clock.spent_s))

    async def _finish(self, draft: Draft, finish: Finish) -> None:
        await self._browser.close()  # first: who reads the end finds nothing left behind
        result = await self._steps.make_result(finish.output, draft)
        duration_s = (datetime.now(UTC) - self._claimed.started_at).total_seconds()
        progress = self._machine.progress
        last = tell_end(
            self._lease.execution_id,
            finish,
            result,
            progress=progress,
            spent=self._credits,
            duration_s=duration_s,
            now=draft.now,
        )
        end = End(status=finish.status, result=result or None, failure=finish.failure)
        await self._recorder.finish(draft.close(progress, None, self._clock.spent_s, last), end)
        self._resources.telemetry.count_run(finish.status, duration_s)

    # --- attempts

    def _begin(self, start: StartNode, group: TaskGroup) -> None:
        # a retry that is due has a delay too, but it comes here a second time, recorded as begun
        waits = start.delay_s > 0 and not self._steps.has_begun(start.node_id)
        work = _wait(start) if waits else self._attempt(start)
        name = _WAITING if waits else f"attempt at {start.node_id}"
        self._attempts[start.node_id] = group.create_task(self._report(start, work), name=name)

    async def _attempt(self, start: StartNode) -> Signal:
        node = self._nodes[start.node_id]
        stage = AttemptStage(node.id, node.timeout_s, self._browser, self._writer, self._recorder, self._clock)
        return await attempt(self._resources.catalogue, node, start, stage)

    async def _report(self, start: StartNode, work: Coroutine[Any, Any, Signal]) -> None:
        try:
            signal = await work
        except asyncio.CancelledError:
            if self._stopped_why is None:
                raise
            signal = Failed(start, self._explain_stop(start))
        self._inbox.put_nowait(signal)

    async def _stop_attempts(self, grace_s: float) -> None:
        await asyncio.sleep(grace_s)
        for task in self._attempts.values():
            task.cancel()

    def _explain_stop(self, start: StartNode) -> Failure:
        node = self._nodes[start.node_id]
        message = f"“{node.name}” was stopped: {self._stopped_why}."
        hint = "What was done before is kept; start the workflow again to do the rest."
        return Failure(code=FailureCode.STOPPED, message=message, hint=hint, node_id=node.id)

    # --- helpers

    def _help(self, group: TaskGroup, work: Coroutine[Any, Any, None]) -> None:
        self._helpers.append(group.create_task(work))

    async def _keep_writing(self) -> None:
        try:
            await self._recorder.keep_writing()
        except Fenced:
            self._inbox.put_nowait(LeaseLost())


_WAITING = "waits for its turn"


async def _wait(start: StartNode) -> Signal:
    await asyncio.sleep(start.delay_s)
    return Due(start)
