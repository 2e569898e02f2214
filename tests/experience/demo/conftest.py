"""The real shop, and a real browser to visit it with."""

import threading
import time
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
import uvicorn
from playwright.async_api import Page

from experience.cli.ports import find_free_port
from experience.demo.app import make_app
from tests.support.tab import open_tab


@pytest.fixture(scope="session")
def shop_url() -> Iterator[str]:
    """The shop on a port of its own."""
    port = find_free_port()
    server = uvicorn.Server(uvicorn.Config(make_app(), port=port, log_level="error", lifespan="off", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    deadline = time.monotonic() + 60
    while not server.started:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(60)


@pytest.fixture
async def visitor(shop_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody who keeps cookies and follows redirects."""
    async with httpx.AsyncClient(base_url=shop_url, follow_redirects=True, timeout=60) as client:
        yield client


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    """A tab of a real Chromium."""
    async with open_tab() as tab:
        yield tab
