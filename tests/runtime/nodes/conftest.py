"""A real Chromium and two sites."""

from tests.runtime.browser.clocks import playwright_first
from tests.support.browsers import elsewhere, lease, permit, pool, site

__all__ = ["elsewhere", "lease", "permit", "playwright_first", "pool", "site"]
