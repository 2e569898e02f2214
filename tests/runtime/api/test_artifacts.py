"""Artifacts over HTTP: metadata, whole files, ranges, and files that are gone."""

import hashlib

import pytest
from uuid_utils.compat import uuid7

from contracts.api.runtime import RuntimeApi
from contracts.errors import ApiError, Code
from contracts.execution import ArtifactKind, ArtifactRef, ReadArtifact, ResolveArtifacts
from contracts.model import ArtifactId, TenantId
from contracts.wiring.client import RuntimeClient
from runtime.api.artifacts import parse_range
from runtime.app import Ground
from runtime.artifacts import ArtifactWriter
from runtime.store.changes import Change
from runtime.store.executions import Executions
from runtime.store.records import StoredBlob
from runtime.store.runs import Runs
from tests.runtime.api.conftest import MakeClient
from tests.runtime.made import make_execution

DATA = bytes(range(256)) * 4_000


@pytest.fixture
async def blob(ground: Ground, tenant_id: TenantId) -> StoredBlob:
    new = make_execution()
    await Executions(ground.db, ground.queue).submit(tenant_id, new)
    runs = Runs(ground.db, ground.queue)
    claimed = await runs.claim(tenant_id, new.execution_id, "worker")
    assert claimed is not None
    writer = ArtifactWriter(ground.folder, tenant_id, new.execution_id)
    stored = await writer.put("a", ArtifactKind.FILE, "naïve “x”.bin", "application/octet-stream", DATA)
    await runs.record(claimed.lease, Change(blobs=[stored]))
    return stored


async def test_bytes_come_back_whole(client: RuntimeClient, blob: StoredBlob) -> None:
    assert await client.get_artifact(ArtifactRef(artifact_id=blob.artifact.artifact_id)) == blob.artifact
    wanted = ReadArtifact(artifact_id=blob.artifact.artifact_id)
    async with client.download(RuntimeApi.read_artifact, wanted) as answer:
        data = b"".join([chunk async for chunk in answer.chunks])
    assert data == DATA
    assert hashlib.sha256(data).hexdigest() == blob.artifact.sha256
    assert answer.headers["content-disposition"].startswith("attachment;")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["etag"] == f'"{blob.artifact.sha256}"'


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [("bytes=0-0", 0, 1), ("bytes=1000-1999", 1_000, 2_000), ("bytes=-10", -10, None), ("bytes=1023990-", -10, None)],
)
async def test_a_range_is_served(
    client: RuntimeClient, blob: StoredBlob, header: str, start: int, end: int | None
) -> None:
    wanted = ReadArtifact(artifact_id=blob.artifact.artifact_id, range=header)
    async with client.download(RuntimeApi.read_artifact, wanted) as answer:
        data = b"".join([chunk async for chunk in answer.chunks])
    assert answer.status == 206
    assert data == DATA[start:end]
    assert answer.headers["content-range"].endswith(f"/{len(DATA)}")


def test_ranges_that_are_none_serve_the_whole() -> None:
    for header in (None, "", "bytes=-", "bytes=5-2", "bytes=0-1,4-5", "lines=1-2", "bytes=a-b", "Bytes=-"):
        assert parse_range(header, 10) is None


def test_the_units_name_has_no_case() -> None:
    assert parse_range("Bytes=2-4", 10) == (2, 3)


@pytest.mark.parametrize(
    ("header", "size"), [("bytes=10-", 10), ("bytes=10-20", 10), ("bytes=-0", 10), ("bytes=0-", 0)]
)
def test_ranges_outside_are_refused(header: str, size: int) -> None:
    with pytest.raises(ApiError) as refused:
        parse_range(header, size)
    assert refused.value.code is Code.RANGE_NOT_SATISFIABLE


@pytest.mark.parametrize("media_type", ["text/plain; charset=€", "image/é", "", "a\nb"])
async def test_a_file_of_any_type_can_be_fetched(
    client: RuntimeClient, ground: Ground, tenant_id: TenantId, media_type: str
) -> None:
    new = make_execution()
    await Executions(ground.db, ground.queue).submit(tenant_id, new)
    runs = Runs(ground.db, ground.queue)
    claimed = await runs.claim(tenant_id, new.execution_id, "worker")
    assert claimed is not None
    writer = ArtifactWriter(ground.folder, tenant_id, new.execution_id)
    stored = await writer.put("a", ArtifactKind.FILE, "a", media_type, DATA)
    await runs.record(claimed.lease, Change(blobs=[stored]))
    wanted = ReadArtifact(artifact_id=stored.artifact.artifact_id)
    async with client.download(RuntimeApi.read_artifact, wanted) as answer:
        assert b"".join([chunk async for chunk in answer.chunks]) == DATA
    assert answer.headers["content-type"] == "application/octet-stream"


async def test_references_are_resolved_as_far_as_they_exist(client: RuntimeClient, blob: StoredBlob) -> None:
    asked = ResolveArtifacts(artifact_ids=[ArtifactId(uuid7()), blob.artifact.artifact_id])
    assert (await client.resolve_artifacts(asked)).items == [blob.artifact]


async def test_another_tenants_artifact_is_an_unknown_one(make_client: MakeClient, blob: StoredBlob) -> None:
    stranger = make_client(TenantId(uuid7()))
    with pytest.raises(ApiError) as refused:
        await stranger.get_artifact(ArtifactRef(artifact_id=blob.artifact.artifact_id))
    assert refused.value.code is Code.NOT_FOUND
    with pytest.raises(ApiError):
        async with stranger.download(RuntimeApi.read_artifact, ReadArtifact(artifact_id=blob.artifact.artifact_id)):
            pass
    asked = ResolveArtifacts(artifact_ids=[blob.artifact.artifact_id])
    assert (await stranger.resolve_artifacts(asked)).items == []


async def test_bytes_that_are_gone_are_not_found(client: RuntimeClient, ground: Ground, blob: StoredBlob) -> None:
    await ground.folder.discard(blob.path)
    with pytest.raises(ApiError) as refused:
        async with client.download(RuntimeApi.read_artifact, ReadArtifact(artifact_id=blob.artifact.artifact_id)):
            pass
    assert refused.value.code is Code.NOT_FOUND
