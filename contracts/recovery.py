"""Going on after a stop: pause, retry, a person's answer, and the executions that are not tried again by themselves."""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import StringConstraints, model_validator

from contracts.execution import Answer, Failure
from contracts.model import (
    Contract,
    Cursor,
    ExecutionId,
    IdempotencyKey,
    Instant,
    IntentId,
    Limit,
    NodeId,
    UserId,
    WorkflowId,
)


class PauseExecution(Contract):
    execution_id: ExecutionId
    reason: Annotated[str, StringConstraints(max_length=500)] = ""


class RetryStart(StrEnum):
    """Where a retry of a finished execution begins; what was done before that point is taken over."""

    FAILED = "failed"
    """At the nodes that failed or were not reached."""
    NODE = "node"
    """At `node_id` and whatever comes after it; naming it is a person's word for these, and for no others."""
    BEGINNING = "beginning"


class Retry(Contract):
    """How an execution is done once more, as a new execution that takes over what stands."""

    start_at: RetryStart = RetryStart.FAILED
    node_id: NodeId | None = None
    """With `start_at: node`."""
    version: Literal["same", "latest"] = "same"
    """Of the workflow: the version that ran, or the latest one. A node that has changed in between runs again."""
    answers: dict[NodeId, Answer] = {}
    """For nodes that were interrupted and must not run twice by themselves."""

    @model_validator(mode="after")
    def _name_the_node(self) -> Self:
        if (self.start_at is RetryStart.NODE) is not (self.node_id is not None):
            raise ValueError("`node_id` goes with `start_at`: `node`, and only with it")
        return self


class RetryExecution(Retry):
    execution_id: ExecutionId
    idempotency_key: IdempotencyKey | None = None


class AnswerExecution(Contract):
    """Answers an execution's open question and goes on from there, as a new execution."""

    execution_id: ExecutionId
    answer: Answer
    idempotency_key: IdempotencyKey | None = None


class AnswerIntent(Contract):
    """As AnswerExecution, for the execution of an intent."""

    intent_id: IntentId
    answer: Answer
    idempotency_key: IdempotencyKey | None = None


class RunRecord(Contract):
    """One leased attempt at an execution."""

    epoch: int
    worker: str
    started_at: Instant
    ended_at: Instant | None
    outcome: str | None
    """finished | handed_back | paused | lost; null while it goes on."""


class DeadLetter(Contract):
    """An execution that took its workers down with it and is not tried again by itself."""

    execution_id: ExecutionId
    name: str
    workflow_id: WorkflowId | None
    workflow_version: int | None
    failure: Failure
    losses: int
    """Workers that were lost in it."""
    died_at: Instant
    resolution: Literal["retried", "discarded"] | None
    resolved_at: Instant | None
    resolved_by: UserId | None
    retried_as: ExecutionId | None


class DeadLetterDetail(DeadLetter):
    """With what is needed to find the reason."""

    runs: list[RunRecord]
    in_flight: list[str]
    """Nodes that were at work when the last worker was lost: the suspects."""


class ListDeadLetters(Contract):
    resolved: bool = False
    """Those that were retried or discarded, in place of those that wait for a decision."""
    cursor: Cursor | None = None
    limit: Limit = 50


class DiscardDeadLetter(Contract):
    execution_id: ExecutionId
    reason: Annotated[str, StringConstraints(max_length=500)] = ""


class RetryDeadLetter(Contract):
    """Goes on from the nodes that did not finish, as a new execution."""

    execution_id: ExecutionId
    answers: dict[NodeId, Answer] = {}
    idempotency_key: IdempotencyKey | None = None
