"""Nodes that take something from a page and leave it as it is."""

import re
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from contracts.execution import ArtifactKind, FailureCode
from runtime.browser.page import ACTION_S
from runtime.browser.picture import PictureFormat
from runtime.handles import FileRef, FromJsonText, Html, JsonData, NoEdge, refer_to
from runtime.node import Node, NodeFailure, Stage
from runtime.nodes.browser.pages import PageInputs, PageOutputs, Selector, choose_timeout

_GROUP = "Extraction"
_FIELD = re.compile(r"^(?P<css>.*?)(?:@(?P<attribute>[A-Za-z_][\w:.-]*))?$", re.DOTALL)
_MAX_FIELDS = 50


class HtmlOutputs(PageOutputs):
    """Markup, and the page."""

    html_content: Html = Field(alias="Html Content", description="The page's markup as it stands now.")


class GetHtml(Node[PageInputs, HtmlOutputs]):
    """Reads the page as scripts have made it, not as it was sent."""

    type_id, title, group, icon = "get_html", "Get HTML", _GROUP, "code"
    description = "Reads the markup of the page as it stands now."
    credits = 2

    async def run(self, inputs: PageInputs, stage: Stage) -> HtmlOutputs:
        """Read it."""
        html = await stage.page(inputs.web_page).read_html(timeout_s=choose_timeout(stage, ACTION_S))
        return HtmlOutputs(web_page=inputs.web_page, html_content=Html(html))


Fields = Annotated[
    dict[Annotated[str, StringConstraints(min_length=1, max_length=200)], Annotated[str, Field(max_length=2_000)]],
    Field(min_length=1, max_length=_MAX_FIELDS),
    FromJsonText,
]


class ExtractInputs(PageInputs):
    """Which elements, and what of each."""

    selector: Selector = Field(
        alias="Selector", description="CSS, XPath (//…), text=… or role=…: each match becomes one item."
    )
    fields: Fields = Field(
        alias="Fields",
        description=(
            "What to read of each match: a JSON object of name → CSS inside the match. Its visible text is read, or "
            "with @name at the end that attribute (a@href). Nothing before the @ means the match itself."
        ),
    )


class ExtractOutputs(PageOutputs):
    """Rows, and the page."""

    items: JsonData = Field(alias="Items", description="A list of objects, one per match; what is missing is null.")


class ExtractList(Node[ExtractInputs, ExtractOutputs]):
    """Repeating parts of a page as data."""

    type_id, title, group, icon = "extract_list", "Extract list", _GROUP, "table"
    description = "Reads repeating parts of a page, such as search results, into a list of objects."
    credits = 2

    async def run(self, inputs: ExtractInputs, stage: Stage) -> ExtractOutputs:
        """Read them."""
        fields = {name: _parse_field(name, how) for name, how in inputs.fields.items()}
        page = stage.page(inputs.web_page)
        rows: list[Any] = await page.read_rows(inputs.selector, fields, timeout_s=choose_timeout(stage, ACTION_S))
        return ExtractOutputs(web_page=inputs.web_page, items=rows)


def _parse_field(name: str, how: str) -> tuple[str, str]:
    match = _FIELD.match(how.strip())
    css, attribute = (match["css"].strip(), match["attribute"] or "") if match else ("", "")
    if not css and not attribute:
        raise NodeFailure(
            FailureCode.INVALID_INPUT,
            f"The field “{name}” says nothing to read.",
            "Write CSS, an @attribute, or both: h2, @href, a@href.",
        )
    return css, attribute


class ScreenshotInputs(PageInputs):
    """How to take the picture."""

    full_page: Annotated[bool, NoEdge()] = Field(
        default=False, alias="Full Page", description="Take all of the page, not only what is in view."
    )
    format: Annotated[PictureFormat, NoEdge()] = Field(
        default="jpeg", alias="Format", description="jpeg is smaller, png is exact."
    )


class ScreenshotOutputs(PageOutputs):
    """A picture, and the page."""

    image: FileRef = Field(alias="Image", description="The picture, kept with the execution.")


class Screenshot(Node[ScreenshotInputs, ScreenshotOutputs]):
    """A picture of the page as an artifact."""

    type_id, title, group, icon = "screenshot", "Screenshot", _GROUP, "camera"
    description = "Takes a picture of the page and keeps it with the execution."

    async def run(self, inputs: ScreenshotInputs, stage: Stage) -> ScreenshotOutputs:
        """Take it and store it."""
        page = stage.page(inputs.web_page)
        picture = await page.take_picture(
            format_=inputs.format, full_page=inputs.full_page, timeout_s=choose_timeout(stage, ACTION_S)
        )
        artifact = await stage.store_artifact(
            ArtifactKind.SCREENSHOT,
            f"{stage.node_id}.{'jpg' if inputs.format == 'jpeg' else 'png'}",
            picture.media_type,
            picture.data,
            width=picture.width,
            height=picture.height,
            page_url=picture.page_url,
        )
        return ScreenshotOutputs(web_page=inputs.web_page, image=refer_to(artifact))


NODES = (GetHtml, ExtractList, Screenshot)
