"""`/api/artifact`: stored blobs, read with credentials or by a short-lived link.

What a browser was made to store may be anything, and it is served from the origin that the login cookie belongs to. So
nothing of it is ever shown as a page: everything is a download but for plain pictures, its type is not guessed, and a
policy takes away from it whatever a browser might still give it.
"""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from uuid import UUID

from contracts.api.runtime import RuntimeApi
from contracts.api.work import ArtifactApi
from contracts.declare import Blob
from contracts.errors import ApiError, Code
from contracts.execution import (
    Artifact,
    ArtifactRef,
    ReadArtifact,
    ReadPublicArtifact,
    ResolveArtifacts,
    ResolvedArtifact,
    ResolvedArtifacts,
)
from contracts.identity import Scope
from contracts.model import ArtifactId, TenantId
from contracts.wiring.client import Downloaded
from contracts.wiring.server import Call, Download, Server, knows
from experience.audit import Clock
from experience.auth.guard import require
from experience.auth.keyring import Keyring
from experience.auth.principal import Principal, caller_of
from experience.gateway.filename import name_file
from experience.runtime_calls import RuntimeCalls, TenantClient

LINK_AUDIENCE = "stagedoor-artifact"
LINK_LIFE = timedelta(minutes=5)
INLINE_TYPES = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif"})
"""Shown in place. Not SVG: that is a document with scripts."""
_CHUNK_TIMEOUT_S = 30.0
_PASSED_ON = ("content-range", "accept-ranges")
_TYPE = re.compile(r"[a-z0-9.+-]+/[a-z0-9.+-]+(; ?charset=[a-z0-9-]+)?", re.IGNORECASE)

Caller = Principal | None


@dataclass(frozen=True, slots=True)
class Links:
    """Signs and reads the short-lived links: each opens one artifact of one tenant."""

    keyring: Keyring
    clock: Clock
    public_url: str

    def sign(self, tenant_id: TenantId, artifact_id: ArtifactId) -> tuple[str, datetime]:
        """An absolute URL, and when it stops to work."""
        now = self.clock()
        claims = {"sub": str(artifact_id), "tenant": str(tenant_id)}
        token = self.keyring.sign(LINK_AUDIENCE, claims, now=now, lifetime=LINK_LIFE)
        # the signature says whole seconds
        return f"{self.public_url}/api/artifact/{artifact_id}?link={token}", now.replace(microsecond=0) + LINK_LIFE

    def read(self, link: str, artifact_id: ArtifactId) -> TenantId:
        """The tenant whose artifact a link opens.

        Raises:
            ApiError: UNAUTHENTICATED when it was tampered with, is too old or is for another artifact.
        """
        claims = self.keyring.verify(LINK_AUDIENCE, link, now=self.clock())
        if claims is None or claims.get("sub") != str(artifact_id):
            detail = "This link is not valid (any more)."
            hint = "Links last five minutes; get a new one from POST /api/artifact/resolve."
            raise ApiError(Code.UNAUTHENTICATED, detail, hint)
        return TenantId(UUID(claims["tenant"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifacts:
    """Handlers of `/api/artifact`."""

    runtime: RuntimeCalls
    links: Links

    def serve(self, server: Server[Caller]) -> None:
        """Bind the handlers."""
        server.on(ArtifactApi.resolve_artifacts, self.resolve_artifacts)
        server.on(ArtifactApi.get_artifact, self.get_artifact)
        server.on(ArtifactApi.get_artifact_metadata, self.get_artifact_metadata)

    async def resolve_artifacts(self, call: Call[Caller], request: ResolveArtifacts) -> ResolvedArtifacts:
        """`POST /api/artifact/resolve`."""
        caller = caller_of(call)
        client = self.runtime.speak_for(caller.tenant_id, caller.user_id, call.request_id)
        found = {item.artifact_id: item for item in (await client.resolve_artifacts(request)).items}
        wanted = list(dict.fromkeys(request.artifact_ids))
        items = [self._resolve(caller.tenant_id, found[one]) for one in wanted if one in found]
        return ResolvedArtifacts(items=items, missing=[one for one in wanted if one not in found])

    async def get_artifact(self, call: Call[Caller], request: ReadPublicArtifact) -> Blob:
        """`GET /api/artifact/{id}`."""
        client = self._reader(call, request)
        artifact = await client.get_artifact(ArtifactRef(artifact_id=request.artifact_id))
        kind = artifact.media_type if _TYPE.fullmatch(artifact.media_type) else "application/octet-stream"
        if knows(call.headers.get("if-none-match", ""), _etag(artifact)):
            return Download(kind, _nothing(), None, HTTPStatus.NOT_MODIFIED, _protection(artifact))
        if call.method == "HEAD":
            headers = {"accept-ranges": "bytes"} | _protection(artifact)
            return Download(kind, _nothing(), artifact.size, headers=headers)
        # a range of what the client has begun with is asked for only while it is still that (RFC 9110 13.1.5)
        span = request.range if call.headers.get("if-range", _etag(artifact)) == _etag(artifact) else None
        opened: list[Downloaded] = []
        chunks = _relay(client, ReadArtifact(artifact_id=request.artifact_id, range=span), opened)
        try:
            await anext(chunks)
        except ApiError as error:
            if error.code is Code.RANGE_NOT_SATISFIABLE:
                error.headers["content-range"] = f"bytes */{artifact.size}"
            raise
        upstream = opened[0]
        size = upstream.headers.get("content-length", "")
        passed_on = {name: upstream.headers[name] for name in _PASSED_ON if name in upstream.headers}
        return Download(
            media_type=kind,
            chunks=chunks,
            size=int(size) if size.isdigit() else None,
            status=upstream.status,
            headers=passed_on | _protection(artifact),
        )

    async def get_artifact_metadata(self, call: Call[Caller], request: ArtifactRef) -> Artifact:
        """`GET /api/artifact/{id}/metadata`."""
        caller = caller_of(call)
        return await self.runtime.speak_for(caller.tenant_id, caller.user_id, call.request_id).get_artifact(request)

    def _reader(self, call: Call[Caller], request: ReadPublicArtifact) -> TenantClient:
        """Runtime, for whom the link or the caller's credentials speak for; a link alone decides when there is one."""
        if request.link is not None:
            tenant_id, user_id = self.links.read(request.link, request.artifact_id), None
        else:
            caller = caller_of(call)
            require(caller, Scope.EXECUTION_READ)
            tenant_id, user_id = caller.tenant_id, caller.user_id
        return self.runtime.speak_for(tenant_id, user_id, call.request_id, timeout_s=_CHUNK_TIMEOUT_S)

    def _resolve(self, tenant_id: TenantId, artifact: Artifact) -> ResolvedArtifact:
        url, expires_at = self.links.sign(tenant_id, artifact.artifact_id)
        return ResolvedArtifact(artifact=artifact, url=url, expires_at=expires_at)


async def _relay(client: TenantClient, wanted: ReadArtifact, opened: list[Downloaded]) -> AsyncIterator[bytes]:
    """Open a download into `opened` with the first, empty chunk, then its content.

    Opened by the generator itself, so that it has begun when the answer does: however the reading ends, the connection
    to Runtime is given back. A generator that never began would close nothing.
    """
    async with client.download(RuntimeApi.read_artifact, wanted) as downloaded:
        opened.append(downloaded)
        yield b""
        async for chunk in downloaded.chunks:
            yield chunk


async def _nothing() -> AsyncIterator[bytes]:
    """The content of an answer that is asked for its headers only."""
    yield b""


def _protection(artifact: Artifact) -> dict[str, str]:
    place = "inline" if artifact.media_type in INLINE_TYPES else "attachment"
    return {
        "content-disposition": f"{place}; {name_file(artifact.name)}",
        "x-content-type-options": "nosniff",
        "content-security-policy": "sandbox; default-src 'none'",
        "cross-origin-resource-policy": "same-origin",
        "referrer-policy": "no-referrer",
        # an artifact never changes
        "cache-control": "private, max-age=3600, immutable",
        "etag": _etag(artifact),
    }


def _etag(artifact: Artifact) -> str:
    return f'"{artifact.sha256}"'
