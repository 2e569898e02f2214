"""The page through the real Traefik: the printed link, the demo live, and a stack that goes away and comes back."""

import re
from pathlib import Path

from playwright.async_api import expect

from experience.cli.ports import find_free_port
from tests.e2e.conftest import Stack
from tests.support.tab import NETWORK_CHANGED, open_tab

DEMO_MS = 90_000
BACK_MS = 60_000


def read_link(stack: Stack) -> str:
    found = re.search(r"http://localhost:\d+/enter\S+", stack.text())
    assert found, stack.text()
    return found[0]


async def test_a_person_follows_the_link_and_watches_to_the_end_and_beyond(tmp_path: Path) -> None:
    stack = Stack(find_free_port(), tmp_path / "data")
    stack.start()
    try:
        await stack.wait_for_text("/enter")
        async with open_tab() as tab:
            elsewhere: list[str] = []
            complaints: list[str] = []
            tab.on("request", lambda asked: elsewhere.append(asked.url) if not is_own(asked.url, stack) else None)
            tab.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
            await tab.goto(read_link(stack))
            await tab.wait_for_url("**/executions/*")
            await expect(tab.get_by_text("Complete record")).to_be_visible(timeout=DEMO_MS)
            await expect(tab.get_by_text("Completed", exact=True).first).to_be_visible()
            assert (elsewhere, [one for one in complaints if NETWORK_CHANGED not in one]) == ([], [])

            await tab.get_by_role("button", name="Run again").click()
            await expect(tab.get_by_text("Live", exact=True)).to_be_visible(timeout=BACK_MS)
            watched = tab.url
            assert stack.stop() < 60
            await expect(tab.get_by_text("Reconnecting…")).to_be_visible(timeout=BACK_MS)
            stack.start()
            await expect(tab.get_by_text("Complete record")).to_be_visible(timeout=DEMO_MS)
            assert tab.url == watched
    finally:
        stack.stop()


def is_own(url: str, stack: Stack) -> bool:
    return url.startswith((stack.url, stack.socket_url, "blob:", "data:"))
