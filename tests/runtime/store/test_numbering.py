"""An event gets its number in its text, and nothing that somebody wrote is taken for it."""

import json
from datetime import UTC, datetime
from typing import get_args
from uuid import uuid4

import pytest

from contracts.events import Event, LogEntry, Logged
from contracts.model import ExecutionId
from runtime.store.events import _render

KINDS = get_args(get_args(Event.__value__ if hasattr(Event, "__value__") else Event)[0])


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_event_begins_with_its_own_fields(kind: type[Logged]) -> None:
    assert list(kind.model_fields)[:2] == ["execution_id", "seq"]


@pytest.mark.parametrize("drafted", [0, 7])
def test_only_the_events_own_number_is_replaced(drafted: int) -> None:
    said = f'a line that says "seq":{drafted}, itself'
    entry = LogEntry(level="info", message=said, node_id=None, timestamp=datetime.now(UTC))
    draft = Logged(execution_id=ExecutionId(uuid4()), seq=drafted, timestamp=datetime.now(UTC), log=entry)
    written = json.loads(_render(draft, 42))
    assert (written["seq"], written["log"]["message"]) == (42, said)
    assert written == json.loads(draft.model_copy(update={"seq": 42}).model_dump_json())
