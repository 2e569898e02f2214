"""The artifact folder: whole files or none, nothing outside of it."""

import threading
from pathlib import Path

import pytest
from uuid_utils.compat import uuid7

from contracts.execution import ArtifactKind, FailureCode
from contracts.model import ArtifactId, ExecutionId, TenantId
from runtime.artifacts import ArtifactFolder, ArtifactStoreFailure, ArtifactWriter
from runtime.masking import Redactor


def ids() -> tuple[TenantId, ExecutionId, ArtifactId]:
    return TenantId(uuid7()), ExecutionId(uuid7()), ArtifactId(uuid7())


def names(folder: Path) -> list[str]:
    return [found.name for found in folder.iterdir()]


async def read(folder: ArtifactFolder, path: str, start: int = 0, length: int | None = None) -> bytes:
    return b"".join([chunk async for chunk in await folder.read(path, start, length)])


async def test_files_lie_by_tenant_and_execution(tmp_path: Path) -> None:
    folder = ArtifactFolder(tmp_path)
    tenant_id, execution_id, artifact_id = ids()
    path = await folder.write(tenant_id, execution_id, artifact_id, b"hello")
    assert path == f"{tenant_id}/{execution_id}/{artifact_id}"
    assert names(tmp_path / str(tenant_id) / str(execution_id)) == [str(artifact_id)]
    assert await read(folder, path) == b"hello"
    assert await read(folder, path, 1, 3) == b"ell"
    assert await read(folder, path, 9) == b""
    await folder.remove([f"{tenant_id}/{execution_id}", "gone/already"])
    with pytest.raises(FileNotFoundError):
        await folder.read(path)


async def test_a_folder_that_can_not_be_written_is_a_typed_failure(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(ArtifactStoreFailure) as refused:
        await ArtifactFolder(blocked).write(*ids(), b"x")
    assert refused.value.code is FailureCode.ARTIFACT_STORE


async def test_what_is_too_large_is_refused_before_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.artifacts.MAX_BYTES", 3)
    with pytest.raises(ArtifactStoreFailure) as refused:
        await ArtifactFolder(tmp_path).write(*ids(), b"1234")
    assert refused.value.code is FailureCode.OUTPUT_TOO_LARGE
    assert names(tmp_path) == []


@pytest.mark.parametrize("path", ["../outside", "/etc", "a/../..", "", "."])
async def test_no_path_leads_out_of_the_folder(tmp_path: Path, path: str) -> None:
    folder = ArtifactFolder(tmp_path / "artifacts")
    with pytest.raises(ValueError, match="leads out"):
        await folder.read(path)
    with pytest.raises(ValueError, match="leads out"):
        await folder.remove([path])


class NotedRedactor(Redactor):
    """Remembers in which threads it looked at files."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: list[threading.Thread] = []

    def clean_bytes(self, data: bytes, media_type: str) -> bytes:
        self.threads.append(threading.current_thread())
        return super().clean_bytes(data, media_type)


async def test_a_large_file_is_masked_beside_the_loop(tmp_path: Path) -> None:
    redactor = NotedRedactor()
    redactor.add("credential.shop.password", "correct horse")
    tenant_id, execution_id, _ = ids()
    writer = ArtifactWriter(ArtifactFolder(tmp_path), tenant_id, execution_id, redactor)
    for size in (10, 1_000_000):
        stored = await writer.put("node", ArtifactKind.FILE, "a.txt", "text/plain", b"x" * size + b"correct horse")
        assert await read(ArtifactFolder(tmp_path), stored.path, size) == b"[credential.shop.password]"
    here = threading.current_thread()
    assert [thread is here for thread in redactor.threads] == [True, False]
