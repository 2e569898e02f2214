"""`python -m runtime` as real processes: killed, taken over, drained; started with settings that don't work."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from contracts.execution import ExecutionStatus, StepStatus
from experience.cli.ports import find_free_port
from runtime.app import NODES
from runtime.settings import PREFIX
from tests.runtime.staging import Staging, node
from tests.support.nats import run_nats
from tests.support.postgres import Database

Start = Callable[..., subprocess.Popen[bytes]]
HEARTBEAT_S = 10


@pytest.fixture
def environment(own_database: Database, tmp_path: Path) -> dict[str, str]:
    values = {
        "DATABASE_URL": own_database.dsn("runtime_app"),
        "SYSTEM_DATABASE_URL": own_database.dsn("runtime_system"),
        "MIGRATE_DATABASE_URL": own_database.dsn("runtime_owner"),
        "ARTIFACT_DIR": str(tmp_path / "artifacts"),
        "SCRATCH_DIR": str(tmp_path / "scratch"),
        "PORT": str(find_free_port()),
        "HEARTBEAT_S": str(HEARTBEAT_S),
        "DRAIN_S": "3",
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STAGEDOOR_")}
    return kept | {f"{PREFIX}{name}": value for name, value in values.items()}


@pytest.fixture
def start(environment: dict[str, str]) -> Iterator[Start]:
    """Start `python -m runtime <command>`; whatever is left at the end is killed."""
    with ExitStack() as stack:

        def begin(command: str, **changes: str) -> subprocess.Popen[bytes]:
            changed = environment | {f"{PREFIX}{name}": value for name, value in changes.items()}
            return stack.enter_context(running(command, changed))

        yield begin


@contextmanager
def running(command: str, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "runtime", command],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=60)


async def test_kill_9_loses_nothing_and_repeats_nothing_that_was_done(
    own_database: Database, tmp_path: Path, start: Start
) -> None:
    staging = Staging(own_database, tmp_path, NODES)
    nodes = [node("first", "delay", {"Duration": 0.1}), node("second", "delay", {"Duration": 10})]
    execution_id = await staging.submit([*nodes, node("third", "delay", {"Duration": 0.1})], max_parallel=1)
    victim = start("work")
    await staging.wait_until(execution_id, lambda row: row.current_node == "second")
    victim.kill()
    start("work", PORT=str(find_free_port()))
    await staging.wait_until(execution_id, lambda row: row.epoch == 2)
    assert await staging.wait_for_end(execution_id) is ExecutionStatus.COMPLETED
    row = await staging.executions.get(staging.tenant_id, execution_id)
    assert row.losses == 1
    steps = await staging.records.list_steps(staging.tenant_id, execution_id)
    assert [(step.node_id, step.attempt, step.epoch, step.status) for step in steps] == [
        ("first", 1, 1, StepStatus.SUCCESS),
        ("second", 1, 1, StepStatus.RETRYING),
        ("second", 2, 2, StepStatus.SUCCESS),
        ("third", 1, 2, StepStatus.SUCCESS),
    ]
    assert (await staging.read(execution_id))[-1].type == "completion"
    await staging.close()


async def test_sigterm_ends_within_the_drain_time_and_hands_back(
    own_database: Database, tmp_path: Path, start: Start
) -> None:
    staging = Staging(own_database, tmp_path, NODES)
    execution_id = await staging.submit([node("long", "delay", {"Duration": 50})])
    worker = start("work")
    await staging.wait_until(execution_id, lambda row: row.current_node == "long")
    began = time.monotonic()
    worker.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(worker.wait, 40) == 0
    assert time.monotonic() - began < 40
    row = await staging.executions.get(staging.tenant_id, execution_id)
    assert (row.status, row.losses) == (ExecutionStatus.RUNNING, 0)
    start("work", PORT=str(find_free_port()))
    await staging.wait_until(execution_id, lambda row: row.epoch == 2)
    await staging.executions.request_cancel(staging.tenant_id, execution_id, "")
    assert await staging.wait_for_end(execution_id) is ExecutionStatus.CANCELLED
    assert (await staging.executions.get(staging.tenant_id, execution_id)).losses == 0
    await staging.close()


async def test_a_worker_says_that_it_is_alive(environment: dict[str, str], start: Start) -> None:
    process = start("work")
    async with reach(environment) as http:
        found = await until_ready(http, "ok")
        assert {**found, "sandbox": "", "browsers": ""} == {
            "database": "ok",
            "wake-ups": "ok",
            "sandbox": "",
            "browsers": "",
        }
        while not all(found[name].startswith("ok: ") for name in ("sandbox", "browsers")):
            await asyncio.sleep(0.2)  # canaries come back by and by, and a first browser starts
            found = await until_ready(http, "ok")
        jail = found["browsers"].rpartition(" ")[2]
        assert f'browser_jail{{name="{jail}"}} 1.0' in (await http.get("/metrics")).text
        assert "browser_sandboxed 1.0" in (await http.get("/metrics")).text
        name = found["sandbox"].split()[1]
        assert f'sandbox_backend{{name="{name}"}} 1.0' in (await http.get("/metrics")).text
        assert "worker_leases 0.0" in (await http.get("/metrics")).text
        assert (await http.get("/api/realms")).status_code == 404
    process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(process.wait, 40) == 0


async def test_a_worker_without_its_nats_is_worse_off_and_ready(environment: dict[str, str], start: Start) -> None:
    with run_nats() as nats:
        nats.kill()
        process = start("work", NATS_URL=f"nats://somebody:secret@127.0.0.1:{nats.port}")
        async with reach(environment) as http:
            found = await until_ready(http, "degraded")
            assert found["wake-ups"] == "NATS can't be reached; readers look by themselves."
            nats.start()
            assert (await until_ready(http, "ok"))["wake-ups"] == "ok"
        process.send_signal(signal.SIGTERM)
        said, _ = await asyncio.to_thread(process.communicate, timeout=60)
    assert b"wake-ups don't come; readers look by themselves" in said
    assert b"secret" not in said


def reach(environment: dict[str, str]) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{environment[f'{PREFIX}PORT']}", timeout=60)


async def until_ready(http: httpx.AsyncClient, status: str) -> dict[str, str]:
    """The checks, once all of them together come to that; always with 200."""
    async with asyncio.timeout(60):
        while True:
            with suppress(httpx.TransportError):
                answer = await http.get("/ready")
                if answer.json()["status"] == status:
                    assert answer.status_code == 200
                    checks: dict[str, str] = answer.json()["checks"]
                    return checks
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("command", "changes", "said"),
    [
        ("work", {"CONCURENCY": "3"}, "unknown: STAGEDOOR_RUNTIME_CONCURENCY"),
        ("work", {"CONCURRENCY": "many"}, "STAGEDOOR_RUNTIME_CONCURRENCY"),
        ("work", {"NATS_URL": "redis://there"}, "STAGEDOOR_RUNTIME_NATS_URL: Value error, nats://host:port"),
        ("serve", {}, "missing: STAGEDOOR_RUNTIME_INTERNAL_PUBLIC_KEY_FILE"),
        ("serve", {"INTERNAL_PUBLIC_KEY_FILE": "/nowhere.pem"}, "nowhere.pem"),
        ("dance", {}, "usage:"),
    ],
)
def test_what_does_not_work_is_said_in_words(start: Start, command: str, changes: dict[str, str], said: str) -> None:
    process = start(command, **changes)
    output, _ = process.communicate(timeout=100)
    assert process.returncode == 2
    assert said in output.decode()
    assert "Traceback" not in output.decode()


def test_a_worker_for_strangers_does_not_start_without_chromiums_sandbox(start: Start, tmp_path: Path) -> None:
    browser = tmp_path / "browser"
    browser.write_text("#!/bin/sh\necho '[1:1:FATAL:zygote_host_impl_linux.cc(1)] No usable sandbox!' >&2\nexit 1\n")
    browser.chmod(0o755)
    process = start("work", MULTI_TENANT="true", BROWSER_PATH=str(browser))
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    said = output.decode()
    assert "Runtime can't start: No browser is started, because Chromium's own sandbox does not work" in said
    assert "STAGEDOOR_RUNTIME_ALLOW_UNSANDBOXED_BROWSERS=true" in said
    assert "Traceback" not in said
    assert not list((tmp_path / "scratch" / "browsers").iterdir())


def test_migrating_again_changes_nothing(start: Start) -> None:
    process = start("migrate")
    process.communicate(timeout=100)
    assert process.returncode == 0
