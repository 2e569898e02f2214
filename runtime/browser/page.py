"""What one may do to a page."""


class Page:
    """Placeholder shape while the pool is written."""
