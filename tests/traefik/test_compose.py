"""Replicas behind the real binary with compose's own files: all of them serve, one dies, the door inside, TLS."""

import http.client
import json
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from socket import create_connection, create_server
from typing import Any

import pytest
from websockets.sync.client import connect

from experience.cli.ports import find_free_ports
from tests.support.echo import Echo, run_echo
from tests.support.traefik import Answer, Traefik, start_traefik
from traefik import compose
from traefik.compose import COMPOSE_SERVERS, PLAIN, TLS, Edition, build_compose_static
from traefik.configuration import render
from traefik.follow import Servers, find_servers, find_tls_host, resolve_name, write_routes
from traefik.routes import Tier

HOST = "stagedoor.example.com"
NOWHERE = "http://127.0.0.1:1"


def write_patient_routes(folder: Path, servers: Servers, tls_host: str | None) -> None:
    """The routes, but with health checks that forgive a pause: the replicas are threads of this one process."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(compose._HEALTH_CHECK, "timeout", "30s")
        write_routes(folder, servers, tls_host)


@contextmanager
def run_compose_traefik(
    folder: Path,
    replicas: dict[Tier, tuple[Echo, ...]],
    edition: Edition = Edition.DEFAULT,
    *,
    watched: bool = False,
    write: Callable[[Path, Servers, str | None], None] = write_patient_routes,
) -> Iterator[tuple[Traefik, dict[str, int]]]:
    """Traefik as compose starts it, on free ports of this machine and with its files under `folder`.

    `watched`, for tests that replace its routes, takes an inotify instance.
    """
    static: dict[str, Any] = build_compose_static(edition)
    ports = dict(zip(static["entryPoints"], find_free_ports(len(static["entryPoints"])), strict=True))
    for name, point in static["entryPoints"].items():
        point["address"] = f"127.0.0.1:{ports[name]}"
    static["providers"]["file"] = {
        "directory": str(folder / (TLS if edition is Edition.TLS else PLAIN)),
        "watch": watched,
    }
    if edition is Edition.TLS:
        acme = static["certificatesResolvers"]["acme"]["acme"]
        acme |= {"storage": str(folder / "acme.json"), "caServer": NOWHERE}
    write(folder, {tier: tuple(echo.url for echo in echoes) for tier, echoes in replicas.items()}, HOST)
    with start_traefik(folder, render(static), ports["web"]) as traefik:
        yield traefik, ports


def wait_for(condition: Any, timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            if condition():
                return
        except OSError:
            pass
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Traefik, dict[str, int], dict[Tier, tuple[Echo, ...]]]]:
    with ExitStack() as opened:
        replicas = {
            tier: tuple(opened.enter_context(run_echo(f"{tier} {number}")) for number in (1, 2)) for tier in Tier
        }
        traefik, ports = opened.enter_context(run_compose_traefik(tmp_path_factory.mktemp("traefik"), replicas))
        yield traefik, ports, replicas


def count_answers(traefik: Traefik, path: str, times: int) -> Counter[object]:
    return Counter(answer.echo.get("name", answer.status) for answer in (traefik.ask(path) for _ in range(times)))


@pytest.mark.parametrize(("path", "tier"), [("/api/execution/1", Tier.EXPERIENCE), ("/api/runtime/x", Tier.RUNTIME)])
def test_both_replicas_serve(stack: tuple[Traefik, Any, Any], path: str, tier: Tier) -> None:
    traefik, *_ = stack
    counted = count_answers(traefik, path, 60)
    assert set(counted) == {f"{tier} 1", f"{tier} 2"}
    assert min(counted.values()) > 10


def test_sockets_spread_by_how_many_are_open(stack: tuple[Traefik, dict[str, int], Any]) -> None:
    traefik, *_ = stack
    with ExitStack() as opened:
        url = f"ws://127.0.0.1:{traefik.port}/api/ws/executions/1"
        sockets = [opened.enter_context(connect(url, open_timeout=60)) for _ in range(20)]
        counted = Counter(json.loads(socket.recv(timeout=60))["name"] for socket in sockets)
    assert min(counted.values()) >= 5
    assert set(counted) == {"experience 1", "experience 2"}


def test_the_door_inside_leads_to_runtime_whatever_the_path(stack: tuple[Traefik, dict[str, int], Any]) -> None:
    traefik, ports, _ = stack
    inside = Traefik(ports["internal"], traefik.folder, traefik.process)
    counted: Counter[object] = Counter()
    for path in ("/health", "/api/runtime/agent", "/api/execution/1", "/"):
        counted += count_answers(inside, path, 10)
    assert set(counted) == {"runtime 1", "runtime 2"}


def test_sockets_pass_the_door_inside(stack: tuple[Traefik, dict[str, int], Any]) -> None:
    _, ports, _ = stack
    with connect(f"ws://127.0.0.1:{ports['internal']}/api/runtime/events", open_timeout=60) as socket:
        assert str(json.loads(socket.recv(timeout=60))["name"]).startswith("runtime")
        socket.send("still there?")
        assert socket.recv(timeout=60) == "still there?"


def test_the_front_has_no_door_inside(stack: tuple[Traefik, dict[str, int], Any]) -> None:
    """What is stripped in front stays stripped; inside nothing is taken away."""
    traefik, ports, _ = stack
    forged = [("X-Internal-Token", "x")]
    assert "x-internal-token" not in traefik.ask("/api/runtime/x", forged).header_names
    inside = Traefik(ports["internal"], traefik.folder, traefik.process)
    assert "x-internal-token" in inside.ask("/api/runtime/x", forged).header_names


def test_no_request_is_lost_when_a_replica_dies_nor_when_one_comes(tmp_path: Path) -> None:
    with run_echo("stays") as stays, run_echo("runtime") as runtime, ExitStack() as dying:
        dies = dying.enter_context(run_echo("dies"))
        replicas = {Tier.EXPERIENCE: (stays, dies), Tier.RUNTIME: (runtime,)}
        with run_compose_traefik(tmp_path, replicas, watched=True) as (traefik, _):
            wait_for(lambda: set(count_answers(traefik, "/", 10)) == {"stays", "dies"})
            dying.close()
            assert set(count_answers(traefik, "/", 100)) == {"stays"}
            with run_echo("comes") as comes:
                urls = {Tier.EXPERIENCE: (stays.url, comes.url), Tier.RUNTIME: (runtime.url,)}
                write_patient_routes(tmp_path, urls, None)
                wait_for(lambda: set(count_answers(traefik, "/", 10)) == {"stays", "comes"})


def test_no_request_is_lost_when_a_replica_dies_and_the_other_one_holds_sockets(tmp_path: Path) -> None:
    """Who has fewer connections is drawn first, and that is the dead one, attempt after attempt."""
    with run_echo("stays") as stays, run_echo("runtime") as runtime, ExitStack() as dying:
        dies = dying.enter_context(run_echo("dies"))
        replicas = {Tier.EXPERIENCE: (stays, dies), Tier.RUNTIME: (runtime,)}
        with run_compose_traefik(tmp_path, replicas) as (traefik, _), ExitStack() as watching:
            url = f"ws://127.0.0.1:{traefik.port}/api/ws/executions/1"
            wait_for(lambda: set(count_answers(traefik, "/", 10)) == {"stays", "dies"})
            for _ in range(4):
                watching.enter_context(connect(url, open_timeout=60))
            dying.close()
            assert set(count_answers(traefik, "/", 100)) == {"stays"}


def test_no_request_is_lost_when_a_replica_is_gone_without_a_word(tmp_path: Path) -> None:
    """A container that was taken away refuses nothing: what is sent to its address is never heard of again."""
    with run_echo("stays") as stays, run_echo("runtime") as runtime, ExitStack() as dying:
        goes = dying.enter_context(run_echo("goes"))
        replicas = {Tier.EXPERIENCE: (stays, goes), Tier.RUNTIME: (runtime,)}
        with run_compose_traefik(tmp_path, replicas, write=write_routes) as (traefik, _):
            wait_for(lambda: set(count_answers(traefik, "/", 10)) == {"stays", "goes"})
            dying.close()
            place = ("127.0.0.1", int(goes.url.rpartition(":")[2]))
            with create_server(place, backlog=0), create_connection(place):  # it is full: the next hears nothing
                assert set(count_answers(traefik, "/", 50)) == {"stays"}


def test_no_replica_is_said_to_be_unavailable(tmp_path: Path) -> None:
    with run_echo("experience") as experience:
        replicas: dict[Tier, tuple[Echo, ...]] = {Tier.EXPERIENCE: (experience,), Tier.RUNTIME: ()}
        with run_compose_traefik(tmp_path, replicas) as (traefik, _):
            assert traefik.ask("/api/runtime/x") == Answer(503, {})


def test_tls_edition_serves_https_and_sends_http_there(tmp_path: Path) -> None:
    with run_echo("experience") as experience, run_echo("runtime") as runtime:
        replicas: dict[Tier, tuple[Echo, ...]] = {Tier.EXPERIENCE: (experience,), Tier.RUNTIME: (runtime,)}
        with run_compose_traefik(tmp_path, replicas, Edition.TLS) as (traefik, ports):
            assert ask_location(traefik.port) == (301, f"https://{HOST}/executions?x=1")
            wait_for(lambda: ask_securely(ports["websecure"])[0] == 200)  # the redirection is there before the routes
            _, hsts, echo = ask_securely(ports["websecure"])
    headers = dict(echo["headers"])
    assert echo["name"] == "experience"
    assert hsts == "max-age=31536000"
    assert headers["x-forwarded-proto"] == "https"
    assert "x-tenant-id" not in headers


def ask_location(port: int) -> tuple[int, str | None]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("GET", "/executions?x=1", headers={"Host": f"{HOST}:{port}"})
        with connection.getresponse() as response:
            return response.status, response.headers["Location"]


def ask_securely(port: int) -> tuple[int, str | None, dict[str, Any]]:
    trusting = ssl.create_default_context()  # the certificate is Traefik's own while the authority can't be reached
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE
    with closing(http.client.HTTPSConnection("127.0.0.1", port, timeout=60, context=trusting)) as connection:
        connection.request("GET", "/api/execution/1", headers={"Host": HOST, "X-Tenant-Id": "forged"})
        with connection.getresponse() as response:
            body = response.read()
    echo = json.loads(body) if response.status == 200 else {}
    return response.status, response.headers["Strict-Transport-Security"], echo


def test_servers_are_what_the_names_resolve_to() -> None:
    names = {"experience": ["10.0.0.2", "10.0.0.3"], "runtime": ["10.0.0.4"]}
    assert find_servers(COMPOSE_SERVERS, {}, names.__getitem__) == {
        Tier.EXPERIENCE: ("http://10.0.0.2:8001", "http://10.0.0.3:8001"),
        Tier.RUNTIME: ("http://10.0.0.4:8002",),
    }


def test_a_name_that_is_gone_keeps_its_servers() -> None:
    known = {Tier.EXPERIENCE: ("http://10.0.0.2:8001",), Tier.RUNTIME: ("http://10.0.0.4:8002",)}
    names = {"experience": [], "runtime": ["10.0.0.5"]}
    found = find_servers(COMPOSE_SERVERS, known, names.__getitem__)
    assert found == {Tier.EXPERIENCE: ("http://10.0.0.2:8001",), Tier.RUNTIME: ("http://10.0.0.5:8002",)}


def test_real_names() -> None:
    assert resolve_name("127.0.0.1") == ["127.0.0.1"]
    assert resolve_name("no-such-service.invalid") == []


@pytest.mark.parametrize(
    ("public_url", "host"),
    [
        ("https://stagedoor.example.com", HOST),
        ("https://x.example:444", "x.example"),
        ("http://localhost", None),
        ("", None),
    ],
)
def test_https_asks_for_a_certificate(public_url: str, host: str | None) -> None:
    assert find_tls_host(public_url) == host
