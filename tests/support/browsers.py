"""Fixtures for tests that need a real Chromium: import them into a conftest.

One pool and one loop serve the whole session, since starting a Chromium takes a second; each test has a tenant, and so
a Chromium, of its own only where it asks for one.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from uuid_utils.compat import uuid7

from contracts.model import ExecutionId, TenantId
from runtime.browser.pool import Lease, Pool, PoolOptions
from tests.support.site import Site, run_site

TENANT = TenantId(uuid7())


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    """A site that browsers may reach."""
    with run_site() as running:
        yield running


@pytest.fixture(scope="session")
def elsewhere() -> Iterator[Site]:
    """A site that browsers may not reach."""
    with run_site() as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def pool(site: Site, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pool]:
    """A pool whose browsers reach `site` and nothing else."""
    scratch: Path = tmp_path_factory.mktemp("scratch")
    async with Pool(PoolOptions(scratch, (site.host,), spare=False)) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def lease(pool: Pool) -> AsyncIterator[Lease]:
    """Pages for one test."""
    async with pool.lease(TENANT, ExecutionId(uuid7())) as lent:
        yield lent
