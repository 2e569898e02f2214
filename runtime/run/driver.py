"""One run of one execution: drives the engine's machine, carries out its commands, records what comes of them.

Everything that decides passes one inbox, so the machine is asked by one task only. Each of its answers is recorded
whole, and before anything starts that may not run twice. Attempts at nodes run beside it in the same task group; none
outlives it.
"""

import asyncio
import random
from asyncio import Queue, Task, TaskGroup
from collections.abc import Coroutine
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum, auto
from functools import partial
from typing import Any, Final, assert_never

from contracts.execution import Failure, FailureCode, Question
from runtime.artifacts import ArtifactFolder, ArtifactStoreFailure, ArtifactWriter
from runtime.browser.failure import BrowserFailure
from runtime.browser.pool import Lease as BrowserLease
from runtime.browser.pool import Pool
from runtime.catalogue import Catalogue
from runtime.egress.backend import DoorBackend
from runtime.egress.egress import Egress
from runtime.egress.lists import Policies
from runtime.egress.permit import Permit
from runtime.engine.commands import Command, EndAttempt, Finish, SkipNode, StartNode, StopRunning
from runtime.engine.explain import ask_about
from runtime.engine.plan import Plan
from runtime.masking import Redactor
from runtime.profiles import Profiles
from runtime.run.attempt import AttemptStage, Ground, attempt
from runtime.run.clock import Clock
from runtime.run.departure import Departure
from runtime.run.draft import Draft
from runtime.run.events import tell_end
from runtime.run.logins import Logins, names_logins
from runtime.run.outputs import make_clean
from runtime.run.recorder import Recorder
from runtime.run.recordings import Keeper, forbid_recordings
from runtime.run.recovery import Recovered
from runtime.run.secrets import NodeSecrets, RunSecrets
from runtime.run.shelf import Shelf
from runtime.run.signals import (
    CancelAsked,
    DrainBegun,
    DrainNearlyOver,
    DrainOver,
    Due,
    Failed,
    LeaseLost,
    PauseAsked,
    RecordingsKept,
    ResumeAsked,
    Signal,
    Stalled,
    Succeeded,
    TimeIsUp,
    Waiting,
)
from runtime.run.steps import StepTracker, make_failure_storable
from runtime.run.watch import Drain, watch_clock, watch_drain, watch_lease
from runtime.sandbox.sandbox import Sandbox
from runtime.seal import Seal
from runtime.store.changes import End, Fenced
from runtime.store.claims import Claimed
from runtime.store.records import Records
from runtime.store.runs import Runs
from runtime.store.wakeups import Wakeups
from runtime.telemetry import Telemetry
from runtime.vault import Vault

_LEAVE_S: Final = 1.0
"""For attempts that are cut off because their worker leaves; one that takes longer reports to nobody."""


_AHEAD_S: Final = 1.0
"""Safe steps go on while what they did is being written, until a transaction takes longer than this: the database is
away then, and another worker may soon take the execution over."""


class Verdict(Enum):
    """How a run was left."""

    ENDED = auto()
    """The execution has its terminal event."""
    HANDED_BACK = auto()
    """The run is closed; another worker goes on from the last finished step."""
    PARKED = auto()
    """The run is closed, and the execution is paused until somebody resumes it."""
    FENCED = auto()
    """Another run has taken over already."""


@dataclass(frozen=True)
class Resources:
    """What a worker lends each of its runs."""

    runs: Runs
    records: Records
    folder: ArtifactFolder
    catalogue: Catalogue
    egress: Egress
    policies: Policies
    pool: Pool
    sandbox: Sandbox
    wakeups: Wakeups
    telemetry: Telemetry
    drain: Drain
    lease_s: float
    """Silence after which a lease goes to another worker."""
    vault: Vault
    profiles: Profiles
    seal: Seal | None = None
    """For checkpoints; without it none are kept."""


class RunDriver:
    """A run from its claim to its end. Use it once."""

    def __init__(
        self,
        resources: Resources,
        claimed: Claimed,
        plan: Plan,
        past: Recovered,
        browser: BrowserLease,
        permit: Permit,
    ) -> None:
        lease = claimed.lease
        self._resources = resources
        self._claimed = claimed
        self._lease = lease
        self._browser = browser
        self._nodes = {node.id: node for node in plan.nodes}
        forbid_recordings(browser, plan.nodes)
        self._machine = past.machine
        self._redactor = Redactor()
        owner = lease.tenant_id, lease.execution_id
        self._secrets = RunSecrets(resources.vault, *owner, self._redactor)
        self._writer = ArtifactWriter(resources.folder, *owner, self._redactor)
        self._steps = StepTracker(lease.epoch, plan, past, self._writer, resources.telemetry)
        self._recorder = Recorder(resources.runs, lease, self._redactor, lambda: permit.moved)
        permit.tell(self._recorder.add_refusal)
        self._logins = Logins(resources.profiles, *owner, self._redactor, self._recorder)
        self._clock = Clock(claimed.spent_s)
        self._checkpoints = past.checkpoints
        self._reused = past.reused
        self._since = dict(past.since)
        self._inbox: Queue[Signal] = Queue()
        self._ground = Ground(
            tenant_id=lease.tenant_id,
            execution_id=lease.execution_id,
            browser=browser,
            network=DoorBackend(resources.egress.door, permit),
            writer=self._writer,
            recorder=self._recorder,
            clock=self._clock,
            checkpoints=past.checkpoints,
            sandbox=resources.sandbox,
            shelf=Shelf(resources.records, resources.folder, lease.tenant_id),
            logins=self._logins,
            tell_waiting=partial(self._inbox.put_nowait, Waiting()),
        )
        self._attempts: dict[str, Task[None]] = {}
        """Attempts that run or wait for their turn, by node."""
        self._stages: dict[str, AttemptStage] = {}
        """Of those that run."""
        self._turns: dict[str, StartNode] = {}
        """Of those that wait for their turn."""
        self._helpers: list[Task[None]] = []
        self._credits = claimed.credits
        self._told_progress = 0.0
        self._departure = Departure()
        self._still = ExitStack()
        """Holds the clock while the execution is paused in this worker."""
        self._stopped_why: str | None = None
        self._keeper = Keeper(browser, self._writer, self._recorder, lease)

    async def drive(self) -> Verdict:
        """Run until the end, or until this worker has to leave it. Nothing of it runs any more when this returns.

        Raises:
            ExceptionGroup: the database stayed away, or something failed that should not have. The run stays open,
            and the next claim counts it as lost.
        """
        try:
            return await self._drive()
        finally:
            await self._recorder.stop()

    async def _drive(self) -> Verdict:
        async with TaskGroup() as group:
            resources = self._resources
            self._help(
                group, watch_lease(resources.runs, resources.wakeups, self._lease, resources.lease_s, self._inbox)
            )
            self._help(group, watch_clock(self._claimed.timeout_s, self._clock, self._inbox))
            self._help(group, self._watch_drain())
            self._help(group, self._keep_writing())
            try:
                return await self._follow_signals(group)
            except Fenced:
                return Verdict.FENCED
            finally:
                self._keeper.stop()
                for task in (*self._helpers, *self._attempts.values()):
                    task.cancel()

    async def _follow_signals(self, group: TaskGroup) -> Verdict:
        commands: list[Command] = []
        if (reason := self._claimed.cancel_reason) is not None:
            commands = self._machine.on_cancel(reason)  # before `start`, so that nothing starts
        elif self._clock.spent_s >= self._claimed.timeout_s:
            commands = self._machine.on_deadline()
        begun = [node for node in self._nodes.values() if node.id in self._steps.begun]
        await self._secrets.mask_used(begun)
        if names_logins(begun):
            await self._logins.mask_kept(self._checkpoints.storages)
        await self._take_over()
        ended = await self._obey([*self._machine.start(), *commands], Draft(self._lease), group)
        while not ended:
            signal = await self._inbox.get()
            if isinstance(signal, LeaseLost):
                return Verdict.FENCED
            ended = await self._take(signal, group)
            if not ended and self._departure.wanted and (verdict := await self._leave(group)) is not None:
                return verdict
        return Verdict.ENDED

    async def _take_over(self) -> None:
        """Record what a retry has from the execution that it was made from, before anything else."""
        draft = Draft(self._lease)
        for node_id, outputs in self._reused.items():
            await self._steps.take_over(node_id, outputs, draft)
        if self._reused:
            draft.note_checkpoints(self._checkpoints.seal_all())
        await self._record(draft)

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
            case Waiting():
                commands = []  # whether that lets the run leave is looked at after every signal
            case RecordingsKept():
                commands = []
                await self._put_kept()
                self._recorder.add_line("info", "Pages that are open now are not recorded any further.", None)
            case DrainNearlyOver():
                commands = []
                self._keeper.begin(group, self._inbox)
            case PauseAsked() | ResumeAsked() | DrainBegun() | DrainOver() | Stalled() | LeaseLost():
                commands = []
                await self._note_departure(signal, group)
            case _:
                assert_never(signal)
        return await self._obey(commands, draft, group)

    async def _note_departure(
        self, signal: PauseAsked | ResumeAsked | DrainBegun | DrainOver | Stalled | LeaseLost, group: TaskGroup
    ) -> None:
        match signal:
            case PauseAsked():
                self._departure.pausing = True
                self._hold_turns()
            case ResumeAsked():
                await self._resume(group)
            case DrainBegun():
                self._departure.draining = True
                self._hold_turns()
            case DrainOver() | Stalled():
                self._departure.over = True
                self._keeper.hurry()
            case LeaseLost():
                pass  # whoever follows the signals leaves at once
            case _:
                assert_never(signal)

    # --- outcomes

    def _on_due(self, start: StartNode, draft: Draft) -> list[Command]:
        if self._turns.get(start.node_id) is not start:
            return []  # it was held back while this was on its way
        del self._turns[start.node_id]
        if self._stopped_why is not None:  # the order to stop came a moment before
            return self._on_failed(Failed(start, self._explain_stop(start)), draft)
        del self._attempts[start.node_id]
        self._start_or_hold(replace(start, delay_s=0.0), draft)
        return []

    async def _on_succeeded(self, signal: Succeeded, draft: Draft) -> list[Command]:
        # what goes on along the edges is masked too: a value must not come to rest anywhere by a detour
        outputs = await make_clean(signal.outputs, self._redactor)
        try:
            await self._steps.succeed(signal.start, outputs, draft)
        except ArtifactStoreFailure as error:
            failure = Failure(code=error.code, message=error.message, hint=error.hint, node_id=signal.start.node_id)
            asked = ask_about(self._nodes[signal.start.node_id], failure)  # it did happen
            return self._on_failed(Failed(signal.start, asked), draft)
        self._forget(signal.start)
        draft.note_checkpoints(signal.checkpoints)
        return self._machine.on_succeeded(
            signal.start.node_id, outputs, frozenset(one.page for one in signal.checkpoints)
        )

    def _on_failed(self, signal: Failed, draft: Draft) -> list[Command]:
        draft.note_blobs(signal.evidence)
        self._forget(signal.start)
        return self._machine.on_failed(
            signal.start.node_id,
            make_failure_storable(signal.failure, self._redactor),
            retryable=signal.retryable,
            jitter=random.random(),  # noqa: S311 — spreads repetitions
            begun=signal.begun,
        )

    def _forget(self, start: StartNode) -> None:
        self._attempts.pop(start.node_id, None)  # one that was held back has none
        self._stages.pop(start.node_id, None)

    # --- leaving

    def _hold_turns(self) -> None:
        """What waits for its turn waits for another worker, or for the end of the pause."""
        if self._stopped_why is not None:
            return  # the run is ending anyway, and each attempt is going to report how
        for node_id, start in self._turns.items():
            self._attempts.pop(node_id).cancel()
            self._departure.hold(start)
        self._turns.clear()

    async def _leave(self, group: TaskGroup) -> Verdict | None:
        """Leave, if nothing stands against it any more; None while something does."""
        departure = self._departure
        if departure.over:
            return await self._hand_back(group)
        if self._stopped_why is not None:
            return None  # it is ending: what runs is going to report
        can_be_left = self._machine.can_be_left
        if any(not (node in self._stages and self._stages[node].waits) for node in self._attempts):
            return None
        if departure.pausing:
            return await self._pause(group, can_be_left=can_be_left)
        if can_be_left:
            return None if self._keeps_recordings(group) else await self._hand_back(group)
        await self._begin_held(group)
        return None

    def _keeps_recordings(self, group: TaskGroup) -> bool:
        """Whether the run has to stay for what was recorded, which goes with its browser.

        Storing takes its time, and whoever wants an end meanwhile must be heard.
        """
        self._keeper.begin(group, self._inbox)
        return self._keeper.busy

    async def _pause(self, group: TaskGroup, *, can_be_left: bool) -> Verdict | None:
        if can_be_left:
            if self._keeps_recordings(group):
                return None
            draft = Draft(self._lease)
            self._steps.cut_short(draft)
            change = draft.close(self._machine.progress, None, self._clock.spent_s)
            if await self._recorder.park(change):
                return Verdict.PARKED
        if not can_be_left and not self._attempts and not self._departure.paused:
            await self._recorder.set_paused(paused=True)
            self._departure.paused = True
            self._still.enter_context(self._clock.stand_still())
        return None

    async def _put_kept(self) -> None:
        """Put on record what was stored beside the run; waits for it."""
        if self._keeper.busy:
            await self._record(await self._keeper.fetch())

    async def _resume(self, group: TaskGroup) -> None:
        self._departure.pausing = False
        if self._departure.paused:
            await self._recorder.set_paused(paused=False)
            self._departure.paused = False
            self._still.close()
        if not self._departure.holds(can_be_left=self._machine.can_be_left):
            await self._begin_held(group)

    async def _begin_held(self, group: TaskGroup) -> None:
        draft = Draft(self._lease)
        for start in self._departure.release():
            self._steps.begin(start, draft)
            draft.starts.append(start)
        await self._record(draft)
        for start in draft.starts:
            self._begin(start, group)

    async def _hand_back(self, group: TaskGroup) -> Verdict:
        """Leave it to another worker. What has reported by now is recorded first: it happened."""
        if running := list(self._attempts.values()):
            for task in running:
                task.cancel()
            await asyncio.wait(running, timeout=_LEAVE_S)
        while not self._inbox.empty():
            signal = self._inbox.get_nowait()
            if isinstance(signal, Succeeded | Failed) and await self._take(signal, group):
                return Verdict.ENDED
        await self._put_kept()
        if self._browser.records:
            said = "What was recorded until here is not kept: another worker goes on, and records anew."
            self._recorder.add_line("warning", said, None)
        await self._recorder.hand_back(self._clock.spent_s)
        return Verdict.HANDED_BACK

    def _start_or_hold(self, start: StartNode, draft: Draft) -> None:
        """Begin an attempt once the draft is recorded, or keep it back: the next run's machine says it again."""
        if self._departure.holds(can_be_left=self._machine.can_be_left):
            self._departure.hold(start)
            return
        draft.starts.append(start)
        if start.delay_s == 0:
            self._steps.begin(start, draft)

    # --- commands

    async def _obey(self, commands: list[Command], draft: Draft, group: TaskGroup) -> bool:
        """Record what the machine answered, then do it. True when that was the end."""
        for command in commands:
            self._read(command, draft)
        self._credits += draft.credits
        if draft.finish is not None:
            await self._finish(draft, draft.finish)
            return True
        # What may run twice need not wait until its beginning is written; what may not, must: else nobody would know,
        # and a person would be asked about what had ended.
        early = [start for start in draft.starts if self._nodes[start.node_id].safe]
        for start in early:
            self._begin(start, group)
        if all(self._nodes[node_id].safe for node_id in draft.touched) and self._recorder.behind_s < _AHEAD_S:
            self._write_soon(draft)
        else:
            await self._record(draft)
        for start in draft.starts:
            if start not in early:
                self._begin(start, group)
        if draft.stop is not None:
            self._stopped_why = self._stopped_why or "another node failed"
            self._help(group, self._stop_attempts(draft.stop.grace_s))
            for start in self._departure.release():
                self._inbox.put_nowait(Failed(start, self._explain_stop(start)))
        return False

    def _read(self, command: Command, draft: Draft) -> None:
        match command:
            case StartNode():
                self._start_or_hold(command, draft)
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
        self._write_soon(draft)
        await self._recorder.flush()

    def _write_soon(self, draft: Draft) -> None:
        if draft.blank:
            return
        progress, current = self._machine.progress, self._machine.current_node
        if progress != self._told_progress:
            self._told_progress = progress
            draft.note_progress(progress, current)
        _ = self._recorder.write_soon(draft.close(progress, current, self._clock.spent_s))

    async def _finish(self, draft: Draft, finish: Finish) -> None:
        await self._put_kept()
        await self._keeper.keep(draft)
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
        question = self._ask(finish.failure) if finish.failure is not None else None
        end = End(status=finish.status, result=result or None, failure=finish.failure, question=question)
        await self._recorder.finish(draft.close(progress, None, self._clock.spent_s, last), end)
        self._resources.telemetry.count_run(finish.status, duration_s)

    def _ask(self, failure: Failure) -> Question | None:
        node = self._nodes.get(failure.asks_about or "")
        if node is None:
            return None
        return Question(node_id=node.id, node_name=node.name, message=failure.message, hint=failure.hint)

    # --- attempts

    def _begin(self, start: StartNode, group: TaskGroup) -> None:
        waits = start.delay_s > 0
        if waits:
            self._turns[start.node_id] = start
        work = _wait(start) if waits else self._attempt(start)
        self._attempts[start.node_id] = group.create_task(self._report(start, work), name=start.node_id)

    async def _attempt(self, start: StartNode) -> Signal:
        node = self._nodes[start.node_id]
        try:
            for page, kept_by in start.restore.items():
                await self._checkpoints.restore(self._browser, page, kept_by)
                self._recorder.add_line("info", "The page was brought back from its checkpoint.", node.id)
        except BrowserFailure as failure:
            told = Failure(code=failure.code, message=failure.message, hint=failure.hint, node_id=node.id)
            return Failed(start, told, failure.retryable, begun=False)
        secrets = NodeSecrets(self._secrets, node, start.inputs)
        stage = AttemptStage(node, self._ground, secrets, since=self._since.pop(node.id, None))
        self._stages[node.id] = stage
        return await attempt(self._resources.catalogue, node, start, stage)

    async def _report(self, start: StartNode, work: Coroutine[Any, Any, Signal]) -> None:
        try:
            signal = await work
        except asyncio.CancelledError:
            if self._stopped_why is None:
                raise
            failure = self._explain_stop(start)
            begun = start.node_id in self._stages
            signal = Failed(start, ask_about(self._nodes[start.node_id], failure) if begun else failure)
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

    async def _watch_drain(self) -> None:
        await watch_drain(self._resources.drain, self._inbox)
        self._keeper.hurry()  # whoever follows the signals may be waiting for it

    async def _keep_writing(self) -> None:
        try:
            await self._recorder.keep_writing()
        except Fenced:
            self._inbox.put_nowait(LeaseLost())


async def _wait(start: StartNode) -> Signal:
    await asyncio.sleep(start.delay_s)
    return Due(start)
