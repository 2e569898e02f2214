"""Files by their address: kept whatever Chromium would rather show, asked for as the page's browser would."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from contracts.execution import FailureCode
from contracts.workflow import Edge
from contracts.workflow import Node as DrawnNode
from runtime.browser.options import ContextOptions
from runtime.browser.pool import Lease, Pool
from runtime.egress.backend import DoorBackend
from runtime.egress.door import Door
from runtime.egress.upstream import Upstream
from runtime.engine.plan import is_safe
from runtime.node import NodeFailure
from runtime.nodes.browser.files import DownloadFile
from runtime.tools.http import show
from tests.runtime.nodes.stage import MemoryStage
from tests.support.browsers import TENANT, make_permit
from tests.support.relay import Relay
from tests.support.sockets import Served, serve

pytestmark = pytest.mark.asyncio(loop_scope="session")
KINDS = {
    "a.svg": "image/svg+xml",
    "a.css": "text/css",
    "a.html": "text/html",
    "a.png": "image/png",
    "a.pdf": "application/pdf",
    "a.json": "application/json",
    "a.txt": "text/plain",
    "a.zip": "application/zip",
}


async def show_page(request: Request) -> Response:
    """Says who came, and gives a cookie that only its own host gets back."""
    answer = Response("<h1>shop</h1>", media_type="text/html")
    answer.set_cookie("who", request.url.hostname or "", samesite="strict", httponly=True)
    return answer


async def hand_out(request: Request) -> Response:
    name = request.path_params["name"]
    return Response(f"this is {name}", headers={"content-type": f"{KINDS[name]}; charset=utf-8"})


async def echo(request: Request) -> Response:
    return JSONResponse(
        dict(request.headers), headers={"content-disposition": "inline; filename*=UTF-8''gr%C3%BCn.json"}
    )


async def fail(request: Request) -> Response:
    return Response("x" * 1_000, status_code=request.path_params["status"])


async def trickle(request: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        while True:
            yield b"x"
            await asyncio.sleep(0.1)

    return StreamingResponse(pieces())


async def lead_on(request: Request) -> Response:
    return RedirectResponse(request.query_params["to"], 302)


APP = Starlette(
    routes=[
        Route("/", show_page),
        Route("/files/{name}", hand_out),
        Route("/echo", echo),
        Route("/status/{status:int}", fail),
        Route("/slow", trickle),
        Route("/go", lead_on),
    ]
)


@pytest_asyncio.fixture(loop_scope="session")
async def served() -> AsyncIterator[Served]:
    async with serve(APP, timeout_graceful_shutdown=1) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def relay() -> AsyncIterator[Relay]:
    async with Relay() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def stage(pool: Pool, served: Served, relay: Relay) -> AsyncIterator[MemoryStage]:
    door = Door()
    permit = make_permit(TENANT, f"127.0.0.1:{served.port}", "localhost", relay.host)
    async with pool.lease(permit) as lease:
        page = await lease.open_page("node-1")
        await page.open_url(served.http("/"))
        yield MemoryStage(lease, network=DoorBackend(door, permit))
    permit.close()
    door.close()


async def fetch(stage: MemoryStage, url: str, **inputs: int) -> bytes:
    named = {name.replace("_", " "): value for name, value in inputs.items()}
    await DownloadFile().perform({"URL": url, "Web Page": "node-1", **named}, stage)
    return stage.artifacts[-1][1]


async def refuse(stage: MemoryStage, url: str, **inputs: int) -> NodeFailure:
    with pytest.raises(NodeFailure) as caught:
        await fetch(stage, url, **inputs)
    assert not caught.value.acted
    assert stage.artifacts == []
    assert stage.lease is not None
    assert list(stage.lease.page("node-1").workspace.path.iterdir()) == []
    return caught.value


@pytest.mark.parametrize("name", KINDS)
async def test_every_kind_of_file_is_kept(stage: MemoryStage, served: Served, name: str) -> None:
    assert await fetch(stage, served.http(f"/files/{name}?v=1")) == f"this is {name}".encode()
    ((artifact, _),) = stage.artifacts
    assert (artifact.name, artifact.media_type, artifact.page_url) == (name, KINDS[name], served.http("/"))
    assert stage.lease is not None
    assert stage.lease.page("node-1").url == served.http("/")


async def test_each_is_on_record_whatever_comes_of_it(stage: MemoryStage, served: Served) -> None:
    await fetch(stage, served.http("/files/a.txt?token=1"))
    stage.artifacts.clear()
    await refuse(stage, served.http("/status/404"))
    with pytest.raises(NodeFailure) as caught:
        await fetch(stage, "file:///etc/passwd")
    found = [(use.node_id, use.tool, use.what, use.outcome, use.sent, use.received) for use in stage.tools]
    assert found == [
        (stage.node_id, "download_file", f"GET {served.http('/files/a.txt')}", "ok", 0, len("this is a.txt")),
        (stage.node_id, "download_file", f"GET {served.http('/status/404')}", "http_failed", 0, 0),
        (stage.node_id, "download_file", f"GET {show('file:///etc/passwd')}", caught.value.code, 0, 0),
    ]


async def test_it_is_asked_for_as_the_browser_would(stage: MemoryStage, served: Served) -> None:
    assert stage.lease is not None
    page = stage.lease.page("node-1")
    told = json.loads(await fetch(stage, served.http("/echo")))
    assert (told["cookie"], told["referer"]) == ("who=127.0.0.1", served.http("/"))
    assert stage.artifacts[0][0].name == "grün.json"
    await page.open_url(served.http("/echo"))
    assert f'"user-agent":"{told["user-agent"]}"' in await page.read_html()


async def test_each_host_on_the_way_gets_its_own_cookies(stage: MemoryStage, served: Served) -> None:
    assert stage.lease is not None
    there = f"http://localhost:{served.port}"
    bare = json.loads(await fetch(stage, served.http(f"/go?to={there}/echo")))
    assert "cookie" not in bare
    assert bare["referer"] == served.http("/")
    page = stage.lease.page("node-1")
    await page.open_url(f"{there}/")
    await page.open_url(served.http("/"))
    told = json.loads(await fetch(stage, served.http(f"/go?to={there}/echo")))
    assert told["cookie"] == "who=localhost"


@pytest.mark.parametrize(("status", "passing"), [(404, False), (403, False), (429, True), (503, True)])
async def test_an_answer_that_is_no_file_is_named(
    stage: MemoryStage, served: Served, status: int, *, passing: bool
) -> None:
    failed = await refuse(stage, served.http(f"/status/{status}"), Max_Size=10)
    assert (failed.code, failed.retryable) == (FailureCode.HTTP_FAILED, passing)
    assert f"answered {status}." in failed.message


async def test_bounds_hold(stage: MemoryStage, served: Served) -> None:
    assert (await refuse(stage, served.http("/echo"), Max_Size=10)).code is FailureCode.OUTPUT_TOO_LARGE
    late = MemoryStage(stage.lease, seconds=3, network=stage.network)
    failed = await refuse(late, served.http("/slow"))
    assert (failed.code, failed.retryable) == (FailureCode.TIMEOUT, True)


@pytest.mark.parametrize("path", ["http://192.168.1.1/x.csv", "/go?to=http://192.168.1.1/x.csv"])
async def test_it_does_not_lead_where_the_run_may_not_go(stage: MemoryStage, served: Served, path: str) -> None:
    failed = await refuse(stage, served.http(path) if path.startswith("/") else path)
    assert (failed.code, failed.retryable) == (FailureCode.HOST_REFUSED, False)
    assert (await refuse(stage, "file:///etc/passwd")).code is FailureCode.HOST_REFUSED


async def test_it_goes_by_the_proxy_that_the_launch_names(stage: MemoryStage, served: Served, relay: Relay) -> None:
    lease = stage.lease
    assert isinstance(lease, Lease)
    await lease.open_page("node-1", ContextOptions(proxy=Upstream("http", "127.0.0.1", relay.port)))
    assert await fetch(stage, served.http("/files/a.txt")) == b"this is a.txt"
    assert relay.asked == [f"127.0.0.1:{served.port}"]
    stage.artifacts.clear()
    relay.answer = b"HTTP/1.1 502 Bad Gateway\r\n\r\n"
    failed = await refuse(stage, served.http("/files/a.txt"))
    assert "its proxy answered 502" in failed.message
    assert (failed.code, failed.retryable) == (FailureCode.HTTP_FAILED, True)


@pytest.mark.parametrize(
    ("inputs", "fed", "safe"),
    [
        ({"URL": "http://x/"}, "URL", True),
        ({"URL": "http://x/", "Selector": ""}, "Web Page", True),
        ({"Selector": "#file"}, "Web Page", False),
        ({"URL": "http://x/"}, "Selector", False),
    ],
)
async def test_only_a_click_must_not_be_repeated(inputs: dict[str, str], fed: str, *, safe: bool) -> None:
    node = DrawnNode.model_validate({"id": "n", "type": "download_file", "data": {"inputs": inputs}})
    edge = Edge.model_validate({"id": "e", "source": "m", "sourceHandle": "x", "target": "n", "targetHandle": fed})
    assert is_safe(node, DownloadFile.describe(), [edge]) is safe
