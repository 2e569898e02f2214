"""A file comes from a page and goes to another one, through the artifact store."""

from collections.abc import Iterator

import pytest

from contracts.execution import FailureCode
from contracts.workflow import JsonObject
from runtime.browser.pool import Lease, Pool
from runtime.node import NodeFailure
from runtime.nodes.browser.files import DownloadFile, UploadFile
from tests.runtime.nodes.stage import MemoryStage
from tests.support.browsers import TENANT, make_permit
from tests.support.handout import Handout, run_handout

pytestmark = pytest.mark.asyncio(loop_scope="session")
PAGE = """<a id=file href="/report.csv">report</a>
<form action="/take" method="post" enctype="multipart/form-data"><input type=file name=f><button>Send</button></form>
<input id=search type=search><label id=label>File <input type=file></label>"""


@pytest.fixture(scope="module")
def handout() -> Iterator[Handout]:
    with run_handout(PAGE) as running:
        yield running


async def open_stage(lease: Lease, handout: Handout) -> tuple[MemoryStage, JsonObject]:
    page = await lease.open_page("node-1")
    await page.open_url(handout.url("/"))
    return MemoryStage(lease), {"Web Page": "node-1"}


async def test_a_file_goes_from_one_page_to_another(pool: Pool, handout: Handout) -> None:
    async with pool.lease(make_permit(TENANT, handout.host)) as lease:
        stage, page = await open_stage(lease, handout)
        outputs = await DownloadFile().perform({"Selector": "#file", **page}, stage)
        ((artifact, data),) = stage.artifacts
        assert (artifact.name, artifact.media_type, data) == ("report.csv", "text/csv", handout.report)
        assert artifact.page_url == handout.url("/")
        assert outputs["File"]["artifact_id"] == str(artifact.artifact_id)
        workspace = lease.page("node-1").workspace.path
        assert list(workspace.iterdir()) == []
        await UploadFile().perform({"Selector": "input[name=f]", "File": outputs["File"], **page}, stage)
        await lease.page("node-1").click("button")
        assert await lease.page("node-1").read_html()
        (body,) = handout.taken
        assert handout.report in body
        assert b'filename="report.csv"' in body
    assert not workspace.exists()


@pytest.mark.parametrize("inputs", [{}, {"Selector": "a", "URL": "http://x/"}])
async def test_either_a_selector_or_an_address(lease: Lease, inputs: JsonObject) -> None:
    with pytest.raises(NodeFailure) as caught:
        await DownloadFile().perform({"Web Page": "node-1", **inputs}, MemoryStage(lease))
    assert (caught.value.code, caught.value.acted) == (FailureCode.INVALID_INPUT, False)


@pytest.mark.parametrize("selector", ["#file", "#search", "button"])
async def test_what_is_no_field_for_files(pool: Pool, handout: Handout, selector: str) -> None:
    async with pool.lease(make_permit(TENANT, handout.host)) as lease:
        stage, page = await open_stage(lease, handout)
        outputs = await DownloadFile().perform({"Selector": "#file", **page}, stage)
        with pytest.raises(NodeFailure, match="does not match a file field") as caught:
            await UploadFile().perform({"Selector": selector, "File": outputs["File"], **page}, stage)
        failed = caught.value
        assert (failed.code, failed.retryable, failed.acted) == (FailureCode.INVALID_INPUT, False, False)
        await UploadFile().perform({"Selector": "#label", "File": outputs["File"], **page}, stage)
