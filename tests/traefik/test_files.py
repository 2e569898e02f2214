"""The files on disk: fresh in the repository, replaced whole, taken over by a running Traefik at no cost."""

import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
import yaml

from experience.cli.ports import find_free_port
from tests.support.echo import Echo
from tests.support.traefik import Traefik, run_traefik, start_traefik
from traefik.__main__ import DEPLOYED
from traefik.configuration import Profile
from traefik.files import find_stale, render_compose, replace_file, write_dynamic, write_local
from traefik.routes import Tier

SWITCHES = 6
WITHOUT_INOTIFY = (
    *("unshare", "--user", "--map-root-user"),
    *("sh", "-c", 'echo 0 > /proc/sys/user/max_inotify_instances && exec "$0" "$@"'),
)


def test_committed_files_are_fresh() -> None:
    assert find_stale(DEPLOYED) == []


def test_a_changed_file_is_stale(tmp_path: Path) -> None:
    for name, text in render_compose().items():
        replace_file(tmp_path / name, text)
    (tmp_path / "default" / "traefik.yml").write_text("entryPoints: {}\n")
    (tmp_path / "dynamic" / "routes.yml").unlink()
    assert sorted(find_stale(tmp_path)) == ["default/traefik.yml", "dynamic/routes.yml"]


@pytest.mark.parametrize(("profile", "read_timeout"), [("default", "0s"), ("hardened", "60s")])
def test_profiles_differ_in_the_read_timeout_alone(profile: str, read_timeout: str) -> None:
    static = yaml.safe_load(render_compose()[f"{profile}/traefik.yml"])
    timeouts = static["entryPoints"]["web"]["transport"].pop("respondingTimeouts")
    assert timeouts == {"readTimeout": read_timeout, "writeTimeout": "0s", "idleTimeout": "3600s"}
    other = yaml.safe_load(render_compose()["default/traefik.yml"])
    other["entryPoints"]["web"]["transport"].pop("respondingTimeouts")
    assert static == other


def test_hardened_profile_routes_alike(tmp_path: Path, backends: dict[Tier, Echo]) -> None:
    servers = {tier: (echo.url,) for tier, echo in backends.items()}
    with run_traefik(tmp_path, servers, Profile.HARDENED) as traefik:
        assert traefik.ask("/api/runtime/x").echo["name"] == Tier.RUNTIME
        assert traefik.ask("/api/runtime/agent").echo["name"] == Tier.EXPERIENCE


def test_replacing_the_routes_loses_no_request(tmp_path: Path, backends: dict[Tier, Echo]) -> None:
    """Both tiers change places again and again under load; each switch is seen, and every request is answered."""
    there = {tier: (echo.url,) for tier, echo in backends.items()}
    back = {Tier.EXPERIENCE: there[Tier.RUNTIME], Tier.RUNTIME: there[Tier.EXPERIENCE]}
    statuses: Counter[int] = Counter()
    enough = threading.Event()

    with run_traefik(tmp_path, there, watched=True) as traefik:

        def load() -> None:
            while not enough.is_set():
                statuses[traefik.ask("/api/runtime/x").status] += 1

        client = threading.Thread(target=load)
        client.start()
        try:
            for turn in range(SWITCHES):
                servers, name = ((back, Tier.EXPERIENCE), (there, Tier.RUNTIME))[turn % 2]
                write_dynamic(tmp_path, servers)
                wait_until_answered_by(traefik, name)
        finally:
            enough.set()
            client.join()
    assert set(statuses) == {200}
    assert list((tmp_path / "dynamic").iterdir()) == [tmp_path / "dynamic" / "routes.yml"]


def test_the_local_stack_has_routes_where_no_inotify_instance_is_left(
    tmp_path: Path, backends: dict[Tier, Echo]
) -> None:
    """An editor and some browsers may hold all that a user can have."""
    port = find_free_port()
    servers = {tier: (echo.url,) for tier, echo in backends.items()}
    static = write_local(tmp_path, f"127.0.0.1:{port}", Profile.DEFAULT, servers)
    if subprocess.run([*WITHOUT_INOTIFY, "true"], check=False, timeout=60).returncode:
        pytest.skip("this machine gives no user namespace")
    with start_traefik(tmp_path, static.read_text(), port, WITHOUT_INOTIFY) as traefik:
        assert traefik.ask("/api/runtime/x").echo["name"] == Tier.RUNTIME


def wait_until_answered_by(traefik: Traefik, name: Tier) -> None:
    deadline = time.monotonic() + 60
    while traefik.ask("/api/runtime/y").echo.get("name") != name:
        assert time.monotonic() < deadline, "Traefik did not take the new routes over"
        time.sleep(0.02)
