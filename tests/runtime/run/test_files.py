"""Files in a run: streamed into the artifact store, masked there, lent to pages, and gone from scratch with the run."""

from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from contracts.credential import CreateCredential
from contracts.execution import ArtifactKind, ExecutionStatus
from contracts.workflow import JsonObject
from runtime.app import NODES
from runtime.seal import Seal
from runtime.vault import Vault
from tests.runtime.staging import Staging, edge, node
from tests.support.handout import Handout, run_handout
from tests.support.postgres import Database

CANARY = "canary-77e1"
PAGE = """<input id=p type=password><a id=file href="/report.csv">report</a>
<form action="/take" method="post" enctype="multipart/form-data"><input type=file name=f><button>Send</button></form>"""


@pytest.fixture
def handout() -> Iterator[Handout]:
    with run_handout(PAGE) as running:
        yield running


@pytest.fixture
async def staging(own_database: Database, tmp_path: Path, handout: Handout) -> AsyncIterator[Staging]:
    made = Staging(own_database, tmp_path, NODES)
    made.hosts = (handout.host,)
    made.seal = Seal([b"k" * 32])
    yield made
    await made.close()


def draw(handout: Handout, *between: JsonObject) -> tuple[list[JsonObject], list[JsonObject]]:
    """Open, whatever is between, download, upload, send."""
    nodes = [
        node("open", "launch_standard_browser", {"Website URL": handout.url("/")}),
        *between,
        node("get", "download_file", {"Selector": "#file"}),
        node("put", "upload_file", {"Selector": "input[type=file]"}),
        node("send", "click_element", {"Selector": "button"}),
    ]
    ids = [str(one["id"]) for one in nodes]
    edges = [edge(source, target, "Web Page", "Web Page") for source, target in pairwise(ids)]
    return nodes, [*edges, edge("get", "put", "File", "File")]


async def perform(staging: Staging, handout: Handout, *between: JsonObject) -> bytes:
    """Run it; answers what the artifact store keeps of the file."""
    nodes, edges = draw(handout, *between)
    execution_id = await staging.submit(nodes, edges)
    async with staging.perform():
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.COMPLETED
        scratch = staging.artifact_dir.parent / "scratch"
        assert not list(scratch.rglob("page-*"))
        assert not list(scratch.rglob("*.csv"))
    (artifact,) = await staging.records.list_artifacts(staging.tenant_id, execution_id)
    assert (artifact.kind, artifact.name) == (ArtifactKind.FILE, "report.csv")
    blob = await staging.records.get_blob(staging.tenant_id, artifact.artifact_id)
    return await staging.folder.read_whole(blob.path)


async def test_a_file_is_kept_and_handed_on(staging: Staging, handout: Handout) -> None:
    assert await perform(staging, handout) == handout.report
    (body,) = handout.taken
    assert handout.report in body


async def test_a_credential_in_a_file_is_masked(staging: Staging, handout: Handout) -> None:
    handout.report = f"user,password\nada,{CANARY}\n".encode()
    asked = {
        "name": "shop",
        "kind": "fields",
        "values": {"password": CANARY},
        "domains": [handout.host],
    }
    await Vault(staging.credentials, staging.seal).create(
        staging.tenant_id, None, CreateCredential.model_validate(asked)
    )
    fill = node("fill", "fill_input", {"Selector": "#p", "Value": "{{credential.shop.password}}"})
    kept = await perform(staging, handout, fill)
    assert kept == b"user,password\nada,[credential.shop.password]\n"
