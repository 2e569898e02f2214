"""Browsers that die under a step: the whole Chromium, and one tab of it."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from runtime.browser.processes import read_pid
from tests.chaos.checker import check_now
from tests.chaos.documents import TICKET_TEXT, read_the_ticket
from tests.chaos.fixtures import SetStage
from tests.chaos.rig import Rig


@pytest.mark.parametrize("victim", ["browser", "renderer"])
async def test_a_browser_that_is_killed_costs_an_attempt_and_nothing_else(set_stage: SetStage, victim: str) -> None:
    async with set_stage() as rig, rig.visit() as ada, rig.visit() as bob:
        arrived = rig.shop.hold("GET /told/act")
        struck = await ada.start(read_the_ticket(rig.shop))
        beside = await bob.start(read_the_ticket(rig.shop))
        ada.watch(struck)
        bob.watch(beside)
        assert await asyncio.to_thread(arrived.wait, 60)
        for pid in list_browsers(rig) if victim == "browser" else list_renderers(rig):
            os.kill(pid, signal.SIGKILL)
        rig.shop.release()
        await check_now(rig)
        for visitor, execution_id in ((ada, struck), (bob, beside)):
            ended = await visitor.ended(execution_id)
            assert ended["status"] == "completed", ended["error"]
            assert ended["result"]["n8-text"]["Text"] == TICKET_TEXT
        await ada.seen()
        await bob.seen()


def list_browsers(rig: Rig) -> list[int]:
    """The main process of every Chromium of this stack."""
    records = (rig.scratch / "browsers").glob("run-*/*.pid")
    return [pid for record in records if (pid := read_pid(record)) is not None]


def list_renderers(rig: Rig) -> list[int]:
    """The processes that hold pages: what dies with a crashed tab."""
    groups = set(list_browsers(rig))
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        pid = int(folder.name)
        try:
            is_renderer = b"--type=renderer" in (folder / "cmdline").read_bytes()
            if is_renderer and os.getpgid(pid) in groups:
                found.append(pid)
        except (OSError, ProcessLookupError):
            continue
    assert found
    return found
