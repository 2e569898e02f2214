"""The whole stack as separate processes under one test's hand, with a fault proxy where two of them meet."""

import os
import random
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from experience.cli.data_dir import DataDir, Keys
from experience.cli.executables import find_traefik
from experience.cli.ports import find_free_port, find_free_ports
from tests.chaos.ledger import Ledger
from tests.chaos.parts import END_S, Part
from tests.chaos.postgres import Backends, Server
from tests.chaos.proxy import FaultProxy
from tests.chaos.shop import Shop
from tests.chaos.visitors import Visitor, visiting
from tests.support.nats import NatsServer, run_nats
from tests.support.postgres import Database
from traefik.configuration import Profile
from traefik.files import write_dynamic, write_local
from traefik.routes import Tier

SHORT_HEARTBEAT_S = 2.0
"""Where a scenario is about what happens, not about when."""
DRAIN_S = 4.0


@dataclass(frozen=True, kw_only=True)
class Cast:
    """How many of each, and how they are set."""

    experiences: int = 1
    runtimes: int = 1
    workers: int = 1
    heartbeat_s: float | None = SHORT_HEARTBEAT_S
    """None: the product's own default."""
    concurrency: int = 8
    own_line: bool = False
    """Whether each worker reaches PostgreSQL through a fault proxy of its own."""
    checkpoints: bool = True
    """Whether pages come back from checkpoints, as with `make run`; else only from the steps that led to them."""
    artifacts: Path | None = None
    """Where artifacts are kept, if not in the rig's folder."""
    clock: bool = False
    """Whether the tiers' clock can be set, by `Rig.set_clock`; PostgreSQL's and everybody else's goes on."""
    nats: bool = False
    """Whether a NATS server of the rig's own carries wake-ups, in place of NOTIFY."""


@dataclass
class Rig:
    """A running stack. What a test starts beside it, the test ends."""

    cast: Cast
    folder: Path
    server: Server
    database: Database
    shop: Shop
    keys: Keys
    port: int
    """Traefik's."""
    runtime_line: FaultProxy
    """Between every Experience and the Runtimes."""
    ledger: Ledger = field(default_factory=Ledger)
    experiences: list[Part] = field(default_factory=list)
    runtimes: list[Part] = field(default_factory=list)
    workers: list[Part] = field(default_factory=list)
    worker_lines: list[FaultProxy] = field(default_factory=list)
    """With `own_line`: of each worker, to PostgreSQL."""
    nats: NatsServer | None = None
    """With `nats`: what every Runtime and worker has its wake-ups from."""
    traefik: Part = field(init=False)

    @property
    def url(self) -> str:
        """The front door. By its address: a client would try ::1 first."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def backends(self) -> Backends:
        """PostgreSQL's side of every connection."""
        return Backends(self.database)

    @property
    def scratch(self) -> Path:
        """Browser profiles while they live; also what every process of a browser has in its environment."""
        return self.folder / "scratch"

    @property
    def artifacts(self) -> Path:
        """The artifact folder."""
        return self.cast.artifacts or self.folder / "artifacts"

    @property
    def tiers(self) -> list[Part]:
        """Everything that is ours and has replicas."""
        return [*self.experiences, *self.runtimes, *self.workers]

    def set_clock(self, ahead_s: float) -> None:
        """Have the tiers see another time than the rest of the world, from now on."""
        made = self.folder / "clock.new"
        made.write_text(f"{ahead_s:+.0f}")
        made.replace(self.folder / "clock")

    def visit(self) -> AbstractAsyncContextManager[Visitor]:
        """A new visitor with a tenant of their own."""
        return visiting(self.url, self.ledger)

    def write_routes(self, experiences: Sequence[Part] | None = None) -> None:
        """Replace Traefik's dynamic file; by default with all replicas, in an order that changes."""
        chosen = list(experiences or self.experiences)
        random.shuffle(chosen)
        write_dynamic(self.folder / "traefik", _servers(chosen, self.runtimes))

    async def up(self) -> None:
        """Start everything that does not run, and wait until all of it can be used."""
        parts = [self.traefik, *self.tiers]
        for part in parts:
            if not part.alive:
                part.start()
        for part in self.tiers:
            await part.ready()
        await self.traefik.ready("/ready")

    async def down(self) -> None:
        """End everything in order, the clients' side first."""
        for parts in (self.experiences, self.workers, self.runtimes):
            for part in parts:
                part.terminate()
            for part in parts:
                if part.process is not None:
                    await part.ended(END_S)

    async def sweep(self) -> None:
        """A killed worker's leavings go with the next start on its machine: have one, if none has been since."""
        if any(worker.unswept for worker in self.workers):
            self.workers[0].start()
            await self.workers[0].ready()
            await self.workers[0].stop()

    def kill_all(self) -> None:
        """Leave no process behind, whatever state the test is in."""
        for part in [*self.tiers, self.traefik]:
            part.thaw()
            part.kill()


@asynccontextmanager
async def run_rig(cast: Cast, folder: Path, server: Server, database: Database, shop: Shop) -> AsyncIterator[Rig]:
    """Bring a stack up; every process of it is gone when the block ends."""
    data = DataDir(folder)
    data.make()
    front_port, line_port, *runtime_ports = find_free_ports(2 + cast.runtimes)
    line = FaultProxy(line_port, *runtime_ports)
    rig = Rig(cast, folder, server, database, shop, data.ensure_keys(), front_port, line)
    rig.ledger.orders = shop.orders
    rig.artifacts.mkdir(exist_ok=True, mode=0o700)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(line.run())
        rig.nats = stack.enter_context(run_nats()) if cast.nats else None
        rig.runtimes = [make_runtime(rig, f"runtime-{number}", port) for number, port in enumerate(runtime_ports)]
        rig.experiences = [make_experience(rig, f"experience-{number}") for number in range(cast.experiences)]
        for number in range(cast.workers):
            rig.workers.append(await _make_worker(rig, number, stack))
        rig.traefik = make_traefik(rig)
        if cast.clock:
            rig.set_clock(0)
            for part in rig.tiers:
                part.environment = {**part.environment, **_wear_clock(folder / "clock")}
        stack.callback(rig.kill_all)
        await rig.up()
        yield rig


def make_experience(rig: Rig, name: str) -> Part:
    """One replica of the public tier."""
    port, figures_port = find_free_ports(2)
    settings = {
        "HOST": "127.0.0.1",
        "PORT": port,
        "METRICS_PORT": figures_port,
        "DATABASE_URL": rig.database.dsn("experience_app"),
        "SYSTEM_DATABASE_URL": rig.database.dsn("experience_system"),
        "RUNTIME_URL": f"http://127.0.0.1:{rig.runtime_line.listen}",
        "INTERNAL_KEY_FILE": rig.keys.internal,
        "TOKEN_KEY_FILE": rig.keys.token,
        "DRAIN_S": DRAIN_S,
        "GUESTS": "true",
    }
    environment = _environment("EXPERIENCE", settings) | {"STAGEDOOR_PUBLIC_URL": f"http://localhost:{rig.port}"}
    return Part(name, _module("experience", "serve"), environment, rig.folder / "logs", port, figures_port)


def make_runtime(rig: Rig, name: str, port: int) -> Part:
    """One replica of the internal API."""
    settings = _runtime_settings(rig, port, rig.database)
    return Part(name, _module("runtime", "serve"), _environment("RUNTIME", settings), rig.folder / "logs", port)


def make_worker(rig: Rig, name: str, database: Database) -> Part:
    """One worker, on the database or on a proxy in front of it."""
    port = find_free_port()
    settings = _runtime_settings(rig, port, database)
    return Part(name, _module("runtime", "work"), _environment("RUNTIME", settings), rig.folder / "logs", port)


def make_traefik(rig: Rig) -> Part:
    """The front door, with the routes that the product writes."""
    address = f"127.0.0.1:{rig.port}"
    servers = _servers(rig.experiences, rig.runtimes)
    static = write_local(rig.folder / "traefik", address, Profile.DEFAULT, servers, watched=True)
    command = (str(find_traefik()), f"--configFile={static}")
    return Part("traefik", command, dict(os.environ), rig.folder / "logs", rig.port)


async def _make_worker(rig: Rig, number: int, stack: AsyncExitStack) -> Part:
    database = rig.database
    if rig.cast.own_line:
        # libpq and asyncpg take a folder for a host and look for this name in it
        folder = rig.folder / f"line-{number}"
        folder.mkdir()
        target = database.cluster.sockets / ".s.PGSQL.5432"
        line = await stack.enter_async_context(FaultProxy(folder / ".s.PGSQL.5432", target).run())
        rig.worker_lines.append(line)
        database = _move(database, folder)
    return make_worker(rig, f"worker-{number}", database)


def _move(database: Database, sockets: Path) -> Database:
    return replace(database, cluster=replace(database.cluster, sockets=sockets))


def _runtime_settings(rig: Rig, port: int, database: Database) -> dict[str, object]:
    settings: dict[str, object] = {
        "HOST": "127.0.0.1",
        "PORT": port,
        "DATABASE_URL": database.dsn("runtime_app"),
        "SYSTEM_DATABASE_URL": database.dsn("runtime_system"),
        "INTERNAL_PUBLIC_KEY_FILE": rig.keys.internal_public,
        "ARTIFACT_DIR": rig.artifacts,
        "SCRATCH_DIR": rig.scratch,
        "ALLOWED_HOSTS": rig.shop.host,
        "CONCURRENCY": rig.cast.concurrency,
        "DRAIN_S": DRAIN_S,
    }
    if rig.cast.heartbeat_s is not None:
        settings["HEARTBEAT_S"] = rig.cast.heartbeat_s
    if rig.nats is not None:
        settings["NATS_URL"] = rig.nats.url
    if rig.cast.checkpoints:
        settings["SEAL_KEY_FILE"] = rig.keys.seal
    return settings


def find_clock() -> Path | None:
    """The library that shows a process another time; Debian's package libfaketime has it."""
    return next(iter(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)


def _wear_clock(setting: Path) -> dict[str, str]:
    return {
        "LD_PRELOAD": str(find_clock()),
        "FAKETIME_TIMESTAMP_FILE": str(setting),
        "FAKETIME_NO_CACHE": "1",
        # a machine's clock is set, and what counts seconds goes on counting
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }


def _servers(experiences: Sequence[Part], runtimes: Sequence[Part]) -> dict[Tier, list[str]]:
    return {
        Tier.EXPERIENCE: [f"http://127.0.0.1:{part.port}" for part in experiences],
        Tier.RUNTIME: [f"http://127.0.0.1:{part.port}" for part in runtimes],
    }


def _module(name: str, command: str) -> tuple[str, ...]:
    return (sys.executable, "-P", "-m", name, command)


def _environment(tier: str, settings: dict[str, object]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STAGEDOOR_")}
    own = {f"STAGEDOOR_{tier}_{name}": str(value) for name, value in settings.items()}
    return kept | own | {"STAGEDOOR_LOG_FORMAT": "json", "PYTHONUNBUFFERED": "1"}
