"""A file by its address: fetched as the page's browser would, but kept whatever Chromium would rather show.

Chromium downloads only what it can't show, or what the site calls an attachment. So the file is asked for here, through
the run's checked door and by the way that the page's traffic goes, with what the browser would say of itself.
"""

import asyncio
import email.utils
import mimetypes
import os
import re
from email.message import Message
from tempfile import TemporaryFile
from typing import Any, BinaryIO, Final
from urllib.parse import unquote, urlsplit

from contracts.execution import FailureCode
from runtime.browser.downloads import name_file
from runtime.browser.page import Page
from runtime.charsets import read_text
from runtime.node import NodeFailure, Stage
from runtime.tools.http import Answer, HttpFailure, Limits, Outgoing, open_client, show

UNKNOWN: Final = "application/octet-stream"
_REDIRECTS: Final = 20
"""As many as browsers follow (Fetch standard, HTTP-redirect fetch)."""
_BUSY: Final = frozenset({429, *range(500, 600)})
"""Answers that may be better a little later (spec W6)."""
_MAX_DISPOSITION: Final = 4_096
"""Characters that are read of it: Python takes the square of them."""
_MEDIA_TYPE: Final = re.compile(r"[a-z0-9!#$&^_.+-]{1,80}/[a-z0-9!#$&^_.+-]{1,100}")
"""RFC 6838, 4.2."""


async def fetch_file(page: Page, url: str, stage: Stage, *, max_bytes: int, timeout_s: float) -> "Fetched":
    """Ask for it by GET and read it whole.

    Raises:
        BrowserFailure: invalid_input, host_refused; the page has gone.
        NodeFailure: host_refused, http_failed (also for an answer that is no 2xx), timeout, output_too_large. None has
            `acted`: a GET changes nothing (RFC 9110, 9.2.1).
    """
    page.way_out.check(url)
    file = await asyncio.to_thread(_make_file, page)
    try:
        async with open_client(stage.network.through(page.options.proxy)) as client:
            limits = Limits(_REDIRECTS, max_bytes, timeout_s)
            answer = await client.send(Outgoing("GET", url), limits, sink=file, dress=page.introduce)
        _check(answer, page)
    except HttpFailure as failure:
        file.close()
        raise NodeFailure(
            failure.code, failure.message, failure.hint, retryable=failure.passing, page_url=page.url
        ) from failure
    except BaseException:
        file.close()
        raise
    return Fetched(file, answer)


def _make_file(page: Page) -> BinaryIO:
    return TemporaryFile(dir=page.workspace.path)


class Fetched:
    """A file that has arrived."""

    def __init__(self, file: BinaryIO, answer: Answer) -> None:
        self.file = file
        """Open at its beginning. It is nowhere else: whoever closes it has done away with it."""
        self.size = file.seek(0, os.SEEK_END)
        """Bytes."""
        file.seek(0)
        self.name = name_file(_find_name(answer.header("content-disposition")) or unquote(urlsplit(answer.url).path))
        """As the site calls it, without any folder."""
        self.media_type = _read_media_type(answer) or mimetypes.guess_type(self.name)[0] or UNKNOWN


def _check(answer: Answer, page: Page) -> None:
    if 200 <= answer.status < 300:  # noqa: PLR2004 — RFC 9110, 15.3: what was asked for
        return
    busy = answer.status in _BUSY
    raise NodeFailure(
        FailureCode.HTTP_FAILED,
        f"{show(answer.url)} answered {answer.status}.",
        "The site has trouble or wants fewer visits; try again later."
        if busy
        else "Check the address, and whether the site wants a login that this page does not have.",
        retryable=busy,
        page_url=page.url,
    )


def _find_name(disposition: str) -> str:
    """The file's name of a Content-Disposition; `filename*` goes before `filename` (RFC 6266, 4.3)."""
    message = Message()
    message["content-disposition"] = disposition[:_MAX_DISPOSITION]
    try:
        # names in RFC 2231's coding come last
        named: dict[str, Any] = dict(message.get_params([], "content-disposition"))
        said = named.get("filename", "")
        if isinstance(said, str):
            return email.utils.unquote(said)
        charset, _, text = said  # not by `collapse_rfc2231_value`, which takes any of Python's codecs
        return read_text(bytes(email.utils.unquote(text), "raw-unicode-escape"), charset or "")
    except (ValueError, LookupError, TypeError, AttributeError):  # whatever Python says to a header that is none
        return ""


def _read_media_type(answer: Answer) -> str:
    said = answer.header("content-type").partition(";")[0].strip().lower()
    return said if _MEDIA_TYPE.fullmatch(said) else ""
