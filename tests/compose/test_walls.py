"""The containers' walls: what they may do, and who can be reached from where. Opt-in: `make compose-test`."""

import json
import re
import socket
from typing import Any

import httpx
import pytest
import yaml

from tests.compose.containers import ROOT, Containers
from tests.compose.work import make_node, run_to_end

pytestmark = pytest.mark.timeout(1_800)  # the first of them builds the images

SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
LONG_RUNNING = {"traefik", "routes", "experience", "runtime", "worker", "postgres", "shop"}
"""With the profile demo."""


def test_everything_is_there(containers: Containers) -> None:
    assert containers.list_services() >= LONG_RUNNING


@pytest.mark.parametrize("service", sorted(LONG_RUNNING))
def test_health_checks_pass(containers: Containers, service: str) -> None:
    _, *command = SERVICES[service]["healthcheck"]["test"]
    for name in containers.list_names(service):
        containers.run_engine("exec", name, *command)


@pytest.mark.parametrize("service", sorted(LONG_RUNNING))
def test_only_the_front_door_is_published(containers: Containers, service: str) -> None:
    for name in containers.list_names(service):
        ports = containers.inspect(name)["NetworkSettings"]["Ports"] or {}
        published = [host["HostPort"] for hosts in ports.values() for host in hosts or []]
        assert published == ([str(containers.port)] if service == "traefik" else [])


@pytest.mark.parametrize("service", sorted(LONG_RUNNING))
def test_processes_have_no_rights(containers: Containers, service: str) -> None:
    (name, *_) = containers.list_names(service)
    status = dict(
        re.findall(r"^(\w+):\s+(.*)$", containers.run_engine("exec", name, "cat", "/proc/1/status"), re.MULTILINE)
    )
    assert "0" not in status["Uid"].split()
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    assert containers.inspect(name)["HostConfig"]["ReadonlyRootfs"] is True
    assert "Read-only" in try_to_write(containers, name)


def try_to_write(containers: Containers, name: str) -> str:
    script = "touch /etc/planted /usr/planted 2>&1; true"
    return containers.run_engine("exec", name, "sh", "-c", script)


def test_chromium_keeps_its_own_sandbox(containers: Containers) -> None:
    code = (
        "import pathlib\n"
        "for p in pathlib.Path('/proc').glob('[0-9]*/cmdline'):\n"
        "    c = p.read_bytes()\n"
        "    print(c.replace(b'\\0', b' ').decode()) if b'chromium' in c else None"
    )
    for name in containers.list_names("worker"):
        processes = containers.run_python(name, code).splitlines()
        assert any("--type=zygote" in line for line in processes)
        assert not any("--no-sandbox" in line for line in processes)


REACH = """
import socket
for host, port in {targets}:
    try:
        socket.create_connection((host, port), timeout=3).close()
        print(host, 'reached')
    except OSError as error:
        print(host, 'not')
"""


@pytest.mark.parametrize(
    ("service", "reached", "out_of_reach"),
    [
        ("experience", [("traefik", 8002), ("postgres", 5432)], [("shop", 8003), ("192.0.2.1", 80), ("1.1.1.1", 443)]),
        ("runtime", [("postgres", 5432)], [("shop", 8003), ("1.1.1.1", 443)]),
        ("worker", [("postgres", 5432), ("shop", 8003)], [("experience", 8001), ("traefik", 8080)]),
        (
            "shop",
            [],
            [("postgres", 5432), ("runtime", 8002), ("experience", 8001), ("traefik", 8080)],
        ),
        ("routes", [], [("postgres", 5432), ("1.1.1.1", 443)]),
    ],
)
def test_networks_keep_apart(
    containers: Containers, service: str, reached: list[tuple[str, int]], out_of_reach: list[tuple[str, int]]
) -> None:
    (name, *_) = containers.list_names(service)
    said = containers.run_python(name, REACH.format(targets=[*reached, *out_of_reach]))
    wanted = [f"{host} reached" for host, _ in reached] + [f"{host} not" for host, _ in out_of_reach]
    assert said.splitlines() == wanted


@pytest.mark.parametrize("url", ["http://postgres:5432/", "http://runtime:8002/health", "http://192.0.2.1/"])
async def test_browsers_reach_nothing_private(person: httpx.AsyncClient, url: str) -> None:
    document = {
        "name": "Go astray",
        "nodes": [make_node("open", "launch_standard_browser", {"Website URL": url})],
        "edges": [],
    }
    watcher = await run_to_end(person, document)
    assert watcher.events[-1]["type"] == "error"
    assert "may not be reached" in json.dumps(watcher.events[-1])


async def test_runtime_refuses_who_has_no_token(person: httpx.AsyncClient) -> None:
    for path in ("/api/runtime/executions/1", "/api/realms", "/api/runtime/x"):
        assert (await person.get(path)).status_code == 401


async def test_the_clients_address_arrives(containers: Containers, person: httpx.AsyncClient) -> None:
    """A forged address is not believed: Traefik writes the header anew, and Experience believes Traefik alone."""
    await person.get("/api/auth/me", headers={"X-Forwarded-For": "6.6.6.6", "X-Tenant-Id": "forged"})
    assert not any("6.6.6.6" in containers.read_log(name) for name in containers.list_names("experience"))


def test_processes_have_an_init_above_them(containers: Containers) -> None:
    """It ends what they leave behind: a Chromium's processes, first of all."""
    for service in sorted(LONG_RUNNING):
        for name in containers.list_names(service):
            first = containers.run_engine("exec", name, "cat", "/proc/1/cmdline")
            assert "init" in first.split("\0")[0], f"{name}: {first}"


def test_other_machines_find_no_door(containers: Containers) -> None:
    """By default even the front door is there for this machine alone."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.connect(("192.0.2.1", 9))  # sends nothing, and tells which address others know this machine by
        address = asking.getsockname()[0]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address, containers.port), timeout=5)


FIGURES = """
import socket, urllib.request
for address in sorted({found[4][0] for found in socket.getaddrinfo("worker", 8002, socket.AF_INET)}):
    figures = urllib.request.urlopen(f"http://{address}:8002/metrics", timeout=5).read().decode()
    print("figures" if "worker_leases" in figures else "none")
for host in ("postgres", "runtime", "experience", "traefik"):
    try:
        socket.getaddrinfo(host, None)
        print(host)
    except OSError:
        pass
"""


def test_who_watches_reads_workers_figures_and_knows_nobody_else_there(containers: Containers) -> None:
    said = containers.run_beside("watch-workers", FIGURES)
    assert said.splitlines() == ["figures", "figures"]
