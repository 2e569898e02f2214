"""docker-compose.yml held to its promises, without starting anything."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from experience.settings import PREFIX as EXPERIENCE_PREFIX
from experience.settings import Settings as ExperienceSettings
from runtime.egress.hosts import read_target
from runtime.egress.policy import Policy, read_exceptions
from runtime.settings import PREFIX as RUNTIME_PREFIX
from runtime.settings import Settings as RuntimeSettings
from traefik.compose import COMPOSE_SERVERS, DYNAMIC_DIR, Edition, build_compose_static
from traefik.routes import Tier

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "deploy" / "docker" / "Dockerfile").read_text()
FRONT = {"traefik", "traefik-tls"}
WATCHING = {"prometheus", "alertmanager", "grafana"}
JOBS = {name for name, service in SERVICES.items() if service["restart"] == "no"}
VARIABLE = re.compile(r"\$\{(?P<name>[A-Z_]+)(?::(?P<kind>[-?])(?P<value>[^${}]*))?")

every_service = pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES.keys())


def networks_of(name: str) -> set[str]:
    return set(SERVICES[name].get("networks", []))


def volumes_of(name: str) -> dict[str, str]:
    """Target and options of each mount by its source."""
    return dict(mount.split(":", 1) for mount in SERVICES[name].get("volumes", []))


def test_there_is_what_the_overview_names() -> None:
    assert set(SERVICES) >= {"traefik", "experience", "runtime", "worker", "postgres", "migrate", "shop"}
    assert {"secrets", "migrate", "demo"} == JOBS
    optional = {"traefik-tls", "shop", "demo", "nats", *WATCHING}
    assert {name for name, service in SERVICES.items() if "profiles" in service} == optional
    assert {name for name in SERVICES if SERVICES[name].get("profiles") == ["observability"]} == WATCHING


@every_service
def test_nobody_is_root_or_may_become_it(service: dict[str, Any]) -> None:
    assert service["user"] in {"10001:10001", "postgres", "65534:65534", "472:472"}
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["read_only"] is True
    assert service["init"] is True
    assert not service.keys() & {"privileged", "cap_add", "devices", "pid", "ipc", "userns_mode"}
    assert service.get("network_mode", "none") == "none"


@every_service
def test_nobody_may_eat_the_machine(service: dict[str, Any]) -> None:
    limits = service["deploy"]["resources"]["limits"]
    assert limits["memory"]
    assert 0 < limits["pids"] <= 2048
    assert all("size=" in mount for mount in service["tmpfs"])


@pytest.mark.parametrize("name", sorted(SERVICES.keys() - JOBS))
def test_every_service_has_a_health_check_and_comes_back(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"
    assert SERVICES[name]["restart"] == "unless-stopped"


def test_only_the_front_door_is_published_and_by_default_to_this_machine_alone() -> None:
    assert {name for name, service in SERVICES.items() if "ports" in service} == {*FRONT, "grafana"}
    assert SERVICES["grafana"]["ports"] == ["127.0.0.1:${STAGEDOOR_GRAFANA_PORT:-3000}:3000"]
    assert SERVICES["traefik"]["ports"] == ["${STAGEDOOR_BIND:-127.0.0.1}:${STAGEDOOR_PORT:-8080}:8080"]


def test_runtime_and_postgres_have_no_way_in_or_out() -> None:
    internal = {name for name, network in COMPOSE["networks"].items() if network.get("internal")}
    assert internal == {"tiers", "experience-data", "runtime-data", "watch", "watch-workers"}
    leading_out = {*FRONT, "worker", "shop", "grafana", "alertmanager"}
    assert {name for name in SERVICES if networks_of(name) - internal} == leading_out
    assert networks_of("postgres") == {"experience-data", "runtime-data"}
    assert networks_of("runtime") == {"tiers", "runtime-data"}


def test_a_browser_has_no_network_in_common_with_the_front() -> None:
    assert networks_of("worker") == {"stage", "runtime-data", "watch-workers"}
    assert not networks_of("worker") & (networks_of("experience") | networks_of("traefik"))
    assert {name for name in SERVICES if "stage" in networks_of(name)} == {"worker", "shop"}


def test_figures_are_reached_by_prometheus_alone_and_it_reaches_no_database() -> None:
    assert {name for name in SERVICES if "watch-workers" in networks_of(name)} == {"worker", "prometheus"}
    assert {name for name in SERVICES if "watch" in networks_of(name)} == WATCHING
    assert networks_of("prometheus") == {"tiers", "watch-workers", "watch"}
    assert not networks_of("prometheus") & networks_of("postgres")
    port = SERVICES["experience"]["environment"]["STAGEDOOR_EXPERIENCE_METRICS_PORT"]
    assert str(port) not in (ROOT / "deploy" / "traefik" / "dynamic" / "routes.yml").read_text()


def test_experience_and_runtime_meet_only_through_traefik() -> None:
    url = SERVICES["experience"]["environment"]["STAGEDOOR_EXPERIENCE_RUNTIME_URL"]
    points: dict[str, Any] = build_compose_static(Edition.DEFAULT)["entryPoints"]  # type: ignore[assignment]
    assert url == f"http://traefik{points['internal']['address']}"
    assert networks_of("traefik") & networks_of("experience") == {"tiers"}


def test_addresses_agree_with_traefiks_configuration() -> None:
    ports = {Tier.EXPERIENCE: 8001, Tier.RUNTIME: 8002}
    assert {tier: (f"http://{tier}:{port}",) for tier, port in ports.items()} == COMPOSE_SERVERS
    for tier, port in ports.items():
        assert f"STAGEDOOR_{tier.name}_PORT={port}" in DOCKERFILE
        assert f"127.0.0.1:{port}/ready" in str(SERVICES[tier]["healthcheck"]["test"])
    for name in FRONT:
        assert volumes_of(name)["routes"] == f"{DYNAMIC_DIR}:ro"


@pytest.mark.parametrize("edition", list(Edition))
def test_every_edition_of_traefiks_file_is_there(edition: Edition) -> None:
    assert (ROOT / "deploy" / "traefik" / edition / "traefik.yml").exists()


@pytest.mark.parametrize(
    ("volume", "readers"),
    [
        ("experience-secrets", {"experience"}),
        ("runtime-secrets", {"runtime", "worker"}),
        ("owner-secrets", {"migrate"}),
        ("postgres-secrets", {"postgres", "migrate"}),
        ("nats-secrets", {"nats"}),
        ("certificates", {"traefik-tls", "routes"}),
    ],
)
def test_each_secret_is_read_by_those_who_need_it(volume: str, readers: set[str]) -> None:
    found = {name for name in SERVICES if volume in volumes_of(name)}
    assert found - {"secrets"} == readers
    if volume != "certificates":
        assert all(volumes_of(name)[volume].endswith(":ro") for name in readers)


@every_service
def test_folders_of_new_volumes_belong_to_who_writes_there(service: dict[str, Any]) -> None:
    """A new volume takes its owner from the folder that it covers; where there is none it is root's."""
    if not service["image"].startswith("stagedoor-"):
        return
    made = re.search(r"install -d.*?WORKDIR", DOCKERFILE, re.DOTALL)
    assert made
    for mount in service.get("volumes", []):
        _, target, *options = mount.split(":")
        assert options == ["ro"] or re.search(rf"\s{target}\s", made[0]), target


@every_service
def test_no_secret_is_in_an_environment(service: dict[str, Any]) -> None:
    for name, value in service.get("environment", {}).items():
        assert not re.search(r"://[^/@]*:[^/@]*@", str(value)), name
        assert name.endswith("_FILE") or name in {"STAGEDOOR_ADMIN_PASSWORD", "PGPASSFILE"} or "PASS" not in name


@every_service
def test_nothing_of_the_host_is_mounted_but_our_configuration(service: dict[str, Any]) -> None:
    sources = [mount.split(":")[0] for mount in service.get("volumes", [])]
    ours = ("./deploy/traefik/", "./deploy/observability/")
    assert all(source in COMPOSE["volumes"] or source.startswith(ours) for source in sources)


@pytest.mark.parametrize(
    ("prefix", "fields"),
    [(EXPERIENCE_PREFIX, ExperienceSettings.model_fields), (RUNTIME_PREFIX, RuntimeSettings.model_fields)],
)
def test_every_setting_exists(prefix: str, fields: dict[str, Any]) -> None:
    given = {name for service in SERVICES.values() for name in service.get("environment", {})}
    given |= set(re.findall(r"STAGEDOOR_[A-Z_]+(?==)", DOCKERFILE))
    used = {name.removeprefix(prefix).lower() for name in given if name.startswith(prefix)}
    assert used
    assert used <= fields.keys()


def test_the_owners_password_has_no_default() -> None:
    value = SERVICES["experience"]["environment"]["STAGEDOOR_ADMIN_PASSWORD"]
    assert value.startswith("${STAGEDOOR_ADMIN_PASSWORD:?")
    assert ".env.example" in value


def test_env_example_names_every_variable_with_its_default() -> None:
    example = dict(re.findall(r"^#?(STAGEDOOR_\w+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
    text = (ROOT / "docker-compose.yml").read_text()
    used = {found["name"]: found["value"] or "" for found in VARIABLE.finditer(text) if found["kind"] != "?"}
    assert example.pop("STAGEDOOR_ADMIN_PASSWORD") == ""
    assert example.pop("STAGEDOOR_PUBLIC_URL") == "http://localhost:8080"
    del used["STAGEDOOR_PUBLIC_URL"]  # has the port of another variable in it
    assert example == used


def test_browsers_reach_no_container_but_the_demo_shop_by_default() -> None:
    found = VARIABLE.match(SERVICES["worker"]["environment"]["STAGEDOOR_RUNTIME_ALLOWED_HOSTS"])
    assert found
    policy = Policy(read_exceptions(found["value"].split(",")))
    shop_port = SERVICES["shop"]["command"][-1]
    assert policy.excepts(read_target(f"shop:{shop_port}"))
    assert not policy.excepts(read_target("postgres:5432"))


def test_nats_is_asked_for_reaches_runtime_alone_and_keeps_nothing() -> None:
    assert SERVICES["nats"]["profiles"] == ["nats"]
    assert networks_of("nats") == {"runtime-data"}
    assert volumes_of("nats").keys() == {"nats-secrets"}
    for name in ("runtime", "worker"):
        assert SERVICES[name]["environment"]["STAGEDOOR_RUNTIME_NATS_URL"] == "${STAGEDOOR_NATS_URL:-}"
        assert volumes_of(name)["runtime-secrets"] == "/secrets/runtime:ro"
        assert "nats" not in SERVICES[name]["depends_on"]  # everything works without it


def test_three_services_scale() -> None:
    scaled = {name: service["deploy"].get("replicas") for name, service in SERVICES.items()}
    assert {name for name, replicas in scaled.items() if replicas} == {"experience", "runtime", "worker"}
    assert not any("container_name" in service for service in SERVICES.values())


def test_images_are_built_once_and_never_pulled() -> None:
    built = {service["image"]: service["build"]["target"] for service in SERVICES.values() if "build" in service}
    assert built == {f"stagedoor-{target}": target for target in ("experience", "runtime", "worker")}
    for name, service in SERVICES.items():
        if service["image"].startswith("stagedoor-") and "build" not in service:
            assert service["pull_policy"] == "never", name


@pytest.mark.parametrize("target", ["experience", "runtime", "worker"])
def test_images_run_as_somebody_who_is_nobody(target: str) -> None:
    stage = re.split(rf"^FROM base AS {target}$", DOCKERFILE, flags=re.MULTILINE)[1].split("\nFROM ")[0]
    assert "\nUSER 10001:10001\n" in stage
    assert "\nCMD [" in stage


@pytest.mark.parametrize("target", ["experience", "runtime", "worker"])
def test_images_listen_where_other_containers_find_them(target: str) -> None:
    """Traefik asks the tiers, and Prometheus asks everyone; by default a process listens to its own machine alone."""
    stage = re.split(rf"^FROM base AS {target}$", DOCKERFILE, flags=re.MULTILINE)[1].split("\nFROM ")[0]
    assert re.search(r"_HOST=0\.0\.0\.0 STAGEDOOR_\w+_PORT=(\d+)", stage)
    assert "\nEXPOSE 800" in stage


def test_images_stand_on_one_base_with_a_pinned_uv() -> None:
    assert set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)) == {"python:3.11-slim-bookworm", "base", "uv"}
    assert re.search(r"pip install .* uv==\d+\.\d+\.\d+$", DOCKERFILE, re.MULTILINE)
    assert DOCKERFILE.count("uv sync --quiet --locked --no-default-groups --no-install-project") == 2
    assert "--extra" not in DOCKERFILE


def test_only_what_is_named_gets_into_a_build() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    assert not any("env" in line for line in lines if line.startswith("!"))
    assert "**/.env*" in lines


def test_chromiums_profile_adds_three_calls_to_dockers_own() -> None:
    profile = json.loads((ROOT / "deploy" / "docker" / "seccomp-chromium.json").read_text())
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    *_, added = profile["syscalls"]
    assert added["names"] == ["chroot", "clone", "unshare"]
    assert added["action"] == "SCMP_ACT_ALLOW"
    assert "seccomp:deploy/docker/seccomp-chromium.json" in SERVICES["worker"]["security_opt"]
    assert [name for name, service in SERVICES.items() if "seccomp" in str(service["security_opt"])] == ["worker"]


def test_a_whole_chromium_in_the_image_opens_nothing_but_the_web() -> None:
    policy = json.loads((ROOT / "runtime" / "browser" / "policy.json").read_text())
    assert set(policy["URLBlocklist"]) >= {"file://*", "chrome://*", "devtools://*", "view-source:*"}
    dockerfile = (ROOT / "deploy" / "docker" / "Dockerfile").read_text()
    assert "COPY runtime/browser/policy.json /etc/chromium/policies/managed/" in dockerfile
