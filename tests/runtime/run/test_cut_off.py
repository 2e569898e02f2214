"""A worker that can't reach the database for as long as a lease lasts: another one may have taken over by then."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from contracts.execution import ExecutionStatus, FailureCode
from contracts.model import ExecutionId
from runtime.app import NODES
from runtime.node import Node
from tests.chaos.proxy import Fault, FaultProxy
from tests.runtime.conftest import open_line
from tests.runtime.staging import Staging, edge, node
from tests.runtime.troupe import TROUPE, Hang
from tests.support.postgres import Database
from tests.support.site import run_site

LEASE_S = 2.0
SHOP = """<!doctype html><title>Shop</title><p>Soon</p>
<script>const looking = setInterval(async () => {
  if (!(await fetch("/gate")).ok) return;
  clearInterval(looking);
  document.body.innerHTML = '<button id="buy" onclick="fetch(`/bought`)">Buy</button>';
}, 200)</script>"""
"""There is something to click once `/gate` is a page."""


@asynccontextmanager
async def staged(
    database: Database, folder: Path, nodes: tuple[type[Node[Any, Any]], ...]
) -> AsyncIterator[tuple[Staging, FaultProxy]]:
    async with open_line(database) as (line, behind):
        made = Staging(database, folder, nodes, heartbeat_s=LEASE_S, workers_database=behind)
        try:
            yield made, line
        finally:
            await made.close()


async def expect_question(staging: Staging, execution_id: ExecutionId, node_id: str) -> None:
    assert await staging.wait_for_end(execution_id) is ExecutionStatus.FAILED
    row = await staging.executions.get(staging.tenant_id, execution_id)
    assert row.error is not None
    assert (row.error["code"], row.error["asks_about"]) == (FailureCode.INTERRUPTED_UNSAFE, node_id)


async def test_what_may_not_run_twice_is_ended_and_what_may_goes_on(own_database: Database, tmp_path: Path) -> None:
    Hang.left.clear()
    async with staged(own_database, tmp_path, TROUPE) as (staging, line):
        execution_id = await staging.submit([node("a", "hang_unsafe"), node("b", "hang", timeout_s=10)])
        async with staging.perform():
            async with asyncio.timeout(10):
                while [one.type for one in await staging.read(execution_id)].count("log") < 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            line.break_with(Fault.BLACK_HOLE)
            await asyncio.sleep(LEASE_S / 2)
            assert Hang.left == []
            await asyncio.sleep(2 * LEASE_S)
            assert Hang.left == ["a"]
            line.heal()
            await expect_question(staging, execution_id, "a")


async def test_a_click_that_waits_in_the_browser_does_not_happen_later(own_database: Database, tmp_path: Path) -> None:
    """Ending the attempt alone would leave it to the browser, which clicks as soon as there is a button."""
    with run_site({"/": SHOP}) as site:
        async with staged(own_database, tmp_path, NODES) as (staging, line):
            staging.hosts = (site.host,)
            nodes = [
                node("open", "launch_standard_browser", {"Website URL": site.url()}),
                node("buy", "click_element", {"Selector": "#buy"}),
                node("beside", "delay", {"Duration": 14}),  # until it is over, the run keeps its browser
            ]
            edges = [edge("open", target, "Web Page", "Web Page") for target in ("buy", "beside")]
            execution_id = await staging.submit(nodes, edges)
            async with staging.perform():
                await staging.wait_until(execution_id, lambda row: row.current_node in ("buy", "beside"))
                line.break_with(Fault.BLACK_HOLE)
                await asyncio.sleep(2 * LEASE_S)
                site.pages["/gate"] = "open"
                await asyncio.sleep(4)
                assert "/bought" not in site.requests
                line.heal()
                await expect_question(staging, execution_id, "buy")
