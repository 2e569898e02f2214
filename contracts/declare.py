"""What an endpoint is. Pure data: no server, no client, no I/O.

One declaration becomes a Starlette route (wiring/server), a typed client method (wiring/client), an operation of the
OpenAPI or AsyncAPI document (wiring/documents) and a case of the fuzz test.
"""

import string
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, Literal, Protocol, TypeVar, overload

from contracts.errors import Code
from contracts.identity import Scope
from contracts.model import Contract, InHeader, InQuery, Nothing

ReqT = TypeVar("ReqT", bound=Contract)
ResT = TypeVar("ResT")
SendT = TypeVar("SendT")
ReceiveT = TypeVar("ReceiveT")

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Place = Literal["path", "query", "header", "body"]
BODY_LIMIT = 1_048_576
"""Bytes a request body may have where the declaration says nothing else."""


class Blob(Protocol):
    """The answer of a download: bytes with their type."""

    media_type: str


class Caller(Protocol):
    """What turns a declaration into a call: the client of wiring/client."""

    async def call(self, endpoint: "Endpoint[ReqT, ResT]", request: ReqT) -> ResT:
        """Send the request and answer the parsed result."""
        ...


@dataclass(frozen=True, kw_only=True)
class Endpoint(Generic[ReqT, ResT]):
    """A request and its answer over HTTP.

    On the API class it is the declaration itself; on a client that inherits from that class it is the typed async
    method, so that `client.get_execution(ReadExecution(...))` is checked by the type checker.
    """

    method: Method
    path: str
    request: type[ReqT]
    result: type[ResT]
    summary: str
    scope: Scope | None
    """What the caller must be allowed to do; None means that anybody may call."""
    tag: str
    errors: tuple[Code, ...] = ()
    status: int = 200
    idempotent: bool = False
    """Whether the client may send it again when the answer got lost."""
    body_limit: int = BODY_LIMIT
    deadline_s: float = 30.0
    """Time the handler may take before the caller gets `timeout`."""
    media_type: str = "application/json"
    """Media type of the answer; anything but JSON is a download."""

    def __post_init__(self) -> None:
        missing = set(self.path_fields) - set(self.request.model_fields)
        if missing:
            raise TypeError(f"{self.method} {self.path}: {self.request.__name__} lacks {sorted(missing)}")

    @overload
    def __get__(self, client: None, owner: type[Any]) -> "Endpoint[ReqT, ResT]": ...
    @overload
    def __get__(self, client: Caller, owner: type[Any]) -> Callable[[ReqT], Awaitable[ResT]]: ...
    def __get__(self, client: Caller | None, owner: type[Any]) -> Any:
        """The declaration on the class, the bound call on an instance."""
        if client is None:
            return self
        caller = client

        async def call(request: ReqT) -> ResT:
            return await caller.call(self, request)

        return call

    @cached_property
    def path_fields(self) -> tuple[str, ...]:
        """Names in the path, in order; each is a field of the request."""
        return tuple(name for _, name, _, _ in string.Formatter().parse(self.path) if name)

    @cached_property
    def places(self) -> dict[str, Place]:
        """Where each field of the request travels."""
        return {name: self._place(name) for name in self.request.model_fields}

    @cached_property
    def header_names(self) -> dict[str, str]:
        """Header name of each field that travels as a header."""
        return {name: header for name in self.request.model_fields if (header := _header_of(self.request, name))}

    @property
    def has_body(self) -> bool:
        """Whether the request is sent with a JSON body."""
        return self.method not in ("GET", "DELETE")

    @property
    def is_download(self) -> bool:
        """Whether the answer is bytes and not a model."""
        return self.media_type != "application/json"

    def _place(self, name: str) -> Place:
        if name in self.path_fields:
            return "path"
        if name in self.header_names:
            return "header"
        in_query = any(isinstance(mark, InQuery) for mark in self.request.model_fields[name].metadata)
        return "query" if in_query or not self.has_body else "body"


def _header_of(request: type[Contract], name: str) -> str | None:
    info = request.model_fields[name]
    marks = list(info.metadata)
    # `Annotated[str, InHeader(...)] | None` keeps the mark inside the union's member
    for member in getattr(info.annotation, "__args__", ()):
        marks += getattr(member, "__metadata__", ())
    return next((mark.name for mark in marks if isinstance(mark, InHeader)), None)


@dataclass(frozen=True, kw_only=True)
class Channel(Generic[ReqT, SendT, ReceiveT]):
    """A WebSocket: opened with the fields of `open` (path and query), then frames both ways."""

    path: str
    open: type[ReqT]
    sends: Any
    """Union of what the server sends."""
    receives: Any
    """Union of what the client may send."""
    summary: str
    scope: Scope | None
    tag: str
    closes: tuple[int, ...] = field(default=())

    @cached_property
    def path_fields(self) -> tuple[str, ...]:
        """Names in the path, in order."""
        return tuple(name for _, name, _, _ in string.Formatter().parse(self.path) if name)


Declaration = Endpoint[Any, Any] | Channel[Any, Any, Any]


def endpoints(api: type[Any]) -> Iterator[tuple[str, Endpoint[Any, Any]]]:
    """Every endpoint of an API class with its name, in the order of its bases and then as they are written."""
    for name, value in _members(api):
        if isinstance(value, Endpoint):
            yield name, value


def channels(api: type[Any]) -> Iterator[tuple[str, Channel[Any, Any, Any]]]:
    """Every WebSocket of an API class with its name."""
    for name, value in _members(api):
        if isinstance(value, Channel):
            yield name, value


def _members(api: type[Any]) -> Iterator[tuple[str, Any]]:
    for owner in api.__mro__:
        yield from vars(owner).items()


NOTHING = Nothing()
