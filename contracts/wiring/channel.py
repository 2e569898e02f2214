"""WebSocket channels, the server's end: declaration + handler → Starlette route, and what a handler does with a socket.

A handshake passes: request id and forged headers (Entrance) → guard → parser → accept → handler. What goes wrong is
told by accepting and closing with a readable code, because a browser can't see an HTTP refusal; only a wrong Origin,
and everything on a private channel, is refused before the handshake. The client's end is in wiring/subscriber.py.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast
from urllib.parse import urlencode

import structlog
from pydantic import TypeAdapter, ValidationError
from starlette.datastructures import QueryParams
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import Receive, Scope, Send

from contracts.declare import Channel, channels
from contracts.errors import ApiError, Code, explain_validation
from contracts.frames import Close
from contracts.model import Contract
from contracts.wiring.outlet import PEER_AWAY, Outlet, close_reason
from contracts.wiring.server import CLOSE_CODE, Envelope, problem_response

log = structlog.get_logger()

OpenT = TypeVar("OpenT", bound=Contract)
CallerT = TypeVar("CallerT")

SUBPROTOCOL = "stagedoor"
"""What a client offers beside its ticket; the answer names this one, so that no credential is sent back."""
FRAME_LIMIT = 64 * 1_024
"""Bytes a client's message may have where the channel says nothing else."""
_GUARD_S = 10.0
_CLOSE_S = 5.0
_KEEPALIVE = "stagedoor.keepalive"


@dataclass(frozen=True, slots=True)
class Keepalive:
    """The protocol's own ping: how often, and how long its pong may take before the peer counts as dead. Seconds."""

    interval_s: float
    timeout_s: float


class Gone(Exception):  # noqa: N818 — not an error: clients leave
    """The peer is away; nothing more can be sent or read. `code` is how it closed, 1006 where it did not."""

    def __init__(self, code: int = 1006) -> None:
        super().__init__(code)
        self.code = code


@dataclass(slots=True, kw_only=True)
class Opening(Envelope):
    """What is known of a handshake besides its typed fields."""

    subprotocols: Sequence[str]
    token: str | None
    """The credential in the query, for clients that can send none elsewhere."""


Guard = Callable[[Opening, Channel[Any, Any, Any]], Awaitable[CallerT]]


class Socket(Generic[CallerT]):
    """An accepted WebSocket.

    `read` and `outlet` are for whoever serves many at once; `send` is for a writer that may wait for its reader.
    Everything started in `tasks` ends with the socket.
    """

    __slots__ = ("_receive", "_send", "caller", "outlet", "tasks")

    def __init__(self, caller: CallerT, tasks: asyncio.TaskGroup, receive: Receive, send: Send) -> None:
        self.caller = caller
        self.tasks = tasks
        self.outlet = Outlet(send, tasks)
        self._receive = receive
        self._send = send

    async def read(self) -> str:
        """The client's next message. Keep reading: while a message lies unread, not even pongs are looked at.

        Raises:
            Gone: there will be none.
            ApiError: MALFORMED for binary, TOO_LARGE beyond FRAME_LIMIT.
        """
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            raise Gone(message.get("code") or 1005)
        text: str | None = message.get("text")
        if text is None:
            raise ApiError(Code.MALFORMED, "Frames are JSON texts, not binary.")
        if len(text) > FRAME_LIMIT:
            raise ApiError(Code.TOO_LARGE, f"A frame may have {FRAME_LIMIT} characters.")
        return text

    async def send(self, text: str) -> None:
        """Send, waiting for as long as the peer takes to make room.

        Raises:
            Gone: the peer is away.
        """
        try:
            await self._send({"type": "websocket.send", "text": text})
        except PEER_AWAY as error:
            raise Gone from error


Handler = Callable[[Socket[CallerT], OpenT], Awaitable[None]]


class Channels(Generic[CallerT]):
    """Binds handlers to the WebSockets of one API class.

    Args:
        api: where they are declared.
        guard: who opens it; raises ApiError, CROSS_SITE for a page of another origin.
        private: refuse over HTTP whatever is wrong, since no browser is meant to come here.
    """

    def __init__(self, api: type[Any], guard: Guard[CallerT], *, private: bool = False) -> None:
        self._api = api
        self._guard = guard
        self._private = private
        self._bound: dict[int, tuple[Channel[Any, Any, Any], BaseRoute]] = {}

    def on(
        self,
        channel: Channel[OpenT, Any, Any],
        handler: Handler[CallerT, OpenT],
        *,
        keepalive: Keepalive | None = None,
    ) -> None:
        """Serve `channel` with `handler`; the type checker holds the handler to the declaration.

        Args:
            channel: what is declared.
            handler: who serves it.
            keepalive: another protocol ping than the server's own.

        Raises:
            TypeError: the channel is served already.
        """
        if id(channel) in self._bound:
            raise TypeError(f"{channel.path} is served twice")
        served = cast("Handler[CallerT, Contract]", handler)
        entry = _Entry(channel, self._guard, served, private=self._private, keepalive=keepalive)
        # an ASGI callable and not a function: Starlette would wrap that in a session of its own
        self._bound[id(channel)] = (channel, WebSocketRoute(channel.path, cast("Callable[..., Any]", entry)))

    def routes(self) -> list[BaseRoute]:
        """One route per channel; public ones also say over plain HTTP that they are WebSockets.

        Raises:
            TypeError: a declared channel has no handler, or a handler serves what the API does not declare.
        """
        declared = {id(channel): name for name, channel in channels(self._api)}
        unserved = [name for key, name in declared.items() if key not in self._bound]
        foreign = [channel.path for key, (channel, _) in self._bound.items() if key not in declared]
        if unserved or foreign:
            raise TypeError(f"{self._api.__name__}: unserved {unserved}, not declared {foreign}")
        spoken = [route for _, route in self._bound.values()]
        return spoken if self._private else [*spoken, *(_plain_route(channel) for channel, _ in self._bound.values())]


class _Over(Exception):  # noqa: N818 — the documented way to end a task group with its tasks
    pass


class _Entry:
    """One channel as an ASGI application."""

    def __init__(
        self,
        channel: Channel[Any, Any, Any],
        guard: Guard[Any],
        handler: Handler[Any, Contract],
        *,
        private: bool,
        keepalive: Keepalive | None,
    ) -> None:
        self._keepalive = keepalive
        self._channel = channel
        self._guard = guard
        self._handler = handler
        self._private = private

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        query = QueryParams(scope["query_string"])
        opening = _read_opening(scope, query)
        if (await receive())["type"] != "websocket.connect":
            return
        try:
            async with asyncio.timeout(_GUARD_S):
                caller = await self._guard(opening, self._channel)
            opened = _parse_open(self._channel, scope["path_params"], query)
        except ApiError as error:
            await self._refuse(error, opening, scope, receive, send)
        except TimeoutError:
            late = ApiError(Code.TIMEOUT, f"Not let in within {_GUARD_S:g} seconds.")
            await self._refuse(late, opening, scope, receive, send)
        except Exception:
            log.exception("guard failed", channel=self._channel.path)
            failed = ApiError(Code.INTERNAL, "Something failed that should not have.")
            await self._refuse(failed, opening, scope, receive, send)
        else:
            if self._keepalive is not None:
                scope["extensions"][_KEEPALIVE] = self._keepalive
            await _accept(opening, send)
            scope["state"][CLOSE_CODE] = await self._serve(caller, opened, receive, send)

    async def _refuse(self, error: ApiError, opening: Opening, scope: Scope, receive: Receive, send: Send) -> None:
        if self._private or error.code is Code.CROSS_SITE:
            await problem_response(opening.request_id, error)(scope, receive, send)
            return
        await _accept(opening, send)
        close = close_for(error.code)
        scope["state"][CLOSE_CODE] = int(close)
        await _close(send, close, close_reason(close, error.detail, renewable=error.renewable))

    async def _serve(self, caller: Any, opened: Contract, receive: Receive, send: Send) -> int:
        """Returns how it was closed: by us, otherwise by the peer."""
        code = int(Close.INTERNAL)
        try:
            async with asyncio.TaskGroup() as tasks:
                code = await self._handle(Socket(caller, tasks, receive, send), opened)
                raise _Over  # noqa: TRY301 — see _Over
        except* _Over:
            pass
        except* Exception:
            log.exception("a socket's task failed", channel=self._channel.path)
            await _close(send, Close.INTERNAL, close_reason(Close.INTERNAL))
        return code

    async def _handle(self, socket: Socket[Any], opened: Contract) -> int:
        try:
            await self._handler(socket, opened)
        except Gone as gone:
            return socket.outlet.code or gone.code
        except ApiError as error:
            socket.outlet.close(close_for(error.code), error.detail, renewable=error.renewable)
        except Exception:
            log.exception("socket handler failed", channel=self._channel.path)
            socket.outlet.close(Close.INTERNAL)
        else:
            socket.outlet.close(Close.DONE)
        await socket.outlet.settle(_CLOSE_S)
        return socket.outlet.code or int(Close.INTERNAL)


def _plain_route(channel: Channel[Any, Any, Any]) -> Route:
    async def answer(request: Request) -> Response:
        detail = f"{request.url.path} is a WebSocket, and this request did not ask to upgrade to one."
        hint = "Open it as a WebSocket; if you did, a proxy on the way has dropped the Upgrade header."
        return problem_response(request.scope["state"]["request_id"], ApiError(Code.NOT_ACCEPTABLE, detail, hint))

    route = Route(channel.path, answer)
    route.methods = None
    return route


async def _accept(opening: Opening, send: Send) -> None:
    offered = opening.subprotocols
    # a browser gives up when none of its offers is taken; a ticket offered alone is spent by now, so naming it is safe
    chosen = SUBPROTOCOL if SUBPROTOCOL in offered else next(iter(offered), None)
    await send({"type": "websocket.accept", "subprotocol": chosen, "headers": []})


async def _close(send: Send, close: Close, reason: str) -> None:
    try:
        async with asyncio.timeout(_CLOSE_S):
            await send({"type": "websocket.close", "code": int(close), "reason": reason})
    except (*PEER_AWAY, TimeoutError):
        return  # away already, or not taking anything any more


def _read_opening(scope: Scope, query: QueryParams) -> Opening:
    connection = HTTPConnection(scope)
    opening = Opening(
        request_id=scope["state"]["request_id"],
        address=connection.client.host if connection.client else "",
        method="GET",
        path=scope["path"],
        headers=connection.headers,
        cookies=connection.cookies,
        subprotocols=scope["subprotocols"],
        token=query.get("token"),
    )
    if opening.token is not None:
        # the very dictionary that the server logs from when the handshake is done
        kept = [(name, "redacted" if name == "token" else value) for name, value in query.multi_items()]
        scope["query_string"] = urlencode(kept).encode("ascii")
    return opening


def _parse_open(channel: Channel[OpenT, Any, Any], path: Mapping[str, str], query: QueryParams) -> OpenT:
    fields = dict(query)
    known = channel.open.model_fields.keys() - set(channel.path_fields)
    for name in fields:
        if name not in known:
            raise ApiError(Code.INVALID, f"{name[:40]}: known here are {', '.join(sorted(known))}.")
        if len(query.getlist(name)) > 1:
            raise ApiError(Code.INVALID, f"{name}: give it once.")
    try:
        return channel.open.model_validate_strings(fields | dict(path))
    except ValidationError as error:
        place, _, clause = explain_validation(error, fields | dict(path))[0]
        # an id that can't be one is an id of nothing, and told apart from an unknown one nowhere
        in_path = any(found["loc"][0] in channel.path_fields for found in error.errors())
        code = Code.NOT_FOUND if in_path else Code.INVALID
        raise ApiError(code, UNKNOWN if in_path else f"{place[0]}: {clause}.") from None


UNKNOWN = "Nothing is here for you."
"""What an unknown id, a malformed one and another tenant's are told alike."""


class Frames:
    """Parses a client's texts into the frames that a channel takes."""

    def __init__(self, union: Any) -> None:
        self._adapter: TypeAdapter[Any] = TypeAdapter(union)

    def parse(self, text: str) -> Any:
        """One frame.

        Raises:
            ApiError: MALFORMED.
        """
        try:
            return self._adapter.validate_json(text)
        except ValidationError as error:
            clause = explain_validation(error, None)[0][2]
            raise ApiError(Code.MALFORMED, f"This is no frame of this channel: {clause}.") from None


def close_for(code: Code) -> Close:
    """The close code that tells a failure."""
    return _CLOSES.get(code, Close.INTERNAL)


_CLOSES = {
    Code.MALFORMED: Close.BAD_REQUEST,
    Code.INVALID: Close.BAD_REQUEST,
    Code.UNAUTHENTICATED: Close.UNAUTHENTICATED,
    Code.FORBIDDEN: Close.FORBIDDEN,
    Code.CROSS_SITE: Close.FORBIDDEN,
    Code.NOT_FOUND: Close.NOT_FOUND,
    Code.TOO_LARGE: Close.TOO_BIG,
    Code.RATE_LIMITED: Close.RATE_LIMITED,
    Code.UNAVAILABLE: Close.OVERLOADED,
    Code.TIMEOUT: Close.OVERLOADED,
}


def get_keepalive(scope: Mapping[str, Any]) -> Keepalive | None:
    """What the channel asked for, read by the server's WebSocket protocol (see wiring/uvicorn_socket.py)."""
    return cast("Keepalive | None", scope["extensions"].get(_KEEPALIVE))
