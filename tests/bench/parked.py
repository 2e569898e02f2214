"""A7: what it is worth that a page stands ready."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from uuid_utils.compat import uuid7

from contracts.model import ExecutionId, TenantId
from runtime.browser.pool import Pool, PoolOptions
from runtime.egress.egress import Egress
from runtime.egress.permit import Permit
from runtime.egress.policy import Policy, read_exceptions
from tests.bench.figure import Bar, Figure
from tests.bench.ground import Ground, start_process
from tests.bench.rounds import Effort, take_turns

ROUNDS = 5
COLD_BAR = 4.0
PARK_S = 30.0


async def measure(ground: Ground, effort: Effort) -> list[Figure]:
    """From asking for a page to its having loaded a page of the demo shop: for a tenant that a worker has never served,
    with no browser standing ready, so that Playwright's driver and a Chromium have to be launched, walls and all; and
    beside it for a tenant whose Chromium is warm and has a page parked. Both in one pool.
    """
    folder = ground.make_folder("parked")
    with start_process(["-m", "experience.demo", "--port", "{port}"], folder) as shop:
        host = f"127.0.0.1:{shop.port}"
        async with _open(folder, host) as asking:
            await asking.ask(asking.known)
            cold, parked = await take_turns(effort.rounds(ROUNDS), asking.ask_as_stranger, asking.ask_as_known)
    return [
        Figure(
            bench="A7",
            what="a loaded page from a cold launch",
            unit="ms",
            ours=cold,
            against="from a parked page",
            peer=parked,
            bar=Bar(limit=COLD_BAR, at_least=True),
        )
    ]


class Asking:
    """Those who want a page."""

    def __init__(self, pool: Pool, host: str) -> None:
        self._pool = pool
        self._host = host
        self.known = TenantId(uuid7())

    async def ask_as_stranger(self) -> float:
        """ms for a tenant without a browser."""
        launched = self._pool.figures.launched
        took = await self.ask(TenantId(uuid7()))
        assert self._pool.figures.launched == launched + 1
        return took

    async def ask_as_known(self) -> float:
        """ms for a tenant whose next page stands ready."""
        chromium = await self._pool.obtain(self.known)
        async with asyncio.timeout(PARK_S):
            while not chromium.has_parked:
                await chromium.park_page()
                await asyncio.sleep(0.05)  # one may be on its way
        launched = self._pool.figures.launched
        took = await self.ask(self.known)
        assert self._pool.figures.launched == launched
        return took

    async def ask(self, tenant_id: TenantId) -> float:
        """ms from asking to a page that has loaded."""
        permit = Permit(tenant_id, ExecutionId(uuid7()), Policy(read_exceptions((self._host,))))
        async with self._pool.lease(permit) as lease:
            began = time.perf_counter()
            page = await lease.open_page("page")
            await page.open_url(f"http://{self._host}/sign-in")
            return (time.perf_counter() - began) * 1e3


@asynccontextmanager
async def _open(folder: Path, host: str) -> AsyncIterator[Asking]:
    options = PoolOptions(folder / "scratch", spare=False)
    async with Egress((host,)) as egress, Pool(options, egress.proxy) as pool:
        yield Asking(pool, host)
