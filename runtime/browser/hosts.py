"""Addresses that a page may be opened at, as a check with words before Chromium sees them.

The check is a courtesy and a guard against other schemes; what a page may reach is enforced at the proxy (wall.py).
"""

from urllib.parse import SplitResult, urlsplit

from contracts.execution import FailureCode
from runtime.browser.failure import BrowserFailure
from runtime.egress.hosts import NotAHost, Target, read_host
from runtime.egress.policy import Policy, Refusal

_DEFAULT_PORTS = {"http": 80, "https": 443}
BLANK = "about:blank"


def check_address(url: str, policy: Policy) -> None:
    """Raise BrowserFailure (invalid_input, host_refused) unless a page may be opened there, as far as names tell.

    Where a name leads is seen when it is connected to.
    """
    if url == BLANK:
        return
    parts = _split(url)
    if parts.scheme not in _DEFAULT_PORTS:
        raise BrowserFailure(
            FailureCode.HOST_REFUSED if parts.scheme else FailureCode.INVALID_INPUT,
            f"“{_shorten(url)}” is not an http or https address.",
            "Give the whole address, with https:// before the host." if not parts.scheme else "Use http or https.",
        )
    target = find_target(url)
    if target is None:
        raise BrowserFailure(
            FailureCode.INVALID_INPUT, f"“{_shorten(url)}” names no host.", "Give the whole address of a page."
        )
    if (refusal := policy.judge_name(target)) is not None:
        raise explain_refusal(refusal)


def find_target(url: str) -> Target | None:
    """Host and port of an http, https, ws or wss address; None for any other."""
    try:
        parts = urlsplit(url)
        port = parts.port or _DEFAULT_PORTS[parts.scheme.replace("ws", "http")]
        return Target(read_host(parts.hostname or ""), port)
    except (NotAHost, ValueError, KeyError):
        return None


def explain_refusal(refusal: Refusal, page_url: str | None = None) -> BrowserFailure:
    """The failure of a page that was sent to where it may not go."""
    return BrowserFailure(FailureCode.HOST_REFUSED, refusal.message, refusal.hint, page_url=page_url)


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises ValueError for a port that is none
    except ValueError as error:
        raise BrowserFailure(
            FailureCode.INVALID_INPUT, f"“{_shorten(url)}” is not an address.", "Give the whole address of a page."
        ) from error
    return parts


def _shorten(url: str) -> str:
    limit = 200
    return url if len(url) <= limit else url[:limit] + "…"
