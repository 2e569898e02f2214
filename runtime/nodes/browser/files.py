"""Nodes that take files from pages and give files to them."""

import mimetypes
from typing import Annotated

from pydantic import Field, StringConstraints

from contracts.execution import FailureCode
from runtime.browser.downloads import MAX_FILE, name_file
from runtime.browser.page import ACTION_S, MAX_UPLOAD, Page, Upload
from runtime.handles import FileRef, NoEdge, WebAddress, refer_to
from runtime.node import Node, NodeFailure, Stage
from runtime.nodes.browser.fetch import UNKNOWN, fetch_file
from runtime.nodes.browser.pages import PageInputs, PageOutputs, Selector, choose_timeout
from runtime.tools.http import show
from runtime.tools.record import record_use

_GROUP = "Browser"
_KEEP_S = 5.0
"""Of the node's time, for keeping a file once it is there."""


class DownloadInputs(PageInputs):
    """Where the file comes from."""

    selector: Annotated[str, StringConstraints(strip_whitespace=True, max_length=2_000)] = Field(
        default="",
        alias="Selector",
        description="CSS, XPath (//…), text=… or role=…: what is clicked to get the file. This or a URL.",
    )
    url: Annotated[str, StringConstraints(strip_whitespace=True, max_length=4_000), WebAddress()] = Field(
        default="", alias="URL", description="The file's address, fetched with the page's cookies. This or a selector."
    )
    max_size: Annotated[int, NoEdge(), Field(ge=1, le=MAX_FILE)] = Field(
        default=MAX_FILE, alias="Max Size", description="Bytes that the file may have."
    )


class DownloadOutputs(PageOutputs):
    """A file, and the page."""

    file: FileRef = Field(alias="File", description="The file, kept with the execution.")


class DownloadFile(Node[DownloadInputs, DownloadOutputs]):
    """Takes one file. Not safe where it clicks; an address is asked for by GET, which may be repeated."""

    type_id, title, group, icon = "download_file", "Download file", _GROUP, "download"
    description = "Clicks something or fetches an address, and keeps the file that the site answers."
    credits = 2
    safe = False
    safe_if = ({"Selector": ("",)},)

    async def run(self, inputs: DownloadInputs, stage: Stage) -> DownloadOutputs:
        """Fetch it into the page's workspace, and from there into the artifact store."""
        if bool(inputs.selector) == bool(inputs.url):
            raise NodeFailure(
                FailureCode.INVALID_INPUT,
                "A download needs a selector or an address, and not both.",
                "Fill in “Selector” with what is to be clicked, or “URL” with the file's address.",
            )
        page = stage.page(inputs.web_page)
        timeout_s = choose_timeout(stage, max(1.0, stage.seconds_left - _KEEP_S))
        take = _fetch if inputs.url else _click
        return DownloadOutputs(web_page=inputs.web_page, file=await take(inputs, page, stage, timeout_s))


async def _fetch(inputs: DownloadInputs, page: Page, stage: Stage, timeout_s: float) -> FileRef:
    with record_use(stage, DownloadFile.type_id, f"GET {show(inputs.url)}") as moved:
        found = await fetch_file(page, inputs.url, stage, max_bytes=inputs.max_size, timeout_s=timeout_s)
        moved.received = found.size
    with found.file as file:
        return refer_to(await stage.store_file(found.name, found.media_type, file, page_url=page.url))


async def _click(inputs: DownloadInputs, page: Page, stage: Stage, timeout_s: float) -> FileRef:
    found = await page.download(selector=inputs.selector, max_bytes=inputs.max_size, timeout_s=timeout_s)
    media_type = mimetypes.guess_type(found.name)[0] or UNKNOWN
    with found.file as file:
        try:
            return refer_to(await stage.store_file(found.name, media_type, file, page_url=page.url))
        except NodeFailure as failure:
            failure.acted = True
            raise


class UploadInputs(PageInputs):
    """Which field, and which file."""

    selector: Selector = Field(alias="Selector", description="CSS, XPath (//…) or role=…: the field for files.")
    file: FileRef = Field(alias="File", description="The file: from a node that has stored one.")


class UploadFile(Node[UploadInputs, PageOutputs]):
    """Chooses a file in a field. Not safe: many pages send a file as soon as it is chosen."""

    type_id, title, group, icon = "upload_file", "Upload file", _GROUP, "upload"
    description = "Gives a file to a field of the page, as if a person had chosen it."
    safe = False
    edits = True

    async def run(self, inputs: UploadInputs, stage: Stage) -> PageOutputs:
        """Hand it to the page."""
        page = stage.page(inputs.web_page)
        data = await stage.read_file(inputs.file, MAX_UPLOAD)
        file = Upload(name_file(inputs.file.name), inputs.file.media_type, data)
        await page.upload(inputs.selector, file, timeout_s=choose_timeout(stage, ACTION_S))
        return PageOutputs(web_page=inputs.web_page)


NODES = (DownloadFile, UploadFile)
