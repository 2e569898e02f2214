"""The API guide's message shapes, pinned; and what each dialect leaves out."""

import json
from datetime import UTC, datetime
from typing import Any, get_args
from uuid import UUID

import pytest

from contracts.events import (
    EVENT,
    Cancelled,
    Completed,
    CompletionResult,
    Event,
    Failed,
    LogEntry,
    Logged,
    NodeStateData,
    NodeUpdated,
    Output,
    StatusChanged,
    StatusData,
    Usage,
)
from contracts.execution import ExecutionStatus, StepStatus
from contracts.frames import GuideFrame, Ping
from contracts.model import ExecutionId
from experience.realtime.dialects import GUIDE, NATIVE

ID = ExecutionId(UUID("0193a1f0-0000-7000-8000-000000000001"))
AT = datetime.fromtimestamp(1704067200, UTC)
AT_MS = datetime(2024, 1, 1, 0, 0, 0, 123_000, tzinfo=UTC)


def guide(event: Event) -> Any:
    text = GUIDE.render(event)
    return None if text is None else json.loads(text)


def of_status(status: ExecutionStatus, reason: str | None = None) -> StatusChanged:
    data = StatusData(progress=0.5, current_node="node-2", reason=reason)
    return StatusChanged(execution_id=ID, seq=2, timestamp=AT_MS, status=status, data=data)


def of_node(status: StepStatus, **changes: Any) -> NodeUpdated:
    fields = {"output": {"result": "Hello, World!"}, "error": None, "started_at": AT, "completed_at": AT} | changes
    state = NodeStateData(status=status, **fields)
    return NodeUpdated(execution_id=ID, seq=3, timestamp=AT, node_id="node-1", node_state=state)


def test_status_is_the_guides() -> None:
    assert guide(of_status(ExecutionStatus.RUNNING)) == {
        "type": "status",
        "execution_id": str(ID),
        "status": "running",
        "data": {"progress": 0.5, "current_node": "node-2"},
        "timestamp": "1704067200.123",
    }


def test_node_update_is_the_guides() -> None:
    assert guide(of_node(StepStatus.SUCCESS)) == {
        "type": "node_update",
        "execution_id": str(ID),
        "node_id": "node-1",
        "node_state": {
            "status": "completed",
            "output": {"result": "Hello, World!"},
            "error": None,
            "started_at": "1704067200.0",
            "completed_at": "1704067200.0",
        },
        "timestamp": "1704067200.0",
    }


def test_log_is_the_guides() -> None:
    entry = LogEntry(level="info", message="Starting node execution", node_id="node-1", timestamp=AT)
    assert guide(Logged(execution_id=ID, seq=4, timestamp=AT_MS, log=entry)) == {
        "type": "log",
        "execution_id": str(ID),
        "log": {
            "level": "info",
            "message": "Starting node execution",
            "node_id": "node-1",
            "timestamp": "1704067200.0",
        },
        "timestamp": "1704067200.123",
    }


def test_completion_is_the_guides() -> None:
    result = CompletionResult(output={"final_result": "done"}, nodes_completed=3, nodes_failed=0, duration=45.2)
    assert guide(Completed(execution_id=ID, seq=5, timestamp=AT, result=result)) == {
        "type": "completion",
        "execution_id": str(ID),
        "result": {
            "status": "completed",
            "output": {"final_result": "done"},
            "nodes_completed": 3,
            "nodes_failed": 0,
            "duration": 45.2,
        },
        "timestamp": "1704067200.0",
    }


def test_error_is_the_guides() -> None:
    error = "Node 'node-2' failed: API key invalid"
    assert guide(Failed(execution_id=ID, seq=5, timestamp=AT, error=error)) == {
        "type": "error",
        "execution_id": str(ID),
        "error": error,
        "timestamp": "1704067200.0",
    }


@pytest.mark.parametrize(("reason", "error"), [("", "Cancelled"), ("by Ada", "Cancelled: by Ada")])
def test_a_cancelled_execution_ends_with_an_error_message(reason: str, error: str) -> None:
    message = guide(Cancelled(execution_id=ID, seq=5, timestamp=AT, reason=reason))
    assert (message["type"], message["error"]) == ("error", error)


@pytest.mark.parametrize(
    ("status", "shown", "state"),
    [
        ("pending", "pending", None),
        ("running", "running", None),
        ("paused", "running", "paused"),
        ("waiting", "running", "waiting"),
        ("completed", "completed", None),
        ("failed", "failed", None),
        ("cancelled", "failed", "cancelled"),
        ("budget_exceeded", "failed", "budget_exceeded"),
    ],
)
def test_an_execution_has_four_states_in_the_guide(status: str, shown: str, state: str | None) -> None:
    message = guide(of_status(ExecutionStatus(status), "why"))
    assert message["status"] == shown
    expected = {"progress": 0.5, "current_node": "node-2", "reason": "why"} | ({"state": state} if state else {})
    assert message["data"] == expected


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        (StepStatus.QUEUED, "pending"),
        (StepStatus.RUNNING, "running"),
        (StepStatus.RETRYING, "running"),
        (StepStatus.SUCCESS, "completed"),
        (StepStatus.FAILED, "failed"),
        (StepStatus.SKIPPED, "completed"),
    ],
)
def test_a_node_has_four_states_in_the_guide(status: StepStatus, shown: str) -> None:
    state = guide(of_node(status))["node_state"]
    assert state["status"] == shown
    assert (state["output"] is None) == (status is StepStatus.SKIPPED)


def test_the_guide_knows_nothing_else_and_the_native_dialect_everything() -> None:
    others: list[Event] = [
        Usage(execution_id=ID, seq=6, timestamp=AT, credits=1, usd="0.01"),
        Output(execution_id=ID, seq=7, timestamp=AT, node_id="a", name="b", value=None),
    ]
    for event in others:
        assert GUIDE.render(event) is None
        assert EVENT.validate_json(NATIVE.render(event) or "") == event
    ping = Ping(ts=1.0, seq=2)
    assert GUIDE.say(ping) is None
    assert json.loads(NATIVE.say(ping) or "") == {"type": "ping", "ts": 1.0, "seq": 2}
    assert GUIDE.pong == '{"type":"pong"}'


def test_the_guides_messages_are_the_declared_ones() -> None:
    declared = {member.model_fields["type"].default for member in get_args(get_args(GuideFrame)[0])}
    assert declared == {"status", "node_update", "log", "completion", "error", "pong"}
