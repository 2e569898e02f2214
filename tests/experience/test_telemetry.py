"""What the public tier tells whoever scrapes it, and where."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from experience.cli.ports import find_free_port
from experience.store.migrate import migrate
from tests.support.eventlog import Store, line
from tests.support.figures import Figures, read_figures
from tests.support.front import PASSWORD
from tests.support.house import House, Visitor, register, run_house, until
from tests.support.postgres import Postgres
from tests.support.served import listen
from tests.support.sockets import open_socket, read_close, read_frame
from tests.support.streams import TENANT, eventually, finish, read_seqs, stage

SCRAPE_S = 60.0


@pytest.fixture(scope="module")
def watched(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house with an outbox of its own, whose figures are served."""
    database = postgres.create_database()
    asyncio.run(migrate(database.dsn("experience_owner")))
    with run_house(database, tmp_path_factory.mktemp("house"), metrics_port=find_free_port()) as opened:
        yield opened


async def scrape(house: House) -> Figures:
    """The figures; their port opens beside the public one, in its own time."""
    deadline = time.monotonic() + SCRAPE_S
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{house.settings.metrics_port}", timeout=SCRAPE_S) as http:
        while True:
            try:
                return read_figures((await http.get("/metrics")).text)
            except httpx.TransportError:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)


@asynccontextmanager
async def visiting(house: House) -> AsyncIterator[Visitor]:
    visitor = await register(house)
    try:
        yield visitor
    finally:
        await visitor.http.aclose()


async def test_figures_are_never_on_the_public_port(watched: House) -> None:
    await scrape(watched)
    async with watched.visit() as http:
        answer = await http.get("/metrics")
    assert "http_requests_total" not in answer.text
    assert answer.headers["content-type"] != "text/plain; version=0.0.4; charset=utf-8"


async def test_nothing_else_is_on_the_port_of_figures(watched: House) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{watched.settings.metrics_port}") as http:
        await scrape(watched)
        for path in ("/", "/health", "/api/auth/login", "/api/openapi.json"):
            assert (await http.get(path)).status_code == 404


async def test_requests_are_told_by_route(watched: House) -> None:
    async with visiting(watched) as visitor:
        accepted = await visitor.accepted()
        await visitor.intent(accepted)
    figures = await scrape(watched)
    assert figures.total("http_requests_total", route="/api/intent/{intent_id}", status="200") >= 1
    assert accepted["intent_id"] not in str(figures.samples)


async def test_who_was_kept_out(watched: House) -> None:
    before = await scrape(watched)
    async with watched.visit() as http:
        answers = [
            (await http.post("/api/auth/login", json={"email": "nobody@example.com", "password": PASSWORD})).status_code
            for _ in range(7)
        ]
        answers.append((await http.post("/api/auth/link/redeem", json={"code": "ln_wrong"})).status_code)
    after = await scrape(watched)
    assert after.total("logins_refused_total") - before.total("logins_refused_total") == answers.count(401) >= 5
    assert after.total("logins_throttled_total") - before.total("logins_throttled_total") == answers.count(429) >= 1


async def test_the_outbox_tells_how_much_waits_and_for_how_long(watched: House) -> None:
    async with visiting(watched) as visitor:
        watched.runtime.down()
        try:
            for _ in range(3):
                await visitor.accepted()

            async def is_seen() -> bool:
                figures = await scrape(watched)
                depth, age_s = figures.get("outbox_depth", kind="submit"), figures.get("outbox_oldest_seconds") or 0
                return depth == 3 and age_s > 0

            await until(is_seen)
            assert (await scrape(watched)).total("outbox_deliveries_total", outcome="undelivered") >= 3
        finally:
            watched.runtime.up()

        async def is_empty() -> bool:
            figures = await scrape(watched)
            return (figures.get("outbox_depth", kind="submit"), figures.get("outbox_oldest_seconds")) == (0, 0)

        await until(is_empty, timeout_s=40)
        assert (await scrape(watched)).total("outbox_deliveries_total", outcome="delivered") >= 3


async def test_a_port_that_is_taken_keeps_nobody_from_the_public_one(postgres: Postgres, tmp_path: Path) -> None:
    database = postgres.create_database()
    await migrate(database.dsn("experience_owner"))
    with listen() as taken:
        taken.listen()
        with run_house(database, tmp_path, metrics_port=taken.getsockname()[1]) as house:
            async with house.visit() as http:
                assert (await http.get("/health")).status_code == 200


# --- streams


async def test_streams_are_told_while_they_are_open() -> None:
    store = Store()
    log = store.create(TENANT)
    async with stage(store, ping_interval_s=0.1) as front:
        async with (
            open_socket(front.stream(log.execution_id)) as native,
            open_socket(front.guide(log.execution_id)) as guide,
        ):
            await read_frame(native)
            await eventually(lambda: front.streams.open == {"native": 1, "guide": 1})
            assert (front.streams.hub.feeds, front.subscriber.subscriptions, front.subscriber.connections) == (1, 1, 1)
            await eventually(lambda: front.streams.pings >= 2)
            finish(store, log)
            await read_close(native)
            await read_close(guide)
        await eventually(lambda: front.streams.open == {"native": 0, "guide": 0})
        assert front.streams.hub.dropped == 0


async def test_a_slow_client_is_told_and_one_that_comes_late_is_none() -> None:
    store = Store()
    log = store.create(TENANT)
    async with stage(store) as front:
        hub = front.streams.hub
        async with open_socket(front.stream(log.execution_id), max_queue=1) as stalled:
            async with open_socket(front.stream(log.execution_id)) as client:
                await read_frame(client)
                for number in range(1_500):
                    store.append(log, line(log, f"{number} " + "x" * 10_000))
                    if number % 50 == 0:
                        await asyncio.sleep(0)
                await read_seqs(client, until=1_501)
            finish(store, log)
            code, _, frames = await read_close(stalled, 30)
        assert (code, len(frames)) == (1000, 1_504)
        await eventually(lambda: hub.reading_log == 0)
        assert hub.dropped >= 1
        kept = hub.dropped
        async with open_socket(front.stream(log.execution_id)) as after:
            assert (await read_close(after, 30))[0] == 1000
        assert hub.dropped == kept
