"""Bad input of every kind meets a problem document; good input meets its handler."""

import asyncio
from collections.abc import AsyncIterator
from functools import reduce
from typing import Annotated, Any, cast

import httpx
import pytest
from pydantic import Field
from starlette.types import Message

from contracts.declare import Endpoint
from contracts.errors import ApiError, Code
from contracts.identity import Scope
from contracts.model import MAX_DEPTH, Contract, InHeader, Instant, Nothing
from contracts.wiring.client import Client
from contracts.wiring.server import Call, Download, Envelope, Server, build_app


class Note(Contract):
    title: Annotated[str, Field(max_length=20)]
    stars: Annotated[int, Field(ge=0, le=5)] = 0
    at: Instant | None = None
    extra: dict[str, Any] = {}


class PutNote(Note):
    note_id: int
    etag: Annotated[str, InHeader("If-Match")] | None = None


class FindNotes(Contract):
    since: Instant | None = None
    limit: Annotated[int, Field(ge=1)] = 10
    starred: bool = False
    tags: list[str] = []


class Api:
    put_note = Endpoint(
        method="PUT",
        path="/notes/{note_id}",
        request=PutNote,
        result=PutNote,
        summary="",
        scope=Scope.PROFILE,
        tag="n",
        body_limit=1_000,
    )
    find_notes = Endpoint(
        method="GET", path="/notes", request=FindNotes, result=FindNotes, summary="", scope=None, tag="n"
    )
    latest = Endpoint(method="GET", path="/notes/latest", request=Nothing, result=Note, summary="", scope=None, tag="n")
    drop = Endpoint(
        method="DELETE", path="/notes", request=Nothing, result=Nothing, status=204, summary="", scope=None, tag="n"
    )
    slow = Endpoint(
        method="GET", path="/slow", request=Nothing, result=Note, summary="", scope=None, tag="n", deadline_s=0.05
    )
    broken = Endpoint(method="GET", path="/broken", request=Nothing, result=Note, summary="", scope=None, tag="n")
    content: Endpoint[Nothing, Any] = Endpoint(
        method="GET",
        path="/content",
        request=Nothing,
        result=object,
        summary="",
        scope=None,
        tag="n",
        media_type="application/octet-stream",
    )


class ApiClient(Api, Client):
    pass


async def guard(envelope: Envelope, endpoint: Endpoint[Any, Any]) -> str:
    if endpoint.scope and envelope.headers.get("authorization") != "Bearer good":
        raise ApiError(Code.UNAUTHENTICATED, "No token.")
    return "somebody"


async def put_note(call: Call[str], request: PutNote) -> PutNote:
    assert call.caller == "somebody"
    call.set_cookie("seen", "1", max_age=60)
    return request


async def find_notes(_call: Call[str], request: FindNotes) -> FindNotes:
    return request


async def latest(call: Call[str], _request: Nothing) -> Note:
    call.set_header("etag", '"7"')
    return Note(title=call.headers.get("x-tenant-id", "none"))


async def drop(_call: Call[str], request: Nothing) -> Nothing:
    return request


async def slow(_call: Call[str], _request: Nothing) -> Note:
    await asyncio.sleep(10)
    return Note(title="late")


async def broken(_call: Call[str], _request: Nothing) -> Note:
    raise ValueError("a secret in the message")


async def content(_call: Call[str], _request: Nothing) -> Download:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"ab"
        yield b"cd"

    return Download("text/plain", chunks(), 4)


def make_server() -> Server[str]:
    server = Server(Api, guard)
    server.on(Api.put_note, put_note)
    server.on(Api.find_notes, find_notes)
    server.on(Api.latest, latest)
    server.on(Api.drop, drop)
    server.on(Api.slow, slow)
    server.on(Api.broken, broken)
    server.on(Api.content, content)
    return server


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(build_app(make_server().routes()), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://stage") as client:
        yield client


AT_MOST = reduce(lambda inner, _: {"x": inner}, range(MAX_DEPTH), cast("Any", 1))
DEEP = {"x": AT_MOST}
GOOD = {"authorization": "Bearer good"}
ZIPPED = GOOD | {"content-type": "application/json", "content-encoding": "gzip"}
JSON = GOOD | {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("method", "path", "sent", "code", "where"),
    [
        ("PUT", "/notes/1", {"json": {"title": "a"}}, "unauthenticated", None),
        ("PUT", "/notes/1", {"headers": JSON, "content": b"{"}, "malformed", None),
        ("PUT", "/notes/1", {"headers": JSON, "content": b'"\xff"'}, "malformed", None),
        ("PUT", "/notes/1", {"headers": JSON, "content": b"[" * 5_00}, "malformed", None),
        ("PUT", "/notes/1", {"headers": JSON, "content": b"[]"}, "invalid", "body"),
        ("PUT", "/notes/1", {"headers": GOOD, "content": b"{}"}, "unsupported_media_type", None),
        ("PUT", "/notes/1", {"headers": GOOD, "data": {"title": "a"}}, "unsupported_media_type", None),
        ("PUT", "/notes/1", {"headers": JSON, "content": b"x" * 2_000}, "too_large", None),
        ("PUT", "/notes/1", {"headers": GOOD, "json": {}}, "invalid", "body.title"),
        ("PUT", "/notes/1", {"headers": GOOD, "json": {"title": 5}}, "invalid", "body.title"),
        ("PUT", "/notes/1", {"headers": GOOD, "json": {"title": "a", "stars": "3"}}, "invalid", "body.stars"),
        ("PUT", "/notes/1", {"headers": GOOD, "json": {"title": "a", "stars": 9}}, "invalid", "body.stars"),
        ("PUT", "/notes/1", {"headers": GOOD, "json": {"title": "a", "colour": 1}}, "invalid", "body.colour"),
        ("PUT", "/notes/1", {"headers": GOOD, "json": {"title": "a", "note_id": 2}}, "invalid", "body.note_id"),
        ("PUT", "/notes/1", {"headers": GOOD, "json": {"title": "\0"}}, "invalid", "request"),
        ("PUT", "/notes/1", {"headers": GOOD, "json": {"title": "a", "extra": {"x": ["\0"]}}}, "invalid", "request"),
        ("PUT", "/notes/1", {"headers": JSON, "content": b'{"title":"a","extra":{"x":1e999}}'}, "invalid", "request"),
        ("PUT", "/notes/1", {"headers": GOOD, "json": {"title": "a", "extra": DEEP}}, "invalid", "body.extra"),
        ("PUT", "/notes/1", {"headers": GOOD, "json": {"title": "a", "stars": 2.5}}, "invalid", "body.stars"),
        ("PUT", "/notes/1", {"headers": GOOD, "json": {"title": "a", "at": 1_700_000_000}}, "invalid", "body.at"),
        ("PUT", "/notes/1", {"headers": GOOD, "json": {"title": "a", "at": "1700000000"}}, "invalid", "body.at"),
        ("PUT", "/notes/1", {"headers": ZIPPED, "content": b"{}"}, "unsupported_media_type", None),
        ("PUT", "/notes/one", {"headers": GOOD, "json": {"title": "a"}}, "not_found", "path.note_id"),
        ("GET", "/notes?limit=0", {}, "invalid", "query.limit"),
        ("GET", "/notes?limit=ten", {}, "invalid", "query.limit"),
        ("GET", "/notes?limit=1&limit=2", {}, "invalid", "query.limit"),
        ("GET", "/notes?since=1700000000", {}, "invalid", "query.since"),
        ("GET", "/notes?starred=1", {}, "invalid", "query.starred"),
        ("GET", "/notes?colour=red", {}, "invalid", "query.colour"),
        ("GET", "/notes/", {}, "not_found", None),
        ("GET", "/nowhere", {}, "not_found", None),
        ("POST", "/notes", {}, "method_not_allowed", None),
        ("GET", "/slow", {}, "timeout", None),
        ("GET", "/broken", {}, "internal", None),
    ],
)
async def test_bad_input_is_a_problem_with_a_way_out(
    http: httpx.AsyncClient, method: str, path: str, sent: dict[str, Any], code: str, where: str | None
) -> None:
    response = await http.request(method, path, **sent)
    problem = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert problem["code"] == code
    assert problem["status"] == response.status_code == Code(code).status
    assert problem["hint"]
    assert problem["request_id"] == response.headers["x-request-id"]
    assert "secret" not in response.text
    if where:
        assert where in [fault["where"] for fault in problem["faults"]]


async def test_a_body_may_nest_as_deep_as_it_is_said(http: httpx.AsyncClient) -> None:
    body = {"title": "a", "extra": AT_MOST}
    assert (await http.put("/notes/1", headers=GOOD, json=body)).json()["extra"] == AT_MOST
    refused = (await http.put("/notes/1", headers=GOOD, json=body | {"extra": DEEP})).json()
    assert refused["faults"][0]["detail"] == "Lists and objects may nest 100 levels deep, no deeper."


async def test_every_fault_is_told_at_once(http: httpx.AsyncClient) -> None:
    wrong = {"title": 5, "stars": 9, "colour": "red", "size": 1}
    problem = (await http.put("/notes/1?tint=2", headers=GOOD, json=wrong)).json()
    found = {fault["where"]: fault["rule"] for fault in problem["faults"]}
    assert found == {
        "query.tint": "unknown",
        "body.colour": "unknown",
        "body.size": "unknown",
        "body.title": "string_type",
        "body.stars": "less_than_equal",
    }
    assert problem["detail"].endswith("And 4 more.")


async def test_the_faults_of_one_answer_have_an_end(http: httpx.AsyncClient) -> None:
    answer = await http.get("/notes?" + "&".join(f"colour{number}=1" for number in range(1_000)))
    assert len(answer.json()["faults"]) == 50


async def test_an_integer_may_be_written_with_a_point_as_in_json_schema(http: httpx.AsyncClient) -> None:
    answer = await http.put("/notes/1", headers=JSON, content=b'{"title": "a", "stars": 3.0, "extra": {"x": 1.0}}')
    assert answer.status_code == 200, answer.text
    assert answer.json()["stars"] == 3


@pytest.mark.parametrize("declared", ["1001", "9" * 20])
async def test_a_body_declared_too_large_is_refused_before_it_is_sent(http: httpx.AsyncClient, declared: str) -> None:
    async def never() -> AsyncIterator[bytes]:
        await asyncio.sleep(60)
        yield b""

    headers = JSON | {"content-length": declared, "expect": "100-continue"}
    async with asyncio.timeout(60):
        answer = await http.put("/notes/1", headers=headers, content=never())
    assert answer.json()["code"] == "too_large"


@pytest.mark.parametrize(
    ("header", "status"),
    [('"7"', 304), ('W/"7"', 304), ('"6", "7"', 304), ("*", 304), ('"6"', 200), ('"77"', 200), ("7", 200), ("", 200)],
)
async def test_who_has_it_already_is_told_so(http: httpx.AsyncClient, header: str, status: int) -> None:
    answer = await http.get("/notes/latest", headers={"if-none-match": header})
    assert (answer.status_code, answer.headers["etag"]) == (status, '"7"')
    assert bool(answer.content) is (status == 200)


@pytest.mark.parametrize("path", ["/notes/latest", "/nowhere", "/notes?limit=0"])
async def test_no_answer_is_kept_framed_or_guessed(http: httpx.AsyncClient, path: str) -> None:
    headers = (await http.get(path)).headers
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]


async def test_a_path_is_not_echoed_whole(http: httpx.AsyncClient) -> None:
    assert len((await http.get("/" + "a" * 10_000)).content) < 1_000


async def test_a_websocket_nowhere_hears_of_it_as_a_problem() -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    extensions: dict[str, Any] = {"websocket.http.response": {}}
    scope = {"type": "websocket", "path": "/notes", "headers": [], "query_string": b"", "extensions": extensions}
    await build_app(make_server().routes())(scope, receive, send)
    assert sent[0]["status"] == 404
    assert b"No WebSocket is at /notes." in sent[1]["body"]


async def test_405_names_every_method_of_the_path(http: httpx.AsyncClient) -> None:
    assert (await http.post("/notes")).headers["allow"] == "DELETE, GET, HEAD"


async def test_good_input_reaches_the_handler(http: httpx.AsyncClient) -> None:
    client = ApiClient(http, lambda: GOOD)
    sent = PutNote(note_id=7, title="a", stars=2, extra={"none": None}, etag='"3"')
    assert await client.put_note(sent) == sent
    assert await client.find_notes(FindNotes(limit=3, starred=True, tags=["x", "y"])) == FindNotes(
        limit=3, starred=True, tags=["x", "y"]
    )
    assert await client.drop(Nothing()) == Nothing()
    async with client.download(Api.content, Nothing()) as download:
        assert b"".join([chunk async for chunk in download.chunks]) == b"abcd"


async def test_cookies_of_a_handler_reach_the_browser(http: httpx.AsyncClient) -> None:
    response = await http.put("/notes/1", json={"title": "a"}, headers=GOOD)
    assert response.headers["set-cookie"] == "seen=1; HttpOnly; Max-Age=60; Path=/; SameSite=lax; Secure"


@pytest.mark.parametrize("name", ["X-Tenant-Id", "x_tenant_id", "X-User-Id", "X-Internal-Token", "X.Tenant.Id"])
async def test_forged_identity_headers_are_dropped(http: httpx.AsyncClient, name: str) -> None:
    server = make_server()
    seen: list[str] = []

    async def spy(envelope: Envelope, _endpoint: Endpoint[Any, Any]) -> str:
        seen.extend(key for key in envelope.headers if "tenant" in key or "user-id" in key or "internal" in key)
        return "somebody"

    server._guard = spy
    transport = httpx.ASGITransport(build_app(server.routes()))
    async with httpx.AsyncClient(transport=transport, base_url="http://stage") as client:
        await client.get("/notes/latest", headers={name: "forged"})
    assert seen == []


async def test_a_literal_path_wins_over_a_parameter(http: httpx.AsyncClient) -> None:
    assert (await http.get("/notes/latest")).json()["title"] == "none"


async def test_a_sent_request_id_is_kept_only_when_harmless(http: httpx.AsyncClient) -> None:
    kept = await http.get("/notes", headers={"x-request-id": "abc-1"})
    replaced = await http.get("/notes", headers={"x-request-id": "a\tb"})
    assert kept.headers["x-request-id"] == "abc-1"
    assert replaced.headers["x-request-id"] != "a\tb"


def test_an_unserved_endpoint_stops_the_start() -> None:
    server = Server(Api, guard)
    server.on(Api.latest, latest)
    with pytest.raises(TypeError, match=r"unserved \['put_note'"):
        server.routes()


def test_serving_twice_stops_the_start() -> None:
    server = make_server()
    with pytest.raises(TypeError, match="served twice"):
        server.on(Api.latest, latest)
