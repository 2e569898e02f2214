"""A real Chromium and two sites."""

from tests.support.browsers import elsewhere, lease, pool, site

__all__ = ["elsewhere", "lease", "pool", "site"]
