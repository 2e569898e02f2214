"""How a browser context presents itself: the size of its window, language, time zone, name.

Parked pages have the defaults, which is what makes them ready for whoever comes. A page with other options gets a
context of its own, at the cost of making one; these options go with it wherever it is opened again.
"""

import re
from dataclasses import dataclass
from typing import Any, Final

from playwright.async_api import Error

from contracts.execution import FailureCode
from runtime.browser.failure import BrowserFailure
from runtime.egress.upstream import Upstream

VIEWPORT_WIDTH: Final = 1_280
VIEWPORT_HEIGHT: Final = 800
_REFUSED: Final = re.compile(r"Invalid timezone ID|Invalid locale|Unsupported locale|Invalid viewport", re.IGNORECASE)
"""What Chromium says of options that it doesn't know; nothing else tells which there are."""


@dataclass(frozen=True)
class ContextOptions:
    """Of one browser context; what is None is Chromium's own."""

    width: int = VIEWPORT_WIDTH
    """CSS pixels of what is in view."""
    height: int = VIEWPORT_HEIGHT
    locale: str | None = None
    """BCP 47, such as `de-AT`: what sites are asked for, and how numbers and dates are written."""
    timezone: str | None = None
    """IANA, such as `Europe/Vienna`."""
    user_agent: str | None = None
    proxy: Upstream | None = None
    """Where its traffic goes on from our own proxy. Chromium is not told."""
    trace: bool = False
    """Whether Playwright's trace is recorded."""
    video: bool = False
    """Whether pictures of the page are, as it changes."""

    def make_arguments(self) -> dict[str, Any]:
        """For Playwright's `new_context`."""
        return {
            "viewport": {"width": self.width, "height": self.height},
            "locale": self.locale,
            "timezone_id": self.timezone,
            "user_agent": self.user_agent,
        }


DEFAULT: Final = ContextOptions()


def explain_refused(error: Exception, options: ContextOptions) -> BrowserFailure | None:
    """The failure of a context that Chromium would not make with these options; None when it was something else."""
    if not isinstance(error, Error) or not _REFUSED.search(error.message):
        return None
    asked = f"the locale “{options.locale}”" if "locale" in error.message.lower() else f"“{options.timezone}”"
    return BrowserFailure(
        FailureCode.INVALID_INPUT,
        f"The browser doesn't know {asked}.",
        "Name a locale as in de-AT, a time zone as in Europe/Vienna.",
    )
