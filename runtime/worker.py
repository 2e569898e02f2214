"""The shell around runs: takes executions from the queue, performs each, and leaves in good order.

A worker holds nothing that another could not take over: leases expire, runs are fenced, steps are recorded. Browsers
and broken nodes end at this border; whatever else breaks goes back to the queue, counted, and never for ever.
"""

import os
import socket
from contextlib import ExitStack, closing
from datetime import UTC, datetime

import structlog
from uuid_utils.compat import uuid7

from contracts.errors import ApiError, Code
from contracts.execution import ExecutionStatus, Failure, FailureCode, StepStatus
from contracts.wiring.tracing import in_trace
from runtime.egress.policy import read_lists
from runtime.engine.commands import Finish
from runtime.engine.plan import Plan
from runtime.quarantine import Quarantine
from runtime.run.driver import Resources, RunDriver, Verdict
from runtime.run.events import end_step, tell_end, tell_step
from runtime.run.recovery import Archive, recover, to_record
from runtime.store.changes import Change, End, Fenced
from runtime.store.claims import Claimed, Suspected
from runtime.store.db import DatabaseAway
from runtime.store.queue import Entry, HandBack, Queue

log = structlog.get_logger()


class Worker:
    """Performs executions, several at once, until it is told to leave."""

    def __init__(self, queue: Queue, resources: Resources) -> None:
        self._queue = queue
        self._resources = resources
        self._quarantine = Quarantine(on_shut=queue.rest, on_open=queue.go_on)
        self.name = f"{socket.gethostname()}:{os.getpid()}:{uuid7().hex[-6:]}"

    async def work(self) -> None:
        """Take executions until `leave`; return when none is in this worker's hands any more."""
        log.info("worker ready", worker=self.name)
        try:
            await self._queue.work(self._perform)
        except DatabaseAway as error:  # only while leaving: until then the queue waits for its database
            log.warning("left without the database; the leases expire by themselves", reason=error.detail)
        log.info("worker gone", worker=self.name)

    def leave(self) -> None:
        """Take nothing more, and give back what is not done when the grace time is over."""
        self._queue.stop()
        self._resources.drain.begun.set()
        self._quarantine.leave()

    async def _perform(self, entry: Entry) -> None:
        """Perform one execution. Returning means that the entry has done its duty.

        Raises:
            HandBack: somebody else has to go on.
        """
        with structlog.contextvars.bound_contextvars(
            execution_id=str(entry.execution_id), tenant_id=str(entry.tenant_id)
        ):
            try:
                with self._quarantine.join():
                    await self._claim_and_play(entry)
            except Suspected:
                log.warning("it has lost workers before and begins alone")
                async with self._quarantine.alone():
                    await self._claim_and_play(entry, alone=True)

    async def _claim_and_play(self, entry: Entry, *, alone: bool = False) -> None:
        claimed = await self._resources.runs.claim(
            entry.tenant_id, entry.execution_id, self.name, entry.turn, alone=alone
        )
        if claimed is None:
            return
        with ExitStack() as stack:
            stack.enter_context(in_trace(claimed.trace_parent))
            stack.enter_context(structlog.contextvars.bound_contextvars(epoch=claimed.lease.epoch))
            self._resources.telemetry.count_losses(claimed.newly_lost)
            self._resources.telemetry.leases.inc()
            stack.callback(self._resources.telemetry.leases.dec)
            log.info("run begins", worker=self.name)
            verdict = await self._play(claimed)
            log.info("run left", verdict=verdict.name.lower())
        if verdict is Verdict.FENCED:
            self._resources.telemetry.count_fenced()
        if verdict is Verdict.HANDED_BACK:
            raise HandBack

    async def _play(self, claimed: Claimed) -> Verdict:
        if claimed.plan is None:
            return await self._bury(claimed, _NOTHING_TO_RUN)
        if claimed.lost_too_often:
            return await self._bury(claimed, _LOST_TOO_OFTEN, dead_letter=True)
        plan = Plan.model_validate(claimed.plan)
        resources = self._resources
        try:
            past = await recover(plan, claimed, Archive(resources.records, resources.folder, resources.seal))
        except ApiError as error:
            if error.code is not Code.NOT_FOUND:
                raise
            return await self._bury(claimed, _NOTHING_TO_RETRY)
        lease = claimed.lease
        policy = await resources.policies.find(lease.tenant_id)
        for domains in (plan.allowed_domains, claimed.trigger.get("allowed_domains")):
            policy = policy.narrow(read_lists(domains)) if domains else policy
        admitted = resources.egress.admit(lease.tenant_id, lease.execution_id, policy, claimed.moved_bytes)
        with closing(admitted) as permit:
            async with self._resources.pool.lease(permit) as browser:
                return await RunDriver(self._resources, claimed, plan, past, browser, permit).drive()

    async def _bury(self, claimed: Claimed, failure: Failure, *, dead_letter: bool = False) -> Verdict:
        """End an execution that can't go on, without touching what it was about to do."""
        now = datetime.now(UTC)
        in_flight = [to_record(row) for row in claimed.steps if row.status is StepStatus.RUNNING]
        ended = [end_step(step, StepStatus.FAILED, now, failure=failure) for step in in_flight]
        told = [event for step in ended for event in tell_step(claimed.lease.execution_id, step, now)]
        events = tell_end(
            claimed.lease.execution_id,
            Finish(ExecutionStatus.FAILED, {}, failure, 0, 0),
            {},
            progress=claimed.progress,
            spent=claimed.credits,
            duration_s=(now - claimed.started_at).total_seconds(),
            now=now,
        )
        end = End(
            status=ExecutionStatus.FAILED,
            failure=failure,
            dead_letter=[step.node_id for step in in_flight] if dead_letter else None,
            losses=claimed.losses,
        )
        try:
            await self._resources.runs.finish(claimed.lease, Change(events=[*told, *events], steps=ended), end)
        except Fenced:
            return Verdict.FENCED
        return Verdict.ENDED


_LOST_TOO_OFTEN = Failure(
    code=FailureCode.WORKER_LOST,
    message="Four workers were lost while they ran this execution; it is not tried again.",
    hint="Look at the nodes that were at work: a page that eats all memory is the usual reason.",
)
_NOTHING_TO_RUN = Failure(
    code=FailureCode.WORKFLOW_INVALID,
    message="There is no plan to run: the workflow's version is gone or was never valid.",
    hint="Validate the workflow and start it again.",
)
_NOTHING_TO_RETRY = Failure(
    code=FailureCode.NOT_FOUND,
    message="The execution that this one is a retry of is gone.",
    hint="Start the workflow anew.",
)
