"""An API on loopback that answers as a test asks it to, and remembers what it was sent."""

import asyncio
import gzip
import zlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


@dataclass
class Api:
    """What was asked, and how it stands."""

    asked: list[dict[str, Any]] = field(default_factory=list)
    counted: Counter[str] = field(default_factory=Counter)

    def app(self) -> Starlette:
        """The server."""
        routes = {
            "/echo": self._echo,
            "/file": self._file,
            "/busy": self._busy,
            "/status/{code:int}": self._status,
            "/go": self._go,
            "/cookies": self._cookies,
            "/said": self._said,
            "/slow": self._slow,
            "/bytes": self._bytes,
            "/packed/{coding}": self._packed,
            "/bomb": self._bomb,
            "/endless": self._endless,
        }
        return Starlette(routes=[Route(path, one, methods=METHODS) for path, one in routes.items()])

    async def _note(self, request: Request) -> dict[str, Any]:
        body = (await request.body()).decode("utf-8", "replace")
        seen = {
            "method": request.method,
            "path": request.url.path,
            "query": dict(request.query_params),
            "headers": dict(request.headers),
            "body": body,
        }
        self.asked.append(seen)
        self.counted[request.url.path] += 1
        return seen

    async def _echo(self, request: Request) -> Response:
        return JSONResponse(await self._note(request), headers={"x-seen": request.headers.get("authorization", "")})

    async def _file(self, request: Request) -> Response:
        """What it was sent, as a file of the `type` asked for that is too large to be handed on as a value."""
        seen = await self._note(request)
        told = "; ".join([seen["body"], *seen["query"].values(), *seen["headers"].values()]).encode()
        kind = request.query_params.get("type", "application/octet-stream")
        packing = b"\x89\x00\xff" if request.query_params.get("binary") else b"- "
        return Response(packing * 150_000 + told, media_type=kind)

    async def _busy(self, request: Request) -> Response:
        """Refuses as often as `times` says, with `code` and `after`."""
        await self._note(request)
        query = request.query_params
        if self.counted["/busy"] <= int(query.get("times", "1")):
            headers = {"retry-after": query["after"]} if "after" in query else {}
            return Response("busy", int(query.get("code", "503")), headers=headers)
        return JSONResponse({"tried": self.counted["/busy"]})

    async def _status(self, request: Request) -> Response:
        await self._note(request)
        return JSONResponse({"detail": "as you asked"}, int(request.path_params["code"]))

    async def _go(self, request: Request) -> Response:
        await self._note(request)
        return RedirectResponse(request.query_params["to"], int(request.query_params.get("code", "302")))

    async def _cookies(self, request: Request) -> Response:
        """Sets each cookie of its query's `set`."""
        response = JSONResponse(await self._note(request))
        for said in request.query_params.getlist("set"):
            response.raw_headers.append((b"set-cookie", said.encode()))
        return response

    async def _said(self, request: Request) -> Response:
        """Answers with the status and the headers that its query says, whatever they are."""
        said = dict(request.query_params)
        response = Response(b"said-\\u0041", int(said.pop("status", "200")))
        response.raw_headers += [(name.encode(), value.encode()) for name, value in said.items()]
        return response

    async def _slow(self, request: Request) -> Response:
        await self._note(request)
        await asyncio.sleep(float(request.query_params["s"]))
        return Response("late")

    async def _bytes(self, request: Request) -> Response:
        size, kind = int(request.query_params["size"]), request.query_params.get("type", "application/octet-stream")
        return Response(b"x" * size, media_type=kind)

    async def _packed(self, request: Request) -> Response:
        coding = request.path_params["coding"]
        raw = zlib.compressobj(wbits=-15)
        bodies = {
            "gzip": gzip.compress(b"unpacked"),
            "deflate": zlib.compress(b"unpacked"),
            "raw": raw.compress(b"unpacked") + raw.flush(),
            "br": b"?",
            "broken": b"not gzip",
        }
        name = {"raw": "deflate", "broken": "gzip"}.get(coding, coding)
        return Response(bodies[coding], media_type="text/plain", headers={"content-encoding": name})

    async def _bomb(self, _request: Request) -> Response:
        packed = gzip.compress(b"\0" * 300_000_000, 9)
        return Response(packed, media_type="text/plain", headers={"content-encoding": "gzip"})

    async def _endless(self, _request: Request) -> Response:
        async def flow() -> Any:
            for _ in range(2_000):
                yield b"x" * 65_536
                await asyncio.sleep(0)

        return StreamingResponse(flow(), media_type="text/plain")
