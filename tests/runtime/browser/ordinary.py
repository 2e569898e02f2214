"""Opens a pool as whoever runs this, has a browser visit a page in a jail, and says in JSON how that browser stood.

    python -m tests.runtime.browser.ordinary FOLDER namespace | network | none | best | bomb

Started by a test under an ordinary user's account, by an interpreter that such a user can run.
"""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from runtime.browser.failure import BrowserFailure
from runtime.browser.jail import Jail
from runtime.browser.pool import Pool, PoolOptions
from runtime.browser.sandboxing import Confinement
from tests.runtime.browser.confined import find_renderer, list_processes, read_status
from tests.support.browsers import TENANT, make_permit, open_pool
from tests.support.site import run_site

LIMIT = 600 * 1_048_576
BOMB = """<script>const kept = [];
setInterval(() => { const one = new Uint8Array(32 << 20); one.fill(7); kept.push(one); }, 0)</script>"""


async def visit(folder: Path, jail: str) -> dict[str, Any]:
    """What there is to say."""
    with run_site({"/": "<title>Home</title>", "/bomb": BOMB}) as site:
        async with open_pool(PoolOptions(folder, spare=False, memory_limit=LIMIT)) as pool:
            if jail == "bomb":
                return await suffer(pool, site.host, site.url("/bomb"))
            if jail != "best":
                if jail != Jail.NONE and not await pool.sandboxing._gate.probe(Jail(jail)):
                    return {"missing": jail}
                pool.sandboxing.chosen = Confinement(Jail(jail), sandboxed=True)
            return await look(pool, site.host, site.url())


async def look(pool: Pool, host: str, url: str) -> dict[str, Any]:
    """At the browser that visits a page."""
    async with pool.lease(make_permit(TENANT, host)) as lease:
        page = await lease.open_page("a")
        await page.open_url(url)
        _, chromium = lease._pages["a"]
        renderer = find_renderer(chromium)
        return {
            "title": await page.read_title(),
            "found": str(pool.figures.confinement),
            "seccomp": read_status(renderer, "Seccomp"),
            "uid": renderer.stat().st_uid,
            "processes": len(list_processes(chromium.pid)),
            "memory": chromium.measure_memory(),
        }


async def suffer(pool: Pool, host: str, url: str) -> dict[str, Any]:
    """What becomes of a page that fills memory."""
    async with pool.lease(make_permit(TENANT, host)) as lease:
        page = await lease.open_page("a")
        try:
            await page.open_url(url)
            await page.wait_for("#never", "visible", timeout_s=30)
        except BrowserFailure as failure:
            return {"message": failure.message, "overgrown": pool.figures.overgrown}
    return {}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(visit(Path(sys.argv[1]), sys.argv[2])) | {"me": os.geteuid()}))
