"""The profiles nats and observability, as far as their images can be had. Opt-in: `make compose-test`."""

import json
from typing import Any

import httpx
import pytest
import yaml

from tests.compose.containers import ROOT, Containers
from tests.compose.work import run_to_end, wait_beside, wait_for

pytestmark = pytest.mark.timeout(1_800)  # the first of them builds the images

SERVICES = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
ASK_PROMETHEUS = """
import urllib.request
try:
    print(urllib.request.urlopen("http://prometheus:9090/api/v1/{path}", timeout=5).read().decode())
except OSError:
    print('{{"data": {{}}}}')
"""
ASK_READY = """
import json
import urllib.request
ready = json.load(urllib.request.urlopen("http://127.0.0.1:8002/ready", timeout=5))
print(ready["checks"]["wake-ups"])
"""


def require_image(containers: Containers, service: str) -> None:
    """Skip the test where the service's image neither is nor can be had."""
    image = SERVICES[service]["image"]
    if not containers.has_image(image):
        pytest.skip(f"{image} can't be had here")


async def test_prometheus_reads_every_replica_and_knows_the_rules(containers: Containers) -> None:
    require_image(containers, "prometheus")
    containers.run_compose("--profile", "demo", "--profile", "observability", "up", "-d", "prometheus", timeout_s=300)
    await wait_for(lambda: count_scraped(containers) == {"experience": 2, "runtime": 2, "worker": 2}, 120)
    assert ask_prometheus(containers, "rules")["groups"]


def ask_prometheus(containers: Containers, path: str) -> dict[str, list[Any]]:
    """What Prometheus answers to who shares a network with it; nothing while it is not there yet."""
    (asker, *_) = containers.list_names("experience")
    found: dict[str, list[Any]] = json.loads(containers.run_python(asker, ASK_PROMETHEUS.format(path=path)))["data"]
    return found


def count_scraped(containers: Containers) -> dict[str, int]:
    """Of how many replicas Prometheus has figures, by job."""
    found = ask_prometheus(containers, "query?query=count%20by%20(job)%20(up%20==%201)").get("result", [])
    return {one["metric"]["job"]: int(one["value"][1]) for one in found}


async def test_wake_ups_come_over_nats_and_work_goes_on_without(
    containers: Containers, person: httpx.AsyncClient
) -> None:
    require_image(containers, "nats")
    containers.environment["STAGEDOOR_NATS_URL"] = "nats://nats:4222"
    for name in containers.list_names("demo", "--all"):  # podman-compose replaces nothing that others depend on
        containers.run_engine("rm", "-f", name)
    containers.run_compose("--profile", "nats", "up", "-d", "nats", "runtime", "worker", timeout_s=600)
    containers.wait_until_ready()
    names = [*containers.list_names("runtime"), *containers.list_names("worker")]
    await wait_for(lambda: all('"carrier": "NATS"' in containers.read_log(name) for name in names))
    (nats,) = containers.list_names("nats")
    await wait_for(lambda: containers.is_healthy(nats))
    assert (await run_to_end(person, wait_beside(1))).events[-1]["type"] == "completion"
    containers.kill(nats)
    await wait_for(lambda: all("NATS" in containers.run_python(name, ASK_READY) for name in names))
    assert (await run_to_end(person, wait_beside(1))).events[-1]["type"] == "completion"
    containers.run_engine("start", nats)
    await wait_for(lambda: all(containers.run_python(name, ASK_READY).strip() == "ok" for name in names))
