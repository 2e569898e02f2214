"""A secret goes in at the front door and comes out on a page that shouts it; nothing else here ever holds it."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from contracts.execution import ExecutionStatus
from experience.cli.postgres import DATABASE, SUPERUSER, find_socket_dir
from tests.e2e.conftest import OWNER, PASSWORD, Person, Stack, free_port, registered
from tests.e2e.work import edge, node, wait_for_end, watch
from tests.support.api_site import Api
from tests.support.canary import PARROT, dump, find_leaks
from tests.support.site import Site, run_site
from tests.support.sockets import Served, serve

CANARY = "Canary-5b7e!sings&loud"
REFERENCE = "{{credential.shop.password}}"
ASSEMBLE = """
import base64, sys
canary = "Canary-5b7e" + "!sings&loud"
print("so it goes:", canary)
print(base64.b64encode(canary.encode()).decode(), file=sys.stderr)
"""
"""Code that knows the secret by itself: what it says of it must be masked all the same, as nobody typed it whole."""
ASSEMBLE_IN_NODE = """
const canary = ['Canary-5b7e', 'sings&loud'].join('!');
console.log(JSON.stringify({canary}));
console.error(encodeURIComponent(canary));
return {[canary]: [inputs, canary]};
"""


@pytest.fixture
def parrot() -> Iterator[Site]:
    with run_site({"/": PARROT, "/landed": PARROT}) as running:
        yield running


@pytest.fixture
async def api() -> AsyncIterator[Served]:
    async with serve(Api().app()) as running:
        yield running


@pytest.fixture
def perch(tmp_path: Path, parrot: Site, api: Served, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """A stack that may reach both."""
    monkeypatch.setenv("STAGEDOOR_RUNTIME_ALLOWED_HOSTS", f"{parrot.host},127.0.0.1:{api.port}")
    running = Stack(free_port(), tmp_path / "data", ("--no-demo",))
    running.start()
    yield running
    if running.process is not None and running.process.poll() is None:
        running.stop()


def draw(parrot: Site, api: Served) -> dict[str, Any]:
    """Type it, send it, read everything, and fail in the end."""
    return {
        "name": "Feed the parrot",
        "nodes": [
            node("open", "launch_standard_browser", Website_URL=parrot.url()),
            node("fill", "fill_input", Selector="#password", Value=REFERENCE),
            node("html", "get_html"),
            node("text", "get_text_from_html", Selector="p"),
            node("rows", "extract_list", Selector="li", Fields='{"a": "a", "b": "a@href", "c": "@data-json"}'),
            node("picture", "screenshot"),
            node(
                "ask",
                "http_request",
                Method="POST",
                URL=api.http("/echo"),
                Headers={"X-Key": REFERENCE},
                Body={"said": REFERENCE},
                Credential="shop",
            ),
            send(api, "text_file", "/file?type=text/plain"),
            send(api, "plain_file", "/file"),
            send(api, "binary_file", "/file?binary=1"),
            send(api, "picture_file", "/file?binary=1&type=image/png"),
            node("python", "run_code", Code=ASSEMBLE + "result = {canary: [canary, inputs]}"),
            node("node", "run_code", Language="javascript", Code=ASSEMBLE_IN_NODE),
            {
                **node("raise", "run_code", Code=ASSEMBLE + "raise LookupError(canary)"),
                "data": {
                    "inputs": {"Code": ASSEMBLE + "raise LookupError(canary)"},
                    "settings": {"on_error": "continue"},
                },
            },
            node("click", "click_element", Selector="#go"),
            {
                **node("fail", "wait_for_element", Selector="#never", Visibility="visible"),
                "data": {"inputs": {"Selector": "#never", "Visibility": "visible"}, "settings": {"timeout_s": 3}},
            },
        ],
        "edges": [
            edge("open", "fill"),
            edge("fill", "html"),
            edge("html", "text", "Html Content", "Html"),
            edge("html", "rows"),
            edge("rows", "picture"),
            edge("picture", "click"),
            # the code sees what came back to the request, and runs once the value has been used
            edge("ask", "python", "Body", "Inputs"),
            edge("python", "node", "Result", "Inputs"),
            edge("node", "raise", "Stdout", "Inputs"),
            edge("click", "fail"),
        ],
    }


def send(api: Served, node_id: str, path: str) -> dict[str, Any]:
    """A request whose answer is kept as a file."""
    return node(node_id, "http_request", Method="POST", URL=api.http(path), Body={"said": REFERENCE}, Credential="shop")


async def test_a_secret_is_nowhere_but_on_the_page_that_was_given_it(perch: Stack, parrot: Site, api: Served) -> None:
    channels: dict[str, str] = {}
    async with registered(perch) as person:
        values = {"username": "ada", "password": CANARY}
        domains = [parrot.host, f"127.0.0.1:{api.port}"]
        made = await post(
            person, channels, "/api/credential", name="shop", kind="login", values=values, domains=domains
        )
        stored = await post(person, channels, "/api/workflow", **draw(parrot, api))
        assert stored["faults"] == []
        run = await post(person, channels, f"/api/workflow/{stored['workflow_id']}/run")
        execution_id = run["execution_id"]
        for path in (f"/api/execution/{execution_id}/stream", f"/api/ws/executions/{execution_id}"):
            channels[path] = json.dumps(await watch(perch, person, path), ensure_ascii=False)
        status = await wait_for_end(person, execution_id)
        assert status.status is ExecutionStatus.FAILED
        channels["status"] = status.model_dump_json()
        for path in (
            f"/api/execution/{execution_id}/events?limit=1000",
            f"/api/execution/{execution_id}/steps",
            f"/api/execution/{execution_id}/artifacts",
            "/api/execution",
            "/api/intent/pending",
            "/api/credential",
            f"/api/credential/{made['credential_id']}",
            f"/api/credential/{made['credential_id']}/uses",
            f"/api/workflow/{stored['workflow_id']}",
            f"/api/workflow/{stored['workflow_id']}/export?format=json",
            f"/api/workflow/{stored['workflow_id']}/export?format=yaml",
            "/api/node-types",
            "/api/admin/audit",
            "/api/admin/dead-letters",
            "/api/admin/egress/refusals",
            "/api/admin/tool-events",
        ):
            channels[path] = await read(person, path)
        artifacts = status.artifacts or []
        assert {artifact.kind for artifact in artifacts} >= {"screenshot", "failure_screenshot", "console"}
        files = {artifact.node_id for artifact in artifacts if artifact.kind == "file"}
        assert files >= {"text_file", "plain_file", "binary_file", "picture_file"}
        for artifact in artifacts:
            found = await read(person, f"/api/artifact/{artifact.artifact_id}")
            channels[f"{artifact.node_id}: {artifact.name}"] = found
            assert artifact.kind != "file" or "[credential.shop.password]" in found, artifact
        channels["export"] = await export(perch, person)
    assert all(act in channels["/api/admin/audit"] for act in ("credential_created", "credential_used"))
    assert all(tool in channels["/api/admin/tool-events"] for tool in ("http_request", "run_code"))
    assert any(find_leaks(CANARY, path) for path in parrot.requests), status.error
    read_steps = json.JSONDecoder().raw_decode(channels[f"/api/execution/{execution_id}/steps"])[0]["items"]
    steps = {step["node_id"]: json.dumps(step) for step in read_steps}
    for told in ("ask", "html", "python", "node", "raise"):
        assert "[credential.shop.password]" in steps[told], steps[told]
    assert "LookupError" in steps["raise"]
    channels |= await read_metrics(perch)
    dsn = f"postgresql://{SUPERUSER}@/{DATABASE}?host={quote(str(find_socket_dir(perch.data / 'postgres')), safe='/')}"
    tables = await dump(dsn, "experience", "runtime")
    assert "credential_created" in tables["experience.audit_entries"]
    assert execution_id in tables["runtime.credential_uses"]
    channels |= tables
    perch.stop()
    channels["printed"] = perch.text()
    # the write-ahead log, profiles of browsers, configuration: whatever lies in the folder
    channels |= {str(path): path.read_bytes().decode("latin-1") for path in perch.data.rglob("*") if path.is_file()}
    leaks = {name: seen for name, text in channels.items() if (seen := find_leaks(CANARY, text))}
    assert leaks == {}


async def post(person: Person, channels: dict[str, str], path: str, **body: Any) -> dict[str, Any]:
    answer = await person.http.post(path, json=body, headers=person.bearer)
    assert answer.status_code in (201, 202), answer.text
    channels[f"POST {path}"] = answer.text
    found: dict[str, Any] = answer.json()
    return found


async def read(person: Person, path: str) -> str:
    answer = await person.http.get(path, headers=person.bearer)
    assert answer.status_code == 200, (path, answer.text)
    return answer.content.decode("utf-8", "replace") + str(answer.headers)


async def export(perch: Stack, person: Person) -> str:
    """All that the tenant owns, as the operator of the installation gets it."""
    async with httpx.AsyncClient(base_url=perch.url, timeout=60) as http:
        login = await http.post("/api/auth/login", json={"email": OWNER, "password": PASSWORD})
        bearer = {"authorization": f"Bearer {login.json()['access_token']}"}
        answer = await http.get(f"/api/admin/tenants/{person.grant.tenant.tenant_id}/export", headers=bearer)
    assert answer.status_code == 200, answer.text
    assert "Feed the parrot" in answer.text
    return answer.text


async def read_metrics(perch: Stack) -> dict[str, str]:
    """The figures of both tiers, at the ports that they were told."""
    assert perch.process is not None
    told = [read_environment(pid) for pid in list_children(perch.process.pid)]
    ports = {
        tier: next(found[name] for found in told if name in found)
        for tier, name in (("experience", "STAGEDOOR_EXPERIENCE_METRICS_PORT"), ("runtime", "STAGEDOOR_RUNTIME_PORT"))
    }
    async with httpx.AsyncClient() as http:
        found = {tier: await http.get(f"http://127.0.0.1:{port}/metrics") for tier, port in ports.items()}
    assert all(answer.status_code == 200 for answer in found.values())
    return {f"metrics of {tier}": answer.text for tier, answer in found.items()}


def list_children(pid: int) -> list[int]:
    return [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]


def read_environment(pid: int) -> dict[str, str]:
    pairs = (pair.partition(b"=") for pair in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))
    return {name.decode(): value.decode() for name, _, value in pairs}
