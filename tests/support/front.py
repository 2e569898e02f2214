"""Experience without a network around it: the real application over ASGI, on the real database, with a clock to turn.

Runtime's side is the real wire with three handlers behind it, which is all that identity asks of Runtime.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from starlette.applications import Starlette

from contracts.api.account import AdminApi, AuthApi
from contracts.api.runtime import RuntimeApi
from contracts.declare import NOTHING, Endpoint
from contracts.errors import ApiError, Code
from contracts.execution import RuntimeExport, TenantState
from contracts.identity import Grant, Register
from contracts.model import Nothing, TenantId
from contracts.shortcoming import FoundShortcoming, ListShortcomings, Shortcomings
from contracts.tool import Act, Acts, ReadActs
from contracts.wiring.client import PublicClient
from contracts.wiring.internal import InternalCaller, InternalVerifier
from contracts.wiring.server import Call, Envelope, Server, build_app
from experience.app import Ground, lay_ground, serve_identity
from experience.auth.passwords import PasswordHasher
from experience.auth.principal import Principal
from experience.settings import Settings
from tests.support.fake_tools import page_acts
from tests.support.postgres import Database

PUBLIC_URL = "https://stagedoor.test"
PASSWORD = "correct horse battery"
_addresses: Iterator[int] = itertools.count(1)


class IdentityApi(AuthApi, AdminApi):
    """The part of PublicApi that needs nothing but identity."""


class TurnableClock:
    """Real time, plus what a test adds to it; once stopped, only what a test adds."""

    def __init__(self) -> None:
        self.ahead = timedelta()
        self._stopped_at: datetime | None = None

    def __call__(self) -> datetime:
        return (self._stopped_at or datetime.now(UTC)) + self.ahead

    def stop(self) -> None:
        """Let no time pass by itself: for waits that must not end before a test lets them."""
        self._stopped_at = datetime.now(UTC)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.ahead += timedelta(seconds=seconds)


class _TenantsOfRuntime:
    set_tenant = RuntimeApi.set_tenant
    export_tenant = RuntimeApi.export_tenant
    delete_tenant = RuntimeApi.delete_tenant
    list_acts = RuntimeApi.list_acts
    list_shortcomings = RuntimeApi.list_shortcomings


@dataclass
class PlayedRuntime:
    """What Runtime was told, over the real wire and with the real token."""

    public_pem: bytes
    states: dict[TenantId, TenantState] = field(default_factory=dict)
    deleted: list[TenantId] = field(default_factory=list)
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    acts: list[Act] = field(default_factory=list)
    """What executions did, whosever they were."""
    shortcomings: list[FoundShortcoming] = field(default_factory=list)
    shortcomings_known: frozenset[str] = frozenset()
    """By who asked for them last."""
    away: bool = False
    busy: bool = False

    def app(self) -> Starlette:
        verifier = InternalVerifier(self.public_pem)

        async def guard(envelope: Envelope, _endpoint: Endpoint[Any, Any]) -> InternalCaller:
            if self.away:
                raise ApiError(Code.UNAVAILABLE, "Away.")
            return verifier.verify(envelope.headers["authorization"].removeprefix("Bearer "))

        server: Server[InternalCaller] = Server(_TenantsOfRuntime, guard)
        server.on(RuntimeApi.set_tenant, self._set)
        server.on(RuntimeApi.export_tenant, self._export)
        server.on(RuntimeApi.delete_tenant, self._delete)
        server.on(RuntimeApi.list_acts, self._list_acts)
        server.on(RuntimeApi.list_shortcomings, self._list_shortcomings)
        return build_app(server.routes())

    async def _set(self, call: Call[InternalCaller], request: TenantState) -> Nothing:
        assert call.caller.tenant_id == request.tenant_id
        self.states[request.tenant_id] = request
        self.heard.set()
        return NOTHING

    async def _export(self, call: Call[InternalCaller], _request: Nothing) -> RuntimeExport:
        return RuntimeExport(workflows=[{"of": str(call.caller.tenant_id)}], executions=[], artifacts=[])

    async def _list_acts(self, _call: Call[InternalCaller], request: ReadActs) -> Acts:
        return page_acts(self.acts, request)

    async def _list_shortcomings(self, _call: Call[InternalCaller], request: ListShortcomings) -> Shortcomings:
        self.shortcomings_known = request.names
        return Shortcomings(items=self.shortcomings)

    async def _delete(self, call: Call[InternalCaller], _request: Nothing) -> Nothing:
        if self.busy:
            raise ApiError(Code.CONFLICT, "Something is running.")
        self.deleted.append(call.caller.tenant_id)
        return NOTHING


@dataclass
class Person:
    """Somebody registered, with the tokens to show for it."""

    email: str
    grant: Grant
    client: PublicClient

    @property
    def bearer(self) -> dict[str, str]:
        """The header that proves it."""
        return {"authorization": f"Bearer {self.grant.access_token}"}


@dataclass
class Front:
    """One process of Experience."""

    ground: Ground
    app: Starlette
    clock: TurnableClock
    runtime: PlayedRuntime
    _open: list[httpx.AsyncClient] = field(default_factory=list)

    def visit(self, headers: dict[str, str] | None = None, address: str | None = None) -> httpx.AsyncClient:
        """A visitor with cookies of its own, from an address of its own."""
        number = next(_addresses)
        place = address or f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        transport = httpx.ASGITransport(self.app, client=(place, 50_000))
        client = httpx.AsyncClient(transport=transport, base_url=PUBLIC_URL, headers=headers)
        self._open.append(client)
        return client

    def call(self, token: str | None = None, address: str | None = None) -> PublicClient:
        """A program that calls with a token, a key or nothing."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return PublicClient(self.visit(headers, address))

    async def register(self, **fields: Any) -> Person:
        """Somebody new; by default with a tenant of their own."""
        email = fields.pop("email", f"{uuid4().hex[:12]}@example.com")
        grant = await self.call().register(Register(email=email, password=PASSWORD, **fields))
        return Person(email, grant, self.call(grant.access_token))

    async def close(self) -> None:
        for client in self._open:
            await client.aclose()
        await self.ground.close()


def hash_cheaply() -> PasswordHasher:
    """Real hashing of next to no strength: tests register people by the hundred."""
    return PasswordHasher(passes=1, memory_kib=8)


def write_keys(folder: Path) -> dict[str, Path]:
    """Key files as the local stack makes them; answers the settings that name them."""
    made = {}
    for name in ("internal_key_file", "token_key_file"):
        path = folder / name
        if not path.exists():
            key = Ed25519PrivateKey.generate()
            path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            path.with_suffix(".pub").write_bytes(public)
        made[name] = path
    return made


def make_settings(database: Database, folder: Path, **changes: Any) -> Settings:
    """Settings for a test; `changes` win."""
    fields: dict[str, Any] = {
        "public_url": PUBLIC_URL,
        "database_url": database.dsn("experience_app"),
        "system_database_url": database.dsn("experience_system"),
        "runtime_url": "http://runtime.test",
        **write_keys(folder),
    }
    return Settings(**(fields | changes))


@asynccontextmanager
async def open_front(
    settings: Settings, clock: TurnableClock, compose: Callable[[Ground], Starlette] | None = None
) -> AsyncIterator[Front]:
    """A process of Experience that serves identity, or what `compose` makes of it."""
    runtime = PlayedRuntime(settings.internal_key_file.with_suffix(".pub").read_bytes())
    transport = httpx.ASGITransport(runtime.app())
    ground = lay_ground(settings, clock=clock, transport=transport, hasher=hash_cheaply())
    front = Front(ground, (compose or compose_identity)(ground), clock, runtime)
    try:
        yield front
    finally:
        await front.close()


def compose_identity(ground: Ground) -> Starlette:
    """An application of the identity endpoints alone."""
    server: Server[Principal | None] = Server(IdentityApi, ground.guard)
    serve_identity(server, ground)
    return build_app(server.routes())
