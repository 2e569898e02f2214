"""The artifact folder: `<tenant>/<execution>/<artifact>`. A file is there whole or not at all."""

import asyncio
import errno
import hashlib
import os
import shutil
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from uuid_utils.compat import uuid7

from contracts.execution import Artifact, ArtifactKind, FailureCode
from contracts.model import ArtifactId, ExecutionId, TenantId
from runtime.masking import Redactor
from runtime.store.records import StoredBlob

MAX_BYTES = 64 * 1_048_576
"""Of one artifact."""
_CHUNK = 256 * 1_024
_PIECE = 1_048_576
_AT_ONCE = 65_536
"""Bytes up to which it costs more to look elsewhere than here for what has to be masked."""
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class ArtifactStoreFailure(Exception):  # noqa: N818 — a failure is what it is called everywhere
    """The folder can't take a file. `message` and `hint` are for a person."""

    def __init__(self, code: FailureCode, message: str, hint: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


@dataclass(frozen=True)
class Disk:
    """The disk that artifacts lie on, in bytes."""

    size: int
    free: int


@dataclass(frozen=True)
class Taken:
    """A file that was taken in."""

    path: str
    """Relative to the folder."""
    size: int
    """Bytes."""
    sha256: str


class ArtifactFolder:
    """Files by relative path. What is known of them stands in the database; a file without a row is nobody's."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def write(self, tenant_id: TenantId, execution_id: ExecutionId, artifact_id: ArtifactId, data: bytes) -> str:
        """Store bytes and return their path relative to the folder.

        Raises:
            ArtifactStoreFailure: it is too large, the disk is full, or the folder can't be written.
        """
        _refuse_large(len(data))
        path = f"{tenant_id}/{execution_id}/{artifact_id}"
        try:
            await asyncio.to_thread(_write_whole, self._root / path, data)
        except OSError as error:
            raise _explain(error) from error
        return path

    async def take_in(
        self, tenant_id: TenantId, execution_id: ExecutionId, artifact_id: ArtifactId, source: BinaryIO
    ) -> "Taken":
        """Store a copy of an open file, piece by piece; whoever is cancelled leaves nothing behind.

        Raises:
            ArtifactStoreFailure: as `write`.
        """
        size = os.fstat(source.fileno()).st_size
        _refuse_large(size)
        path = f"{tenant_id}/{execution_id}/{artifact_id}"
        target = self._root / path
        try:
            await asyncio.to_thread(target.parent.mkdir, parents=True, exist_ok=True, mode=0o700)
            return Taken(path, size, await _copy(source, target))
        except OSError as error:
            raise _explain(error) from error

    async def read(self, path: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """Bytes from `start`, in chunks; the file is opened before the first chunk is asked for.

        Raises:
            FileNotFoundError: it is gone.
        """
        file = await asyncio.to_thread(_open_at, self._resolve(path), start)
        return _chunks(file, length)

    async def read_whole(self, path: str) -> bytes:
        """All bytes. Raises FileNotFoundError."""
        return await asyncio.to_thread(self._resolve(path).read_bytes)

    async def remove(self, folders: Iterable[str]) -> None:
        """Remove folders with all that is in them; those that are gone already are fine."""
        for folder in folders:
            await asyncio.to_thread(shutil.rmtree, self._resolve(folder), ignore_errors=True)

    async def discard(self, path: str) -> None:
        """Remove one file whose row was never written."""
        await asyncio.to_thread(self._resolve(path).unlink, missing_ok=True)

    async def measure(self) -> Disk | None:
        """How full its disk is; None where that can't be told."""
        try:
            usage = await asyncio.to_thread(shutil.disk_usage, self._root)
        except OSError:
            return None
        return Disk(usage.total, usage.free)

    def _resolve(self, path: str) -> Path:
        """Paths come from our own rows; one that leads out of the folder is a fault, not a file."""
        resolved = (self._root / path).resolve()
        if not resolved.is_relative_to(self._root.resolve()) or resolved == self._root.resolve():
            raise ValueError(f"{path!r} leads out of the artifact folder")
        return resolved


class ArtifactWriter:
    """Puts artifacts of one execution into the folder; their rows are written by whoever asked.

    Args:
        redactor: masks what credentials of this run hold, in texts and in what is known of a file.
    """

    def __init__(
        self, folder: ArtifactFolder, tenant_id: TenantId, execution_id: ExecutionId, redactor: Redactor | None = None
    ) -> None:
        self._redactor = redactor or Redactor()
        self._folder = folder
        self._tenant_id = tenant_id
        self._execution_id = execution_id

    async def put(
        self,
        node_id: str | None,
        kind: ArtifactKind,
        name: str,
        media_type: str,
        data: bytes,
        *,
        size: tuple[int, int] | None = None,
        page_url: str | None = None,
    ) -> StoredBlob:
        """Store bytes and describe them.

        Args:
            size: width and height of a picture, in pixels.

        Raises:
            ArtifactStoreFailure: as `ArtifactFolder.write`.
        """
        if self._redactor.armed and len(data) > _AT_ONCE:
            data = await asyncio.to_thread(self._redactor.clean_bytes, data, media_type)
        else:
            data = self._redactor.clean_bytes(data, media_type)
        artifact_id = ArtifactId(uuid7())
        path = await self._folder.write(self._tenant_id, self._execution_id, artifact_id, data)
        artifact = Artifact(
            artifact_id=artifact_id,
            execution_id=self._execution_id,
            node_id=node_id,
            kind=kind,
            name=self._redactor.clean_text(name),
            media_type=media_type,
            size=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            width=size[0] if size else None,
            height=size[1] if size else None,
            page_url=self._redactor.clean(page_url),
            created_at=datetime.now(UTC),
        )
        return StoredBlob(artifact, path)

    async def put_file(
        self, node_id: str | None, name: str, media_type: str, source: BinaryIO, *, page_url: str | None = None
    ) -> StoredBlob:
        """Store a copy of an open file and describe it; once there is something to mask, it is masked.

        Raises:
            ArtifactStoreFailure: as `ArtifactFolder.write`.
        """
        if self._redactor.armed:
            _refuse_large(os.fstat(source.fileno()).st_size)
            data = await asyncio.to_thread(source.read)
            return await self.put(node_id, ArtifactKind.FILE, name, media_type, data, page_url=page_url)
        artifact_id = ArtifactId(uuid7())
        taken = await self._folder.take_in(self._tenant_id, self._execution_id, artifact_id, source)
        artifact = Artifact(
            artifact_id=artifact_id,
            execution_id=self._execution_id,
            node_id=node_id,
            kind=ArtifactKind.FILE,
            name=self._redactor.clean_text(name),
            media_type=media_type,
            size=taken.size,
            sha256=taken.sha256,
            page_url=self._redactor.clean(page_url),
            created_at=datetime.now(UTC),
        )
        return StoredBlob(artifact, taken.path)

    async def discard(self, blob: StoredBlob) -> None:
        """Remove bytes whose row was never written."""
        await self._folder.discard(blob.path)


def _write_whole(target: Path, data: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    unfinished = target.with_suffix(".part")
    try:
        with unfinished.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(target)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise


def _refuse_large(size: int) -> None:
    if size > MAX_BYTES:
        raise ArtifactStoreFailure(
            FailureCode.OUTPUT_TOO_LARGE,
            f"{size} bytes are more than an artifact may have ({MAX_BYTES}).",
            "Store less at once: a part of the page, or a smaller picture.",
        )


async def _copy(source: BinaryIO, target: Path) -> str:
    """Copy in pieces, so that a deadline can come in between; answers the SHA-256."""
    unfinished = target.with_suffix(".part")
    digest = hashlib.sha256()
    try:
        with await asyncio.to_thread(unfinished.open, "wb") as writing:
            while piece := await asyncio.to_thread(source.read, _PIECE):
                digest.update(piece)
                await asyncio.to_thread(writing.write, piece)
            await asyncio.to_thread(_sync, writing)
        await asyncio.to_thread(unfinished.replace, target)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    return digest.hexdigest()


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _open_at(path: Path, start: int) -> BinaryIO:
    file = path.open("rb")
    file.seek(start)
    return file


async def _chunks(file: BinaryIO, length: int | None) -> AsyncIterator[bytes]:
    left = length
    try:
        while left is None or left > 0:
            chunk = await asyncio.to_thread(file.read, _CHUNK if left is None else min(_CHUNK, left))
            if not chunk:
                return
            left = None if left is None else left - len(chunk)
            yield chunk
    finally:
        file.close()


def _explain(error: OSError) -> ArtifactStoreFailure:
    if error.errno in _FULL:
        return ArtifactStoreFailure(
            FailureCode.ARTIFACT_STORE,
            "The disk that keeps artifacts is full.",
            "Free space, or shorten how long finished executions are kept.",
        )
    return ArtifactStoreFailure(
        FailureCode.ARTIFACT_STORE,
        f"The artifact folder can't be written ({error.strerror or type(error).__name__}).",
        "Ask the operator to check STAGEDOOR_RUNTIME_ARTIFACT_DIR.",
    )
