"""Chromium: finding it, keeping it warm, and what one may do to its pages. The only place that knows Playwright."""
