"""The whole local stack, started as a person starts it, and clients that meet it at its one address."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from contracts.identity import Grant, Register
from contracts.wiring.client import PublicClient
from experience.cli.ports import find_free_port

OWNER = "owner@stage.test"
PASSWORD = "open sesame, please"
START_S = 150
"""A first start on a machine that is busy with the other half of the tests."""
TEST_S = 400


@dataclass
class Stack:
    """`stagedoor up` as a child process."""

    port: int
    data: Path
    extra: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    output: Path = field(init=False)

    def __post_init__(self) -> None:
        self.output = self.data.parent / f"{self.data.name}.out"

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    @property
    def socket_url(self) -> str:
        return f"ws://localhost:{self.port}"

    def start(self) -> None:
        env = os.environ | {"STAGEDOOR_ADMIN_EMAIL": OWNER, "STAGEDOOR_ADMIN_PASSWORD": PASSWORD}
        command = [sys.executable, "-m", "experience.cli", "up", "--port", str(self.port), "--data", str(self.data)]
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [*command, *self.extra], env=env, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
            )
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                if httpx.get(f"{self.url}/ready", timeout=2).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        raise AssertionError(f"the stack did not start:\n{self.text()[-4_000:]}")

    def stop(self) -> float:
        """Seconds that it took."""
        assert self.process is not None
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        return time.monotonic() - began

    async def wait_for_text(self, text: str, seconds: float = 60) -> None:
        """Until that has been printed."""
        async with asyncio.timeout(seconds):
            while text not in self.text():  # noqa: ASYNC110 — another process writes the file
                await asyncio.sleep(0.1)

    def text(self) -> str:
        return re.sub(r"\x1b\[[0-9;]*m", "", self.output.read_text(errors="replace"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What starts the whole stack may take longer than other tests."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(TEST_S))


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One stack with the demo for all tests that leave it running."""
    running = Stack(find_free_port(), tmp_path_factory.mktemp("stack") / "data")
    running.start()
    yield running
    running.stop()


@dataclass(frozen=True)
class Person:
    """A registered user, as an API client."""

    email: str
    grant: Grant
    http: httpx.AsyncClient
    api: PublicClient

    @property
    def bearer(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.grant.access_token}"}


@asynccontextmanager
async def registered(stack: Stack) -> AsyncIterator[Person]:
    """Somebody new, in a tenant of their own."""
    email = f"{uuid4().hex[:12]}@stage.test"
    async with httpx.AsyncClient(base_url=stack.url, timeout=60) as http:
        grant = await PublicClient(http).register(Register(email=email, password=PASSWORD))
        token = grant.access_token
        yield Person(email, grant, http, PublicClient(http, lambda: {"authorization": f"Bearer {token}"}, 60))


@pytest.fixture
async def person(stack: Stack) -> AsyncIterator[Person]:
    async with registered(stack) as somebody:
        yield somebody


@pytest.fixture
async def stranger(stack: Stack) -> AsyncIterator[Person]:
    async with registered(stack) as somebody:
        yield somebody


@pytest.fixture(scope="session")
def shop(stack: Stack) -> str:
    """Address of the demo shop that this stack runs, as its browsers reach it."""
    ports = json.loads((stack.data / "ports.json").read_text())
    return f"http://127.0.0.1:{ports['shop']}"
