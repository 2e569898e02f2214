"""Artifacts: what is known of them, and their bytes, whole or in part."""

import re
from typing import Final
from urllib.parse import quote

from contracts.api.runtime import RuntimeApi
from contracts.errors import ApiError, Code
from contracts.execution import Artifact, ArtifactRef, Artifacts, ReadArtifact, ResolveArtifacts
from contracts.wiring.internal import InternalCaller
from contracts.wiring.server import Call, Download, Server
from runtime.artifacts import ArtifactFolder
from runtime.store.records import Records

Caller = Call[InternalCaller]
_SENDABLE: Final = re.compile(r"[\x20-\x7e]+")
_UNKNOWN: Final = "application/octet-stream"
_RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.IGNORECASE)


class ArtifactHandlers:
    """The tenant is the token's; whatever is another's is not found."""

    def __init__(self, records: Records, folder: ArtifactFolder) -> None:
        self._records = records
        self._folder = folder

    def serve(self, server: Server[InternalCaller]) -> None:
        """Bind the handlers."""
        server.on(RuntimeApi.get_artifact, self.get)
        server.on(RuntimeApi.resolve_artifacts, self.resolve)
        server.on(RuntimeApi.read_artifact, self.read)

    async def get(self, call: Caller, wanted: ArtifactRef) -> Artifact:
        """What is known of one."""
        return (await self._records.get_blob(call.caller.tenant_id, wanted.artifact_id)).artifact

    async def resolve(self, call: Caller, wanted: ResolveArtifacts) -> Artifacts:
        """Those that exist."""
        return Artifacts(items=await self._records.find_artifacts(call.caller.tenant_id, wanted.artifact_ids))

    async def read(self, call: Caller, wanted: ReadArtifact) -> Download:
        """Its bytes; one range is served as such, several as the whole (RFC 9110 14.2 allows that)."""
        blob = await self._records.get_blob(call.caller.tenant_id, wanted.artifact_id)
        artifact = blob.artifact
        span = parse_range(wanted.range, artifact.size)
        start, length = span or (0, artifact.size)
        try:
            chunks = await self._folder.read(blob.path, start, length)
        except FileNotFoundError as error:
            raise ApiError(Code.NOT_FOUND, "The bytes of this artifact are gone.") from error
        headers = _describe(artifact)
        if span is not None:
            headers["content-range"] = f"bytes {start}-{start + length - 1}/{artifact.size}"
        # what a site called it came with its answer; not everything that came can be said again
        media_type = artifact.media_type if _SENDABLE.fullmatch(artifact.media_type) else _UNKNOWN
        return Download(media_type, chunks, length, 200 if span is None else 206, headers)


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Start and length that a Range header asks for; None where the whole is to be served.

    Raises:
        ApiError: RANGE_NOT_SATISFIABLE for a range outside of the bytes.
    """
    match = _RANGE.fullmatch(header.replace(" ", "")) if header else None
    if match is None or not (match[1] or match[2]):
        return None
    first, last = match[1], match[2]
    if not first:
        start, end = max(0, size - int(last)), size - 1
    else:
        start, end = int(first), min(int(last), size - 1) if last else size - 1
    if first and last and int(last) < int(first):
        return None  # not a range at all: RFC 9110 14.1.1 says to ignore it
    if start > end or start >= size:
        raise ApiError(Code.RANGE_NOT_SATISFIABLE, f"This artifact has {size} bytes.")
    return start, end - start + 1


def _describe(artifact: Artifact) -> dict[str, str]:
    return {
        "accept-ranges": "bytes",
        "etag": f'"{artifact.sha256}"',
        "cache-control": "private, max-age=31536000, immutable",
        "content-disposition": f"attachment; filename*=UTF-8''{quote(artifact.name, safe='', errors='replace')}",
        "x-content-type-options": "nosniff",
    }
