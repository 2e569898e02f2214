"""Fixtures for tests that need a real Chromium: import them into a conftest.

One pool and one loop serve the whole session, since starting a Chromium takes a second; each test has a tenant, and so
a Chromium, of its own only where it asks for one.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from uuid_utils.compat import uuid7

from contracts.model import ExecutionId, TenantId
from runtime.browser.pool import Lease, Pool, PoolOptions
from runtime.egress.egress import Egress
from runtime.egress.permit import Permit
from runtime.egress.policy import Policy, read_exceptions
from tests.support.site import Site, run_site

TENANT = TenantId(uuid7())


def make_permit(tenant_id: TenantId, *private_hosts: str) -> Permit:
    """A run of a tenant that may reach those hosts of this machine."""
    return Permit(tenant_id, ExecutionId(uuid7()), Policy(read_exceptions(private_hosts)))


@asynccontextmanager
async def open_pool(options: PoolOptions) -> AsyncIterator[Pool]:
    """A pool with a proxy of its own."""
    async with Egress() as egress, Pool(options, egress.proxy) as running:
        yield running


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
async def pool(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pool]:
    """A pool for all tests of the session."""
    scratch: Path = tmp_path_factory.mktemp("scratch")
    async with open_pool(PoolOptions(scratch, spare=False)) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def lease(pool: Pool, permit: Permit) -> AsyncIterator[Lease]:
    """Pages for one test."""
    async with pool.lease(permit) as lent:
        yield lent
    permit.close()


@pytest.fixture
def permit(site: Site) -> Permit:
    """A run whose pages reach `site` and nothing else of this machine."""
    return make_permit(TENANT, site.host)
