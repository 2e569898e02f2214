"""Nothing is lost and nothing runs twice: several processes share the outbox, and one of them dies over its work."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest

from experience.cli.orphans import die_with_parent
from experience.cli.ports import find_free_port
from experience.outbox import _delay
from experience.settings import PREFIX, Settings
from experience.store.migrate import migrate
from tests.support.front import make_settings
from tests.support.house import House, Visitor, register, run_house, until
from tests.support.postgres import Database, Postgres
from tests.support.served import listen

START_TIMEOUT_S = 60


@pytest.fixture(scope="module")
def database(postgres: Postgres) -> Database:
    """One of its own: these tests kill processes that would share another's outbox."""
    made = postgres.create_database()
    asyncio.run(migrate(made.dsn("experience_owner")))
    return made


@pytest.fixture
def pair(database: Database, tmp_path: Path) -> Iterator[tuple[House, House]]:
    """Two processes of Experience with the same database, keys and Runtime."""
    with run_house(database, tmp_path) as one, run_house(database, tmp_path, one.runtime) as other:
        yield one, other


@asynccontextmanager
async def visiting(house: House) -> AsyncIterator[Visitor]:
    visitor = await register(house)
    try:
        yield visitor
    finally:
        await visitor.http.aclose()


async def is_all_delivered(database: Database, visitor: Visitor) -> bool:
    connection = await asyncpg.connect(database.superuser_dsn)
    try:
        waiting = await connection.fetchval(
            "SELECT count(*) FROM experience.intents WHERE tenant_id = $1 AND next_attempt_at IS NOT NULL",
            visitor.tenant_id,
        )
        return bool(waiting == 0)
    finally:
        await connection.close()


async def test_two_processes_deliver_everything_once(pair: tuple[House, House], database: Database) -> None:
    one, other = pair
    async with visiting(one) as visitor, other.visit(visitor.token) as elsewhere:
        await visitor.accepted()
        one.runtime.down()
        beside = Visitor(elsewhere, visitor.tenant_id, visitor.token)
        answers = await asyncio.gather(*(who.accepted() for who in (visitor, beside) for _ in range(20)))
        one.runtime.up()
        await until(lambda: is_all_delivered(database, visitor))
        wanted = {UUID(answer["execution_id"]) for answer in answers}
        assert wanted <= set(one.runtime.executions[visitor.tenant_id])
        assert {one.runtime.deliveries[execution_id] for execution_id in wanted} == {1}


async def test_a_clock_that_is_set_back_keeps_nothing_waiting(pair: tuple[House, House], database: Database) -> None:
    one, other = pair
    hour = timedelta(hours=1)
    one.clock.ahead = other.clock.ahead = hour
    async with visiting(one) as visitor:
        await visitor.accepted()
        one.runtime.down()
        answer = await visitor.accepted()
        await until(lambda: is_tried(database, answer))
        one.clock.ahead = other.clock.ahead = timedelta()
        one.runtime.up()
        await until(lambda: is_all_delivered(database, visitor))
    assert one.runtime.deliveries[UUID(answer["execution_id"])] == 1


async def is_tried(database: Database, answer: dict[str, Any]) -> bool:
    connection = await asyncpg.connect(database.superuser_dsn)
    try:
        tried = "SELECT attempts > 1 FROM experience.intents WHERE intent_id = $1"
        return bool(await connection.fetchval(tried, UUID(answer["intent_id"])))
    finally:
        await connection.close()


async def test_equal_requests_to_two_processes_are_one_execution(pair: tuple[House, House]) -> None:
    one, other = pair
    one.runtime.delay_s = 0.2
    async with visiting(one) as visitor, other.visit(visitor.token) as elsewhere:
        beside = Visitor(elsewhere, visitor.tenant_id, visitor.token)
        answers = await asyncio.gather(*(who.submit(key="same") for who in (visitor, beside) for _ in range(10)))
        assert {answer.status_code for answer in answers} == {202}
        assert len({answer.text for answer in answers}) == 1
        assert len(one.runtime.executions[visitor.tenant_id]) == 1


async def test_a_restart_answers_the_same(database: Database, tmp_path: Path) -> None:
    with run_house(database, tmp_path) as first:
        async with visiting(first) as visitor:
            answer = await visitor.accepted(key="before")
            token = visitor.token
        runtime = first.runtime
    runtime.up()
    try:
        with run_house(database, tmp_path, runtime) as second:
            async with second.visit(token) as http:
                again = await Visitor(http, visitor.tenant_id, token).accepted(key="before")
        assert again == answer
        assert runtime.deliveries[UUID(answer["execution_id"])] == 1
    finally:
        runtime.down()


async def test_a_process_killed_between_commit_and_delivery_loses_nothing(database: Database, tmp_path: Path) -> None:
    silent = listen()
    silent.listen()  # takes connections and never says a word: whoever delivers there does not come back
    with run_house(database, tmp_path) as survivor:
        async with visiting(survivor) as visitor:
            await visitor.accepted()
            url = f"http://127.0.0.1:{silent.getsockname()[1]}"
            with run_process(make_settings(database, tmp_path, runtime_url=url, port=find_free_port())) as victim:
                async with httpx.AsyncClient(base_url=victim.url, headers=visitor.http.headers, timeout=60) as http:
                    doomed = asyncio.ensure_future(Visitor(http, visitor.tenant_id, "").submit(key="doomed"))
                    await until(lambda: is_stored(database, "doomed"))
                    victim.process.send_signal(signal.SIGKILL)
                    with pytest.raises(httpx.TransportError):
                        await doomed
            await until(lambda: is_all_delivered(database, visitor))
            again = await visitor.accepted(key="doomed")
            delivered = survivor.runtime.executions[visitor.tenant_id]
            assert len(delivered) == 2
            assert survivor.runtime.deliveries[UUID(again["execution_id"])] == 1
    silent.close()


async def is_stored(database: Database, key: str) -> bool:
    connection = await asyncpg.connect(database.superuser_dsn)
    try:
        found = await connection.fetchval("SELECT 1 FROM experience.idempotency_records WHERE key = $1", key)
        return found is not None
    finally:
        await connection.close()


class Running:
    """`python -m experience serve` as a process."""

    def __init__(self, process: subprocess.Popen[bytes], url: str) -> None:
        self.process = process
        self.url = url


@contextmanager
def run_process(settings: Settings) -> Iterator[Running]:
    names = ("host", "port", "runtime_url", "internal_key_file", "token_key_file")
    environment = {f"{PREFIX}{name.upper()}": str(getattr(settings, name)) for name in names}
    environment |= {
        "PATH": os.environ["PATH"],
        "STAGEDOOR_PUBLIC_URL": settings.public_url,
        f"{PREFIX}DATABASE_URL": settings.database_url.get_secret_value(),
        f"{PREFIX}SYSTEM_DATABASE_URL": settings.system_database_url.get_secret_value(),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "experience", "serve"],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=die_with_parent(),  # noqa: PLW1509  # the callable allocates nothing
    )
    running = Running(process, f"http://127.0.0.1:{settings.port}")
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{running.url}/health").is_success:
                    break
            assert process.poll() is None, "Experience ended"
            assert time.monotonic() < deadline, "Experience took too long to start"
            time.sleep(0.05)
        yield running
    finally:
        process.kill()
        process.wait(60)


def test_attempts_grow_rarer_up_to_a_bound() -> None:
    assert _delay(0) == 0
    for attempts in range(1, 100):
        longest = min(15.0, 0.5 * 2 ** (attempts - 1))
        assert longest / 2 <= _delay(attempts) <= longest
    assert len({_delay(5) for _ in range(20)}) > 1
