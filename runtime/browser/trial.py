"""Starts a browser as a worker would, to see how it can be shut in: for who prepares a machine."""

import os
import tempfile
from pathlib import Path

from runtime.browser.pool import Pool, PoolOptions
from runtime.browser.sandboxing import Confinement
from runtime.egress.egress import Egress


async def try_confinement(browser_path: Path | None) -> Confinement:
    """How browsers are shut in on this machine. Raises BrowserFailure where none can be started at all."""
    with tempfile.TemporaryDirectory(prefix="stagedoor-trial-") as scratch:
        os.chmod(scratch, 0o711)  # noqa: S103, PTH101 — as a worker's scratch folder may be
        options = PoolOptions(Path(scratch), browser_path=browser_path, spare=False)
        async with Egress() as egress, Pool(options, egress.proxy) as pool:
            return await pool.try_confinement()
