"""Alert rules, dashboard and scrape configuration, held to what the running tiers really say; and their logs."""

import asyncio
import json
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import promql_parser as promql
import pytest
import yaml
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException
from websockets.typing import Subprotocol

from experience.cli.ports import find_free_port
from experience.settings import PREFIX
from tests.chaos.documents import edge, node
from tests.chaos.parts import Part
from tests.chaos.postgres import Server, make_blueprint, run_server
from tests.chaos.rig import Cast, Rig, run_rig
from tests.chaos.shop import Shop
from tests.chaos.visitors import Visitor
from tests.support.figures import Figures, read_figures
from tests.support.postgres import Database

FOLDER = Path(__file__).parents[2] / "deploy" / "observability"
ALERTS: dict[str, Any] = yaml.safe_load((FOLDER / "alerts.yml").read_text())
SCRAPES: dict[str, Any] = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "grafana" / "dashboards" / "stagedoor.json").read_text())
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER.parents[1] / "docker-compose.yml").read_text())
RULES = {rule["alert"]: rule for group in ALERTS["groups"] for rule in group["rules"]}
OF_PROMETHEUS = {"up", "ALERTS"}
"""What Prometheus says by itself."""
ADDED = {"job", "instance"}
"""Labels that it adds to what it scrapes."""
RARE = {"agent_step_failures_total", "streams_closed_total"}
"""Labelled by what went wrong, so that they have no samples where nothing did; here something does."""
PATIENCE_S = 60.0


# --- the files


def queries() -> dict[str, str]:
    """Every query there is, by where it stands."""
    found = {f"alert {name}": str(rule["expr"]) for name, rule in RULES.items()}
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            found[f"panel {panel['title']} {target['refId']}"] = target["expr"].replace("$__rate_interval", "5m")
    return found


def selectors(query: str) -> list[promql.VectorSelector]:
    """The series that a query asks for."""
    found: list[promql.VectorSelector] = []

    def visit(expression: promql.Expr) -> None:
        if isinstance(expression, promql.VectorSelector):
            found.append(expression)
        if isinstance(expression, promql.MatrixSelector):
            found.append(expression.vector_selector)

    promql.walk(promql.parse(query), visit)
    return found


def grouped_by(query: str) -> set[str]:
    """Labels by which a query sums."""
    return {label.strip() for labels in re.findall(r"\bby \(([^)]*)\)", query) for label in labels.split(",")}


def test_every_alert_says_what_is_wrong_and_who_should_care() -> None:
    for name, rule in RULES.items():
        assert rule["labels"]["severity"] in {"page", "ticket"}, name
        assert rule["annotations"].keys() == {"summary", "description"}, name


def test_the_alerts_are_those_of_the_operations_chapter() -> None:
    assert RULES.keys() >= {
        "ServiceDown",
        "StepsFail",
        "ManyPending",
        "QueueLags",
        "WorkersLost",
        "DeadLetters",
        "OutboxNotDraining",
        "StreamsDroppedToLog",
        "ServerErrors",
        "MemoryHigh",
        "DiskShort",
        "RuntimeAway",
    }
    assert RULES["StepsFail"]["expr"].endswith("> 0.1")
    assert RULES["ManyPending"]["expr"].endswith("> 1000")


def test_what_every_replica_counts_from_one_database_is_never_summed() -> None:
    alike = ("queue_", "executions_", "outbox_depth", "outbox_oldest", "dead_letters")
    for where, query in queries().items():
        assert not re.search(rf"sum[^)]*\((?:{'|'.join(alike)})", query), where


def test_panels_lie_beside_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_scrapes_go_where_compose_serves_figures() -> None:
    environment = COMPOSE["services"]["experience"]["environment"]
    ports = {job["job_name"]: job["dns_sd_configs"][0]["port"] for job in SCRAPES["scrape_configs"]}
    assert ports == {"experience": int(environment[f"{PREFIX}METRICS_PORT"]), "runtime": 8002, "worker": 8002}
    for job in SCRAPES["scrape_configs"]:
        assert job["dns_sd_configs"][0]["names"] == [job["job_name"]]
        shared = set(COMPOSE["services"][job["job_name"]]["networks"]) & set(
            COMPOSE["services"]["prometheus"]["networks"]
        )
        assert shared, job["job_name"]
    [manager] = SCRAPES["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"]
    assert manager.partition(":")[0] in COMPOSE["services"]


def test_files_lie_where_the_containers_look_for_them() -> None:
    mounted = {
        source: target
        for name in ("prometheus", "alertmanager", "grafana")
        for source, target, *_ in (mount.split(":") for mount in COMPOSE["services"][name]["volumes"])
    }
    for source in mounted:
        assert not source.startswith("./") or (FOLDER.parents[1] / source).exists(), source
    provider = yaml.safe_load((FOLDER / "grafana" / "provisioning" / "dashboards" / "stagedoor.yml").read_text())
    assert provider["providers"][0]["options"]["path"] == mounted["./deploy/observability/grafana/dashboards"]
    assert SCRAPES["rule_files"] == [mounted["./deploy/observability/alerts.yml"]]


@pytest.mark.parametrize(
    "command",
    [
        ("promtool", "check", "config", "--syntax-only", "prometheus.yml"),
        ("promtool", "check", "rules", "alerts.yml"),
        ("promtool", "test", "rules", "alerts_test.yml"),
        ("amtool", "check-config", "alertmanager.yml"),
    ],
    ids=lambda command: " ".join(command[:3]),
)
def test_their_own_tools_find_nothing_wrong(command: tuple[str, ...]) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not on this machine; it comes with Prometheus")
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_shown_to_fire() -> None:
    shown = yaml.safe_load((FOLDER / "alerts_test.yml").read_text())["tests"][1]["promql_expr_test"][0]["exp_samples"]
    assert {re.findall(r'"(\w+)"', sample["labels"])[0] for sample in shown} == RULES.keys()


# --- an evening on the real stage


@dataclass
class Evening:
    """What the processes said while they were used."""

    figures: dict[str, Figures] = field(default_factory=dict)
    """By job."""
    logs: dict[str, str] = field(default_factory=dict)
    """By process, all of them."""
    secrets: dict[str, str] = field(default_factory=dict)
    trace_id: str = uuid4().hex
    execution_id: str = ""
    tenant_id: str = ""
    user_id: str = ""

    def lines(self, prefix: str) -> list[dict[str, Any]]:
        """The structured lines of the processes of that name."""
        texts = [text for name, text in self.logs.items() if name.startswith(prefix)]
        return [json.loads(line) for text in texts for line in text.splitlines()]


@pytest.fixture(scope="module")
def evening(tmp_path_factory: pytest.TempPathFactory) -> Evening:
    with run_server() as server:
        database = server.make_database(make_blueprint(server))
        played = asyncio.run(play(tmp_path_factory.mktemp("evening"), server, database))
        played.logs["postgres"] = server.tail()
    return played


async def play(folder: Path, server: Server, database: Database) -> Evening:
    evening = Evening()
    async with open_demo(folder) as shop, run_rig(Cast(), folder / "rig", server, database, shop) as rig:
        async with rig.visit() as visitor:
            await use(rig, visitor, evening)
        jobs = {
            "experience": int(rig.experiences[0].environment[f"{PREFIX}METRICS_PORT"]),
            "runtime": rig.runtimes[0].port,
            "worker": rig.workers[0].port,
        }
        async with asyncio.timeout(PATIENCE_S):
            while not is_settled(figures := {job: await scrape(port) for job, port in jobs.items()}):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        evening.figures = figures
        await rig.down()
        parts = [*rig.tiers, rig.traefik]
        evening.logs = {part.name: part.log.read_text(errors="replace") for part in parts}
    return evening


@asynccontextmanager
async def open_demo(folder: Path) -> AsyncIterator[Shop]:
    """The demo shop: it has a form to sign in."""
    port = find_free_port()
    command = (sys.executable, "-P", "-m", "experience.demo", "--port", str(port))
    part = Part("demo", command, {"PYTHONUNBUFFERED": "1"}, folder, port)
    part.start()
    try:
        await part.ready("/")
        yield Shop(f"127.0.0.1:{port}")
    finally:
        part.kill()


async def scrape(port: int) -> Figures:
    async with httpx.AsyncClient(timeout=PATIENCE_S) as http:
        return read_figures((await http.get(f"http://127.0.0.1:{port}/metrics")).text)


def is_settled(figures: dict[str, Figures]) -> bool:
    """Whether those that are counted anew now and then have heard that everything is over."""
    runtime, worker = figures["runtime"], figures["worker"]
    open_now = (
        worker.get("worker_leases"),
        runtime.get("executions_open", status="pending"),
        runtime.get("queue_depth"),
        figures["experience"].get("outbox_depth", kind="submit"),
    )
    return open_now == (0, 0, 0, 0)


def sign_in_at(shop: Shop, password: str, selector: str, give_up_s: float = 60) -> dict[str, Any]:
    """Open the demo shop's form, type a password into a field, look at it."""
    nodes = [
        node("open", "launch_standard_browser", {"Website URL": shop.url("/sign-in")}),
        node("email", "fill_input", {"Selector": "#email", "Value": "demo@example.com"}),
        node("password", "fill_input", {"Selector": selector, "Value": password}, timeout_s=give_up_s),
        node("look", "screenshot"),
    ]
    order = ["open", "email", "password", "look"]
    edges = [edge(before, after) for before, after in pairwise(order)]
    return {"name": "Sign in", "nodes": nodes, "edges": edges, "settings": {"node_timeout_s": 60}}


async def use(rig: Rig, visitor: Visitor, evening: Evening) -> None:
    """Everything that brings a secret near a log, and everything that is counted."""
    secrets = evening.secrets
    secrets["bearer"] = visitor.token
    await enter_in_every_way(visitor, secrets)
    secrets["typed"] = f"typed-{uuid4().hex}"
    evening.tenant_id = visitor.tenant_id
    evening.user_id = (await visitor.http.get("/api/auth/me")).json()["user"]["user_id"]
    visitor.http.headers["traceparent"] = f"00-{evening.trace_id}-00f067aa0ba902b7-01"
    evening.execution_id = await visitor.start(sign_in_at(rig.shop, secrets["typed"], "#password"))
    visitor.watch(evening.execution_id)
    assert (await visitor.ended(evening.execution_id))["status"] == "completed"
    secrets["typed amiss"] = f"amiss-{uuid4().hex}"
    failing = await visitor.start(sign_in_at(rig.shop, secrets["typed amiss"], "#no-such-field", give_up_s=5))
    visitor.watch(failing)
    assert (await visitor.ended(failing))["status"] == "failed"
    await visitor.seen()
    await open_sockets(rig, secrets, evening.execution_id)
    await hold_up(visitor, secrets)


async def enter_in_every_way(visitor: Visitor, secrets: dict[str, str]) -> None:
    http, who = visitor.http, f"{uuid4().hex[:12]}@chaos.test"
    secrets["password"] = f"password-{uuid4().hex}"
    known = {"email": who, "password": secrets["password"]}
    grant = (await http.post("/api/auth/register", json=known)).json()
    secrets["access"], secrets["refresh"] = grant["access_token"], grant["refresh_token"]
    page = await http.post("/api/auth/login", json={**known, "transport": "cookie"})
    secrets["cookie"] = page.headers["set-cookie"].partition("=")[2].partition(";")[0]
    secrets["wrong password"] = f"wrong-{uuid4().hex}"
    await http.post("/api/auth/login", json={**known, "password": secrets["wrong password"]})
    await http.post("/api/auth/login", content=json.dumps(known)[:-1], headers={"content-type": "application/json"})
    await http.post("/api/auth/refresh", json={"refresh_token": secrets["refresh"]})
    secrets["key"] = (await http.post("/api/auth/keys", json={"name": "k"})).json()["secret"]
    secrets["link"] = (await http.post("/api/auth/link", json={})).json()["code"]
    secrets["ticket"] = (await http.post("/api/auth/ticket", json={})).json()["ticket"]
    secrets["bad bearer"] = f"bad-{uuid4().hex}"
    for name in ("key", "bad bearer"):
        await http.get("/api/auth/me", headers={"authorization": f"Bearer {secrets[name]}"})
    secrets["in a query"] = f"query-{uuid4().hex}"
    await http.get("/api/auth/me", params={"token": secrets["in a query"]})
    await http.post("/api/auth/link/redeem", json={"code": secrets["link"]})
    secrets["bad link"] = f"ln_{uuid4().hex}{uuid4().hex}"
    await http.post("/api/auth/link/redeem", json={"code": secrets["bad link"]})


async def open_sockets(rig: Rig, secrets: dict[str, str], execution_id: str) -> None:
    """With a ticket, with one that is used, with tokens in the address, good and bad."""
    base = rig.url.replace("http", "ws", 1)
    stream, guide = f"{base}/api/execution/{execution_id}/stream", f"{base}/api/ws/executions/{execution_id}"
    secrets["bad token"] = f"bad-{uuid4().hex}"
    offers = [Subprotocol("stagedoor"), Subprotocol(f"stagedoor.ticket.{secrets['ticket']}")]
    attempts = [(stream, offers), (stream, offers), (f"{stream}?token={secrets['access']}", None)]
    attempts += [(f"{guide}?token={secrets[name]}", None) for name in ("bearer", "bad token")]
    for address, offered in attempts:
        opening = connect(address, subprotocols=offered, proxy=None, open_timeout=PATIENCE_S)
        try:
            async with asyncio.timeout(PATIENCE_S), opening as socket:
                async for _ in socket:
                    pass
        except (WebSocketException, OSError):
            continue


async def hold_up(visitor: Visitor, secrets: dict[str, str]) -> None:
    """Make the entrances refuse, and then make them wait."""
    body = {"email": f"{uuid4().hex[:12]}@chaos.test", "password": secrets["wrong password"]}
    codes: list[int] = []
    async with httpx.AsyncClient(base_url=visitor.url, timeout=PATIENCE_S) as stranger:
        while 429 not in codes:  # the wait is two seconds first, and doubles
            codes.append((await stranger.post("/api/auth/login", json=body)).status_code)
    assert set(codes) == {401, 429}


# --- figures


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("where", "query"), queries().items(), ids=queries().keys())
def test_every_figure_that_is_asked_for_is_really_there(evening: Evening, where: str, query: str) -> None:
    asked = selectors(query)
    assert asked
    for selector in asked:
        name = selector.name
        assert name
        if name in OF_PROMETHEUS:
            continue
        jobs = [job for job, figures in evening.figures.items() if name in figures.names]
        assert jobs, f"nobody tells {name}"
        matched = {matcher.name: matcher for matcher in selector.matchers.matchers}
        if "job" in matched:
            assert [job for job in jobs if re.fullmatch(matched["job"].value, job)], f"{name} is told by {jobs}"
        known = ADDED | set().union(*(evening.figures[job].labels_of(name) for job in jobs))
        sampled = [job for job in jobs if any(found == name for found, _ in evening.figures[job].samples)]
        assert sampled, f"{name} has no sample after an evening"
        assert matched.keys() <= known, f"{name} has {known}"
    labels = ADDED.union(
        *(figures.labels_of(one.name or "") for figures in evening.figures.values() for one in asked),
    )
    assert grouped_by(query) <= labels


def test_the_manual_names_every_figure_and_no_other(evening: Evening) -> None:
    table = (FOLDER.parents[1] / "docs" / "OPERATING.md").read_text().partition("### What the figures are called")[2]
    table = table.partition("### What the log says")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    told = {name for figures in evening.figures.values() for name in figures.names}
    told = {re.sub(r"_(bucket|count|sum)$", "", name) for name in told if not name.startswith(("process_", "python_"))}
    assert named == {name for name in told if not name.endswith("_created")}


def test_the_figures_say_what_happened(evening: Evening) -> None:
    experience, runtime, worker = (evening.figures[job] for job in ("experience", "runtime", "worker"))
    assert worker.total("agent_run_duration_seconds_count", status="completed") == 1
    assert worker.total("agent_run_duration_seconds_count", status="failed") == 1
    assert worker.total("agent_step_failures_total", status="failed") == 1
    assert worker.get("browser_launches_total") is not None
    assert worker.get("egress_connections_total") is not None
    assert (worker.get("browser_processes") or 0) >= 1
    assert worker.get("worker_leases") == 0
    assert (worker.get("events_appended_total") or 0) >= 10
    assert runtime.get("executions_open", status="pending") == 0
    assert runtime.get("queue_depth") == 0
    assert "queue_depth" not in worker.names, "it would be a zero that nobody counted"
    assert experience.get("upstream_connected") == 1
    assert experience.get("outbox_depth", kind="submit") == 0
    assert experience.total("outbox_deliveries_total", outcome="delivered") >= 2
    assert (experience.get("logins_throttled_total") or 0) >= 1
    assert experience.total("streams_closed_total", code="1000") >= 2
    assert experience.total("streams_closed_total", code="4401") >= 2
    submit = {"route": "/api/runtime/executions", "method": "POST"}
    routes = {dict(labels).get("route", "") for name, labels in runtime.samples if name == "http_requests_total"}
    assert not [route for route in routes if evening.execution_id in route], submit


# --- logs


@pytest.mark.timeout(300)
def test_no_secret_is_in_any_log(evening: Evening) -> None:
    assert {"experience-0", "runtime-0", "worker-0", "traefik", "postgres"} == evening.logs.keys()
    assert len(evening.secrets) > 12
    found = [
        (name, secret)
        for name, text in evening.logs.items()
        for secret, value in evening.secrets.items()
        if value in text or value.rpartition(".")[2] in text
    ]
    assert found == []


def test_every_line_is_one_json_object(evening: Evening) -> None:
    for prefix in ("experience", "runtime", "worker"):
        for line in evening.lines(prefix):
            assert line.keys() >= {"event", "level", "service", "timestamp"}, line


def test_every_line_of_a_request_says_whose_it_is(evening: Evening) -> None:
    for prefix in ("experience", "runtime"):
        lines = [line for line in evening.lines(prefix) if line["event"] in {"request", "socket closed"}]
        assert lines
        for line in lines:
            assert line.keys() >= {"request_id", "trace_id", "span_id", "tenant_id", "user_id"}, line
        of_ours = [line for line in lines if line["trace_id"] == evening.trace_id]
        assert of_ours
        assert {(line["tenant_id"], line["user_id"]) for line in of_ours} == {(evening.tenant_id, evening.user_id)}


def test_a_request_keeps_its_ids_from_tier_to_tier(evening: Evening) -> None:
    inside = {line["request_id"]: line for line in evening.lines("runtime") if line["event"] == "request"}
    outside = [line for line in evening.lines("experience") if line["event"] == "request"]
    both = [(line, inside[line["request_id"]]) for line in outside if line["request_id"] in inside]
    assert both
    for front, back in both:
        assert front["trace_id"] == back["trace_id"]
        assert front["span_id"] != back["span_id"]


def test_every_line_of_a_run_says_which_and_what_caused_it(evening: Evening) -> None:
    lines = [line for line in evening.lines("worker") if line.get("execution_id") == evening.execution_id]
    assert {"run begins", "run left"} <= {line["event"] for line in lines}
    for line in lines:
        assert (line["tenant_id"], line["epoch"], line["trace_id"]) == (evening.tenant_id, 1, evening.trace_id), line
