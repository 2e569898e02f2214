"""Declaration + httpx → typed call. Subclass together with an API class to get its methods."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
from pydantic import TypeAdapter, ValidationError
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from contracts.api.public import PublicApi
from contracts.api.runtime import RuntimeApi
from contracts.declare import NOTHING, Endpoint
from contracts.errors import ApiError, Code, Problem
from contracts.model import Contract, Nothing

ReqT = TypeVar("ReqT", bound=Contract)
ResT = TypeVar("ResT")

HeaderSource = Callable[[], dict[str, str]]
TIMEOUT_S = 10.0
_ATTEMPTS = 3


class NobodyAnswered(ApiError):  # noqa: N818 — as ApiError
    """A proxy on the way answered in place of a server, which was just leaving or coming back."""


@dataclass(slots=True)
class Downloaded:
    """A download under way."""

    status: int
    headers: httpx.Headers
    chunks: AsyncIterator[bytes]


class Client:
    """Calls endpoints over one httpx client. Failures arrive as ApiError, the same that the other side raised.

    Args:
        http: carries base URL, connection limits and transport.
        headers: asked before each attempt, so that short-lived tokens are fresh.
        timeout_s: deadline of one call, all attempts together.
    """

    def __init__(
        self, http: httpx.AsyncClient, headers: HeaderSource | None = None, timeout_s: float = TIMEOUT_S
    ) -> None:
        self._http = http
        self._headers = headers or dict
        self._timeout_s = timeout_s

    async def call(self, endpoint: Endpoint[ReqT, ResT], request: ReqT) -> ResT:
        """Send and parse; idempotent endpoints are tried again when the connection failed, or nobody of ours answered.

        Raises:
            ApiError: what the server answered; UNAVAILABLE when it can't be reached; TIMEOUT after the deadline.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                if not endpoint.idempotent:
                    return await self._call_once(endpoint, request)
                async for attempt in _retrying():
                    with attempt:
                        return await self._call_once(endpoint, request)
        except TimeoutError as error:
            detail = f"No answer from {endpoint.path} within {self._timeout_s:g} seconds."
            raise ApiError(Code.TIMEOUT, detail) from error
        except httpx.TransportError as error:
            raise _unreachable(endpoint, error) from error
        raise AssertionError("tenacity returns or raises")

    @asynccontextmanager
    async def download(self, endpoint: Endpoint[ReqT, Any], request: ReqT) -> AsyncIterator[Downloaded]:
        """Open a download; its chunks arrive as they are read, each within the timeout.

        Raises:
            ApiError: as `call`.
        """
        try:
            response = await self._http.send(self._build(endpoint, request), stream=True)
        except httpx.TransportError as error:
            raise _unreachable(endpoint, error) from error
        try:
            if response.is_error:
                await response.aread()
                raise failure_of(response)
            yield Downloaded(response.status_code, response.headers, response.aiter_raw())
        finally:
            await response.aclose()

    async def _call_once(self, endpoint: Endpoint[ReqT, ResT], request: ReqT) -> ResT:
        response = await self._http.send(self._build(endpoint, request))
        if response.is_error:
            raise failure_of(response)
        if issubclass(endpoint.result, Nothing):
            return NOTHING  # type: ignore[return-value]  # ResT is Nothing here
        try:
            kind: Any = endpoint.result
            answer: ResT = _adapter(kind).validate_json(response.content)
        except ValidationError as error:
            raise NotUnderstood(endpoint.path) from error
        return answer

    def _build(self, endpoint: Endpoint[Any, Any], request: Contract) -> httpx.Request:
        places = endpoint.places
        whole = request.model_dump(mode="json")
        fields = {name: value for name, value in whole.items() if value is not None}  # nothing else can say "none"
        path = endpoint.path.format(**{name: quote(str(fields[name]), safe="") for name in endpoint.path_fields})
        params = {name: _query_text(value) for name, value in fields.items() if places[name] == "query"}
        headers = {header: str(fields[n]) for n, header in endpoint.header_names.items() if n in fields}
        body = {name: value for name, value in whole.items() if places[name] == "body"}
        return self._http.build_request(
            endpoint.method,
            path,
            params=params,
            headers=headers | self._headers(),
            json=body if endpoint.has_body and "body" in places.values() else None,
            timeout=self._timeout_s,
        )


class RuntimeClient(RuntimeApi, Client):
    """Experience's way into Runtime."""


class PublicClient(PublicApi, Client):
    """What programs, the command line and the tests call."""


class NotUnderstood(ApiError):  # noqa: N818 — what it is called in the sentence that catches it
    """The answer is nothing that this version knows. Asking again brings the same; a newer process may know it."""

    def __init__(self, path: str) -> None:
        detail = f"{path} answered something that its declaration does not allow."
        super().__init__(Code.UNAVAILABLE, detail, "Both tiers must run versions that fit each other.")


def failure_of(response: httpx.Response) -> ApiError:
    """The ApiError that an error response carries; UNAVAILABLE when it is not one of ours."""
    try:
        problem = Problem.model_validate_json(response.content)
    except ValidationError:
        # a proxy's own 502 or 503: nobody of ours has answered
        return NobodyAnswered(Code.UNAVAILABLE, f"{response.request.url.path} answered {response.status_code}.")
    return ApiError(problem.code, problem.detail, problem.hint, faults=problem.faults, retry_after=problem.retry_after)


def _retrying() -> AsyncRetrying:
    return AsyncRetrying(
        stop=stop_after_attempt(_ATTEMPTS),
        wait=wait_random_exponential(multiplier=0.05, max=0.5),
        retry=retry_if_exception_type((httpx.TransportError, NobodyAnswered)),
        reraise=True,
    )


def _unreachable(endpoint: Endpoint[Any, Any], error: httpx.TransportError) -> ApiError:
    if isinstance(error, httpx.TimeoutException):
        return ApiError(Code.TIMEOUT, f"No answer from {endpoint.path} in time ({type(error).__name__}).")
    return ApiError(Code.UNAVAILABLE, f"{endpoint.path} can't be reached ({type(error).__name__}).")


def _query_text(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


@lru_cache(maxsize=256)
def _adapter(result: Any) -> TypeAdapter[Any]:
    return TypeAdapter(result)


@asynccontextmanager
async def connect_public(base_url: str, headers: HeaderSource | None = None) -> AsyncIterator[PublicClient]:
    """A client of the installation at `base_url` with a connection pool of its own.

    Proxies of the environment are left aside: they are for the way out, and most installations stand nearby.
    """
    async with httpx.AsyncClient(base_url=base_url, timeout=TIMEOUT_S, trust_env=False) as http:
        yield PublicClient(http, headers)
