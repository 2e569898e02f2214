"""Who performs beside whom in one worker (spec E10, poison guard).

An execution that takes its worker down takes its neighbours down with it, each time anew, and they would be counted
lost as often as it. So one that has lost two workers, the last just now, is suspected, and begins alone: what runs is
waited for, and nothing else is taken meanwhile. Whoever meets the closed door goes back to the queue, for another
worker or a little later. Most suspects are innocent: both waits are short, so that nobody is held up by them for long.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final

from runtime.store.queue import HandBack

WAIT_S: Final = 20.0
"""How long a suspect waits at most for what runs, and then at most keeps others out."""
AGAIN_S: Final = 1.0
"""After which an entry that has met the closed door may be taken again."""


class Quarantine:
    """The door of one worker's stage."""

    def __init__(self, on_shut: Callable[[], None], on_open: Callable[[], None], wait_s: float = WAIT_S) -> None:
        """`on_shut`: from now on nothing can be taken from the queue; `on_open`: now it can again."""
        self._on_shut = on_shut
        self._on_open = on_open
        self._wait_s = wait_s
        self._inside = 0
        self._changed = asyncio.Event()
        """Set when somebody has left, or the worker is about to."""
        self._suspect: object | None = None
        """Who keeps the door shut."""
        self._leaving = False

    @contextmanager
    def join(self) -> Iterator[None]:
        """Perform beside others. Raises HandBack: a suspect is to be alone here, or the worker leaves."""
        self._refuse()
        with self._counted():
            yield

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Perform alone at first, as far as the waits allow. Raises HandBack, as `join`."""
        self._refuse()
        suspect = self._suspect = object()
        self._on_shut()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._wait_s):
                    await self._until_empty()
            if self._leaving:
                raise HandBack
            with self._counted():
                opening = asyncio.get_running_loop().call_later(self._wait_s, self._open, suspect)
                try:
                    yield
                finally:
                    opening.cancel()
        finally:
            self._open(suspect)

    def leave(self) -> None:
        """The worker leaves: nobody begins here any more."""
        self._leaving = True
        self._changed.set()

    def _refuse(self) -> None:
        if self._leaving:
            raise HandBack
        if self._suspect is not None:
            raise HandBack(AGAIN_S)

    def _open(self, suspect: object) -> None:
        if self._suspect is suspect:  # else another one keeps it shut by now
            self._suspect = None
            self._on_open()

    async def _until_empty(self) -> None:
        while self._inside and not self._leaving:
            self._changed.clear()
            await self._changed.wait()

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1
            self._changed.set()
