"""Requests over HTTP, each connection of them through the checked door; redirects are followed here, and checked anew.

    async with open_client(network) as client:
        answer = await client.send(Outgoing("GET", "https://example.org/"), limits)

Nothing is taken from the environment: no proxies, no .netrc. Answers are decompressed here and not by httpx, because a
few kilobytes may unfold into gigabytes between two looks at the size.
"""

import asyncio
import re
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from ssl import SSLContext
from typing import BinaryIO, Final

import httpcore
import httpx

from contracts.execution import FailureCode
from runtime.egress.backend import DoorBackend
from runtime.egress.door import NoSuchHost, explain_missing_host
from runtime.egress.policy import Refused
from runtime.tools.ports import BAD_PORTS

USER_AGENT: Final = "Stagedoor"
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_KEEPS_METHOD: Final = frozenset({307, 308})
_ENCODINGS: Final = {"gzip": 31, "x-gzip": 31, "deflate": 15}
"""Window bits of zlib by content coding; answers in others are not asked for."""
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""RFC 9110, 5.6.2."""
_VALUE: Final = re.compile(r"[\t\x20-\x7e]*")
_CHUNK: Final = 65_536
_MAX_SHOWN: Final = 300


class HttpFailure(Exception):  # noqa: N818 — a failure is what it is called everywhere
    """A request came to nothing. `sent`: the other side may have acted on it all the same."""

    def __init__(self, code: FailureCode, message: str, hint: str, *, passing: bool = False, sent: bool = True) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.hint = hint
        self.passing = passing
        """Whether the same request may succeed a little later."""
        self.sent = sent


@dataclass(frozen=True)
class Outgoing:
    """One request. What must not be seen is in neither method nor address."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)
    bound_headers: frozenset[str] = frozenset()
    """Those, in lower case, that go to this origin only: a redirect elsewhere leaves them behind."""
    body_is_bound: bool = False
    """Whether the body goes to this origin only: a redirect elsewhere that wants it again fails."""


@dataclass(frozen=True)
class Limits:
    """How much a request may take."""

    redirects: int
    max_bytes: int
    """Of an answer's body, decompressed."""
    timeout_s: float
    """From the first connection to the answer's last byte."""


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Sequence[tuple[str, str]]
    """Names in lower case, in the order of the answer."""
    body: bytes
    url: str
    """Where the last redirect led."""
    redirected: bool = False
    """Whether redirects led there: whoever answered with the first may have done what was asked for."""

    def header(self, name: str) -> str:
        """The first header of a name, given in lower case; empty where there is none."""
        return next((value for key, value in self.headers if key == name), "")


Dress = Callable[[str], Awaitable[Mapping[str, str]]]
"""Headers by address, such as its cookies."""


class HttpClient:
    """Sends requests of one run; make it by `open_client`."""

    def __init__(self, http: httpx.AsyncClient, network: DoorBackend) -> None:
        self._http = http
        self._network = network

    async def send(
        self, request: Outgoing, limits: Limits, *, sink: BinaryIO | None = None, dress: Dress | None = None
    ) -> Answer:
        """Send it, follow redirects, read the answer whole.

        Args:
            sink: takes the body of an answer of 2xx in place of the `Answer`; any other's is not read then.
            dress: headers to add for each address that is asked, also for those that redirects lead to.

        Raises:
            HttpFailure: invalid_input, host_refused, host_not_found, http_failed, timeout, output_too_large,
                credential_refused; each behind a redirect as `sent`.
        """
        ends = time.monotonic() + limits.timeout_s
        redirected = False
        try:
            async with asyncio.timeout(limits.timeout_s):
                for _ in range(limits.redirects + 1):
                    dressed = request
                    if dress is not None:
                        dressed = replace(request, headers={**request.headers, **await dress(request.url)})
                    answer = await self._exchange(dressed, limits, max(0.1, ends - time.monotonic()), sink)
                    target = _find_redirect(request, answer)
                    if target is None or limits.redirects == 0:
                        return replace(answer, redirected=redirected)
                    # 303 says that it was done (RFC 9110, 15.4.4). 307 and 308 say that it was not, but frameworks send
                    # them behind a POST that they have carried out, so no redirect is a promise
                    redirected = True
                    request = _redirect(request, answer.status, target)
        except HttpFailure as failure:
            failure.sent = failure.sent or redirected
            raise
        except TimeoutError as error:
            raise _explain_timeout(request.url, limits.timeout_s) from error
        raise HttpFailure(
            FailureCode.HTTP_FAILED,
            f"{show(request.url)} was still redirecting after {limits.redirects} redirects.",
            "Allow more redirects, or ask for the address that they lead to.",
        )

    async def _exchange(self, request: Outgoing, limits: Limits, left_s: float, sink: BinaryIO | None) -> Answer:
        if not all(_NAME.fullmatch(name) and _VALUE.fullmatch(value) for name, value in request.headers.items()):
            raise _explain_malformed(request.url)
        try:
            self._check_port(request.url)
            sent = self._http.build_request(
                request.method, request.url, headers=_complete(request), content=request.body, timeout=left_s
            )
            response = await self._http.send(sent, stream=True)
            try:
                reads = request.method != "HEAD" and (sink is None or response.is_success)
                body = await _read(response, limits.max_bytes, request.url, sink) if reads else b""
            finally:
                await response.aclose()
        except HttpFailure:
            raise
        except Refused as error:
            refusal = error.refusal
            raise HttpFailure(FailureCode.HOST_REFUSED, refusal.message, refusal.hint, sent=False) from error
        except NoSuchHost as error:
            message, hint = explain_missing_host(error.missing)
            raise HttpFailure(FailureCode.HOST_NOT_FOUND, message, hint, sent=False) from error
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError, ValueError) as error:
            raise _explain(error, request.url, limits.timeout_s) from error
        headers = [(name.lower(), value) for name, value in response.headers.multi_items()]
        return Answer(response.status_code, headers, body, str(response.url))

    def _check_port(self, url: str) -> None:
        read = httpx.URL(url)
        if read.port in BAD_PORTS and not self._network.opens(read.raw_host.decode(), read.port):
            raise HttpFailure(
                FailureCode.HOST_REFUSED,
                f"{show(url)} may not be reached: port {read.port} belongs to another protocol than HTTP.",
                "Browsers refuse it too. If HTTP is served there, the owner of the installation adds "
                f"{read.netloc.decode()} to STAGEDOOR_RUNTIME_ALLOWED_HOSTS and restarts Runtime.",
                sent=False,
            )


@asynccontextmanager
async def open_client(network: DoorBackend) -> AsyncIterator[HttpClient]:
    """A client whose connections are made by `network`; they are closed in the end."""
    pool = httpcore.AsyncConnectionPool(ssl_context=_trust(), network_backend=network, http2=False)
    async with httpx.AsyncClient(transport=_Carrier(pool), trust_env=False, follow_redirects=False) as http:
        yield HttpClient(http, network)


@cache
def _trust() -> SSLContext:
    return httpx.create_ssl_context(trust_env=False)


class _Carrier(httpx.AsyncBaseTransport):
    """httpx over httpcore with a network of our own, which its transport has no way to be given."""

    def __init__(self, pool: httpcore.AsyncConnectionPool) -> None:
        self._pool = pool

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """One exchange."""
        url = request.url
        wanted = httpcore.Request(
            method=request.method,
            url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        with _translated():
            response = await self._pool.handle_async_request(wanted)
        return httpx.Response(
            response.status, headers=response.headers, stream=_Body(response), extensions=response.extensions
        )

    async def aclose(self) -> None:
        """Close its connections."""
        await self._pool.aclose()


class _Body(httpx.AsyncByteStream):
    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _translated():
            async for chunk in self._response.aiter_stream():
                yield chunk

    async def aclose(self) -> None:
        await self._response.aclose()


@contextmanager
def _translated() -> Iterator[None]:
    """Httpcore's errors as httpx's, whose names are the same."""
    try:
        yield
    except (
        httpcore.NetworkError,
        httpcore.TimeoutException,
        httpcore.ProtocolError,
        httpcore.ProxyError,
        httpcore.UnsupportedProtocol,
    ) as error:
        kind = getattr(httpx, type(error).__name__, httpx.TransportError)
        raise kind(str(error)) from error


# --- redirects


def _find_redirect(request: Outgoing, answer: Answer) -> str | None:
    """Where an answer leads, if it does."""
    place = answer.header("location")
    if answer.status not in _REDIRECTS or not place:
        return None
    try:
        target = httpx.URL(request.url).join(place).copy_with(fragment=None, username=None, password=None)
    except (httpx.InvalidURL, ValueError, UnicodeError):
        target = None
    if target is None or target.scheme not in ("http", "https") or not target.host:
        raise HttpFailure(
            FailureCode.HTTP_FAILED,
            f"{show(request.url)} redirects to what is no http or https address.",
            "Ask whoever runs it, or allow no redirects to read the answer itself.",
        )
    return str(target)


def _redirect(request: Outgoing, status: int, target: str) -> Outgoing:
    """The request that follows (RFC 9110, 15.4, as browsers do it). What is bound to an origin stays there."""
    keeps = status in _KEEPS_METHOD or request.method in ("GET", "HEAD")
    dropped = set() if keeps else {"content-type"}
    if not _is_same_origin(request.url, target):
        if keeps and request.body is not None and request.body_is_bound:
            raise HttpFailure(
                FailureCode.CREDENTIAL_REFUSED,
                f"{show(request.url)} redirects to {show(target)}, and the body holds a credential.",
                "Send the request to that address in the first place, if the credential may go there.",
            )
        dropped |= request.bound_headers | {"authorization", "cookie"}
    headers = {name: value for name, value in request.headers.items() if name.lower() not in dropped}
    method, body = (request.method, request.body) if keeps else ("GET", None)
    return replace(request, method=method, url=target, headers=headers, body=body)


def _is_same_origin(one: str, other: str) -> bool:
    def origin(url: str) -> tuple[str, str, int | None]:
        read = httpx.URL(url)
        return read.scheme, read.host, read.port  # httpx leaves out a default port

    return origin(one) == origin(other)


# --- bodies


def _complete(request: Outgoing) -> dict[str, str]:
    given = {name.lower() for name in request.headers}
    own = {"accept": "*/*", "accept-encoding": "gzip, deflate", "user-agent": USER_AGENT}
    return {**{name: value for name, value in own.items() if name not in given}, **request.headers}


async def _read(response: httpx.Response, limit: int, url: str, sink: BinaryIO | None) -> bytes:
    unfold = _choose_unfolding(response.headers.get("content-encoding", ""), url)
    parts: list[bytes] = []
    size = 0
    async for chunk in response.aiter_raw(_CHUNK):
        for part in unfold(chunk):
            size += len(part)
            if size > limit:
                raise HttpFailure(
                    FailureCode.OUTPUT_TOO_LARGE,
                    f"The answer of {show(url)} has more than {limit} bytes.",
                    "Ask for less, or raise “Max Size”.",
                )
            if sink is None:
                parts.append(part)
            else:
                await asyncio.to_thread(sink.write, part)
    return b"".join(parts)


def _choose_unfolding(coding: str, url: str) -> Callable[[bytes], Iterator[bytes]]:
    name = coding.strip().lower()
    if name in ("", "identity"):
        return lambda chunk: iter((chunk,))
    if name not in _ENCODINGS:
        raise HttpFailure(
            FailureCode.HTTP_FAILED,
            f"{show(url)} answers in the coding “{name[:50]}”, which it was not asked for.",
            "Ask whoever runs it to answer in gzip or uncompressed.",
        )
    return _Unfolding(_ENCODINGS[name])


class _Unfolding:
    """Decompresses in pieces of a bounded size, however much hides in a chunk."""

    def __init__(self, window: int) -> None:
        self._inflater = zlib.decompressobj(window)
        self._raw = window == _ENCODINGS["deflate"]

    def __call__(self, chunk: bytes) -> Iterator[bytes]:
        rest = chunk
        while rest:
            part = self._inflate(rest)
            rest = self._inflater.unconsumed_tail
            if part:
                yield part

    def _inflate(self, data: bytes) -> bytes:
        raw, self._raw = self._raw, False
        try:
            try:
                return self._inflater.decompress(data, _CHUNK)
            except zlib.error:
                if not raw:
                    raise
                # some servers call raw deflate so, without zlib's frame
                self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
                return self._inflater.decompress(data, _CHUNK)
        except zlib.error as error:
            raise httpx.DecodingError("what it sent does not decompress") from error


# --- words


def show(url: str) -> str:
    """An address for a sentence: without its query, which may hold a secret."""
    bare = url.partition("?")[0].partition("#")[0]
    return bare if len(bare) <= _MAX_SHOWN else bare[:_MAX_SHOWN] + "…"


def _explain_timeout(url: str, timeout_s: float) -> HttpFailure:
    return HttpFailure(
        FailureCode.TIMEOUT,
        f"{show(url)} had not answered after {timeout_s:g} s.",
        "Give the request more time, or check whether the other side answers at all.",
        passing=True,
    )


def _explain(error: Exception, url: str, timeout_s: float) -> HttpFailure:
    match error:
        case httpx.ConnectError() | httpx.ConnectTimeout():
            return HttpFailure(
                FailureCode.HTTP_FAILED,
                f"{show(url)} can't be reached: {_name_reason(error)}.",
                "Check the address, and whether the host can be reached from this machine.",
                passing=True,
                sent=False,
            )
        case httpx.TimeoutException():
            return _explain_timeout(url, timeout_s)
        case httpx.LocalProtocolError() | httpx.InvalidURL() | httpx.UnsupportedProtocol() | UnicodeError():
            return _explain_malformed(url)
        case httpx.DecodingError():
            return HttpFailure(
                FailureCode.HTTP_FAILED, f"The answer of {show(url)} is damaged: {error}.", "Try again.", passing=True
            )
        case _:
            return HttpFailure(
                FailureCode.HTTP_FAILED,
                f"The connection to {show(url)} broke off ({type(error).__name__}).",
                "Try again; if it stays so, the other side does not speak HTTP as it should.",
                passing=True,
            )


def _explain_malformed(url: str) -> HttpFailure:
    # what is wrong may be a header that holds a secret: nothing of it is quoted
    return HttpFailure(
        FailureCode.INVALID_INPUT,
        f"The request to {show(url)} can't be put on the wire: its address or a header is malformed.",
        "Header values are one line of ASCII; addresses begin with http:// or https://.",
        sent=False,
    )


def _name_reason(error: Exception) -> str:
    said = str(error).rpartition(": ")[2].rstrip(".")
    return said[:200] if said else type(error).__name__
