"""One row for each call of a tool (spec T1), whatever comes of it."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from runtime.browser.failure import BrowserFailure
from runtime.node import NodeFailure, Stage
from runtime.store.tool_events import ToolUse

MAX_WHAT: Final = 500


@dataclass
class Moved:
    """Bytes, as far as they are known; the caller fills them in."""

    sent: int = 0
    received: int = 0


@contextmanager
def record_use(stage: Stage, tool: str, what: str) -> Iterator[Moved]:
    """Note a call with its outcome when the block is left."""
    moved, at, began, outcome = Moved(), datetime.now(UTC), time.monotonic(), "internal"
    try:
        yield moved
        outcome = "ok"
    except (NodeFailure, BrowserFailure) as failure:
        outcome = failure.code.value
        raise
    except asyncio.CancelledError:
        outcome = "cancelled"  # also by the node's own deadline
        raise
    finally:
        seconds = time.monotonic() - began
        stage.note_tool(ToolUse(stage.node_id, tool, what[:MAX_WHAT], outcome, moved.sent, moved.received, seconds, at))
