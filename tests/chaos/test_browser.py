"""Browsers that die under a step: the whole Chromium, one tab of it, and the driver that leads it."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from runtime.browser.processes import read_pid
from tests.chaos.checker import check_now
from tests.chaos.documents import SAFE_NODES, TICKET_TEXT, read_the_ticket
from tests.chaos.fixtures import SetStage
from tests.chaos.rig import Rig
from tests.chaos.snapshot import read_snapshot
from tests.chaos.test_every_position import comparable
from tests.chaos.waiting import until


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


async def test_a_driver_that_is_killed_takes_its_own_browser_and_no_neighbours_step(set_stage: SetStage) -> None:
    async with set_stage() as rig, rig.visit() as ada, rig.visit() as bob:
        await until(lambda: len(list_browsers(rig)) == 1, "a browser stands ready for whoever comes first")
        (adas,) = list_browsers(rig)
        rig.shop.hold("GET /told/act")
        struck = await ada.start(read_the_ticket(rig.shop))
        await until(lambda: is_asked_for(rig, times=1), "hers is in the middle of a step")
        beside = await bob.start(read_the_ticket(rig.shop))
        await until(lambda: is_asked_for(rig, times=2), "his is, too, in another browser")
        ada.watch(struck)
        bob.watch(beside)
        os.kill(find_driver_of(adas), signal.SIGKILL)
        await until(lambda: not is_running(adas), "her browser has ended with its driver")
        await check_now(rig)
        rig.shop.release()
        hers, his = await ada.ended(struck), await bob.ended(beside)
        assert hers["status"] == "completed", hers["error"]
        assert hers["result"]["n8-text"]["Text"] == TICKET_TEXT
        assert comparable(hers) == comparable(his)
        snapshot = await read_snapshot(rig.database)
        assert [step["status"] for step in snapshot.steps[beside]] == ["success"] * len(SAFE_NODES), (
            "he noticed nothing"
        )
        failed = [step for step in snapshot.steps[struck] if step["status"] != "success"]
        assert [(step["node_id"], step["error"]["code"]) for step in failed] == [("n3-pick", "browser_crashed")]
        assert not any(row["losses"] for row in snapshot.executions.values()), "the worker has lived through it"
        await ada.seen()
        await bob.seen()


def is_asked_for(rig: Rig, *, times: int) -> bool:
    """Whether the request that the shop holds has come from so many pages."""
    return rig.shop.asked.count("GET /told/act?who=") >= times


def find_driver_of(browser: int) -> int:
    """Process id of the Playwright driver that has started a browser."""
    parent = int(Path(f"/proc/{browser}/stat").read_text().rpartition(")")[2].split()[1])
    assert b"playwright/driver" in Path(f"/proc/{parent}/cmdline").read_bytes()
    return parent


def is_running(pid: int) -> bool:
    """Whether a process does anything yet; one that has ended may still wait for its parent."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:
        return False


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
