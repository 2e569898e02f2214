"""A credential is typed where it may go, and nothing that the run leaves behind holds it (spec I4)."""

import io
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import update
from sqlmodel import col, select

from contracts.credential import CreateCredential, ListCredentials, ListUses
from contracts.execution import ExecutionStatus, FailureCode
from contracts.model import ExecutionId
from contracts.tool import ListToolEvents
from contracts.workflow import JsonObject
from runtime.app import NODES
from runtime.egress.permit import GIBIBYTE
from runtime.seal import Seal
from runtime.store.tables import ExecutionRow
from runtime.store.tool_events import ToolEvents
from runtime.vault import Vault
from tests.runtime.staging import Staging, edge, node
from tests.support.api_site import Api
from tests.support.canary import PARROT, dump, find_leaks
from tests.support.postgres import Database
from tests.support.site import Site, run_site
from tests.support.sockets import serve

CANARY = 'canary/7 "x"&é+9c41'
TOKEN = "tok_canary.8f3a"
PAGE = "Web Page"
LIST = ListCredentials()
REFERENCE = "{{credential.shop.password}}"


@pytest.fixture
def site() -> Iterator[Site]:
    with run_site({"/": PARROT, "/landed": PARROT}) as running:
        yield running


@pytest.fixture
async def staging(own_database: Database, tmp_path: Path, site: Site) -> AsyncIterator[Staging]:
    made = Staging(own_database, tmp_path, NODES)
    made.hosts = (site.host,)
    made.seal = Seal([b"k" * 32])
    yield made
    await made.close()


async def keep(staging: Staging, domains: list[str], **changes: object) -> Vault:
    vault = Vault(staging.credentials, staging.seal)
    values = {"username": "ada.lovelace@stage.test", "password": CANARY}
    asked = {"name": "shop", "kind": "login", "values": values, "domains": domains, **changes}
    await vault.create(staging.tenant_id, None, CreateCredential.model_validate(asked))
    return vault


def chain(*nodes: JsonObject) -> tuple[list[JsonObject], list[JsonObject]]:
    ids = [str(one["id"]) for one in nodes]
    return list(nodes), [edge(source, target, PAGE, PAGE) for source, target in pairwise(ids)]


def sign_in(site: Site, *then: JsonObject, reference: str = REFERENCE) -> tuple[list[JsonObject], list[JsonObject]]:
    return chain(
        node("open", "launch_standard_browser", {"Website URL": site.url()}),
        node("fill", "fill_input", {"Selector": "#password", "Value": reference}),
        *then,
    )


async def perform(staging: Staging, drawn: tuple[list[JsonObject], list[JsonObject]]) -> ExecutionId:
    execution_id = await staging.submit(*drawn)
    async with staging.perform():
        await staging.wait_for_end(execution_id)
    return execution_id


async def test_nothing_that_a_run_leaves_behind_holds_the_secret(
    staging: Staging, site: Site, logged: io.StringIO, own_database: Database
) -> None:
    await keep(staging, [site.host])
    nodes, edges = sign_in(
        site,
        node("name", "fill_input", {"Selector": "#user", "Value": "{{credential.shop.username}}"}),
        node("again", "fill_input", {"Selector": "#shown", "Value": f"<{REFERENCE}>"}),
        node("html", "get_html"),
        node("rows", "extract_list", {"Selector": "li", "Fields": '{"a": "a", "b": "a@href", "c": "@data-json"}'}),
        node("loud", "extract_list", {"Selector": "#loud", "Fields": '{"text": "@id", "loud": "#loud"}'}),
        node("picture", "screenshot", {"Full Page": True}),
        node("click", "click_element", {"Selector": "#go"}),
        node("landed", "get_html"),
        node("fail", "wait_for_element", {"Selector": "#never", "Visibility": "visible"}, timeout_s=3),
    )
    nodes += [node("text", "get_text_from_html", {"Selector": "p"})]
    edges += [edge("html", "text", "Html Content", "Html")]
    execution_id = await perform(staging, (nodes, edges))

    typed = [path for path in site.requests if "typed=" in path]
    assert any(find_leaks(CANARY, path) for path in typed), "the page was never given it"
    row = await staging.executions.get(staging.tenant_id, execution_id)
    assert row.status is ExecutionStatus.FAILED
    events = [event.model_dump_json() for event in await staging.read(execution_id)]
    assert any("[credential.shop.password]" in text for text in events)
    channels = {
        "events": "\n".join(events),
        "execution": row.model_dump_json(),
        "log": logged.getvalue(),
        **await dump(own_database.superuser_dsn, "runtime"),
        **{str(path): path.read_bytes().decode("latin-1") for path in files(staging.artifact_dir)},
        **{f"{path}, utf-8": path.read_bytes().decode("utf-8", "replace") for path in files(staging.artifact_dir)},
    }
    assert len(files(staging.artifact_dir)) >= 3
    assert "console" in channels["events"]
    for secret in (CANARY, "ada.lovelace@stage.test"):
        leaks = {name: found for name, text in channels.items() if (found := find_leaks(secret, text))}
        assert leaks == {}


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def test_it_is_typed_on_its_own_domains_only_and_each_use_is_on_record(staging: Staging, site: Site) -> None:
    await keep(staging, ["shop.test", "*.127.0.0.1.test"])
    execution_id = await perform(staging, sign_in(site))
    row = await staging.executions.get(staging.tenant_id, execution_id)
    assert row.error is not None
    assert row.error["code"] == FailureCode.CREDENTIAL_REFUSED
    assert "shop.test" in row.error["hint"]
    assert not any("typed=" in path for path in site.requests)
    (made,), _ = await staging.credentials.list_page(staging.tenant_id, LIST)
    uses, _ = await staging.credentials.list_uses(staging.tenant_id, ListUses(credential_id=made.credential_id))
    assert uses == []


async def test_a_use_names_host_node_and_execution(staging: Staging, site: Site) -> None:
    await keep(staging, [site.host])
    execution_id = await perform(staging, sign_in(site))
    (made,), _ = await staging.credentials.list_page(staging.tenant_id, LIST)
    (use,), _ = await staging.credentials.list_uses(staging.tenant_id, ListUses(credential_id=made.credential_id))
    assert (use.host, use.node_id, use.execution_id, use.fields) == (site.host, "fill", execution_id, ["password"])


@pytest.mark.parametrize(
    ("reference", "code"),
    [
        ("{{credential.nobody.password}}", FailureCode.CREDENTIAL_MISSING),
        ("{{credential.shop.pin}}", FailureCode.CREDENTIAL_MISSING),
    ],
)
async def test_what_is_not_there_fails_and_says_so(
    staging: Staging, site: Site, reference: str, code: FailureCode
) -> None:
    await keep(staging, [site.host])
    execution_id = await perform(staging, sign_in(site, reference=reference))
    row = await staging.executions.get(staging.tenant_id, execution_id)
    assert row.error is not None
    assert row.error["code"] == code


async def test_without_its_key_it_stays_closed(staging: Staging, site: Site) -> None:
    await keep(staging, [site.host])
    staging.seal = Seal([b"x" * 32])
    execution_id = await perform(staging, sign_in(site))
    row = await staging.executions.get(staging.tenant_id, execution_id)
    assert row.error is not None
    assert row.error["code"] == FailureCode.CREDENTIAL_SEALED


async def test_what_comes_over_an_edge_asks_for_nothing(staging: Staging, site: Site) -> None:
    await keep(staging, [site.host])
    site.pages["/ask"] = f"<p>{REFERENCE}</p><input id='password'>"
    nodes = [
        node("open", "launch_standard_browser", {"Website URL": site.url("/ask")}),
        node("html", "get_html"),
        node("text", "get_text_from_html", {"Selector": "p"}),
        node("fill", "fill_input", {"Selector": "#password"}),
        node("rows", "extract_list", {"Selector": "p", "Fields": '{"text": "p"}'}),
    ]
    edges = [
        edge("open", "html", PAGE, PAGE),
        edge("html", "fill", PAGE, PAGE),
        edge("html", "text", "Html Content", "Html"),
        edge("text", "fill", "Text", "Value"),
        edge("fill", "rows", PAGE, PAGE),
    ]
    execution_id = await perform(staging, (nodes, edges))
    row = await staging.executions.get(staging.tenant_id, execution_id)
    assert row.status is ExecutionStatus.COMPLETED
    (made,), _ = await staging.credentials.list_page(staging.tenant_id, LIST)
    assert made.last_used_at is None


async def test_a_page_that_comes_back_is_still_masked(staging: Staging, site: Site, own_database: Database) -> None:
    await keep(staging, [site.host])
    site.pages["/landed"] = "<p id='out'></p><script>out.textContent = localStorage.getItem('typed')</script>"
    nodes, edges = sign_in(
        site,
        node("click", "click_element", {"Selector": "#go"}),
        node("pause", "delay", {"Duration": 60}),
        node("html", "get_html"),
    )
    execution_id = await staging.submit(nodes, edges)
    async with staging.perform():
        await staging.wait_until(execution_id, lambda row: row.current_node == "pause")
    await staging.shift(execution_id, 60)
    async with staging.perform():
        assert await staging.wait_for_end(execution_id) is ExecutionStatus.COMPLETED
    text = "\n".join(event.model_dump_json() for event in await staging.read(execution_id))
    assert "[credential.shop.password]" in text
    leaks = {
        name: found
        for name, rows in (await dump(own_database.superuser_dsn, "runtime")).items()
        if (found := find_leaks(CANARY, rows))
    }
    assert leaks == {}


async def test_bytes_of_earlier_runs_count_against_the_limit(staging: Staging) -> None:
    staging.hosts = ("127.0.0.1",)
    moved = col(ExecutionRow.moved_bytes)
    async with serve(Api().app()) as served:
        execution_id = await staging.submit([node("ask", "http_request", {"URL": served.http("/echo")})])
        async with staging.system.write() as session:
            before = GIBIBYTE
            await session.exec(update(ExecutionRow).values(moved_bytes=before))
        async with staging.perform():
            assert await staging.wait_for_end(execution_id) is ExecutionStatus.COMPLETED
        async with staging.system.write() as session:
            (after,) = (await session.exec(select(moved))).all()
            assert after > before
        execution_id = await staging.submit([node("ask", "http_request", {"URL": served.http("/echo")})])
        async with staging.system.write() as session:
            await session.exec(update(ExecutionRow).values(moved_bytes=2 * GIBIBYTE))
        async with staging.perform():
            assert await staging.wait_for_end(execution_id) is ExecutionStatus.FAILED
    row = await staging.executions.get(staging.tenant_id, execution_id)
    assert row.error is not None
    assert row.error["code"] == FailureCode.HOST_REFUSED


class TestRequests:
    """The same for what is sent without a browser."""

    async def test_an_answer_that_repeats_a_credential_leaves_none_of_it(
        self, staging: Staging, own_database: Database, logged: io.StringIO
    ) -> None:
        async with serve(Api().app()) as served:
            await self.keep_token(staging, f"127.0.0.1:{served.port}")
            await keep(staging, [f"127.0.0.1:{served.port}"])
            asked = node(
                "ask",
                "http_request",
                {
                    "Method": "POST",
                    "URL": served.http("/echo"),
                    "Credential": "api",
                    "Query": {"key": REFERENCE},
                    "Headers": {"X-Key": "{{credential.api.token}}"},
                    "Body": f'{{"deep": ["{REFERENCE}"]}}',
                },
            )
            refused = node("refused", "http_request", {"URL": served.http("/status/401?x"), "Credential": "api"})
            execution_id = await perform(staging, ([asked], []))
            failed_id = await perform(staging, ([refused], []))
        row = await staging.executions.get(staging.tenant_id, execution_id)
        assert row.status is ExecutionStatus.COMPLETED
        assert row.result is not None
        seen = row.result["ask"]["Body"]
        assert seen["headers"]["authorization"] == "Bearer [credential.api.token]"
        assert seen["query"]["key"] == "[credential.shop.password]"
        events, _ = await ToolEvents(staging.db).list_events(staging.tenant_id, ListToolEvents())
        assert [(event.execution_id, event.node_id, event.outcome) for event in events] == [
            (failed_id, "refused", "http_failed"),
            (execution_id, "ask", "ok"),
        ]
        assert events[1].what == f"POST {served.http('/echo')}"
        assert events[1].received > events[1].sent > 0
        texts = await dump(own_database.superuser_dsn, "runtime")
        texts["log"] = logged.getvalue()
        for secret in (CANARY, TOKEN):
            assert {name: found for name, text in texts.items() if (found := find_leaks(secret, text))} == {}
        failed = await staging.executions.get(staging.tenant_id, failed_id)
        assert failed.error is not None
        assert failed.error["code"] == FailureCode.HTTP_FAILED

    async def test_it_is_sent_to_its_own_domains_only(self, staging: Staging) -> None:
        api = Api()
        async with serve(api.app()) as served:
            await self.keep_token(staging, "api.test")
            asked = node("ask", "http_request", {"URL": served.http("/echo"), "Credential": "api"})
            execution_id = await perform(staging, ([asked], []))
        row = await staging.executions.get(staging.tenant_id, execution_id)
        assert row.error is not None
        assert (row.error["code"], api.asked) == (FailureCode.CREDENTIAL_REFUSED, [])

    async def keep_token(self, staging: Staging, host: str) -> None:
        staging.hosts = ("127.0.0.1",)
        await keep(staging, [host], name="api", kind="token", values={"token": TOKEN})
