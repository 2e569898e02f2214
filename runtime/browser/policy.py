"""Chromium's managed policy: what no page is led to, whoever asks.

A whole Chromium reads it from fixed folders of the machine, so where we can't write those it counts in a jail only,
which has folders of its own, and in the worker's image. A headless shell reads no policy; it has none of these pages
but file:, of which a jail leaves it nothing that is anybody's. In front of both stands `hosts.check_address`.
"""

from pathlib import Path
from typing import Final

POLICY: Final = Path(__file__).with_name("policy.json")
PLACES: Final = (
    "/etc/chromium/policies/managed/stagedoor.json",
    "/etc/chromium-browser/policies/managed/stagedoor.json",
    "/etc/opt/chrome/policies/managed/stagedoor.json",
    "/etc/opt/chrome_for_testing/policies/managed/stagedoor.json",
)
"""Where Debian's, Ubuntu's and Google's builds look, and the one that Playwright brings."""
