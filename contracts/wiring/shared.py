"""Identical calls under way at the same moment share one."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar

ResT = TypeVar("ResT")


class SharedCalls:
    """Runs a call once for everybody who asks for the same thing while it is under way.

    Nothing is kept: an answer is given only to those who were waiting when it came, so nobody sees an older state than
    a call of one's own could have shown, but for the time that this call has been on its way already.
    """

    def __init__(self) -> None:
        self._running: dict[Hashable, asyncio.Future[Any]] = {}

    async def share(self, key: Hashable, call: Callable[[], Awaitable[ResT]]) -> ResT:
        """The result of `call`, or of the one that runs under `key` right now; failures are shared too.

        The first to ask runs the call in its own task, under its own deadline. When it is cancelled there, the next in
        line runs it anew: nobody loses an answer because somebody else went away.
        """
        while (running := self._running.get(key)) is not None:
            await asyncio.wait([running])  # unlike awaiting the future itself, this leaves it alone when cancelled
            if not running.cancelled():
                result: ResT = running.result()
                return result
        return await self._lead(key, call)

    async def _lead(self, key: Hashable, call: Callable[[], Awaitable[ResT]]) -> ResT:
        future: asyncio.Future[ResT] = asyncio.get_running_loop().create_future()
        self._running[key] = future
        try:
            result = await call()
        except Exception as error:
            future.set_exception(error)
            future.exception()  # seen: there may be nobody else waiting for it
            raise
        else:
            future.set_result(result)
            return result
        finally:
            del self._running[key]
            future.cancel()  # does nothing to one that is done
