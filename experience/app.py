"""The composition root of the public tier: what there is, in the order in which it is built."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import httpx
from starlette.applications import Starlette
from starlette.routing import BaseRoute

from contracts.api.public import PublicApi
from contracts.execution import Execution, IntentStatus
from contracts.model import ExecutionId, TenantId
from contracts.wiring.channel import Channels, Keepalive
from contracts.wiring.client import RuntimeClient
from contracts.wiring.internal import InternalSigner
from contracts.wiring.server import Server, build_app
from contracts.wiring.subscriber import Subscriber
from experience.account import Account
from experience.admin import Admin
from experience.answers import Answers
from experience.audit import Audit, Clock
from experience.auth.cookies import LoginCookie
from experience.auth.guard import Guard
from experience.auth.identities import Identities
from experience.auth.keyring import Keyring
from experience.auth.origin import Origins
from experience.auth.passwords import PasswordHasher
from experience.auth.principal import Principal
from experience.auth.throttle import Throttle
from experience.background import run_beside
from experience.dead_letters import DeadLetters
from experience.gateway.artifacts import Artifacts, Links
from experience.gateway.browser_profiles import BrowserProfiles
from experience.gateway.credentials import Credentials
from experience.gateway.egress import Egress
from experience.gateway.executions import Executions
from experience.gateway.tools import Tools
from experience.gateway.workflows import Workflows
from experience.health import Check, health_routes
from experience.installation import Installation, ensure_operator
from experience.intents import Intents
from experience.outbox import Outbox
from experience.pages import page_routes
from experience.pruning import Pruning
from experience.realms import Catalogue
from experience.realtime.hub import Hub
from experience.realtime.socket import Doors, Streams
from experience.retries import Retries
from experience.runtime_calls import NOBODY, RuntimeCalls, RuntimeHttp, RuntimeTransport
from experience.sessions import Sessions
from experience.settings import Settings
from experience.sign_in import SignIn
from experience.store.db import SystemDatabase, TenantDatabase
from experience.store.readiness import is_behind
from experience.telemetry import Telemetry

_STREAMS = "streams"
"""Request id of what is asked of Runtime for everybody who watches."""
Caller = Principal | None
Work = dict[str, Callable[[], Awaitable[None]]]
RUNTIME_CONNECTIONS = 100
RUNTIME_KEEP_ALIVE_S = 60
"""Below the 95 s after which Runtime closes an idle connection: the side that sends must be the one that lets go."""


def read_clock() -> datetime:
    """The time of this machine."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What everything else stands on."""

    settings: Settings
    clock: Clock
    tenants: TenantDatabase
    system: SystemDatabase
    http: httpx.AsyncClient
    runtime: RuntimeCalls
    audit: Audit
    keyring: Keyring
    hasher: PasswordHasher
    throttle: Throttle
    cookie: LoginCookie
    identities: Identities
    guard: Guard
    telemetry: Telemetry

    async def close(self) -> None:
        """Let go of connections and threads."""
        self.hasher.close()
        await self.http.aclose()
        await self.tenants.close()
        await self.system.close()


def lay_ground(
    settings: Settings,
    *,
    clock: Clock = read_clock,
    transport: httpx.AsyncBaseTransport | None = None,
    hasher: PasswordHasher | None = None,
) -> Ground:
    """Build what everything stands on; opens no connection. `transport` leads to Runtime, by default over the net."""
    tenants = TenantDatabase(settings.database_url.get_secret_value())
    system = SystemDatabase(settings.system_database_url.get_secret_value())
    carrier = transport or RuntimeTransport(RUNTIME_CONNECTIONS, RUNTIME_KEEP_ALIVE_S)
    http = RuntimeHttp(settings.runtime_url, carrier)
    audit = Audit(clock)
    keyring = Keyring(settings.token_key_file.read_bytes())
    cookie = LoginCookie(settings)
    identities = Identities(system, keyring, audit, clock)
    guard = Guard(
        identities=identities,
        origins=Origins(settings.public_url),
        cookie=cookie,
        tenants=tenants,
        system=system,
        audit=audit,
        clock=clock,
    )
    throttle = Throttle(system, clock)
    telemetry = Telemetry()
    telemetry.tell_pools(tenants, system)
    telemetry.tell_entrances(throttle)
    return Ground(
        settings=settings,
        clock=clock,
        tenants=tenants,
        system=system,
        http=http,
        runtime=RuntimeCalls(http, InternalSigner(settings.internal_key_file.read_bytes())),
        audit=audit,
        keyring=keyring,
        hasher=hasher or PasswordHasher(),
        throttle=throttle,
        cookie=cookie,
        identities=identities,
        guard=guard,
        telemetry=telemetry,
    )


def create_app(ground: Ground) -> Starlette:
    """The public tier. Refuses to be built while a declared endpoint has nobody to serve it."""
    server: Server[Caller] = Server(PublicApi, ground.guard)
    channels: Channels[Principal] = Channels(PublicApi, ground.guard.admit)
    catalogue = Catalogue(ground.runtime, ground.system, ground.clock)
    work = serve_identity(server, ground) | serve_work(server, channels, ground, catalogue)
    routes = [*server.routes(), *channels.routes(), *health(ground, catalogue), *page_routes(ground.settings.web_dir)]
    if ground.settings.metrics_port:
        work["metrics"] = partial(ground.telemetry.serve, ground.settings)
    return build_app(routes, lifespan=live(ground, work), meter=ground.telemetry)


def serve_identity(server: Server[Caller], ground: Ground) -> Work:
    """Who you are, who belongs to a tenant, which tenants there are."""
    g = ground
    SignIn(
        settings=g.settings,
        system=g.system,
        hasher=g.hasher,
        keyring=g.keyring,
        throttle=g.throttle,
        identities=g.identities,
        cookie=g.cookie,
        audit=g.audit,
        clock=g.clock,
    ).serve(server)
    Account(
        settings=g.settings,
        tenants=g.tenants,
        system=g.system,
        hasher=g.hasher,
        throttle=g.throttle,
        identities=g.identities,
        audit=g.audit,
        clock=g.clock,
    ).serve(server)
    Admin(
        settings=g.settings,
        tenants=g.tenants,
        runtime=g.runtime,
        identities=g.identities,
        audit=g.audit,
        clock=g.clock,
    ).serve(server)
    installation = Installation(
        settings=g.settings,
        tenants=g.tenants,
        system=g.system,
        runtime=g.runtime,
        identities=g.identities,
        audit=g.audit,
        clock=g.clock,
    )
    installation.serve(server)
    return {"tenant states": installation.keep_runtime_told, "pruning": Pruning(g.system, g.clock).run}


def serve_work(server: Server[Caller], channels: Channels[Principal], ground: Ground, catalogue: Catalogue) -> Work:
    """Sessions, intents and what Runtime makes of them, asked for or watched."""
    g = ground
    outbox = Outbox(g.tenants, g.system, g.runtime)
    g.telemetry.tell_outbox(outbox)
    sessions = Sessions(
        guests_welcome=g.settings.guests,
        tenants=g.tenants,
        system=g.system,
        runtime=g.runtime,
        outbox=outbox,
        identities=g.identities,
        throttle=g.throttle,
        audit=g.audit,
        clock=g.clock,
    )
    sessions.serve(server)
    intents = Intents(
        tenants=g.tenants,
        answers=Answers(g.tenants, g.clock),
        outbox=outbox,
        catalogue=catalogue,
        audit=g.audit,
        clock=g.clock,
    )
    intents.serve(server)
    executions = Executions(runtime=g.runtime, intents=intents, tenants=g.tenants, audit=g.audit)
    executions.serve(server)
    Retries(runtime=g.runtime, intents=intents, tenants=g.tenants).serve(server)
    DeadLetters(runtime=g.runtime, intents=intents, tenants=g.tenants, audit=g.audit).serve(server)
    Workflows(runtime=g.runtime, tenants=g.tenants, audit=g.audit).serve(server)
    Credentials(runtime=g.runtime, tenants=g.tenants, audit=g.audit).serve(server)
    BrowserProfiles(runtime=g.runtime, tenants=g.tenants, audit=g.audit).serve(server)
    Egress(runtime=g.runtime, tenants=g.tenants, audit=g.audit).serve(server)
    Tools(g.runtime).serve(server)
    Artifacts(runtime=g.runtime, links=Links(g.keyring, g.clock, g.settings.public_url)).serve(server)
    watching = serve_streams(channels, ground, intents, executions)
    delivering: Work = {"outbox": outbox.run, "outbox depth": outbox.measure}
    return delivering | {"catalogue": catalogue.run, "sessions": sessions.run} | watching


def serve_streams(channels: Channels[Principal], ground: Ground, intents: Intents, executions: Executions) -> Work:
    """Executions, watched live."""

    def make_client(tenant_id: TenantId) -> RuntimeClient:
        return RuntimeClient(ground.http, ground.runtime.vouch_for(tenant_id, None, _STREAMS))

    async def find_promise(caller: Principal, execution_id: ExecutionId) -> IntentStatus | None:
        row = await intents.find_by_execution(caller, execution_id)
        return IntentStatus(row.status) if row is not None else None

    async def read_snapshot(caller: Principal, execution_id: ExecutionId) -> Execution:
        return await executions.read_status(caller, execution_id, _STREAMS)

    vouch = ground.runtime.vouch_for(NOBODY, None, _STREAMS)
    subscriber = Subscriber(ground.settings.runtime_url, vouch, make_client)
    doors = Doors(find_promise=find_promise, read_snapshot=read_snapshot, renew=ground.guard.renew)
    settings = ground.settings
    streams = Streams(
        Hub(subscriber, make_client),
        doors,
        ping_interval_s=settings.ping_interval_s,
        guide_keepalive=Keepalive(settings.guide_ping_interval_s, settings.guide_ping_timeout_s),
    )
    streams.serve(channels)
    ground.telemetry.tell_streams(streams, subscriber)
    return {"channel to runtime": subscriber.run, "pings": streams.run}


def live(ground: Ground, work: Work) -> Callable[[Starlette], AbstractAsyncContextManager[None]]:
    """What happens before the first request, beside all of them, and after the last one."""

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        try:
            await ensure_operator(ground.settings, ground.system, ground.hasher, ground.audit, ground.clock)
            async with run_beside(work):
                yield
        finally:
            await ground.close()

    return lifespan


def health(ground: Ground, catalogue: Catalogue) -> list[BaseRoute]:
    """`/health` and `/ready`."""

    async def database() -> str:
        async with ground.tenants.transaction(NOBODY):
            pass
        async with ground.system.transaction() as session:
            return "the schema waits for `python -m experience migrate`" if await is_behind(session) else "ok"

    async def runtime() -> str:
        try:
            answer = await ground.http.get("/health", timeout=2.0)
        except httpx.TransportError as error:
            return f"Runtime does not answer ({type(error).__name__})"
        if not answer.is_success:
            return f"Runtime answers {answer.status_code}"
        await catalogue.read()  # once known, intents are taken without Runtime, too
        return "ok"

    async def page() -> str:
        return "ok" if (ground.settings.web_dir / "index.html").is_file() else "the page has not been built"

    checks: dict[str, Check] = {"database": database, "runtime": runtime, "page": page}
    return health_routes(checks)
