"""Markup, lists and pictures."""

import pytest
import pytest_asyncio

from contracts.execution import ArtifactKind, FailureCode
from runtime.browser.pool import Lease
from runtime.node import NodeFailure
from runtime.nodes.browser.read import ExtractList, GetHtml, Screenshot
from tests.runtime.nodes.stage import MemoryStage
from tests.support.site import Site

pytestmark = pytest.mark.asyncio(loop_scope="session")

SHOP = """<title>Shop</title><ul><li data-id=1><a href=/tea>Tea</a> <i>3 €</i></li>
<li data-id=2><a href=/jam>Jam</a></li></ul>"""
PAGE = {"Web Page": "node-1"}


@pytest_asyncio.fixture(loop_scope="session")
async def stage(lease: Lease, site: Site) -> MemoryStage:
    site.pages["/shop"] = SHOP
    await (await lease.open_page("node-1")).open_url(site.url("/shop"))
    return MemoryStage(lease)


async def test_markup(stage: MemoryStage) -> None:
    outputs = await GetHtml().perform(PAGE, stage)
    assert outputs["Web Page"] == "node-1"
    assert "<title>Shop</title>" in outputs["Html Content"]


@pytest.mark.parametrize("as_text", [False, True])
async def test_a_list_of_what_each_match_holds(stage: MemoryStage, site: Site, as_text: bool) -> None:  # noqa: FBT001
    fields: object = {"name": "a", "link": " a@href ", "price": "i", "id": "@data-id"}
    if as_text:
        fields = '{"name": "a", "link": "a@href", "price": "i", "id": "@data-id"}'
    outputs = await ExtractList().perform({"Selector": "li", "Fields": fields, **PAGE}, stage)
    assert outputs == {
        "Items": [
            {"name": "Tea", "link": site.url("/tea"), "price": "3 €", "id": "1"},
            {"name": "Jam", "link": site.url("/jam"), "price": None, "id": "2"},
        ],
        **PAGE,
    }


@pytest.mark.parametrize(
    "fields", [{}, {"a": ""}, {"a": "@"}, {"a": 1.5, "": "x"}, "no json", [1], {str(n): "a" for n in range(51)}]
)
async def test_fields_that_say_nothing(stage: MemoryStage, fields: object) -> None:
    with pytest.raises(NodeFailure) as caught:
        await ExtractList().perform({"Selector": "li", "Fields": fields, **PAGE}, stage)
    assert caught.value.code in (FailureCode.INVALID_INPUT, FailureCode.INVALID_SELECTOR)


async def test_an_at_sign_inside_css_is_no_attribute(stage: MemoryStage) -> None:
    fields = {"mail": 'a[href*="@x"]', "both": 'a:not([href*="@x"])@href'}
    outputs = await ExtractList().perform({"Selector": "li:first-child", "Fields": fields, **PAGE}, stage)
    (item,) = outputs["Items"]
    assert item["mail"] is None
    assert item["both"].endswith("/tea")


@pytest.mark.parametrize(
    ("inputs", "media_type"), [({}, "image/jpeg"), ({"Format": "png", "Full Page": "true"}, "image/png")]
)
async def test_a_picture_becomes_an_artifact(
    stage: MemoryStage, site: Site, inputs: dict[str, str], media_type: str
) -> None:
    outputs = await Screenshot().perform({**inputs, **PAGE}, stage)
    ((artifact, data),) = stage.artifacts
    assert (artifact.kind, artifact.media_type, artifact.page_url) == (
        ArtifactKind.SCREENSHOT, media_type, site.url("/shop"),
    )  # fmt: skip
    assert (artifact.width, artifact.height) == (1280, 800)
    assert outputs["Image"] == {
        "artifact_id": str(artifact.artifact_id),
        "name": artifact.name,
        "media_type": media_type,
        "size": len(data),
    }
