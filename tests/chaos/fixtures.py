"""Fixtures of the chaos tests: import them into a conftest."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from tests.chaos.checker import conclude
from tests.chaos.postgres import Server, make_blueprint, run_server
from tests.chaos.rig import Cast, Rig, run_rig
from tests.chaos.shop import Shop, run_shop
from tests.support.postgres import Database

SetStage = Callable[..., AbstractAsyncContextManager[Rig]]


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The PostgreSQL that may be broken."""
    with run_server() as running:
        yield running


@pytest.fixture(scope="session")
def blueprint(server: Server) -> Database:
    """Both schemas, nobody connected."""
    return make_blueprint(server)


@pytest.fixture
def shop() -> Iterator[Shop]:
    """A shop with an empty book."""
    with run_shop() as running:
        yield running


@pytest.fixture
def own_database(server: Server, blueprint: Database) -> Iterator[Database]:
    """A database of this test alone."""
    made = server.make_database(blueprint)
    yield made
    if server.process is not None and server.process.poll() is not None:
        server.start()
    made.drop()


@pytest.fixture
def set_stage(tmp_path: Path, server: Server, own_database: Database, shop: Shop) -> SetStage:
    """`async with set_stage(workers=2) as rig:` — a running stack; a block that ends well ends with the checker."""

    @asynccontextmanager
    async def begin(**cast: object) -> AsyncIterator[Rig]:
        async with run_rig(Cast(**cast), tmp_path / "rig", server, own_database, shop) as rig:  # type: ignore[arg-type]
            try:
                yield rig
                await asyncio.wait_for(conclude(rig), 300)
            except BaseException:
                for part in rig.tiers:
                    print(f"--- {part.name}\n{part.tail()}")
                raise

    return begin
