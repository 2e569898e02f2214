"""Experience as a whole on a real socket, with a fake Runtime behind it."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx

from contracts.model import TenantId
from experience.app import create_app, lay_ground
from experience.auth.identities import REMEMBER_S
from experience.settings import Settings
from tests.support.fake_runtime import FakeRuntime
from tests.support.front import PASSWORD, TurnableClock, hash_cheaply, make_settings, write_keys
from tests.support.postgres import Database
from tests.support.served import ServedThread, listen

WAIT_S = 60.0
_addresses: Iterator[int] = itertools.count(1)

Json = dict[str, Any]


@dataclass
class Visitor:
    """Somebody who calls the API."""

    http: httpx.AsyncClient
    tenant_id: TenantId
    token: str

    async def submit(self, url: str = "https://shop.test", *, key: str | None = None, **fields: Any) -> httpx.Response:
        """An intent to visit a page."""
        body = {"realm": "browser", "intent": "visit", "parameters": {"url": url}} | fields
        return await self.http.post("/api/intent", json=body, headers={"idempotency-key": key} if key else {})

    async def accepted(self, **fields: Any) -> Json:
        """The same, where nothing but 202 will do."""
        answer = await self.submit(**fields)
        assert answer.status_code == 202, answer.text
        body: Json = answer.json()
        return body

    async def intent(self, accepted: Json) -> Json:
        """How a submitted intent stands."""
        answer = await self.http.get(f"/api/intent/{accepted['intent_id']}")
        assert answer.status_code == 200, answer.text
        body: Json = answer.json()
        return body

    async def status(self, execution_id: str, **query: Any) -> httpx.Response:
        """`GET /api/execution/{id}/status` in the own tenant."""
        params = {"tenant_id": str(self.tenant_id)} | query
        return await self.http.get(f"/api/execution/{execution_id}/status", params=params)


@dataclass
class House:
    """One process of Experience, as a thread."""

    settings: Settings
    clock: TurnableClock
    runtime: FakeRuntime
    database: Database
    port: int

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.port}"

    async def suspend(self, tenant_id: TenantId) -> None:
        """What an operator does to a tenant; counts once this process has forgotten whom it has seen."""
        connection = await asyncpg.connect(self.database.superuser_dsn)
        try:
            await connection.execute("UPDATE experience.tenants SET suspended = true WHERE tenant_id = $1", tenant_id)
        finally:
            await connection.close()
        self.clock.advance(REMEMBER_S + 1)

    def visit(self, token: str | None = None) -> httpx.AsyncClient:
        """A client from an address of its own; close it."""
        number = next(_addresses)
        headers = {"x-forwarded-for": f"10.7.{number >> 8 & 255}.{number & 255}"}
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=60)


@contextmanager
def run_house(database: Database, folder: Path, runtime: FakeRuntime | None = None, **changes: Any) -> Iterator[House]:
    """Serve Experience, and a Runtime when none is given."""
    keys = write_keys(folder)
    listening = listen()
    port = listening.getsockname()[1]
    own = runtime is None
    if runtime is None:
        runtime = FakeRuntime(keys["internal_key_file"].with_suffix(".pub").read_bytes())
        runtime.up()
    fields = {"public_url": f"http://localhost:{port}", "runtime_url": runtime.url, "port": port, "guests": True}
    settings = make_settings(database, folder, **(fields | changes))
    clock = TurnableClock()
    served = ServedThread(create_app(lay_ground(settings, clock=clock, hasher=hash_cheaply())), listening)
    try:
        yield House(settings, clock, runtime, database, port)
    finally:
        served.close()
        if own:
            runtime.down()


async def register(house: House, **fields: Any) -> Visitor:
    """Somebody with a tenant of their own. Close the client."""
    http = house.visit()
    body = {"email": f"{uuid4().hex[:12]}@example.com", "password": PASSWORD} | fields
    answer = await http.post("/api/auth/register", json=body)
    assert answer.status_code == 201, answer.text
    token = answer.json()["access_token"]
    http.headers["authorization"] = f"Bearer {token}"
    return Visitor(http, TenantId(UUID(answer.json()["tenant"]["tenant_id"])), token)


async def until(condition: Callable[[], bool] | Callable[[], Awaitable[bool]], timeout_s: float = WAIT_S) -> None:
    """Return as soon as something is so."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = condition()
        if found if isinstance(found, bool) else await found:
            return
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.02)
