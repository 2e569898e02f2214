"""A secret goes in at the front door and comes out on a page that shouts it; nothing else here ever holds it."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from contracts.api.public import PublicApi
from contracts.declare import channels
from contracts.execution import Artifact, ExecutionStatus
from experience.cli.ports import find_free_port
from experience.cli.postgres import DATABASE, SUPERUSER, find_socket_dir
from tests.e2e.conftest import OWNER, PASSWORD, Person, Stack, registered
from tests.e2e.work import edge, node, wait_for_end, watch
from tests.support.api_site import Api
from tests.support.canary import PARROT, dump, find_leaks
from tests.support.listening import Listening
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


EXCUSED = {
    "made of Experience's own rows, which the dump has": (
        "register refresh log_out me change_password list_keys create_key revoke_key create_ticket create_link "
        "redeem_link create_session get_session delete_session upgrade_session list_members invite_member change_role "
        "remove_member list_tenants create_tenant update_tenant delete_tenant list_shortcomings"
    ),
    "answers what another has told: that there is such an execution or intent, and its state": (
        "cancel_intent answer_intent cancel_execution pause_execution resume_execution answer_execution "
        "get_dead_letter retry_dead_letter discard_dead_letter"
    ),
    "answers the record that is read here, or nothing": (
        "save_workflow delete_workflow import_workflow change_credential delete_credential replace_values "
        "delete_browser_profile set_egress"
    ),
}
"""Endpoints that nobody asks here, by reason. Whoever adds one asks it, or says why not."""


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
    running = Stack(find_free_port(), tmp_path / "data", ("--no-demo",))
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
            node("keep", "save_login", Profile="parrot"),
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
            edge("fill", "keep"),
            edge("keep", "html"),
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


def come_back(parrot: Site) -> dict[str, Any]:
    """As who was signed in: cookies and storage of the page hold the secret by now."""
    return {
        "name": "Come back to the parrot",
        "nodes": [
            node("open", "launch_standard_browser", Website_URL=parrot.url(), Profile="parrot"),
            node("html", "get_html"),
            node("picture", "screenshot"),
        ],
        "edges": [edge("open", "html"), edge("html", "picture")],
    }


def send(api: Served, node_id: str, path: str) -> dict[str, Any]:
    """A request whose answer is kept as a file."""
    return node(node_id, "http_request", Method="POST", URL=api.http(path), Body={"said": REFERENCE}, Credential="shop")


async def test_a_secret_is_nowhere_but_on_the_page_that_was_given_it(perch: Stack, parrot: Site, api: Served) -> None:
    listening = Listening()
    async with registered(perch) as person:
        listening.bind(person.http)
        values = {"username": "ada", "password": CANARY}
        domains = [parrot.host, f"127.0.0.1:{api.port}"]
        made = await post(person, "/api/credential", name="shop", kind="login", values=values, domains=domains)
        stored = await post(person, "/api/workflow", **draw(parrot, api))
        assert stored["faults"] == []
        workflow = f"/api/workflow/{stored['workflow_id']}"
        execution_id = (await post(person, f"{workflow}/run"))["execution_id"]
        for name, stream in channels(PublicApi):
            path = stream.path.format(execution_id=execution_id)
            listening.note(name, json.dumps(await watch(perch, person, path), ensure_ascii=False))
        status = await wait_for_end(person, execution_id)
        assert status.status is ExecutionStatus.FAILED
        again = await post(person, f"/api/execution/{execution_id}/retry", start_at="failed")
        retried = await wait_for_end(person, again["execution_id"])
        assert retried.status is ExecutionStatus.FAILED
        second = await post(person, "/api/workflow", **come_back(parrot))
        back = (await post(person, f"/api/workflow/{second['workflow_id']}/run"))["execution_id"]
        assert (await wait_for_end(person, back)).status is ExecutionStatus.COMPLETED
        visit = {"realm": "browser", "intent": "visit", "parameters": {"url": parrot.url()}}
        intent = await post(person, "/api/intent", **visit)
        credential, heard = f"/api/credential/{made['credential_id']}", {}
        profiles = json.loads(await read(person, "/api/browser-profile"))["items"]
        profile = f"/api/browser-profile/{profiles[0]['browser_profile_id']}"
        for path in (
            *(
                f"/api/execution/{one}/{part}"
                for one in (execution_id, again["execution_id"], back)
                for part in ("events?limit=1000", "steps", "artifacts")
            ),
            "/api/execution",
            "/api/intent/catalogue",
            "/api/intent/pending",
            f"/api/intent/{intent['intent_id']}",
            "/api/credential",
            credential,
            f"{credential}/uses",
            profile,
            f"{profile}/uses",
            "/api/workflow",
            workflow,
            f"{workflow}/versions",
            f"{workflow}/export?format=json",
            f"{workflow}/export?format=yaml",
            "/api/node-types",
            "/api/admin/audit",
            "/api/admin/dead-letters",
            "/api/admin/egress",
            "/api/admin/egress/refusals",
            "/api/admin/tool-events",
        ):
            heard[path] = await read(person, path)
        for path in ("/api/workflow/validate", f"{workflow}/validate"):
            await post(person, path, **(draw(parrot, api) if path.endswith("w/validate") else {}))
        await read_artifacts(person, status.artifacts or [])
        for artifact in retried.artifacts or []:
            await read(person, f"/api/artifact/{artifact.artifact_id}")
        await export(perch, person, listening)
        assert listening.unheard(" ".join(EXCUSED.values()).split()) == set()
    told = listening.told
    assert all(act in heard["/api/admin/audit"] for act in ("credential_created", "credential_used"))
    assert all(tool in heard["/api/admin/tool-events"] for tool in ("http_request", "run_code"))
    assert any(find_leaks(CANARY, path) for path in parrot.requests), status.error
    read_steps = json.JSONDecoder().raw_decode(heard[f"/api/execution/{execution_id}/steps"])[0]["items"]
    steps = {step["node_id"]: json.dumps(step) for step in read_steps}
    for masked in ("ask", "html", "python", "node", "raise"):
        assert "[credential.shop.password]" in steps[masked], steps[masked]
    assert "LookupError" in steps["raise"]
    told |= await read_metrics(perch)
    dsn = f"postgresql://{SUPERUSER}@/{DATABASE}?host={quote(str(find_socket_dir(perch.data / 'postgres')), safe='/')}"
    tables = await dump(dsn, "experience", "runtime")
    assert "credential_created" in tables["experience.audit_entries"]
    assert execution_id in tables["runtime.credential_uses"]
    told |= tables
    perch.stop()
    told["printed"] = perch.text()
    # the write-ahead log, profiles of browsers, configuration: whatever lies in the folder
    told |= {str(path): path.read_bytes().decode("latin-1") for path in perch.data.rglob("*") if path.is_file()}
    leaks = {name: seen for name, text in told.items() if (seen := find_leaks(CANARY, text))}
    assert leaks == {}


async def read_artifacts(person: Person, artifacts: list[Artifact]) -> None:
    assert {artifact.kind for artifact in artifacts} >= {"screenshot", "failure_screenshot", "console"}
    files = {artifact.node_id for artifact in artifacts if artifact.kind == "file"}
    assert files >= {"text_file", "plain_file", "binary_file", "picture_file"}
    for artifact in artifacts:
        found = await read(person, f"/api/artifact/{artifact.artifact_id}")
        assert artifact.kind != "file" or "[credential.shop.password]" in found, artifact
        await read(person, f"/api/artifact/{artifact.artifact_id}/metadata")
    await post(person, "/api/artifact/resolve", artifact_ids=[str(one.artifact_id) for one in artifacts])


async def post(person: Person, path: str, **body: Any) -> dict[str, Any]:
    answer = await person.http.post(path, json=body, headers=person.bearer)
    assert answer.is_success, (path, answer.text)
    found: dict[str, Any] = answer.json()
    return found


async def read(person: Person, path: str) -> str:
    answer = await person.http.get(path, headers=person.bearer)
    assert answer.status_code == 200, (path, answer.text)
    return answer.content.decode("utf-8", "replace")


async def export(perch: Stack, person: Person, listening: Listening) -> None:
    """All that the tenant owns, as the operator of the installation gets it."""
    async with httpx.AsyncClient(base_url=perch.url, timeout=60) as http:
        listening.bind(http)
        login = await http.post("/api/auth/login", json={"email": OWNER, "password": PASSWORD})
        bearer = {"authorization": f"Bearer {login.json()['access_token']}"}
        answer = await http.get(f"/api/admin/tenants/{person.grant.tenant.tenant_id}/export", headers=bearer)
    assert answer.status_code == 200, answer.text
    assert "Feed the parrot" in answer.text


async def read_metrics(perch: Stack) -> dict[str, str]:
    """The figures of both tiers, at the ports that they were told."""
    assert perch.process is not None
    told = [read_environment(pid) for pid in list_children(perch.process.pid)]
    ports = {
        tier: next(found[name] for found in told if name in found)
        for tier, name in (("experience", "STAGEDOOR_EXPERIENCE_METRICS_PORT"), ("runtime", "STAGEDOOR_RUNTIME_PORT"))
    }
    async with httpx.AsyncClient(timeout=60) as http:
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
