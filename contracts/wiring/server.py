"""Declaration + handler → Starlette route. The only code that renders answers and problem documents.

A request passes: request id and forged headers (middleware) → guard → parser → handler, inside one deadline. Whatever
goes wrong on the way becomes one `Problem`; what nobody may see becomes `internal`, with the trace in the log.
"""

import asyncio
import math
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Generic, Literal, Protocol, TypeVar

import structlog
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uuid_utils.compat import uuid7

from contracts.declare import Endpoint, endpoints
from contracts.errors import ApiError, Code, Problem
from contracts.model import MAX_DEPTH, Contract
from contracts.wiring.parsing import Parser
from contracts.wiring.tracing import HEADER, in_trace

log = structlog.get_logger()

ReqT = TypeVar("ReqT", bound=Contract)
ResT = TypeVar("ResT")
CallerT = TypeVar("CallerT")

FORGEABLE = (b"x-tenant-", b"x-user-", b"x-internal-")
"""Headers that say who somebody is; nobody outside may set them, so they are dropped on arrival."""
API_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "x-content-type-options": "nosniff",
}
"""On every answer of the API: nobody keeps it, frames it, guesses its type or loads it into another site's page."""
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")


@dataclass(slots=True, kw_only=True)
class Envelope:
    """What is known of a request besides its typed content."""

    request_id: str
    address: str
    """The client's address, as the trusted proxy reports it."""
    method: str
    path: str
    headers: Mapping[str, str]
    cookies: Mapping[str, str]


@dataclass(slots=True, kw_only=True)
class Call(Envelope, Generic[CallerT]):
    """What a handler gets: the envelope, who calls, and a way to set headers and cookies on the answer."""

    caller: CallerT
    answer_headers: MutableHeaders = field(default_factory=MutableHeaders)

    def set_header(self, name: str, value: str) -> None:
        """Put a header on the answer."""
        self.answer_headers[name] = value

    def set_cookie(
        self,
        name: str,
        value: str,
        *,
        max_age: int,
        http_only: bool = True,
        secure: bool = True,
        same_site: Literal["lax", "strict", "none"] = "lax",
        path: str = "/",
    ) -> None:
        """Put a cookie on the answer; `max_age` in seconds."""
        carrier = Response()
        carrier.set_cookie(
            name, value, max_age=max_age, httponly=http_only, secure=secure, samesite=same_site, path=path
        )
        self.answer_headers.append("set-cookie", carrier.headers["set-cookie"])

    def delete_cookie(self, name: str, *, secure: bool = True, path: str = "/") -> None:
        """Make the browser forget a cookie."""
        self.set_cookie(name, "", max_age=0, secure=secure, path=path)


@dataclass(slots=True)
class Download:
    """What the handler of a download answers."""

    media_type: str
    chunks: AsyncIterator[bytes]
    size: int | None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


class Meter(Protocol):
    """Is told of everything that was answered. `route` is the template that is served, never the path that came."""

    def count_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """An answer has begun, so many seconds after its request."""

    def count_closed(self, route: str, code: int) -> None:
        """A WebSocket is over, also one that was let in only to hear why not."""


UNROUTED = "unrouted"
"""The route of what nobody serves, and of what was refused before anybody looked."""

Guard = Callable[[Envelope, Endpoint[Any, Any]], Awaitable[CallerT]]
Handler = Callable[[Call[CallerT], ReqT], Awaitable[ResT]]


class Server(Generic[CallerT]):
    """Binds handlers to the declarations of one API class."""

    def __init__(self, api: type[Any], guard: Guard[CallerT], *, max_depth: int = MAX_DEPTH) -> None:
        """`max_depth`: levels of lists and objects that a field of a body may have."""
        self._api = api
        self._guard = guard
        self._max_depth = max_depth
        self._bound: dict[int, tuple[Endpoint[Any, Any], Callable[[Request], Awaitable[Response]]]] = {}

    def on(self, endpoint: Endpoint[ReqT, ResT], handler: Handler[CallerT, ReqT, ResT]) -> None:
        """Serve `endpoint` with `handler`; the type checker holds the handler to the declaration.

        Raises:
            TypeError: the endpoint is served already.
        """
        if id(endpoint) in self._bound:
            raise TypeError(f"{endpoint.method} {endpoint.path} is served twice")
        self._bound[id(endpoint)] = (endpoint, self._responder(endpoint, handler))

    def routes(self) -> list[BaseRoute]:
        """One route per path, literal paths before those with parameters.

        Raises:
            TypeError: a declared endpoint has no handler, or a handler serves what the API does not declare.
        """
        declared = {id(endpoint): name for name, endpoint in endpoints(self._api)}
        unserved = [name for key, name in declared.items() if key not in self._bound]
        foreign = [endpoint.path for key, (endpoint, _) in self._bound.items() if key not in declared]
        if unserved or foreign:
            raise TypeError(f"{self._api.__name__}: unserved {unserved}, not declared {foreign}")
        by_path: dict[str, dict[str, Callable[[Request], Awaitable[Response]]]] = {}
        for endpoint, respond in self._bound.values():
            by_path.setdefault(endpoint.path, {})[endpoint.method] = respond
        in_order = sorted(by_path, key=lambda path: [part.startswith("{") for part in path.split("/")])
        return [make_route(path, by_path[path]) for path in in_order]

    def _responder(
        self, endpoint: Endpoint[ReqT, ResT], handler: Handler[CallerT, ReqT, ResT]
    ) -> Callable[[Request], Awaitable[Response]]:
        parser = Parser(endpoint, self._max_depth)

        async def respond(request: Request) -> Response:
            envelope = envelope_of(request)
            try:
                async with asyncio.timeout(endpoint.deadline_s):
                    caller = await self._guard(envelope, endpoint)
                    call = Call(
                        request_id=envelope.request_id,
                        address=envelope.address,
                        method=envelope.method,
                        path=envelope.path,
                        headers=envelope.headers,
                        cookies=envelope.cookies,
                        caller=caller,
                    )
                    result = await handler(call, await parser.parse(request))
            except ApiError as error:
                return problem_response(envelope.request_id, error)
            except TimeoutError:
                log.warning("deadline passed", endpoint=endpoint.path, deadline_s=endpoint.deadline_s)
                late = ApiError(Code.TIMEOUT, f"No answer within {endpoint.deadline_s:g} seconds.")
                return problem_response(envelope.request_id, late)
            except Exception:
                log.exception("handler failed", endpoint=endpoint.path)
                return problem_response(envelope.request_id, _unexpected())
            return _unless_known(request, _success(endpoint, result, call.answer_headers))

        return respond


def build_app(
    routes: Sequence[BaseRoute],
    *,
    lifespan: Callable[[Starlette], AbstractAsyncContextManager[None]] | None = None,
    middleware: Sequence[Middleware] = (),
    meter: Meter | None = None,
) -> Starlette:
    """An application whose every answer, also for unknown paths and methods, is typed and carries a request id."""
    app = Starlette(
        routes=routes,
        lifespan=lifespan,
        middleware=[Middleware(Entrance, meter=meter), *middleware],
        exception_handlers={HTTPException: _answer_http_exception, Exception: _answer_unexpected},
    )
    app.router.redirect_slashes = False  # a path has one spelling; a redirected POST loses its body
    app.router.default = _answer_nowhere
    return app


def envelope_of(request: Request) -> Envelope:
    """The envelope of a request that has passed the Entrance."""
    return Envelope(
        request_id=request.scope["state"]["request_id"],
        address=request.client.host if request.client else "",
        method=request.method,
        path=request.url.path,
        headers=request.headers,
        cookies=request.cookies,
    )


def problem_response(request_id: str, error: ApiError) -> Response:
    """An ApiError as RFC 9457 problem document."""
    problem = Problem(
        type=f"urn:stagedoor:problem:{error.code.value}",
        title=error.code.value.replace("_", " ").capitalize(),
        status=error.code.status,
        detail=error.detail,
        hint=error.hint,
        code=error.code,
        request_id=request_id,
        faults=error.faults,
        retry_after=error.retry_after,
    )
    headers = API_HEADERS | error.headers
    if error.retry_after is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after)))
    if error.code is Code.UNAUTHENTICATED:
        headers["www-authenticate"] = 'Bearer realm="stagedoor"'  # RFC 9110 15.5.2: a 401 names a scheme
    return Response(problem.model_dump_json(), error.code.status, headers, "application/problem+json")


class Entrance:
    """The first thing a request meets: drops forgeable headers, gives request id and trace, writes the access log."""

    def __init__(self, app: ASGIApp, meter: Meter | None = None) -> None:
        self._app = app
        self._meter = meter

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """ASGI. No coroutine of its own: one more would be kept for as long as a socket is open."""
        if scope["type"] not in ("http", "websocket"):
            return self._app(scope, receive, send)
        scope["headers"] = [pair for pair in scope["headers"] if not _is_forgeable(pair[0])]
        sent = Headers(scope=scope).get("x-request-id", "")
        scope.setdefault("state", {})["request_id"] = sent if _REQUEST_ID.fullmatch(sent) else str(uuid7())
        return (self._answer if scope["type"] == "http" else self._converse)(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        status = 0
        began = time.perf_counter()

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = scope["state"]["request_id"]
                if self._meter is not None:
                    self._meter.count_request(scope["method"], _name_route(scope), status, time.perf_counter() - began)
            await send(message)

        with in_trace(Headers(scope=scope).get(HEADER)), _bind(scope):
            try:
                await self._app(scope, receive, send_marked)
            finally:
                # the path only: queries may hold tokens
                path, ms = scope["path"], _milliseconds(began)
                log.info("request", method=scope["method"], path=path, status=status or None, ms=ms)

    async def _converse(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        with in_trace(Headers(scope=scope).get(HEADER)), _bind(scope):
            try:
                await self._app(scope, receive, send)
            finally:
                code = scope["state"].get(CLOSE_CODE)
                if code is not None and self._meter is not None:
                    self._meter.count_closed(_name_route(scope), code)
                log.info("socket closed", method="WS", path=scope["path"], code=code, ms=_milliseconds(began))


CLOSE_CODE = "close_code"
"""Where in a scope's state wiring/channel.py leaves how a WebSocket ended."""


def _bind(scope: Scope) -> AbstractContextManager[None]:
    # the caller's fields are filled in further on, and go with the request
    known = {"request_id": scope["state"]["request_id"], "tenant_id": None, "user_id": None}
    return structlog.contextvars.bound_contextvars(**known)


def _name_route(scope: Scope) -> str:
    route: str = getattr(scope.get("route"), "path", UNROUTED)  # Starlette's router leaves it behind
    return route


def _milliseconds(began: float) -> float:
    return round((time.perf_counter() - began) * 1_000, 1)


def _is_forgeable(name: bytes) -> bool:
    # some servers fold `_` and `.` into `-` (CGI's aliases), so those spellings are the same header
    return name.lower().translate(_ALIASES).startswith(FORGEABLE)


_ALIASES = bytes.maketrans(b"_.", b"--")


def make_route(path: str, responders: Mapping[str, Callable[[Request], Awaitable[Response]]]) -> Route:
    """A route with a responder by method; HEAD goes with GET, and every other method is refused by name."""
    allowed = sorted({*responders, "HEAD"} if "GET" in responders else responders)

    async def dispatch(request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        respond = responders.get(method)
        if respond is None:
            return _refuse_method(request, allowed)
        return await respond(request)

    # no `methods`: Starlette would answer 405 itself, knowing only the first route of a path
    route = Route(path, dispatch)
    route.methods = None
    return route


def _refuse_method(request: Request, allowed: Sequence[str]) -> Response:
    detail = f"{name_path(request)} does not take {request.method}."
    response = problem_response(request.scope["state"]["request_id"], ApiError(Code.METHOD_NOT_ALLOWED, detail))
    response.headers["allow"] = ", ".join(allowed)
    return response


def _success(endpoint: Endpoint[Any, Any], result: Any, headers: MutableHeaders) -> Response:
    if isinstance(result, Download):
        response: Response = StreamingResponse(
            result.chunks, result.status, headers=result.headers, media_type=result.media_type
        )
        if result.size is not None:
            response.headers["content-length"] = str(result.size)
    elif endpoint.status == HTTPStatus.NO_CONTENT:
        response = Response(None, HTTPStatus.NO_CONTENT, API_HEADERS)
    else:
        response = Response(result.model_dump_json(), endpoint.status, API_HEADERS, "application/json")
    response.raw_headers.extend(headers.raw)
    return response


def _unless_known(request: Request, response: Response) -> Response:
    """The answer, or 304 where the client says that it has it already (RFC 9110 13.1.2)."""
    known = request.headers.get("if-none-match")
    etag = response.headers.get("etag")
    is_read = request.method in ("GET", "HEAD") and response.status_code == HTTPStatus.OK
    if not known or not etag or not is_read or isinstance(response, StreamingResponse):
        return response
    return Response(None, HTTPStatus.NOT_MODIFIED, API_HEADERS | {"etag": etag}) if knows(known, etag) else response


def knows(if_none_match: str, etag: str) -> bool:
    """Whether an If-None-Match header names this ETag, weakly compared (RFC 9110 13.1.2)."""
    return if_none_match.strip() == "*" or etag.removeprefix("W/") in _ETAG.findall(if_none_match)


_ETAG = re.compile(r'"[^"]*"')


def name_path(request: Request) -> str:
    """The path that was asked for, cut to what fits into a sentence."""
    path = request.url.path
    return path if len(path) <= _LONGEST_NAME else f"{path[:_LONGEST_NAME]}…"


_LONGEST_NAME = 200


async def _answer_nowhere(scope: Scope, receive: Receive, send: Send) -> None:
    """What is at no address that is served; Starlette would refuse a WebSocket with a bare 403."""
    path = scope["path"][:_LONGEST_NAME]
    detail = f"No WebSocket is at {path}." if scope["type"] == "websocket" else f"Nothing is at {path}."
    await receive()
    error = ApiError(Code.NOT_FOUND, detail, "/api/docs lists what there is.")
    await problem_response(scope["state"]["request_id"], error)(scope, receive, send)


async def _answer_http_exception(request: Request, error: Exception) -> Response:
    request_id = request.scope["state"]["request_id"]
    match error:
        case HTTPException(status_code=404):
            return problem_response(request_id, ApiError(Code.NOT_FOUND, f"Nothing is at {name_path(request)}."))
        case HTTPException(status_code=405):
            return problem_response(request_id, ApiError(Code.METHOD_NOT_ALLOWED, str(error.detail)))
        case HTTPException(status_code=status) if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            return problem_response(request_id, ApiError(Code.MALFORMED, str(error.detail)))
        case _:
            return problem_response(request_id, _unexpected())


async def _answer_unexpected(request: Request, _error: Exception) -> Response:
    return problem_response(request.scope.get("state", {}).get("request_id", ""), _unexpected())


def _unexpected() -> ApiError:
    return ApiError(Code.INTERNAL, "Something failed that should not have.")
