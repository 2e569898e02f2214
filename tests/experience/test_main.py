"""The public tier as a process on a real socket: how it starts, whom it believes, what it logs, how it ends."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import structlog
import websockets

from experience.__main__ import main
from experience.settings import PREFIX
from experience.store.migrate import migrate
from experience.store.revision import newest_revision
from tests.support.front import PASSWORD, write_keys
from tests.support.postgres import Database, Postgres

ADMIN = "root@main.test"
START_S = 90
ANSWER_S = 60
FORWARDED = "198.51.100.77"


def make_environment(database: Database, folder: Path, **changes: str) -> dict[str, str]:
    keys = write_keys(folder)
    settings = {
        "STAGEDOOR_PUBLIC_URL": "http://localhost:8080",
        f"{PREFIX}PORT": "0",
        f"{PREFIX}DATABASE_URL": database.dsn("experience_app"),
        f"{PREFIX}SYSTEM_DATABASE_URL": database.dsn("experience_system"),
        f"{PREFIX}MIGRATE_DATABASE_URL": database.dsn("experience_owner"),
        f"{PREFIX}RUNTIME_URL": "http://127.0.0.1:1",
        f"{PREFIX}DRAIN_S": "2",
        f"{PREFIX}INTERNAL_KEY_FILE": str(keys["internal_key_file"]),
        f"{PREFIX}TOKEN_KEY_FILE": str(keys["token_key_file"]),
    }
    clean = {name: value for name, value in os.environ.items() if not name.startswith("STAGEDOOR_")}
    return clean | settings | changes


@contextmanager
def serve(environment: dict[str, str], log: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A running process and its address, which it says itself."""
    with log.open("wb") as output:
        arguments = [sys.executable, "-m", "experience", "serve"]
        process = subprocess.Popen(arguments, env=environment, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + START_S
        while "Uvicorn running on " not in (text := log.read_text()):
            assert process.poll() is None, text
            assert time.monotonic() < deadline, text
            time.sleep(0.05)
        yield process, text.partition("Uvicorn running on ")[2].partition(" ")[0]
    finally:
        process.kill()
        process.wait(60)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("experience")


@pytest.fixture(scope="module")
def running(postgres: Postgres, place: Path) -> Iterator[tuple[str, Path]]:
    # of its own: the first operator is made where there is none
    database = postgres.create_database()
    asyncio.run(migrate(database.dsn("experience_owner")))
    named = {"STAGEDOOR_ADMIN_EMAIL": ADMIN, "STAGEDOOR_ADMIN_PASSWORD": PASSWORD}
    log = place / "log"
    with serve(make_environment(database, place, **named), log) as (_, url):
        yield url, log


def test_it_says_that_it_lives_and_what_it_lacks(running: tuple[str, Path]) -> None:
    url, _ = running
    health = httpx.get(f"{url}/health", timeout=ANSWER_S)
    assert (health.status_code, health.json()) == (200, {"status": "ok", "checks": {}})
    ready = httpx.get(f"{url}/ready", timeout=ANSWER_S)
    assert ready.status_code == 503
    assert ready.json()["checks"]["database"] == "ok"
    assert ready.json()["checks"]["runtime"].startswith("Runtime does not answer")


def test_the_first_operator_signs_in(running: tuple[str, Path]) -> None:
    url, _ = running
    body = {"email": ADMIN, "password": PASSWORD}
    grant = httpx.post(f"{url}/api/auth/login", json=body, timeout=ANSWER_S).json()
    assert grant["user"]["operator"]


def register_from_afar(url: str, email: str) -> str:
    """Where the trail says that somebody registered from, who says that they come from FORWARDED."""
    body = {"email": email, "password": PASSWORD}
    with httpx.Client(base_url=url, timeout=ANSWER_S) as http:
        grant = http.post("/api/auth/register", json=body, headers={"x-forwarded-for": FORWARDED}).json()
        bearer = {"authorization": f"Bearer {grant['access_token']}"}
        # by its act: what executions did, Runtime would have to say, and there is none
        [entry] = http.get("/api/admin/audit?act=registered", headers=bearer).json()["items"]
    return str(entry["address"])


def test_a_trusted_proxy_says_where_somebody_comes_from(running: tuple[str, Path]) -> None:
    assert register_from_afar(running[0], "proxied@main.test") == FORWARDED


async def test_no_log_line_holds_a_secret(running: tuple[str, Path]) -> None:
    url, log = running
    mail = "canary@main.test"
    async with httpx.AsyncClient(base_url=url, timeout=ANSWER_S) as client:
        grant = (await client.post("/api/auth/register", json={"email": mail, "password": PASSWORD})).json()
        bearer = {"authorization": f"Bearer {grant['access_token']}"}
        key = (await client.post("/api/auth/keys", json={"name": "k"}, headers=bearer)).json()["secret"]
        link = (await client.post("/api/auth/link", json={}, headers=bearer)).json()["code"]
        ticket = (await client.post("/api/auth/ticket", json={}, headers=bearer)).json()["ticket"]
        page = {"email": mail, "password": PASSWORD, "transport": "cookie"}
        cookie = (await client.post("/api/auth/login", json=page)).headers["set-cookie"]
        await client.post("/api/auth/login", json={"email": mail, "password": f"{PASSWORD}!"})
        await client.post("/api/auth/refresh", json={"refresh_token": grant["refresh_token"]})
        await client.get("/api/auth/me", params={"token": grant["access_token"]})
    execution = "01a1fcec-0000-7000-8000-000000000000"
    stream = f"{url.replace('http', 'ws')}/api/execution/{execution}/stream"
    for address, offers in (
        (f"{stream}?token={grant['access_token']}", None),
        (stream, [websockets.Subprotocol(f"stagedoor.ticket.{ticket}")]),
    ):
        try:
            async with asyncio.timeout(2), websockets.connect(address, subprotocols=offers) as socket:
                await socket.recv()
        except (websockets.WebSocketException, TimeoutError):
            pass
    text = log.read_text()
    assert "/api/auth/register" in text
    secrets = [
        PASSWORD,
        grant["access_token"],
        grant["refresh_token"],
        key,
        link,
        ticket,
        cookie.partition("=")[2].partition(";")[0],
    ]
    assert [secret for secret in secrets if secret in text] == []


def test_it_believes_no_stranger_and_ends_in_time_when_asked_to(experience_database: Database, tmp_path: Path) -> None:
    environment = make_environment(experience_database, tmp_path, **{f"{PREFIX}TRUSTED_PROXIES": "10.1.2.3"})
    log = tmp_path / "log"
    with serve(environment, log) as (process, url), httpx.Client(base_url=url, timeout=ANSWER_S) as client:
        assert register_from_afar(url, "stranger@main.test") == "127.0.0.1"
        # an idle connection kept alive is no reason to stay
        assert client.get("/health").status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert "Traceback" not in log.read_text()


def test_migrating_twice_changes_nothing(experience_database: Database, tmp_path: Path) -> None:
    environment = make_environment(experience_database, tmp_path)
    for _ in range(2):
        arguments = [sys.executable, "-m", "experience", "migrate"]
        ended = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert (ended.returncode, ended.stdout) == (0, f"experience schema at {newest_revision()}\n")


@pytest.fixture
def as_logged() -> Iterator[None]:
    """Gives the test process its own logging back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


@pytest.mark.usefixtures("as_logged")
@pytest.mark.parametrize(
    ("changes", "command", "said"),
    [
        ({}, (), "usage: python -m experience serve | migrate"),
        ({}, ("dance",), "usage: python -m experience serve | migrate"),
        ({f"{PREFIX}PROT": "1"}, ("serve",), f"unknown settings {PREFIX}PROT"),
        ({"STAGEDOOR_PUBLIC_URL": "nowhere"}, ("serve",), "STAGEDOOR_PUBLIC_URL"),
        ({"STAGEDOOR_PUBLIC_URL": "http://192.168.1.9"}, ("serve",), f"{PREFIX}INSECURE=true"),
        ({f"{PREFIX}PORT": "hush"}, ("serve",), "port: Input should be a valid integer"),
        ({f"{PREFIX}TOKEN_KEY_FILE": "/nowhere.pem"}, ("serve",), "/nowhere.pem"),
        ({f"{PREFIX}MIGRATE_DATABASE_URL": ""}, ("migrate",), f"{PREFIX}MIGRATE_DATABASE_URL"),
        ({f"{PREFIX}MIGRATE_DATABASE_URL": "postgresql://u:hush@127.0.0.1:1/x"}, ("migrate",), "can't be reached"),
    ],
)
def test_what_can_t_work_is_said_in_words(
    experience_database: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, str],
    command: tuple[str, ...],
    said: str,
) -> None:
    for name, value in make_environment(experience_database, tmp_path, **changes).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["experience", *command])
    assert main() in (1, 2)
    words = capsys.readouterr().err
    assert said in words
    assert "hush" not in words
