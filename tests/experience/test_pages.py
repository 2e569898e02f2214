"""The page's files, the addresses it has of its own, and the documents; paths of the API never show a page."""

import hashlib
import json
import re
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from contracts.wiring.documents import public_asyncapi, public_openapi
from contracts.wiring.server import build_app
from experience.pages import BUILD_COMMAND, page_routes
from tests.support.house import House, until

SCRIPT = "console.log('漢')"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    dist = tmp_path / "dist"
    (dist / "assets").mkdir(parents=True)
    (dist / "index.html").write_text("<!doctype html><title>Stagedoor</title>")
    paths = ["/sign-in", "/enter", "/", "/executions", "/executions/:id"]
    (dist / "paths.json").write_text(json.dumps(paths))
    (dist / "favicon.svg").write_text("<svg/>")
    (dist / "assets" / "index-a1b2c3.js").write_text(SCRIPT)
    (tmp_path / "secret.txt").write_text("secret")
    return dist


def visit(folder: Path) -> httpx.AsyncClient:
    app: Starlette = build_app(page_routes(folder))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://stagedoor.test")


@pytest.mark.parametrize("path", ["/", "/sign-in", "/enter", "/executions", "/executions/0199-a", "/Executions/"])
async def test_every_address_of_the_page_answers_its_index(folder: Path, path: str) -> None:
    async with visit(folder) as http:
        answer = await http.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "<title>Stagedoor</title>" in answer.text
    assert answer.headers["cache-control"] == "no-cache"


async def test_the_policy_lets_nothing_in_from_elsewhere(folder: Path) -> None:
    async with visit(folder) as http:
        headers = (await http.get("/")).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert "unsafe" not in headers["content-security-policy"]
    assert "http" not in headers["content-security-policy"]
    assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")
    assert headers["x-frame-options"] == "DENY"


async def test_hashed_files_are_kept_for_ever_and_others_asked_for(folder: Path) -> None:
    async with visit(folder) as http:
        script = await http.get("/assets/index-a1b2c3.js")
        icon = await http.get("/favicon.svg")
        again = await http.get("/favicon.svg", headers={"if-none-match": icon.headers["etag"]})
    assert script.text == SCRIPT
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    assert script.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert icon.headers["content-type"].startswith("image/svg+xml")
    assert icon.headers["cache-control"] == "no-cache"
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "path",
    [
        "/assets/gone-000.js",
        "/robots.txt",
        "/../secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e/secret.txt",
        "/assets/..%2f..%2fsecret.txt",
        "/assets/%00.js",
        f"/assets/{'n' * 5_000}.js",
    ],
)
async def test_files_that_are_not_there_are_a_problem(folder: Path, path: str) -> None:
    async with visit(folder) as http:
        answer = await http.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert "secret" not in answer.text.replace("secret.txt", "")


BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
NO_PAGES = ["/metrics", "/foo.php", "/robots.txt", "/no/such/place", "/executions/1/2", "//", "/.env", "/executionsX"]


@pytest.mark.parametrize("path", NO_PAGES)
async def test_a_browser_sees_the_page_say_that_there_is_none(folder: Path, path: str) -> None:
    async with visit(folder) as http:
        answer = await http.get(f"http://stagedoor.test{path}", headers={"accept": BROWSER})
        index = await http.get("/")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert answer.text == index.text
    assert answer.headers["content-security-policy"] == index.headers["content-security-policy"]
    assert (answer.headers["cache-control"], answer.headers["vary"]) == ("no-store", "accept")


@pytest.mark.parametrize("path", NO_PAGES)
@pytest.mark.parametrize(
    ("method", "accept"), [("GET", "*/*"), ("GET", "application/json"), ("POST", "*/*"), ("POST", BROWSER)]
)
async def test_a_program_gets_a_problem_where_no_page_is(folder: Path, path: str, method: str, accept: str) -> None:
    async with visit(folder) as http:
        answer = await http.request(method, f"http://stagedoor.test{path}", headers={"accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert (answer.json()["code"], answer.headers["vary"]) == ("not_found", "accept")


async def test_addresses_that_the_build_writes_last_are_found_in_the_end(folder: Path) -> None:
    listed = folder / "paths.json"
    paths = listed.read_bytes()
    listed.unlink()
    async with visit(folder) as http:
        assert (await http.get("/executions")).status_code == 404
        assert (await http.get("/")).status_code == 200
        listed.write_bytes(paths)

        async def is_found() -> bool:
            return (await http.get("/executions")).status_code == 200

        await until(is_found)


@pytest.mark.parametrize("path", ["/api", "/api/", "/api/nothing", "/api/execution", "/ws", "/ws/x", "/health/x"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_paths_of_the_api_never_show_the_page(folder: Path, path: str, method: str) -> None:
    async with visit(folder) as http:
        answer = await http.request(method, path)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert answer.json()["hint"]


async def test_the_page_is_only_read(folder: Path) -> None:
    async with visit(folder) as http:
        for path in ("/", "/executions", "/api/docs", "/api/openapi.json"):
            answer = await http.post(path)
            assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
            assert answer.headers["allow"] == "GET, HEAD"


async def test_before_it_is_built_a_page_says_how(tmp_path: Path) -> None:
    async with visit(tmp_path / "dist") as http:
        answer = await http.get("/executions")
        assert answer.status_code == 503
        assert BUILD_COMMAND in answer.text
        assert "script" not in answer.text
        (tmp_path / "dist").mkdir()
        (tmp_path / "dist" / "failure.txt").write_text("npm ERR! <b>no network</b>")
        explained = await http.get("/")
        assert "npm ERR! &lt;b&gt;no network&lt;/b&gt;" in explained.text
        assert (await http.get("/failure.txt")).status_code == 503


async def test_a_page_built_later_needs_no_restart(tmp_path: Path) -> None:
    async with visit(tmp_path) as http:
        assert (await http.get("/")).status_code == 503
        (tmp_path / "index.html").write_text("first")
        assert (await http.get("/")).text == "first"
        (tmp_path / "index.html").write_text("second build")
        (tmp_path / "assets").mkdir()
        (tmp_path / "assets" / "a-1.css").write_text("b{}")
        assert (await http.get("/")).text == "second build"
        assert (await http.get("/assets/a-1.css")).text == "b{}"


async def test_links_out_of_the_folder_are_not_followed(folder: Path) -> None:
    (folder / "leak.txt").symlink_to(folder.parent / "secret.txt")
    async with visit(folder) as http:
        assert (await http.get("/leak.txt")).status_code == 404


async def test_the_documents_are_served(folder: Path) -> None:
    async with visit(folder) as http:
        assert (await http.get("/api/openapi.json")).json() == public_openapi()
        assert (await http.get("/api/asyncapi.json")).json() == public_asyncapi()
        page = await http.get("/api/docs")
        style = await http.get("/api/docs/style.css")
    assert "/api/intent" in page.text
    assert "href='/api/docs/style.css'" in page.text
    assert re.findall(r"(?:href|src)='(?![/#])", page.text) == [], "it needs nothing from elsewhere"
    assert "<script" not in page.text
    assert style.headers["content-type"] == "text/css; charset=utf-8"
    assert page.headers["etag"] == f'"{hashlib.sha256(page.content).hexdigest()[:32]}"'


async def test_the_whole_application_serves_them_too(house: House) -> None:
    async with house.visit() as http:
        assert (await http.get("/api/openapi.json")).status_code == 200
        unknown = await http.get("/api/nothing-here")
        assert (unknown.status_code, unknown.json()["code"]) == (404, "not_found")
        head = await http.head("/api/docs")
        assert (head.status_code, head.content) == (200, b"")
