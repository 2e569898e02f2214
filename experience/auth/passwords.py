"""Password hashing: argon2id off the event loop, never more than two at a time, the same work for everybody."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import argon2
from argon2.exceptions import InvalidHashError, VerificationError

from contracts.errors import ApiError, Code

# OWASP's parameters: 19 MiB, two passes, one lane
MEMORY_KIB = 19 * 1024
PASSES = 2
LANES = 1
THREADS = 2
LONGEST_QUEUE = 60
"""Who comes when so many wait is sent away: at about 0.1 s each they would time out anyway."""
RETRY_AFTER_S = 3

ResultT = TypeVar("ResultT")


class PasswordHasher:
    """Hashes and checks passwords. Close it when the process ends.

    Args:
        passes: over the memory.
        memory_kib: per hash.
    """

    def __init__(self, *, passes: int = PASSES, memory_kib: int = MEMORY_KIB) -> None:
        self._argon = argon2.PasswordHasher(passes, memory_kib, LANES)
        # a hash of nothing in particular: verifying against it takes as long as against a real one
        self._nobody = f"$argon2id$v=19$m={memory_kib},t={passes},p={LANES}$c3RhZ2Vkb29yLm5vYm9keQ${'A' * 43}"
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="argon2")
        self._slots = asyncio.Semaphore(THREADS)
        self._waiting = 0

    def close(self) -> None:
        """Let the threads go; what waits is dropped."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def hash(self, password: str) -> str:
        """The encoded hash to store; raises ApiError(RATE_LIMITED) when too many wait."""
        return await self._run(lambda: self._argon.hash(password))

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Whether the password fits; None (no such user) costs the same and never fits."""
        fits = await self._run(lambda: self._fits(password_hash or self._nobody, password))
        return fits and password_hash is not None

    def is_outdated(self, password_hash: str) -> bool:
        """Whether it was made with other parameters than today's."""
        return self._argon.check_needs_rehash(password_hash)

    def _fits(self, password_hash: str, password: str) -> bool:
        try:
            return self._argon.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, work: Callable[[], ResultT]) -> ResultT:
        if self._waiting >= LONGEST_QUEUE:
            raise ApiError(Code.RATE_LIMITED, "Too many people sign in at this moment.", retry_after=RETRY_AFTER_S)
        self._waiting += 1
        try:
            async with self._slots:
                return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1
