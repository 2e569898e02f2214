"""A stack of containers of its own for the tests, and looks into it through the engine's command line."""

import json
import os
import re
import shlex
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]
PROJECT = "stagedoor-test"
SUBNET = "172.31.242.0/24"
OWNER = "owner@stage.test"
PASSWORD = "open sesame, please"
UP_S = 1_500
DOWN_S = 180
READY_S = 180
COMMAND_S = 60
PULL_S = 300
LABEL = "com.docker.compose"
ROUTED = {"experience": 8001, "runtime": 8002}
"""Ports of the services that Traefik knows."""
PROFILES = ("demo", "nats", "observability")


@dataclass
class Containers:
    """docker-compose.yml brought up under a project of its own."""

    compose: list[str]
    """`docker compose`, or what stands in for it."""
    engine: str
    """`docker` or `podman`."""
    port: int
    environment: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("STAGEDOOR_")}
        self.environment = kept | {
            "STAGEDOOR_ADMIN_EMAIL": OWNER,
            "STAGEDOOR_ADMIN_PASSWORD": PASSWORD,
            "STAGEDOOR_PORT": str(self.port),
            "STAGEDOOR_SUBNET": SUBNET,
        }

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    def up(self, *options: str) -> None:
        self.run_compose("--profile", "demo", "up", "-d", *options, timeout_s=UP_S)
        self.wait_until_ready()

    def down(self, *options: str) -> None:
        every = [option for name in PROFILES for option in ("--profile", name)]
        self.run_compose(*every, "down", *options, timeout_s=DOWN_S)

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_S
        answer = "no answer"
        while time.monotonic() < deadline:
            try:
                response = httpx.get(f"{self.url}/ready", timeout=5)
                if response.status_code == 200:
                    return
                answer = response.text
            except httpx.TransportError as error:
                answer = repr(error)
            time.sleep(0.5)
        raise AssertionError(f"the stack did not become ready: {answer}")

    def run_compose(self, *arguments: str, timeout_s: float) -> None:
        command = [*self.compose, "-p", PROJECT, *arguments]
        done = subprocess.run(
            command, cwd=ROOT, env=self.environment, timeout=timeout_s, check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout[-2_000:]}\n{done.stderr[-4_000:]}"

    def run_engine(self, *arguments: str, check: bool = True) -> str:
        done = subprocess.run(
            [self.engine, *arguments], timeout=COMMAND_S, check=False, capture_output=True, text=True, errors="replace"
        )
        assert not check or done.returncode == 0, f"{self.engine} {shlex.join(arguments)}\n{done.stderr}"
        return done.stdout

    def list_names(self, service: str, *more: str) -> list[str]:
        """The running containers of a service, or those that further filters ask for."""
        filters = [f"--filter=label={LABEL}.project={PROJECT}", f"--filter=label={LABEL}.service={service}"]
        return sorted(self.run_engine("ps", *filters, *more, "--format={{.Names}}").split())

    def list_services(self) -> set[str]:
        """The services of which a container is running."""
        found = self.run_engine("ps", f"--filter=label={LABEL}.project={PROJECT}", "--format={{.Names}}").split()
        return {str(self.inspect(name)["Config"]["Labels"][f"{LABEL}.service"]) for name in found}

    def inspect(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run_engine("inspect", name))[0]
        return found

    def read_log(self, name: str) -> str:
        done = subprocess.run(
            [self.engine, "logs", name], timeout=COMMAND_S, check=True, capture_output=True, text=True, errors="replace"
        )
        return done.stdout + done.stderr

    def kill(self, name: str) -> None:
        self.run_engine("kill", "--signal=KILL", name)

    def run_python(self, name: str, code: str) -> str:
        """What `code` prints inside a container."""
        return self.run_engine("exec", name, "python", "-c", code).strip()

    def run_beside(self, network: str, code: str) -> str:
        """What `code` prints in a container of its own, that has this one network of the stack."""
        rights = ("--cap-drop=ALL", "--read-only", "--pull=never", f"--network={PROJECT}_{network}")
        return self.run_engine("run", "--rm", *rights, "stagedoor-experience", "python", "-c", code).strip()

    def is_healthy(self, name: str) -> bool:
        """Whether a container's health check passes now."""
        _, *command = self.inspect(name)["Config"]["Healthcheck"]["Test"]
        done = subprocess.run(
            [self.engine, "exec", name, *command], timeout=COMMAND_S, check=False, capture_output=True
        )
        return done.returncode == 0

    def is_routed(self, service: str) -> bool:
        """Whether Traefik's routes lead to exactly the running replicas: an engine's DNS may be seconds behind."""
        (routes,) = self.list_names("routes")
        written = self.run_engine("exec", routes, "cat", "/routes/plain/routes.yml")
        networks = [self.inspect(name)["NetworkSettings"]["Networks"] for name in self.list_names(service)]
        addresses = {network[f"{PROJECT}_tiers"]["IPAddress"] for network in networks}
        known = set(re.findall(rf"http://([\d.]+):{ROUTED[service]}\b", written))
        return known == addresses

    def query(self, sql: str) -> str:
        """What the database's superuser is answered, unaligned."""
        (postgres,) = self.list_names("postgres")
        password = self.run_engine("exec", postgres, "cat", "/secrets/superuser")
        psql = ["psql", "-Atq", "-h", "127.0.0.1", "-U", "postgres", "-d", "stagedoor", "-c", sql]
        return self.run_engine("exec", "-e", f"PGPASSWORD={password}", postgres, *psql).strip()

    def has_image(self, image: str) -> bool:
        """Whether an image is here, or could be fetched now."""
        return any(
            subprocess.run([self.engine, *ask, image], timeout=PULL_S, check=False, capture_output=True).returncode == 0
            for ask in (("image", "inspect"), ("pull",))
        )
