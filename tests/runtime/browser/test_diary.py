"""What a page says of itself is asked for, and never listened to for longer than that."""

import asyncio
from typing import Any

import pytest

from runtime.browser.diary import Diary


class Silent:
    """A page that does not answer, and remembers who listens."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.calls: list[str] = []

    async def console_messages(self, **_: Any) -> list[Any]:
        self.asked.set()
        await asyncio.Event().wait()
        return []

    def on(self, event: str, _: Any) -> None:
        self.calls.append(f"on {event}")

    def remove_listener(self, event: str, _: Any) -> None:
        self.calls.append(f"off {event}")


async def test_who_is_cut_off_while_it_asks_does_not_go_on_listening() -> None:
    page = Silent()
    reading = asyncio.create_task(Diary(page, lambda _: None, str).read())  # type: ignore[arg-type]
    await page.asked.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert page.calls == ["on console", "off console"]
