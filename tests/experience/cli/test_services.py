"""Which process gets to know what."""

import signal
from dataclasses import replace
from pathlib import Path

import pytest

from experience.cli.data_dir import Admin, DataDir
from experience.cli.postgres import Cluster
from experience.cli.services import Plan, Ports

MINE = {
    "PATH": "/bin",
    "STAGEDOOR_ADMIN_EMAIL": "me@example.com",
    "STAGEDOOR_ADMIN_PASSWORD": "open sesame",
    "STAGEDOOR_EXPERIENCE_REGISTRATION": "invite",
    "STAGEDOOR_EXPERIENCE_PORT": "1",
    "STAGEDOOR_RUNTIME_CONCURRENCY": "2",
    "STAGEDOOR_RUNTIME_ALLOWED_HOSTS": "example.com, example.org:8443",
}


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    data = DataDir(tmp_path)
    cluster = Cluster(binaries=Path("/bin"), data=tmp_path, sockets=Path("/tmp/s"), account=None)
    return Plan(
        data=data,
        cluster=cluster,
        ports=Ports(web=8080, experience=1001, runtime=1002, metrics=1004, shop=1003),
        keys=data.ensure_keys(),
        admin=Admin("me@example.com", "open sesame"),
        environment=MINE,
    )


def test_all_of_it_is_gone_within_ten_seconds(plan: Plan) -> None:
    """A turn after the other is waited for, and what has not gone by then is killed."""
    services = [plan.plan_postgres(0), plan.plan_traefik(Path("/traefik.yml")), *plan.plan_tiers(), plan.plan_shop()]
    patience: dict[int, float] = {}
    for service in services:
        assert service is not None
        patience[service.stop_turn] = max(patience.get(service.stop_turn, 0), service.patience_s)
    assert sum(patience.values()) < 10


def test_each_tier_gets_its_own_settings_and_no_other(plan: Plan) -> None:
    runtime, experience = (service.environment for service in plan.plan_tiers())
    assert experience["STAGEDOOR_EXPERIENCE_REGISTRATION"] == "invite"
    assert runtime["STAGEDOOR_RUNTIME_CONCURRENCY"] == "2"
    assert experience["STAGEDOOR_PUBLIC_URL"] == runtime["STAGEDOOR_PUBLIC_URL"] == "http://localhost:8080"
    assert not [name for name in experience if name.startswith("STAGEDOOR_RUNTIME_")]
    assert not [name for name in runtime if name.startswith(("STAGEDOOR_EXPERIENCE_", "STAGEDOOR_ADMIN_"))]
    assert "open sesame" not in runtime.values()
    assert experience["STAGEDOOR_ADMIN_PASSWORD"] == "open sesame"


def test_what_the_stack_decides_stands_above_what_a_person_set(plan: Plan) -> None:
    _, experience = plan.plan_tiers()
    assert experience.environment["STAGEDOOR_EXPERIENCE_PORT"] == "1001"


def test_figures_are_on_a_port_of_their_own_that_only_this_machine_reaches(plan: Plan) -> None:
    _, experience = plan.plan_tiers()
    assert experience.environment["STAGEDOOR_EXPERIENCE_METRICS_HOST"] == "127.0.0.1"
    assert experience.environment["STAGEDOOR_EXPERIENCE_METRICS_PORT"] == "1004"


def test_runtime_may_reach_the_shop_and_what_its_owner_adds(plan: Plan) -> None:
    runtime, _ = plan.plan_tiers()
    allowed = runtime.environment["STAGEDOOR_RUNTIME_ALLOWED_HOSTS"]
    assert [host.strip() for host in allowed.split(",")] == ["127.0.0.1:1003", "example.com", "example.org:8443"]


def test_several_accounts_of_one_machine_are_nothing_to_warn_of(plan: Plan) -> None:
    names = [f"STAGEDOOR_RUNTIME_{name}" for name in ("MULTI_TENANT", "ALLOW_UNSANDBOXED_BROWSERS")]
    runtime, _ = plan.plan_tiers()
    assert [runtime.environment.get(name) for name in names] == ["True", "True"]
    chosen = replace(plan, environment=MINE | {names[0]: "true"})
    runtime, _ = chosen.plan_tiers()
    assert [runtime.environment.get(name) for name in names] == ["true", None], "what its owner chose keeps its meaning"


def test_runtime_gets_the_public_key_only(plan: Plan) -> None:
    runtime, experience = plan.plan_tiers()
    assert str(plan.keys.internal) not in runtime.environment.values()
    assert str(plan.keys.internal_public) in runtime.environment.values()
    assert str(plan.keys.internal) in experience.environment.values()


def test_what_knows_no_setting_gets_none(plan: Plan) -> None:
    shop = plan.plan_shop()
    assert shop
    for service in (shop, plan.plan_postgres(3)):
        assert not [name for name in service.environment if name.startswith("STAGEDOOR_")]


def test_each_is_gone_before_what_it_talks_to_and_all_within_ten_seconds(plan: Plan) -> None:
    runtime, experience = plan.plan_tiers()
    postgres, traefik = plan.plan_postgres(3), plan.plan_traefik(Path("/traefik.yml"))
    shop = plan.plan_shop()
    assert shop
    assert experience.stop_turn < runtime.stop_turn < traefik.stop_turn < postgres.stop_turn
    assert postgres.stop_signal is signal.SIGINT, "SIGTERM would wait for its clients"
    assert shop.stop_turn == experience.stop_turn
    assert shop.patience_s <= experience.patience_s
    assert sum(service.patience_s for service in (experience, runtime, traefik, postgres)) < 10
