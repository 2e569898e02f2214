"""Playwright's errors become ours, in words for a person. What was typed never shows: a value may be a secret."""

import re

from playwright.async_api import Error
from playwright.async_api import TimeoutError as ActionTimeout

from contracts.execution import FailureCode
from runtime.browser.failure import BrowserFailure

_BAD_SELECTOR = re.compile(
    r"while parsing|is not a valid (?:selector|XPath expression)|Invalid regular expression|InvalidSelectorError"
)
_UNFIT = re.compile(r"cannot be filled|(?:Element|Node) is not an? |Malformed value|not a checkbox|Not an? ")
_CLOSED = re.compile(r"has been closed|Connection closed|Target closed|detached")
_OBSTACLE = re.compile(
    r"^\s*- (?P<found>element is (?:not \w+|outside of the viewport)|<.+> intercepts pointer events"
    r"|did not find some options)",
    re.MULTILINE,
)
_NET_ERROR = re.compile(r"net::(ERR_[A-Z0-9_]+)")
_PASSING = re.compile(
    r"ERR_(?:CONNECTION|TIMED_OUT|EMPTY_RESPONSE|NETWORK|INTERNET|NAME_NOT_RESOLVED|ADDRESS|HTTP2|QUIC|SOCKET|PROXY|TUNNEL)"
)
"""Failures of the network that may be over a little later."""
_MAX_SHOWN = 300
_SYNTAX = "CSS, XPath (//… or xpath=…), text=…, or role=button[name=…]"


def shorten(text: str) -> str:
    """A text at a length that fits a sentence."""
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "…"


def translate_action(error: Error, selector: str, url: str) -> BrowserFailure:
    """The failure of an action on what a selector finds."""
    message = error.message
    if isinstance(error, ActionTimeout):
        return _explain_timeout(message, selector, url)
    if _BAD_SELECTOR.search(message):
        return BrowserFailure(
            FailureCode.INVALID_SELECTOR,
            f"“{shorten(selector)}” is not a selector: {_first_line(message)}",
            f"Write {_SYNTAX}.",
            page_url=url,
        )
    if _UNFIT.search(message):
        return BrowserFailure(
            FailureCode.INVALID_INPUT,
            f"What “{shorten(selector)}” finds can't be used so: {_first_line(message)}",
            "Choose another element, or another node for this kind of element.",
            page_url=url,
        )
    return translate_other(error, url)


def translate_navigation(error: Error, target: str, url: str) -> BrowserFailure:
    """The failure of going to an address."""
    if isinstance(error, ActionTimeout):
        return BrowserFailure(
            FailureCode.TIMEOUT,
            f"{shorten(target)} did not load in time.",
            "Give the node a longer timeout_s, or check whether the site answers at all.",
            retryable=True,
            page_url=url,
        )
    if is_closed(error):
        return translate_other(error, url)
    found = _NET_ERROR.search(error.message)
    reason = found[1] if found else _first_line(error.message)
    return BrowserFailure(
        FailureCode.NAVIGATION_FAILED,
        f"{shorten(target)} could not be opened: {reason}.",
        _hint_at(reason),
        retryable=not found or bool(_PASSING.match(reason)),
        page_url=url,
    )


def translate_other(error: Error, url: str) -> BrowserFailure:
    """Any other failure: the page has gone, or Playwright met something that nobody foresaw."""
    if is_closed(error):
        return explain_closed(url)
    return BrowserFailure(
        FailureCode.INTERNAL,
        f"The browser answered: {_first_line(error.message)}",
        "Try again; if it stays so, report it with the execution's id.",
        page_url=url,
    )


def is_closed(error: Error) -> bool:
    """Whether the page, its context or the browser had gone."""
    return bool(_CLOSED.search(error.message))


def has_error_page(error: Error) -> bool:
    """Whether a navigation failed in a way that Chromium answers with a page of its own."""
    found = _NET_ERROR.search(error.message)
    return found is not None and found[1] != "ERR_ABORTED"


def explain_closed(url: str) -> BrowserFailure:
    """The page that a node holds is no longer there."""
    return BrowserFailure(
        FailureCode.PAGE_CLOSED,
        "The page was closed.",
        "It is opened again where the nodes before it may run twice; else start the workflow again.",
        retryable=True,
        page_url=url,
    )


def explain_crash(url: str) -> BrowserFailure:
    """The browser, or the page's process in it, died."""
    return BrowserFailure(
        FailureCode.BROWSER_CRASHED,
        "The browser crashed.",
        "It is started again; a page that crashes it each time needs more memory than there is.",
        retryable=True,
        page_url=url,
    )


def explain_memory(limit: int, url: str) -> BrowserFailure:
    """What the browser's pages held together was too much, and it was ended."""
    return BrowserFailure(
        FailureCode.BROWSER_CRASHED,
        f"The browser was ended because its pages held more than {limit // 1_048_576} MiB of memory.",
        "It is started again; a page that needs that much can't be visited. STAGEDOOR_RUNTIME_BROWSER_MAX_MEMORY sets "
        "how much all pages of a tenant may hold.",
        retryable=True,
        page_url=url,
    )


def explain_storm(limit: int, url: str) -> BrowserFailure:
    """The page opened windows without end and was closed with all of them."""
    return BrowserFailure(
        FailureCode.PAGE_CLOSED,
        f"The page went on opening windows when it had {limit} of them, and was closed.",
        "Such a page can't be visited; check by hand what it opens.",
        page_url=url,
    )


def explain_still_there(selector: str, url: str) -> BrowserFailure:
    """Something that was to go away has not."""
    return BrowserFailure(
        FailureCode.TIMEOUT,
        f"“{shorten(selector)}” was still to be seen on {shorten(url)} when the time was up.",
        "Give the node a longer timeout_s, or check the selector against the screenshot.",
        page_url=url,
    )


def explain_no_file_field(selector: str, url: str) -> BrowserFailure:
    """A file was to be given to something that takes none."""
    return BrowserFailure(
        FailureCode.INVALID_INPUT,
        f"“{shorten(selector)}” does not match a file field (input type=file) on {shorten(url)}.",
        "Give a selector that finds the field itself, such as input[type=file].",
        page_url=url,
    )


def explain_hang(what: str, url: str) -> BrowserFailure:
    """The page's own code keeps it busy, so that it answers nothing; it was closed to free the browser."""
    return BrowserFailure(
        FailureCode.TIMEOUT,
        f"The page did not answer to “{what}” in time and was closed.",
        "A script or an endless dialog may keep it busy; check the page by hand.",
        retryable=True,
        acted=True,
        page_url=url,
    )


def _explain_timeout(message: str, selector: str, url: str) -> BrowserFailure:
    if "locator resolved to" not in message and not message.startswith("ElementHandle"):
        return BrowserFailure(
            FailureCode.ELEMENT_NOT_FOUND,
            f"Nothing on {shorten(url)} matched “{shorten(selector)}” in time.",
            "Check the selector against the screenshot, or wait for the element first.",
            page_url=url,
        )
    obstacles = _OBSTACLE.findall(message)
    if obstacles and obstacles[-1] == "did not find some options":
        return BrowserFailure(
            FailureCode.ELEMENT_NOT_FOUND,
            f"“{shorten(selector)}” on {shorten(url)} has no such option.",
            "Give the option's value or its visible label.",
            page_url=url,
        )
    why = f": {shorten(obstacles[-1])}" if obstacles else ""
    return BrowserFailure(
        FailureCode.TIMEOUT,
        f"“{shorten(selector)}” is on {shorten(url)}, but could not be used in time{why}.",
        "Look at the screenshot: it may be hidden, disabled, or covered by something that has to go first.",
        page_url=url,
    )


def _hint_at(reason: str) -> str:
    if reason.startswith("ERR_CERT"):
        return "The site's certificate is not valid; use an address with a valid one."
    if reason == "ERR_INVALID_AUTH_CREDENTIALS":  # a headless shell shows what came with the 401 instead
        return (
            "The site asks the browser itself for a user name and a password (HTTP 401), which it can't be given yet."
        )
    if reason == "ERR_ABORTED":
        return "The address may be a download; this version opens pages only."
    return "Check the address, and whether the site can be reached from this machine."


def _first_line(message: str) -> str:
    line = message.split("\n", 1)[0]
    return shorten(line.split(": ", 1)[-1])
