"""Sending to one WebSocket client of many without waiting for it, and closing with a reason that programs can read."""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from types import coroutine
from typing import Any, cast

from pydantic_core import to_json
from starlette.types import Message, Send

from contracts.frames import Close

_REASON_LIMIT = 123
"""RFC 6455 5.5: a control frame carries at most 125 bytes, two of them are the code."""


def close_reason(close: Close, detail: str = "", *, renewable: bool = False) -> str:
    """The short JSON beside a close code: `{"code":…,"retry":…}`, with `detail` where it fits.

    `renewable` as of ApiError: who comes back with another credential is let in.
    """
    said: dict[str, Any] = {"code": close.name.lower(), "retry": close.retry or renewable}
    longer = to_json(said | {"detail": detail})
    return (longer if detail and len(longer) <= _REASON_LIMIT else to_json(said)).decode()


class Outlet:
    """Sends to one client without ever waiting for it.

    A message goes to the connection in the caller's own step as long as the connection takes it: no queue, no task, no
    switch, so an idle socket costs nothing and fan-out costs what a bare send costs (a queue and a task per socket
    measured 1.3 to 1.7 times that). When the connection's buffer is full, that one send stays suspended: a task sees it
    through, the outlet is `busy` until then, and calls `ready` afterwards.
    """

    __slots__ = ("_closing", "_finishing", "_send", "_tasks", "busy", "closed", "code", "ready")

    def __init__(self, send: Send, tasks: asyncio.TaskGroup) -> None:
        self._send = send
        self._tasks = tasks
        self._closing: Message | None = None
        self._finishing: asyncio.Task[None] | None = None
        self.busy = False
        self.closed = False
        """Nothing can be sent any more: closed by us, or the peer is away."""
        self.code: int | None = None
        """With what we closed it."""
        self.ready: Callable[[], None] | None = None

    def write(self, text: str) -> None:
        """Send a text; only while neither `busy` nor `closed`."""
        self._begin({"type": "websocket.send", "text": text})

    def close(self, close: Close, detail: str = "", *, renewable: bool = False) -> None:
        """Close behind what has been written. The reader of the socket then finds it gone."""
        if self.closed:
            return
        self.closed = True
        self.code = int(close)
        reason = close_reason(close, detail, renewable=renewable)
        message = {"type": "websocket.close", "code": self.code, "reason": reason}
        if self.busy:
            self._closing = message
        else:
            self._begin(message)

    async def settle(self, timeout_s: float | None = None) -> bool:
        """Wait until the connection has taken what was written; whether it did in time."""
        if self._finishing is None:
            return True
        done, _ = await asyncio.wait([self._finishing], timeout=timeout_s)
        return bool(done)

    def _begin(self, message: Message) -> None:
        sending = cast("Coroutine[Any, Any, None]", self._send(message))
        try:
            awaited = sending.send(None)
        except StopIteration:
            return
        except PEER_AWAY:
            self.closed = True
            return
        finishing = self._finish(sending, awaited)
        try:
            self._finishing = self._tasks.create_task(finishing)
        except RuntimeError:  # the socket is ending
            finishing.close()
            sending.close()
            self.closed = True
        else:
            self.busy = True

    async def _finish(self, sending: Coroutine[Any, Any, None], awaited: Any) -> None:
        try:
            await _resume(sending, awaited)
            if self._closing is not None:
                await self._send(self._closing)
        except PEER_AWAY:
            self.closed = True
        self.busy = False
        self._finishing = None
        if self.ready is not None and not self.closed:
            self.ready()


PEER_AWAY = (OSError, RuntimeError)
"""What an ASGI `send` raises for a peer that is away: uvicorn's ClientDisconnected is an OSError, and a message after
the close is refused with RuntimeError."""


@coroutine
def _resume(begun: Coroutine[Any, Any, None], awaited: Any) -> Generator[Any, None, None]:
    """Go on with a coroutine that was begun by hand and stopped to wait for `awaited`."""
    while True:
        thrown: BaseException | None = None
        try:
            yield awaited
        except BaseException as error:  # noqa: BLE001 — a cancellation belongs to the coroutine, as in `await`
            thrown = error
        try:
            awaited = begun.send(None) if thrown is None else begun.throw(thrown)
        except StopIteration:
            return
