"""Who performs beside whom in one worker (spec E10, poison guard).

An execution that takes its worker down takes its neighbours down with it, each time anew, and they would be counted
lost as often as it. So one that has lost two workers is suspected, and begins alone: what runs is waited for, what
comes waits. Most are innocent, and are proven so by going on. Waits are bounded, so nobody is held up for long by a
suspect that does nothing wrong.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final

WAIT_S: Final = 60.0
"""How long a suspect waits for what runs beside it, and at most keeps others out once it has begun."""


class Quarantine:
    """The door of one worker's stage."""

    def __init__(self, wait_s: float = WAIT_S) -> None:
        self._wait_s = wait_s
        self._inside = 0
        self._left = asyncio.Event()
        """Set when somebody has left."""
        self._open = asyncio.Event()
        self._open.set()
        self._suspects = asyncio.Lock()
        self._lifted = False

    @asynccontextmanager
    async def join(self) -> AsyncIterator[None]:
        """Perform beside others, once no suspect wants to be alone."""
        await self._open.wait()
        with self._counted():
            yield

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Perform alone, as far as the waits allow."""
        async with self._suspects:
            if not self._lifted:
                self._open.clear()
            try:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._wait_s):
                        await self._until_empty()
                opening = asyncio.get_running_loop().call_later(self._wait_s, self._open.set)
                try:
                    with self._counted():
                        yield
                finally:
                    opening.cancel()
            finally:
                self._open.set()

    def lift(self) -> None:
        """The worker leaves: nobody waits for anybody any more."""
        self._lifted = True
        self._open.set()
        self._left.set()

    async def _until_empty(self) -> None:
        while self._inside and not self._lifted:
            self._left.clear()
            await self._left.wait()

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1
            self._left.set()
