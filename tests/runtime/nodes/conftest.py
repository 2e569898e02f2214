"""A real Chromium and two sites."""

from tests.support.browsers import elsewhere, lease, permit, pool, site

__all__ = ["elsewhere", "lease", "permit", "pool", "site"]
