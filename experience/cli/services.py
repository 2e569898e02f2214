"""The processes of the local stack as data: what is started, with which settings, and stopped in which order."""

import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from experience.cli.data_dir import EMAIL_VARIABLE, PASSWORD_VARIABLE, Admin, DataDir, Keys
from experience.cli.executables import find_traefik
from experience.cli.ports import LOOPBACK
from experience.cli.postgres import Cluster, run_as
from experience.cli.supervisor import Service

EXPERIENCE_PREFIX = "STAGEDOOR_EXPERIENCE_"
RUNTIME_PREFIX = "STAGEDOOR_RUNTIME_"

# Each is gone before what it talks to, and all of it within ten seconds.
EXPERIENCE_TURN, RUNTIME_TURN, TRAEFIK_TURN, POSTGRES_TURN = range(4)
DRAIN_S = 1
EXPERIENCE_PATIENCE_S = 2.5
RUNTIME_PATIENCE_S = 4.0
TRAEFIK_PATIENCE_S = 1.5
POSTGRES_PATIENCE_S = 1.5


def _run_module(name: str) -> tuple[str, ...]:
    # -P: the folder where `up` was called must not hide our packages.
    return (sys.executable, "-P", "-m", name)


@dataclass(frozen=True, kw_only=True)
class Programs:
    """What to start for each part; tests put small stand-ins here."""

    experience: tuple[str, ...] = _run_module("experience")
    runtime: tuple[str, ...] = _run_module("runtime")
    demo: tuple[str, ...] = _run_module("experience.demo")


@dataclass(frozen=True, kw_only=True)
class Ports:
    """Where each part listens on the loopback address; the shop is None where there is no demo."""

    web: int
    experience: int
    runtime: int
    metrics: int
    """Of Experience; Runtime's figures are on its own port, which nobody outside reaches either."""
    shop: int | None

    @property
    def public_url(self) -> str:
        """What a person opens. `localhost` and not the address: only that counts as secure without https."""
        return f"http://localhost:{self.web}"

    @property
    def shop_host(self) -> str | None:
        """How the driven browser finds the shop, `host:port`."""
        return None if self.shop is None else f"{LOOPBACK}:{self.shop}"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that the settings of the processes are made of."""

    data: DataDir
    cluster: Cluster
    ports: Ports
    keys: Keys
    admin: Admin
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    """Of the person who called: further settings of the tiers are taken from it."""
    programs: Programs = field(default_factory=Programs)

    def plan_postgres(self, lock: int) -> Service:
        """The database. It inherits the folder's lock: a new stack waits until the old database is gone."""
        return Service(
            name="postgres",
            command=self.cluster.command(),
            environment=self._clean_environment(),
            folder=Path("/"),
            identity=run_as(self.cluster.account),
            stop_signal=signal.SIGINT,
            orphan_signal=signal.SIGINT,
            stop_turn=POSTGRES_TURN,
            patience_s=POSTGRES_PATIENCE_S,
            inherits=(lock, *self.cluster.inherits),
        )

    def plan_traefik(self, configuration: Path) -> Service:
        """The front door."""
        return Service(
            name="traefik",
            command=(str(find_traefik()), f"--configFile={configuration}"),
            environment=self._clean_environment(),
            folder=self.data.root,
            stop_turn=TRAEFIK_TURN,
            patience_s=TRAEFIK_PATIENCE_S,
        )

    def plan_migrations(self) -> list[Service]:
        """One job per tier, to be run side by side."""
        return [
            replace(self._plan_experience("migrate"), name="migrate-ex", is_job=True),
            replace(self._plan_runtime("migrate"), name="migrate-rt", is_job=True),
        ]

    def plan_tiers(self) -> list[Service]:
        """Runtime and Experience."""
        return [
            self._plan_runtime("all"),
            self._plan_experience("serve"),
        ]

    def plan_shop(self) -> Service | None:
        """The demo shop."""
        if self.ports.shop is None:
            return None
        return Service(
            name="shop",
            command=(*self.programs.demo, "--port", str(self.ports.shop)),
            environment=self._clean_environment(),
            folder=self.data.root,
            patience_s=EXPERIENCE_PATIENCE_S,
        )

    def _plan_experience(self, command: str) -> Service:
        settings = {
            "HOST": LOOPBACK,
            "PORT": self.ports.experience,
            "METRICS_HOST": LOOPBACK,
            "METRICS_PORT": self.ports.metrics,
            "DATABASE_URL": self.cluster.dsn("experience_app"),
            "SYSTEM_DATABASE_URL": self.cluster.dsn("experience_system"),
            "MIGRATE_DATABASE_URL": self.cluster.dsn("experience_owner"),
            "RUNTIME_URL": f"http://{LOOPBACK}:{self.ports.runtime}",
            "INTERNAL_KEY_FILE": self.keys.internal,
            "TOKEN_KEY_FILE": self.keys.token,
            "TRUSTED_PROXIES": LOOPBACK,
            "DRAIN_S": DRAIN_S,
        }
        owner = {EMAIL_VARIABLE: self.admin.email, PASSWORD_VARIABLE: self.admin.password}
        # on one's own machine anybody who reaches the port may look around; on a server that is the owner's choice
        welcome = {f"{EXPERIENCE_PREFIX}GUESTS": "true"}
        return Service(
            name="experience",
            command=(*self.programs.experience, command),
            environment=welcome | self._make_environment(EXPERIENCE_PREFIX, settings) | owner,
            folder=self.data.root,
            stop_turn=EXPERIENCE_TURN,
            patience_s=EXPERIENCE_PATIENCE_S,
        )

    def _plan_runtime(self, command: str) -> Service:
        chosen = self.environment.get(f"{RUNTIME_PREFIX}ALLOWED_HOSTS", "").split(",")
        settings: dict[str, object] = {
            "HOST": LOOPBACK,
            "PORT": self.ports.runtime,
            "DATABASE_URL": self.cluster.dsn("runtime_app"),
            "SYSTEM_DATABASE_URL": self.cluster.dsn("runtime_system"),
            "MIGRATE_DATABASE_URL": self.cluster.dsn("runtime_owner"),
            "INTERNAL_PUBLIC_KEY_FILE": self.keys.internal_public,
            "SEAL_KEY_FILE": self.keys.seal,
            "ARTIFACT_DIR": self.data.artifacts,
            "SCRATCH_DIR": self.data.scratch,
            "ALLOWED_HOSTS": ",".join(host for host in (self.ports.shop_host, *chosen) if host),
            "DRAIN_S": DRAIN_S,
        }
        if f"{RUNTIME_PREFIX}MULTI_TENANT" not in self.environment:
            # accounts of a stack that only this machine reaches are its owner's own: there is nobody to warn of
            settings |= {"MULTI_TENANT": True, "ALLOW_UNSANDBOXED_BROWSERS": True}
        return Service(
            name="runtime",
            command=(*self.programs.runtime, command),
            environment=self._make_environment(RUNTIME_PREFIX, settings),
            folder=self.data.root,
            stop_turn=RUNTIME_TURN,
            patience_s=RUNTIME_PATIENCE_S,
        )

    def _make_environment(self, prefix: str, settings: Mapping[str, object]) -> dict[str, str]:
        """What the person chose for this tier, under what the stack itself has to decide."""
        shared = {"STAGEDOOR_PUBLIC_URL": self.ports.public_url, "STAGEDOOR_LOG_FORMAT": "console"}
        chosen = {name: value for name, value in self.environment.items() if name.startswith(prefix)}
        decided = {f"{prefix}{name}": str(value) for name, value in settings.items()}
        return self._clean_environment() | shared | chosen | decided

    def _clean_environment(self) -> dict[str, str]:
        """The person's environment without any setting of ours: each process gets its own and nobody else's."""
        kept = {name: value for name, value in self.environment.items() if not name.startswith("STAGEDOOR_")}
        if kept.pop("PYTHONDONTWRITEBYTECODE", ""):
            # Whoever wants no files beside the sources gets none; compiling all of them takes seconds at every start.
            kept["PYTHONPYCACHEPREFIX"] = str(self.data.root / "pycache")
        return kept | {"PYTHONUNBUFFERED": "1"}  # so that lines arrive when they are written
