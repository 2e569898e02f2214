"""The composition root of the internal tier: what there is, in the order in which it is built.

A process serves the API, works, or both. It chooses node families here and nowhere else.
"""

import asyncio
import math
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import BaseRoute

from contracts.api.runtime import RuntimeApi
from contracts.model import MAX_DEPTH
from contracts.wiring.channel import Channels
from contracts.wiring.collector import spare_collector
from contracts.wiring.internal import InternalCaller, InternalVerifier
from contracts.wiring.server import Server, build_app
from contracts.wiring.uvicorn_socket import uvicorn_settings
from runtime.api.artifacts import ArtifactHandlers
from runtime.api.browser_profiles import BrowserProfileHandlers
from runtime.api.credentials import CredentialHandlers
from runtime.api.dead_letters import DeadLetterHandlers
from runtime.api.egress import EgressHandlers
from runtime.api.executions import ExecutionHandlers
from runtime.api.gate import Gate, identify
from runtime.api.health import Check, make_routes
from runtime.api.realms import RealmHandlers
from runtime.api.streams import EventStreams, make_guard
from runtime.api.tenants import TenantHandlers
from runtime.api.tools import ToolHandlers
from runtime.api.workflows import WorkflowHandlers
from runtime.artifacts import ArtifactFolder
from runtime.browser.pool import Pool, PoolOptions
from runtime.browser.sandboxing import Sandboxing
from runtime.catalogue import Catalogue, list_realms
from runtime.egress.egress import Egress
from runtime.egress.lists import Policies
from runtime.egress.permit import Limits
from runtime.egress.policy import read_policy
from runtime.figures import tell_browsers, tell_egress, tell_ground, tell_house, tell_sandbox
from runtime.housekeeping import Housekeeping
from runtime.nodes import code, data, flow, http
from runtime.nodes.browser import act, files, launch, login, read, walk
from runtime.profiles import Profiles
from runtime.reseal import Resealed, reseal_all
from runtime.retries import Retries
from runtime.run.driver import Resources
from runtime.run.watch import Drain
from runtime.sandbox.sandbox import Sandbox, State
from runtime.seal import Seal, read_keys
from runtime.settings import Settings
from runtime.store.browser_profiles import BrowserProfileRecords
from runtime.store.db import Database, DatabaseAway, Ring, SystemDatabase
from runtime.store.dead_letters import DeadLetters
from runtime.store.egress import EgressRecords
from runtime.store.events import EventLog
from runtime.store.executions import Executions
from runtime.store.queue import PgQueue
from runtime.store.records import Records
from runtime.store.runs import Runs
from runtime.store.sandboxes import Sandboxes, SandboxReports
from runtime.store.sealed import SealedRows
from runtime.store.tenants import Tenants
from runtime.store.tool_events import ToolEvents
from runtime.store.upkeep import Upkeep
from runtime.store.vault import Credentials
from runtime.store.wakeups import Carrier, Wakeups
from runtime.store.wakeups_notify import NotifyCarrier
from runtime.store.workflows import Workflows
from runtime.submission import Submissions
from runtime.telemetry import Telemetry
from runtime.vault import CredentialCheck, Vault
from runtime.worker import Worker

log = structlog.get_logger()

_IN_BROWSERS: Final = (*launch.NODES, *walk.NODES, *act.NODES, *files.NODES, *login.NODES, *read.NODES)
NODES: Final = (*_IN_BROWSERS, *data.NODES, *http.NODES, *flow.NODES, *code.NODES)
"""Every node type of this Runtime."""
KEEP_ALIVE_S: Final = 95
"""Above the 60 s after which Experience lets go of an idle connection: whoever sends must be the one that closes."""
_MAX_DEPTH: Final = MAX_DEPTH + 10
"""Levels that a field of a request may have: what Experience let through, and what it wraps that in."""
SPARE_CONNECTIONS: Final = 4
"""Beside one for each execution that is carried out: for requests, and for runs that read while they write."""
MARGIN_S: Final = 1.0
"""Of the drain time, for what comes after the last run: browsers, connections, goodbyes."""


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What everything else stands on. Building it opens no connection."""

    settings: Settings
    db: Database
    system: SystemDatabase
    queue: PgQueue
    wakeups: Wakeups
    folder: ArtifactFolder
    catalogue: Catalogue
    telemetry: Telemetry
    seal: Seal | None
    """What seals credentials and checkpoints; None where no keys are set."""
    sandbox: Sandbox
    """Looked after by workers only."""

    async def close(self) -> None:
        """Let go of the connections."""
        await self.db.close()
        await self.system.close()
        self.sandbox.close()


def lay_ground(settings: Settings) -> Ground:
    """Build what everything stands on."""
    carrier, ring = _choose_carrier(settings)
    made = Ground(
        settings=settings,
        db=Database(settings.database_url, size=settings.concurrency + SPARE_CONNECTIONS, ring=ring),
        system=SystemDatabase(settings.system_database_url),
        queue=PgQueue(settings.system_database_url, concurrency=settings.concurrency, heartbeat_s=settings.heartbeat_s),
        wakeups=Wakeups(carrier),
        folder=ArtifactFolder(settings.artifact_dir),
        catalogue=Catalogue(NODES),
        telemetry=Telemetry(),
        seal=_find_seal(settings),
        sandbox=Sandbox(
            require=settings.sandbox_require,
            slots=settings.concurrency,
            for_others=os.geteuid() == 0,
            spares=True,
        ),
    )
    made.telemetry.tell_pools(made.db, made.system)
    tell_ground(made.telemetry, made.db, made.wakeups)
    return made


def _choose_carrier(settings: Settings) -> tuple[Carrier, Ring | None]:
    """What brings wake-ups here, and what sends those of this process where NOTIFY does not."""
    if not settings.nats_url:
        return NotifyCarrier(settings.database_url), None
    from runtime.store.wakeups_nats import NatsCarrier  # noqa: PLC0415 — who does without NATS does not load it

    nats = NatsCarrier(settings.nats_url.split(","), settings.nats_token_file)
    return nats, nats.ring


def create_api(ground: Ground, public_key: Path, pool: Pool | None = None) -> Starlette:
    """The internal API. Refuses to be built while a declared endpoint has nobody to serve it.

    Args:
        pool: the process also carries out executions, and says how its sandbox and its browsers are.
    """
    verifier = InternalVerifier(public_key.read_bytes())
    server: Server[InternalCaller] = Server(RuntimeApi, identify, max_depth=_MAX_DEPTH)
    executions = Executions(ground.db, ground.queue)
    records, workflows, events = Records(ground.db), Workflows(ground.db), EventLog(ground.db)
    realms = list_realms()
    policy = read_policy(ground.settings.allowed_hosts, ground.settings.denied_hosts)
    egress = EgressRecords(ground.db)
    credentials = Credentials(ground.db)
    check = CredentialCheck(credentials, ground.catalogue.types)
    retries = Retries(records, workflows)
    policies = Policies(policy, egress)
    submissions = Submissions(workflows, realms, ground.catalogue.types, policies, retries, check)
    ExecutionHandlers(executions, records, events, submissions).serve(server)
    DeadLetterHandlers(DeadLetters(ground.db)).serve(server)
    WorkflowHandlers(workflows, executions, ground.catalogue, check, Sandboxes(ground.db), policies).serve(server)
    ArtifactHandlers(records, ground.folder).serve(server)
    TenantHandlers(Tenants(ground.db, ground.system, ground.queue), ground.folder).serve(server)
    CredentialHandlers(credentials, Vault(credentials, ground.seal)).serve(server)
    BrowserProfileHandlers(BrowserProfileRecords(ground.db)).serve(server)
    EgressHandlers(egress).serve(server)
    ToolHandlers(ToolEvents(ground.db), Sandboxes(ground.db)).serve(server)
    RealmHandlers(realms).serve(server)
    channels: Channels[InternalCaller] = Channels(RuntimeApi, make_guard(verifier), private=True)
    channels.on(RuntimeApi.events, EventStreams(events, ground.wakeups).serve)
    gate = Middleware(Gate, verifier=verifier)
    return _build([*server.routes(), *channels.routes()], ground, gate, pool=pool)


def create_health(ground: Ground, pool: Pool | None = None) -> Starlette:
    """All that a process without the API answers."""
    return _build([], ground, pool=pool)


def make_worker(ground: Ground, egress: Egress, pool: Pool) -> Worker:
    """A worker over ways out and a pool of browsers that are open."""
    settings = ground.settings
    resources = Resources(
        runs=Runs(ground.db, ground.queue),
        records=Records(ground.db),
        folder=ground.folder,
        catalogue=ground.catalogue,
        egress=egress,
        policies=Policies(egress.policy, EgressRecords(ground.db)),
        pool=pool,
        sandbox=ground.sandbox,
        wakeups=ground.wakeups,
        telemetry=ground.telemetry,
        drain=Drain(max(0.0, settings.drain_s - MARGIN_S)),
        lease_s=settings.heartbeat_s,
        vault=Vault(Credentials(ground.db), ground.seal),
        profiles=Profiles(BrowserProfileRecords(ground.db), ground.seal),
        seal=ground.seal,
    )
    return Worker(ground.queue, resources)


def _find_seal(settings: Settings) -> Seal | None:
    if settings.seal_key_file is None:
        log.warning(
            "no credentials, browser profiles and checkpoints are kept: STAGEDOOR_RUNTIME_SEAL_KEY_FILE is not set"
        )
        return None
    return read_keys(settings.seal_key_file)


async def reseal(settings: Settings) -> Resealed:
    """Bring all that is sealed under the first key of the file, so that the others may be taken out of it.

    Raises:
        DatabaseAway: the database can't be reached.
        ValueError: the key file holds no keys.
    """
    if settings.seal_key_file is None:
        raise ValueError("STAGEDOOR_RUNTIME_SEAL_KEY_FILE is not set")
    system = SystemDatabase(settings.system_database_url)
    try:
        return await reseal_all(SealedRows(system), read_keys(settings.seal_key_file))
    finally:
        await system.close()


TOGETHER: Final = (
    "More than one tenant has executions here, and a worker may start without what keeps those apart that don't trust "
    "each other. Set STAGEDOOR_RUNTIME_MULTI_TENANT=true for every worker: one whose browsers would have no sandbox of "
    "their own then refuses to start, and says what it needs."
)


async def run(settings: Settings, *, serves: bool, works: bool) -> None:
    """Run until SIGTERM or SIGINT, then leave within the drain time."""
    settings.artifact_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    ground = lay_ground(settings)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(ground.close)
        pool, worker = None, None
        if works:
            egress = await stack.enter_async_context(open_egress(settings))
            pool = await stack.enter_async_context(open_pool(settings, egress))
            await pool.insist()
            tell_browsers(ground.telemetry, pool)
            tell_egress(ground.telemetry, egress.tally)
            tell_sandbox(ground.telemetry, ground.sandbox)
            worker = make_worker(ground, egress, pool)
        key = settings.internal_public_key_file
        api = create_api(ground, key, pool) if serves and key else create_health(ground, pool)
        server = _Server(configure_server(api, settings))
        spare_collector()
        async with asyncio.TaskGroup() as group:
            beside = [group.create_task(ground.wakeups.run())]
            if serves:
                house = Housekeeping(Upkeep(ground.system, ground.queue), ground.folder)
                tell_house(ground.telemetry, house)
                beside.append(group.create_task(house.keep()))
            serving = group.create_task(server.serve())
            working = group.create_task(worker.work()) if worker else None
            if worker is not None and pool is not None:
                beside.append(
                    group.create_task(_look_after(ground, pool.sandboxing, worker.name, guarded=settings.multi_tenant))
                )
            await _wait_for_the_end(serving, working)
            server.should_exit = True
            if worker is not None and working is not None:
                worker.leave()
                await asyncio.wait({working}, timeout=settings.drain_s)
                working.cancel()  # one that is stuck; the reconciler puts back what it held
            await asyncio.wait({serving}, timeout=MARGIN_S)
            for task in beside:
                task.cancel()


def open_egress(settings: Settings) -> Egress:
    """Ways out for a worker; open them."""
    return Egress(
        settings.allowed_hosts,
        closed_hosts=settings.denied_hosts,
        limits=Limits(max_bytes=settings.egress_max_bytes),
    )


async def _look_after(ground: Ground, browsers: Sandboxing, worker: str, *, guarded: bool) -> None:
    """Keep watch over the sandbox, and say in the database what was found of it and of browsers, until cancelled.

    Args:
        guarded: whether this worker has to keep tenants apart that don't trust each other.
    """
    reports = SandboxReports(ground.system, worker)
    warned = False

    async def look_at_tenants() -> str:
        nonlocal warned
        if guarded or not await reports.find_tenants():
            return ""
        if not warned:
            warned = True
            log.warning("tenants are together on a worker that need not keep them apart", hint=TOGETHER)
        return TOGETHER

    async def tell(found: State) -> None:
        try:
            together = await look_at_tenants()
            await reports.tell(found.name, f"{found.describe()}. {found.hint}".strip(), browsers.shortcoming, together)
        except DatabaseAway as error:  # the next look says it
            log.warning("what the sandbox found is not noted", reason=error.detail)

    async def tell_of_browsers() -> None:
        await browsers.settled.wait()
        if ground.sandbox.looked:  # else the first look tells both
            await tell(ground.sandbox.state)

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(ground.sandbox.keep_watch(tell))
            group.create_task(tell_of_browsers())
    finally:
        with suppress(DatabaseAway, TimeoutError):
            async with asyncio.timeout(MARGIN_S):
                await reports.leave()


def open_pool(settings: Settings, egress: Egress) -> Pool:
    """Browsers for a worker; open it."""
    options = PoolOptions(
        scratch_dir=settings.scratch_dir,
        browser_path=settings.browser_path,
        memory_limit=settings.browser_max_memory,
        sandbox_required=settings.multi_tenant and not settings.allow_unsandboxed_browsers,
    )
    return Pool(options, egress.proxy)


def configure_server(app: Starlette, settings: Settings) -> uvicorn.Config:
    """Uvicorn with our manners; its access log stays off, the wiring writes one."""
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=math.ceil(settings.drain_s),
        **uvicorn_settings(),
    )


class _Server(uvicorn.Server):
    """Leaves the signals to `run`: a worker has to hear of them as soon as the server does."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing is captured here."""
        yield


async def _wait_for_the_end(*tasks: "asyncio.Task[None] | None") -> None:
    """Until a signal comes, or until something that should never end has ended."""
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.set)
    waiting = asyncio.ensure_future(asked.wait())
    try:
        await asyncio.wait(
            {waiting, *(task for task in tasks if task is not None)}, return_when=asyncio.FIRST_COMPLETED
        )
    finally:
        waiting.cancel()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _build(routes: list[BaseRoute], ground: Ground, *inner: Middleware, pool: Pool | None) -> Starlette:
    checks: Mapping[str, Check] = {"database": ground.db.ping}
    hints: dict[str, Check] = {"wake-ups": ground.wakeups.check}
    if pool is not None:
        hints |= {"sandbox": ground.sandbox.report, "browsers": pool.report}
    health = make_routes(checks, ground.telemetry, hints=hints)
    return build_app([*health, *routes], middleware=inner, meter=ground.telemetry)
