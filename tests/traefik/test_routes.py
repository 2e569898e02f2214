"""Every route row, its near misses and its forgeries through the real binary: which tier answered, what reached it."""

import json
import socket
import time

import pytest
from websockets.sync.client import connect

from tests.support.traefik import Answer, Traefik
from traefik.routes import ROUTES, STRIPPED_HEADERS, Priority, Route, Tier

ROWS = [route for route in ROUTES if route.priority is not Priority.REST]
EXPERIENCE, RUNTIME = Tier.EXPERIENCE, Tier.RUNTIME


def find_router(traefik: Traefik, path: str) -> str:
    """The name of the row that took `path`, from Traefik's own access log."""
    traefik.ask(path)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        record = traefik.read_access_log()[-1]
        if record["RequestPath"] == path:
            return str(record["RouterName"]).removesuffix("@file")
        time.sleep(0.01)
    raise AssertionError(f"{path} is not in the access log")


@pytest.mark.parametrize("route", ROWS, ids=lambda route: route.path)
@pytest.mark.parametrize("rest", ["", "/", "/7/stream", "?tenant_id=1", "/x?y=/api/runtime"])
def test_row_reaches_its_tier(traefik: Traefik, route: Route, rest: str) -> None:
    answer = traefik.ask(route.path + rest)
    assert (answer.status, answer.echo["name"]) == (200, route.tier)


@pytest.mark.parametrize("route", ROWS, ids=lambda route: route.path)
def test_row_takes_its_paths_and_not_its_neighbours(traefik: Traefik, route: Route) -> None:
    assert find_router(traefik, route.path) == route.name
    assert find_router(traefik, f"{route.path}/") == route.name
    near_misses = [f"{route.path}X", f"{route.path}-internal", f"{route.path}.json", f"{route.path}s/1"]
    near_misses += [f"/x{route.path}", route.path.upper()]
    assert {find_router(traefik, near_miss) for near_miss in near_misses} == {
        "runtime" if route.name == "agent" else "page",
        "page",
    }


@pytest.mark.parametrize(
    ("path", "tier"),
    [
        ("/", EXPERIENCE),
        ("/executions/1", EXPERIENCE),
        ("/api", EXPERIENCE),
        ("/api/", EXPERIENCE),
        ("/api/openapi.json", EXPERIENCE),
        ("/ready", EXPERIENCE),
        # the chat and what only looks like it
        ("/api/runtime/agent", EXPERIENCE),
        ("/api/runtime/agent/", EXPERIENCE),
        ("/api/runtime/agent/chat", EXPERIENCE),
        ("/api/runtime/agents", RUNTIME),
        ("/api/runtime/agents-internal", RUNTIME),
        ("/api/runtime/agent-internal", RUNTIME),
        ("/api/runtime/Agent", RUNTIME),
        ("/api/runtime/x/agent", RUNTIME),
        # segment boundary
        ("/api/runtimeX", EXPERIENCE),
        ("/api/runtime-x/agent", EXPERIENCE),
        ("/api/realmsX", EXPERIENCE),
        ("/api/executionX", EXPERIENCE),
        # paths are case-sensitive, and only Runtime's exact ones reach Runtime
        ("/API/RUNTIME", EXPERIENCE),
        ("/api/Runtime/agents", EXPERIENCE),
        # normalised before the choice, so that both ends read the same path
        ("/api/runtime/agent/../executions", RUNTIME),
        ("/api/runtime/agent/%2e%2e/executions", RUNTIME),
        ("/api/execution/../runtime/x", RUNTIME),
        ("/api/runtime/../execution/x", EXPERIENCE),
        ("/api/runtime/./agent", EXPERIENCE),
        ("//api//runtime//x", RUNTIME),
        ("/api/runtime//agent", EXPERIENCE),
        ("/../../api/runtime/x", RUNTIME),
        ("/api/runtime/%61gent", EXPERIENCE),
        ("/api/%72untime/x", RUNTIME),
    ],
)
def test_path_reaches_tier(traefik: Traefik, path: str, tier: Tier) -> None:
    answer = traefik.ask(path)
    assert (answer.status, answer.echo["name"]) == (200, tier)
    seen = str(answer.echo["raw_path"])
    assert ".." not in seen
    assert "//" not in seen
    assert "%" not in seen


@pytest.mark.parametrize("encoded", ["%2F", "%2f", "%5C", "%00", "%3B", "%25", "%3F", "%23"])
@pytest.mark.parametrize("path", ["/api/runtime/agent{}..{}admin", "/api/execution/e1{}x", "/api/runtime{}x", "/{}"])
def test_ambiguous_path_is_refused(traefik: Traefik, path: str, encoded: str) -> None:
    assert traefik.ask(path.replace("{}", encoded)) == Answer(400, {})


def test_encoded_characters_are_fine_in_a_query(traefik: Traefik) -> None:
    assert traefik.ask("/api/execution/1?after=a%2Fb%25").status == 200


@pytest.mark.parametrize("host", ["evil.example", "runtime", "127.0.0.1:1", "localhost.evil.example", ""])
def test_host_does_not_choose_the_tier(traefik: Traefik, host: str) -> None:
    assert traefik.ask("/api/runtime/agent", host=host).echo["name"] == EXPERIENCE
    assert traefik.ask("/api/runtime/x", host=host).echo["name"] == RUNTIME


def test_foreign_host_reaches_the_tier_as_it_was_sent(traefik: Traefik) -> None:
    answer = traefik.ask("/api/auth/me", host="evil.example")
    assert ["host", "evil.example"] in answer.echo["headers"]  # type: ignore[operator]


@pytest.mark.parametrize("path", ["http://evil.example/api/runtime/x", "http://127.0.0.1/api/runtime/agent/../x"])
def test_absolute_form_is_routed_by_its_path(traefik: Traefik, path: str) -> None:
    assert traefik.ask(path).echo["name"] == RUNTIME


@pytest.mark.parametrize("path", ["/api/runtime/x", "/api/runtime/agent", "/api/execution/1", "/"])
def test_identity_headers_are_stripped(traefik: Traefik, path: str) -> None:
    kept = [("X-Request-Id", "1"), ("Authorization", "Bearer x"), ("Traceparent", "00-1"), ("If-Match", "1")]
    forged = [(name, "forged") for name in STRIPPED_HEADERS]
    forged += [(name.lower(), "forged") for name in STRIPPED_HEADERS]
    arrived = traefik.ask(path, forged + kept).header_names
    assert arrived >= {name.lower() for name, _ in kept}
    assert arrived.isdisjoint(name.lower() for name in STRIPPED_HEADERS)


@pytest.mark.parametrize("alias", ["X_Tenant_Id", "X.Tenant.Id", "x_user_id", "X-Internal_Token", "X!User!Id"])
def test_aliases_of_headers_are_stripped(traefik: Traefik, alias: str) -> None:
    assert alias.lower() not in traefik.ask("/api/runtime/x", [(alias, "forged")]).header_names


def test_forwarded_headers_are_traefiks_own(traefik: Traefik) -> None:
    forged = [
        ("X-Forwarded-For", "6.6.6.6"),
        ("X-Forwarded-Host", "evil.example"),
        ("X-Forwarded-Proto", "https"),
        ("X-Real-Ip", "6.6.6.6"),
    ]
    echo = traefik.ask("/api/auth/me", forged, host="stagedoor.example").echo
    headers = dict(echo["headers"])  # type: ignore[call-overload]
    assert headers["x-forwarded-for"] == "127.0.0.1"
    assert headers["x-real-ip"] == "127.0.0.1"
    assert headers["x-forwarded-host"] == "stagedoor.example"
    assert headers["x-forwarded-proto"] == "http"


def test_stripping_survives_a_hop_by_hop_trick(traefik: Traefik) -> None:
    """`Connection: X-Tenant-Id` names the header hop-by-hop; it must not come back by that way."""
    arrived = traefik.ask("/api/runtime/x", [("Connection", "X-Tenant-Id, close"), ("X-Tenant-Id", "forged")])
    assert "x-tenant-id" not in arrived.header_names


def test_oversized_headers_are_refused(traefik: Traefik) -> None:
    assert traefik.ask("/", [("X-Big", "a" * 100_000)]).status == 431


@pytest.mark.parametrize(
    ("path", "tier"),
    [
        ("/api/execution/1/stream", EXPERIENCE),
        ("/api/execution/1/screen", EXPERIENCE),
        ("/api/ws/executions/1", EXPERIENCE),
        ("/api/runtime/agent", EXPERIENCE),
        ("/api/runtime/agent/", EXPERIENCE),
        ("/api/runtime/agent/chat", EXPERIENCE),
        ("/ws", EXPERIENCE),
        ("/ws/1", EXPERIENCE),
        ("/api/runtime/agents-internal", RUNTIME),
        ("/api/runtime/channel", RUNTIME),
    ],
)
def test_websocket_reaches_tier(traefik: Traefik, path: str, tier: Tier) -> None:
    forged = {"X-Tenant-Id": "forged", "X_User_Id": "forged", "Forwarded": "for=6.6.6.6"}
    with connect(f"ws://127.0.0.1:{traefik.port}{path}", additional_headers=forged, open_timeout=60) as client:
        opened = json.loads(client.recv(timeout=60))
        client.send("still there?")
        echoed = client.recv(timeout=60)
    assert opened["name"] == tier
    assert {name for name, _ in opened["headers"]}.isdisjoint(name.lower() for name in forged)
    assert echoed == "still there?"


def test_request_without_host_is_refused(traefik: Traefik) -> None:
    with socket.create_connection(("127.0.0.1", traefik.port), timeout=60) as raw:
        raw.sendall(b"GET /api/runtime/x HTTP/1.1\r\n\r\n")
        assert raw.recv(1000).startswith(b"HTTP/1.1 400 ")


def test_rows_of_one_priority_never_overlap() -> None:
    paths = [route.path for route in ROWS if route.priority is Priority.ROW]
    assert not [(one, other) for one in paths for other in paths if one != other and f"{one}/".startswith(f"{other}/")]


def test_every_row_has_a_name_of_its_own() -> None:
    assert len({route.name for route in ROUTES}) == len(ROUTES)
