"""What nodes that hold a page share: the page in, the page out, selectors, how long they may wait, and going on."""

from typing import Annotated

from pydantic import Field, StringConstraints

from contracts.execution import FailureCode
from runtime.browser.failure import BrowserFailure
from runtime.browser.page import NAVIGATION_S, Page
from runtime.egress.door import explain_missing_host
from runtime.egress.hosts import NotAHost, read_web_target
from runtime.handles import PageRef, Values, WebAddress
from runtime.node import Stage

Selector = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2_000)]
Address = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4_000), WebAddress()]

_MARGIN_S = 1.0
_MARGIN_SHARE = 0.2
_FIRST_FAULTY_STATUS = 400


class PageInputs(Values):
    """A page."""

    web_page: PageRef = Field(alias="Web Page", description="The page, from the node that opened or used it last.")


class PageOutputs(Values):
    """The same page, for the next node."""

    web_page: PageRef = Field(alias="Web Page", description="The page, as this node leaves it.")


def choose_timeout(stage: Stage, most_s: float) -> float:
    """Seconds an action may take: at most `most_s`, and less than the node has.

    The action's own failure says more than the end of the node's time, so it has to come first.
    """
    left = stage.seconds_left
    return min(most_s, max(left - _MARGIN_S, left * (1 - _MARGIN_SHARE)))


async def open_address(page: Page, url: str, stage: Stage) -> None:
    """Go there, and say so in the log where the site has nothing of the kind. Raises BrowserFailure."""
    try:
        status = await page.open_url(url, timeout_s=choose_timeout(stage, NAVIGATION_S))
    except BrowserFailure as failure:
        if (missing := _find_missing(failure, stage)) is None:
            raise
        message, hint = explain_missing_host(missing)
        raise BrowserFailure(FailureCode.HOST_NOT_FOUND, message, hint, page_url=failure.page_url) from failure
    if status is not None and status >= _FIRST_FAULTY_STATUS:
        await stage.log("warning", f"{page.url} answered {status}; the page it came with is open.")


def _find_missing(failure: BrowserFailure, stage: Stage) -> str | None:
    """The host that does not exist, where that is why a page could not be opened."""
    if failure.code is not FailureCode.NAVIGATION_FAILED:
        return None
    try:
        target = read_web_target(failure.page_url or "")
    except NotAHost:
        return None
    return stage.network.find_missing(str(target.host), target.port)
