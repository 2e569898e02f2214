"""Who may run code now: so many at once, tenants in turn, and whoever waits can be called away at any time.

Belongs to one event loop; threads have no business here.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager


class Gate:
    """Places for runs.

    A place that becomes free goes to the tenant that holds the fewest, and among equals to the one that has waited for
    its turn the longest; within a tenant to whoever came first. A quarter of the places is left to tenants that hold
    none, so that one with many long runs keeps nobody else waiting for their end.
    """

    def __init__(self, places: int) -> None:
        """`places`: runs at once, of all tenants together."""
        self._free = places
        self._most = places - places // 4
        self._held: Counter[Hashable] = Counter()
        self._waiting: dict[Hashable, deque[asyncio.Future[None]]] = {}
        """By tenant, those whose turn is next first."""

    @asynccontextmanager
    async def hold_place(self, tenant: Hashable) -> AsyncIterator[None]:
        """A place, until the block is left. Cancelled while it waits, it leaves the queue at once."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tenant, deque()).append(turn)
        self._let_in()
        try:
            await turn
            yield
        finally:
            self._leave(tenant, turn)

    def _leave(self, tenant: Hashable, turn: "asyncio.Future[None]") -> None:
        if not turn.done() or turn.cancelled():
            self._forget(tenant, turn)
            return
        self._free += 1
        self._held -= Counter([tenant])  # keeps no zeros
        self._let_in()

    def _let_in(self) -> None:
        while self._free and (able := [tenant for tenant in self._waiting if self._held[tenant] < self._most]):
            tenant = min(able, key=lambda tenant: self._held[tenant])  # the first of them, of equals
            turn = self._take_first(tenant)
            if turn is not None:
                self._free -= 1
                self._held[tenant] += 1
                turn.set_result(None)

    def _take_first(self, tenant: Hashable) -> "asyncio.Future[None] | None":
        """The tenant's next turn, and the tenant goes behind all others; None where nobody waits for it any more."""
        queue = self._waiting.pop(tenant)
        while queue:
            turn = queue.popleft()
            if not turn.cancelled():
                if queue:
                    self._waiting[tenant] = queue
                return turn
        return None

    def _forget(self, tenant: Hashable, turn: "asyncio.Future[None]") -> None:
        queue = self._waiting.get(tenant)
        if queue is not None and turn in queue:
            queue.remove(turn)
            if not queue:
                del self._waiting[tenant]
