"""What sites keep in a browser context: cookies, local storage, databases (IndexedDB). Session storage is not in it."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import BrowserContext


async def read_storage(context: BrowserContext, *, databases: bool = True) -> dict[str, Any]:
    """All of it, as Playwright reads and takes it. Raises Playwright's Error."""
    return dict(await context.storage_state(indexed_db=databases))


def has_databases(state: dict[str, Any] | None) -> bool:
    """Whether a site keeps more than cookies and local storage."""
    return any(origin.get("indexedDB") for origin in (state or {}).get("origins", ()))


def find_hosts(state: dict[str, Any]) -> list[str]:
    """The hosts that something was kept for."""
    return sorted({host for host in _list_hosts(state) if host})


def _list_hosts(state: dict[str, Any]) -> Iterator[str]:
    for cookie in state.get("cookies", ()):
        yield str(cookie.get("domain", "")).lstrip(".")
    for origin in state.get("origins", ()):
        yield urlsplit(str(origin.get("origin", ""))).netloc
