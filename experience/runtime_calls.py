"""The way into Runtime: every call vouches for one tenant, carries the request's id and has a deadline."""

import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from uuid import UUID

import aiohttp
import httpx
import structlog
from httpx_aiohttp import AiohttpTransport

from contracts.declare import Endpoint
from contracts.errors import ApiError, Code
from contracts.model import Contract, TenantId, UserId
from contracts.wiring.client import Downloaded, HeaderSource, RuntimeClient
from contracts.wiring.internal import InternalSigner
from contracts.wiring.shared import SharedCalls
from contracts.wiring.tracing import trace_headers

ReqT = TypeVar("ReqT", bound=Contract)
ResT = TypeVar("ResT")

TIMEOUT_S = 10.0
"""Deadline of a call that somebody waits for, all attempts together."""
STARTING_S = 20.0
"""Both tiers start at the same time: for so long it is nothing to warn of that Runtime is not there yet."""
NOBODY = TenantId(UUID(int=0))
"""The tenant of calls that concern none: the catalogues."""
_CONNECT_S = 2.0
"""To whoever listens nearby it takes milliseconds; more would leave no time to try another one."""
_NAMES_S = 1
"""Replicas come and go: a name leads elsewhere a moment later."""
_GONE_MS = 6_000
"""A peer that is there acknowledges what it is sent in milliseconds, however long its answer takes.

A gone one is told by that. One that takes nothing for so long is taken for gone, too: newer kernels count that alike.
"""
AWAY = frozenset({Code.UNAVAILABLE, Code.TIMEOUT})
"""Runtime did not answer; whether it has heard the question is not known."""

log = structlog.get_logger()


class RuntimeTransport(AiohttpTransport):
    """httpx's API over aiohttp's connections: a call costs a third of the CPU, and no more with many under way."""

    def __init__(self, connections: int, keep_alive_s: float) -> None:
        def open_session() -> aiohttp.ClientSession:
            connector = aiohttp.TCPConnector(
                limit=connections, keepalive_timeout=keep_alive_s, ttl_dns_cache=_NAMES_S, socket_factory=make_socket
            )
            # what one tenant is answered must leave nothing for the next
            return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())

        super().__init__(client=open_session)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """One exchange; a refused or lost connection is told apart from a silent one."""
        try:
            return await super().handle_async_request(request)
        except httpx.ConnectTimeout as error:
            if isinstance(error.__cause__, TimeoutError):
                raise
            raise httpx.ConnectError(str(error), request=request) from error


class RuntimeHttp(httpx.AsyncClient):
    """httpx's client without what a call between the tiers never needs.

    Left out are merged defaults, authentication flows, redirects, and cookies, which would carry something from one
    tenant to the next.
    """

    def __init__(self, base_url: str, carrier: httpx.AsyncBaseTransport) -> None:
        super().__init__(base_url=base_url, transport=carrier)
        self._origin = base_url.rstrip("/")
        self._carrier = carrier

    def build_request(self, method: str, url: httpx.URL | str, **given: Any) -> httpx.Request:
        """A request to a path of Runtime; `timeout` in seconds is the only form that is known here."""
        return httpx.Request(
            method,
            f"{self._origin}{url}",
            params=given.get("params") or None,
            headers=given.get("headers"),
            json=given.get("json"),
            extensions={
                "timeout": {
                    **dict.fromkeys(("read", "write", "pool"), given["timeout"]),
                    "connect": min(given["timeout"], _CONNECT_S),
                }
            },
        )

    async def send(self, request: httpx.Request, *, stream: bool = False, **_: Any) -> httpx.Response:
        """One exchange, as it is."""
        response = await self._carrier.handle_async_request(request)
        response.request = request
        if not stream:
            try:
                await response.aread()
            except BaseException:
                await response.aclose()
                raise
        return response


class RuntimeCalls:
    """Makes clients of Runtime that speak for one tenant; `shared` is for equal calls at the same moment.

    Args:
        http: carries Runtime's address and the connections.
        signer: signs the internal tokens.
        starting_s: from now on, in seconds: while Runtime may not be up yet.
    """

    def __init__(self, http: httpx.AsyncClient, signer: InternalSigner, *, starting_s: float = STARTING_S) -> None:
        self._http = http
        self._started_at = time.monotonic() + starting_s
        self._signer = signer
        self.shared = SharedCalls()

    def speak_for(
        self, tenant_id: TenantId, user_id: UserId | None, request_id: str, *, timeout_s: float = TIMEOUT_S
    ) -> "TenantClient":
        """A client whose every attempt carries a fresh token; `timeout_s` bounds each of its calls."""
        headers = self.vouch_for(tenant_id, user_id, request_id)
        return TenantClient(self._http, headers, timeout_s, started_at=self._started_at)

    def vouch_for(self, tenant_id: TenantId, user_id: UserId | None, request_id: str) -> HeaderSource:
        """Makes the headers of one attempt, with a fresh token."""

        def headers() -> dict[str, str]:
            token = self._signer.token(tenant_id=tenant_id, user_id=user_id, request_id=request_id)
            return {"authorization": f"Bearer {token}", "x-request-id": request_id, **trace_headers()}

        return headers


class TenantClient(RuntimeClient):
    """Runtime as seen by one tenant: what it answers is passed on, what is wrong between the tiers is put in words."""

    def __init__(self, http: httpx.AsyncClient, headers: HeaderSource, timeout_s: float, *, started_at: float) -> None:
        """`started_at`: when Runtime must be up, on the monotonic clock."""
        super().__init__(http, headers, timeout_s)
        self._started_at = started_at

    async def call(self, endpoint: Endpoint[ReqT, ResT], request: ReqT) -> ResT:
        """As `Client.call`."""
        try:
            return await super().call(endpoint, request)
        except ApiError as error:
            raise self._see_from_outside(error, endpoint) from error

    @asynccontextmanager
    async def download(self, endpoint: Endpoint[ReqT, Any], request: ReqT) -> AsyncIterator[Downloaded]:
        """As `Client.download`."""
        try:
            async with super().download(endpoint, request) as downloaded:
                yield downloaded
        except ApiError as error:
            raise self._see_from_outside(error, endpoint) from error

    def _see_from_outside(self, error: ApiError, endpoint: Endpoint[Any, Any]) -> ApiError:
        if error.code in AWAY:
            said = log.info if time.monotonic() < self._started_at else log.warning
            said("runtime is away", endpoint=endpoint.path, code=error.code, detail=error.detail)
        return _put_in_words(error, endpoint)


def make_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    """A socket that fails when the machine or container behind it has gone without a word."""
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "linux":
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 2)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _GONE_MS)
    return made


def _put_in_words(error: ApiError, endpoint: Endpoint[Any, Any]) -> ApiError:
    match error.code:
        case Code.UNAVAILABLE | Code.TIMEOUT:
            detail = "The part of this installation that runs things does not answer right now."
            hint = "What was submitted is kept and runs once it is back. Try again in a moment."
            return ApiError(error.code, detail, hint, retry_after=error.retry_after or 2)
        case Code.UNAUTHENTICATED:
            # our own signature was refused: nothing that the caller could mend by signing in again
            log.error("runtime refuses the internal token", endpoint=endpoint.path)
            detail = "The parts of this installation don't trust each other."
            hint = "Ask whoever runs it to check that Experience's key and Runtime's public key belong together."
            return ApiError(Code.UNAVAILABLE, detail, hint)
        case _:
            return error
