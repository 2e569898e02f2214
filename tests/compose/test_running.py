"""The containers as they run: who serves, what a kill costs, what can be reached. Opt-in: `make compose-test`."""

import asyncio
import json
import re
from collections import Counter
from typing import Any
from uuid import uuid4

import httpx
import pytest
import yaml
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from experience.cli.first_visit import load_demo
from tests.compose.containers import OWNER, PASSWORD, ROOT, Containers

pytestmark = pytest.mark.timeout(1_800)  # the first of them builds the images

SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
SHOP = "http://shop:8003"
END_S = 180
FINAL = {"completion", "error", "cancelled"}
NOT_EVENTS = {"hello", "ping", "pong", "auth_expiring"}
LONG_RUNNING = {"traefik", "routes", "experience", "runtime", "worker", "postgres", "shop"}
"""With the profile demo."""


# --- doing work


def wait_beside(*seconds: float) -> dict[str, Any]:
    """A workflow of safe nodes that wait beside each other: it can be carried out again after any loss."""
    nodes = [
        {
            "id": f"wait{number}",
            "type": "delay",
            "position": {"x": 0, "y": 0},
            "data": {"inputs": {"Duration": duration}},
        }
        for number, duration in enumerate(seconds)
    ]
    return {"name": f"Wait {uuid4()}", "nodes": nodes, "edges": []}


async def start(person: httpx.AsyncClient, document: dict[str, Any]) -> str:
    created = await person.post("/api/workflow", json=document)
    assert created.status_code == 201, created.text
    assert created.json()["valid"], created.text
    started = await person.post(f"/api/workflow/{created.json()['workflow_id']}/run", json={})
    assert started.status_code == 202, started.text
    return str(started.json()["execution_id"])


class Watcher:
    """Follows one execution's stream to its end, coming back after the last event it has when it is cut off."""

    def __init__(self, person: httpx.AsyncClient, execution_id: str) -> None:
        self._person = person
        self._address = f"{str(person.base_url).replace('http', 'ws', 1)}/api/execution/{execution_id}/stream"
        self.events: list[dict[str, Any]] = []
        self.openings = 0

    @property
    def is_done(self) -> bool:
        return bool(self.events) and self.events[-1]["type"] in FINAL

    async def watch(self) -> None:
        async with asyncio.timeout(END_S):
            while not self.is_done:
                try:
                    await self._watch_once()
                except (ConnectionClosed, InvalidHandshake, OSError, TimeoutError):
                    await asyncio.sleep(0.2)

    async def _watch_once(self) -> None:
        after = self.events[-1]["seq"] if self.events else 0
        headers = {"authorization": self._person.headers["authorization"]}
        async with connect(f"{self._address}?after={after}", additional_headers=headers, open_timeout=10) as socket:
            self.openings += 1
            async for text in socket:
                frame = json.loads(text)
                if frame["type"] not in NOT_EVENTS:
                    self.events.append(frame)

    def check_gapless(self) -> None:
        """Each event once, in order, and nothing after the end."""
        assert [event["seq"] for event in self.events] == list(range(1, len(self.events) + 1))
        assert [event["type"] in FINAL for event in self.events].index(True) == len(self.events) - 1


async def run_to_end(person: httpx.AsyncClient, document: dict[str, Any]) -> Watcher:
    watcher = Watcher(person, await start(person, document))
    await watcher.watch()
    watcher.check_gapless()
    return watcher


async def wait_for(condition: Any, timeout_s: float = 60) -> None:
    async with asyncio.timeout(timeout_s):
        while True:
            if condition():
                return
            await asyncio.sleep(0.5)


def count_by_replica(containers: Containers, service: str, pattern: str) -> Counter[str]:
    """How many lines of each running replica's log match."""
    return Counter(
        {name: len(re.findall(pattern, containers.read_log(name))) for name in containers.list_names(service)}
    )


# --- that it works


async def test_somebody_registers_and_a_browser_does_the_demo(person: httpx.AsyncClient) -> None:
    watcher = await run_to_end(person, load_demo(SHOP).model_dump(mode="json", by_alias=True))
    assert watcher.events[-1]["type"] == "completion", watcher.events[-1]
    tenant_id = (await person.get("/api/auth/me")).json()["tenant"]["tenant_id"]
    asked = {"tenant_id": tenant_id, "include_artifacts": True}
    status = await person.get(f"/api/execution/{watcher.events[0]['execution_id']}/status", params=asked)
    picture = next(one for one in status.json()["artifacts"] if one["media_type"].startswith("image/"))
    data = await person.get(f"/api/artifact/{picture['artifact_id']}")
    assert data.status_code == 200, data.text
    assert len(data.content) == picture["size"]


async def test_the_page_is_served(person: httpx.AsyncClient) -> None:
    page = await person.get("/executions")
    assert page.status_code == 200
    script = re.search(r'src="(/assets/[^"]+\.js)"', page.text)
    assert script
    assert (await person.get(script[1])).status_code == 200


async def test_the_demo_service_prints_a_link(containers: Containers) -> None:
    names = containers.run_engine("ps", "-a", "--filter=name=demo", "--format={{.Names}}").split()
    name = next(name for name in names if name.startswith("stagedoor-test"))
    await wait_for(lambda: f"{containers.url}/enter" in containers.read_log(name), 120)


async def test_the_owner_is_there(containers: Containers) -> None:
    async with httpx.AsyncClient(base_url=containers.url, timeout=30) as http:
        answer = await http.post("/api/auth/login", json={"email": OWNER, "password": PASSWORD})
    assert answer.status_code == 200, answer.text


# --- that replicas share the work


async def test_all_replicas_of_both_tiers_serve(containers: Containers, person: httpx.AsyncClient) -> None:
    asked = [str(uuid4()) for _ in range(60)]
    for execution_id in asked:
        assert (await person.get(f"/api/execution/{execution_id}/events")).status_code == 404
    pattern = rf'"path": "[^"]*(?:{"|".join(asked)})'
    for service in ("experience", "runtime"):
        counted = count_by_replica(containers, service, pattern)
        assert len(counted) == 2
        assert min(counted.values()) >= 10, f"{service}: {counted}"


async def test_workers_share_executions(containers: Containers, person: httpx.AsyncClient) -> None:
    started = [await start(person, wait_beside(2)) for _ in range(12)]
    watchers = [Watcher(person, execution_id) for execution_id in started]
    async with asyncio.TaskGroup() as group:
        for watcher in watchers:
            group.create_task(watcher.watch())
    assert {watcher.events[-1]["type"] for watcher in watchers} == {"completion"}
    logs = {name: containers.read_log(name) for name in containers.list_names("worker")}
    shares = {name: {one for one in started if one in log} for name, log in logs.items()}
    assert len(shares) == 2
    assert all(shares.values()), shares
    assert set.union(*shares.values()) == set(started)
    assert not set.intersection(*shares.values())


# --- that a kill costs nothing


@pytest.mark.parametrize("service", ["experience", "runtime", "worker"])
async def test_streams_go_on_when_one_replica_is_killed(
    containers: Containers, person: httpx.AsyncClient, service: str
) -> None:
    execution_id = await start(person, wait_beside(5, 12, 20))
    watchers = [Watcher(person, execution_id) for _ in range(6)]
    asked: list[int] = []
    async with asyncio.TaskGroup() as group:
        for watcher in watchers:
            group.create_task(watcher.watch())
        await wait_for(lambda: all(len(watcher.events) >= 3 for watcher in watchers))
        victim = find_victim(containers, service, execution_id)
        containers.kill(victim)
        for _ in range(40):
            asked.append((await person.get(f"/api/execution/{execution_id}/events")).status_code)
            await asyncio.sleep(0.1)
    for watcher in watchers:
        watcher.check_gapless()
        assert watcher.events == watchers[0].events
    if service == "experience":  # the sockets were spread over both, so one half was cut off and one half was not
        assert {watcher.openings > 1 for watcher in watchers} == {True, False}
    assert watchers[0].events[-1]["type"] == "completion", watchers[0].events[-1]
    # a request that was under way in the replica that died may be lost with it, and no other
    assert sum(status != 200 for status in asked) <= 2, Counter(asked)
    containers.run_engine("start", victim)
    await wait_for(lambda: len(containers.list_names(service)) == 2)
    containers.wait_until_ready()


def find_victim(containers: Containers, service: str, execution_id: str) -> str:
    """The worker that has the execution; of the others whichever comes first."""
    names = containers.list_names(service)
    if service != "worker":
        return names[0]
    claims = f"SELECT worker FROM runtime.runs WHERE execution_id = '{execution_id}' ORDER BY epoch DESC LIMIT 1"
    postgres = containers.list_names("postgres")[0]
    user = ["psql", "-Atq", "-h", "127.0.0.1", "-U", "postgres", "-d", "stagedoor", "-c", claims]
    password = containers.run_engine("exec", postgres, "cat", "/secrets/superuser")
    claimed = containers.run_engine("exec", "-e", f"PGPASSWORD={password}", postgres, *user).strip()
    return next(name for name in names if claimed.startswith(str(containers.inspect(name)["Id"])[:12]))


# --- that nothing can be reached or done which should not


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
    document = wait_beside()
    document["nodes"] = [
        {
            "id": "open",
            "type": "launch_standard_browser",
            "position": {"x": 0, "y": 0},
            "data": {"inputs": {"Website URL": url}},
        }
    ]
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


# --- that a restart keeps everything (the last one: it restarts the stack)


async def test_everything_is_there_after_a_restart(containers: Containers, person: httpx.AsyncClient) -> None:
    before = await run_to_end(person, wait_beside(0.1))
    containers.down()
    containers.up()
    execution_id = before.events[0]["execution_id"]
    kept = await person.get(f"/api/execution/{execution_id}/events?limit=1000")
    assert kept.status_code == 200, kept.text
    assert kept.json()["events"] == before.events
