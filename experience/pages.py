"""What a browser gets besides the API: the built page, and the documents of the API.

The page is one application with addresses of its own: the build lists them in `paths.json`, and each answers its index.
What is at no address is 404: the page's own view of it for who reads HTML, a problem document for all others, and below
the API's paths for everybody.
"""

import hashlib
import json
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cache
from html import escape
from http import HTTPStatus
from mimetypes import guess_type
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from contracts.api.account import AuthApi
from contracts.api.work import ExecutionApi
from contracts.errors import ApiError, Code
from contracts.wiring.documents import public_asyncapi, public_openapi
from contracts.wiring.reading import STYLESHEET, render
from contracts.wiring.server import knows, name_path, problem_response

BUILD_COMMAND = "uv sync --reinstall-package stagedoor"
INDEX = "index.html"
PATHS = "paths.json"
"""A list of the page's own addresses, such as `/executions/:id`; src/paths.ts says which there are."""
FAILURE = "failure.txt"
"""Where the build leaves the reason when it could not do its work."""
HASHED = "assets/"
"""Files below here have a hash of their content in their name: they never change."""

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; font-src 'self'; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_DOCUMENT_POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_MANNERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
_READ_AGAIN_S = 1.0
_KEEP = "public, max-age=31536000, immutable"
_ASK = "no-cache"
_NOWHERE = re.compile(r"(?!)")
"""Matches nothing."""
_OURS = ("api", "ws", "health", "ready")
"""First segments of paths that never are the page's."""

_EXECUTION = re.compile(r"/api/execution/(?P<execution_id>[\w-]{1,100})/?")
"""Where one would look for an execution itself, which is served in parts only."""

Page = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Asset:
    """A file of the built page, in memory: all of them together are smaller than one screenshot."""

    body: bytes
    media_type: str
    etag: str
    immutable: bool


class Site:
    """The built page in a folder. It may be built, or built anew, while the server runs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stamp: tuple[int, int] | None = None
        self._read_at = 0.0
        self._assets: Mapping[str, Asset] = {}
        self._addresses: re.Pattern[str] = _NOWHERE

    def find(self, path: str) -> Asset | None:
        """The file at a path below the root; the index where the application has its own addresses.

        Only what a walk over the folder has found is ever served: a path is looked up, never opened.
        """
        self._look()
        found = self._find(path)
        if found is None and self._stamp is not None and time.monotonic() - self._read_at > _READ_AGAIN_S:
            self._read()  # a build that wrote its index first
            found = self._find(path)
        return found

    @property
    def index(self) -> Asset | None:
        """The page itself; None while it is not built."""
        self._look()
        return self._assets.get(INDEX)

    def explain(self) -> str:
        """Why there is none, in the words of the build; empty when it never ran."""
        try:
            return (self._folder / FAILURE).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def _find(self, path: str) -> Asset | None:
        is_own = path == "/" or self._addresses.fullmatch(path)
        return self._assets.get(INDEX if is_own else path.removeprefix("/"))

    def _look(self) -> None:
        stamp = self._read_stamp()
        if stamp != self._stamp:
            self._stamp = stamp
            self._read()

    def _read(self) -> None:
        self._read_at = time.monotonic()
        self._assets = {} if self._stamp is None else _read_all(self._folder)
        self._addresses = _read_addresses(self._assets.get(PATHS))

    def _read_stamp(self) -> tuple[int, int] | None:
        try:
            found = (self._folder / INDEX).stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size


def page_routes(web_dir: Path) -> list[BaseRoute]:
    """The documents, and at the end everything that nobody else serves."""
    site = Site(web_dir)

    async def answer_rest(request: Request) -> Response:
        if _is_ours(request):
            return _problem(request, _find_nothing(request))
        asset = site.find(request.url.path)
        if asset is None:
            return _miss(request, site)
        return _serve(request, asset, _POLICY) if _is_read(request) else _refuse(request)

    documents: dict[str, Page] = {
        "/api/openapi.json": _document("application/json", _openapi),
        "/api/asyncapi.json": _document("application/json", _asyncapi),
        "/api/docs": _document("text/html; charset=utf-8", _reading),
        "/api/docs/style.css": _document("text/css; charset=utf-8", lambda: STYLESHEET),
    }
    return [_route(path, answer) for path, answer in (documents | {"/{path:path}": answer_rest}).items()]


def _route(path: str, answer: Page) -> Route:
    route = Route(path, answer)
    route.methods = None  # refused by ourselves, as a problem document
    return route


def _is_read(request: Request) -> bool:
    return request.method in ("GET", "HEAD")


def _refuse(request: Request) -> Response:
    detail = f"{name_path(request)} does not take {request.method}."
    response = _problem(request, ApiError(Code.METHOD_NOT_ALLOWED, detail))
    response.headers["allow"] = "GET, HEAD"
    return response


def _find_nothing(request: Request) -> ApiError:
    detail = f"Nothing is at {name_path(request)}."
    if execution := _EXECUTION.fullmatch(request.url.path):
        status = ExecutionApi.get_status.path.format(**execution.groupdict())
        detail += (
            f" Where an execution stands is at {status}?tenant_id=…, with your tenant's id from GET {AuthApi.me.path}."
        )
    return ApiError(Code.NOT_FOUND, detail, "/api/docs lists what there is.")


def _is_ours(request: Request) -> bool:
    return request.url.path.split("/")[1] in _OURS


def _miss(request: Request, site: Site) -> Response:
    index = site.index
    if index is None and _is_read(request):
        return _apologise(site.explain())
    if index is None or not (_is_read(request) and _takes_html(request)):
        response = _problem(request, ApiError(Code.NOT_FOUND, f"Nothing is at {name_path(request)}."))
    else:
        headers = {**_MANNERS, "content-security-policy": _POLICY, "cache-control": "no-store"}
        response = Response(index.body, HTTPStatus.NOT_FOUND, headers, index.media_type)
    response.headers["vary"] = "accept"
    return response


def _takes_html(request: Request) -> bool:
    """Whether a person is to read the answer: programs that take anything do not name HTML."""
    ranges = request.headers.get("accept", "").split(",")
    return any(one.partition(";")[0].strip().lower() == "text/html" for one in ranges)


def _document(media_type: str, make: Callable[[], str]) -> Page:
    @cache
    def made() -> Asset:
        return _asset(make().encode(), media_type, immutable=False)

    async def answer(request: Request) -> Response:
        return _serve(request, made(), _DOCUMENT_POLICY) if _is_read(request) else _refuse(request)

    return answer


def _openapi() -> str:
    return json.dumps(public_openapi(), ensure_ascii=False)


def _asyncapi() -> str:
    return json.dumps(public_asyncapi(), ensure_ascii=False)


def _reading() -> str:
    return render(public_openapi(), public_asyncapi(), "/api/docs/style.css")


def _serve(request: Request, asset: Asset, policy: str) -> Response:
    headers = {
        **_MANNERS,
        "content-security-policy": policy,
        "cache-control": _KEEP if asset.immutable else _ASK,
        "etag": asset.etag,
    }
    if knows(request.headers.get("if-none-match", ""), asset.etag):
        return Response(status_code=304, headers=headers)
    return Response(asset.body, headers=headers, media_type=asset.media_type)


def _apologise(reason: str) -> Response:
    why = f"<p>The last build said:</p><pre>{escape(reason[-4_000:])}</pre>" if reason else ""
    body = (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        "<title>Stagedoor: no page yet</title><link rel=stylesheet href='/api/docs/style.css'>"
        "<main><h1>The page has not been built</h1>"
        f"<p>Build it with <code>{BUILD_COMMAND}</code> in Stagedoor's folder, then load this address again; "
        "the server needs no restart.</p>"
        f"{why}<p>Everything else works: see <a href='/api/docs'>the API</a>.</p></main></html>"
    )
    headers = {**_MANNERS, "content-security-policy": _DOCUMENT_POLICY, "cache-control": "no-store"}
    return Response(body, 503, headers, "text/html; charset=utf-8")


def _problem(request: Request, error: ApiError) -> Response:
    return problem_response(request.scope["state"]["request_id"], error)


def _read_addresses(listed: Asset | None) -> re.Pattern[str]:
    """What matches the page's own addresses as its router does: in any case, with or without a slash at the end."""
    if listed is None:
        return _NOWHERE
    addresses = ("/".join(map(_read_segment, path.rstrip("/").split("/"))) for path in json.loads(listed.body))
    return re.compile("|".join(f"{address}/?" for address in addresses), re.IGNORECASE)


def _read_segment(segment: str) -> str:
    return "[^/]+" if segment.startswith(":") else re.escape(segment)


def _read_all(folder: Path) -> dict[str, Asset]:
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink() and path.name != FAILURE]
    return {name: _read(path, name) for path in files if (name := path.relative_to(folder).as_posix())}


def _read(path: Path, name: str) -> Asset:
    kind = guess_type(name)[0] or "application/octet-stream"
    is_text = kind.startswith("text/") or kind in ("application/javascript", "application/json", "image/svg+xml")
    return _asset(path.read_bytes(), f"{kind}; charset=utf-8" if is_text else kind, immutable=name.startswith(HASHED))


def _asset(body: bytes, media_type: str, *, immutable: bool) -> Asset:
    return Asset(body, media_type, f'"{hashlib.sha256(body).hexdigest()[:32]}"', immutable)
