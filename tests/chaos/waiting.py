"""Waiting for conditions that tell nobody."""

import asyncio
import time
from collections.abc import Awaitable, Callable

LOOK_S = 0.05


async def until(
    condition: Callable[[], bool] | Callable[[], Awaitable[bool]], what: str, patience_s: float = 60.0
) -> None:
    """Return as soon as it is so; `what` is said when it never is."""
    deadline = time.monotonic() + patience_s
    while True:
        found = condition()
        if found if isinstance(found, bool) else await found:
            return
        assert time.monotonic() < deadline, f"waited {patience_s:g} s in vain until {what}"
        await asyncio.sleep(LOOK_S)
