"""Things that tests of the store and the worker need made up."""

from datetime import UTC, datetime
from typing import Any

from uuid_utils.compat import uuid7

from contracts.events import Event, LogEntry, Logged
from contracts.execution import StepStatus
from contracts.model import ExecutionId, IntentId, StepId
from runtime.store.changes import StepRecord
from runtime.store.executions import NewExecution


def make_execution(**changes: Any) -> NewExecution:
    """An execution that nobody has submitted yet."""
    values: dict[str, Any] = {
        "execution_id": ExecutionId(uuid7()),
        "intent_id": IntentId(uuid7()),
        "session_id": None,
        "user_id": None,
        "realm": "browser",
        "intent": "visit",
        "parameters": {"url": "http://shop.test/"},
        "name": "Visit a page",
        "submitted_at": datetime.now(UTC),
        "plan": {"nodes": []},
    }
    return NewExecution(**values | changes)


def make_log(execution_id: ExecutionId, message: str) -> Event:
    """A log event without a number."""
    now = datetime.now(UTC)
    entry = LogEntry(level="info", message=message, node_id=None, timestamp=now)
    return Logged(execution_id=execution_id, seq=0, timestamp=now, log=entry)


def make_step(node_id: str, status: StepStatus, **changes: Any) -> StepRecord:
    """The first attempt at a node."""
    values: dict[str, Any] = {
        "step_id": StepId(uuid7()),
        "node_id": node_id,
        "node_type": "delay",
        "phase": 1,
        "attempt": 1,
        "epoch": 1,
        "status": status,
    }
    return StepRecord(**values | changes)
