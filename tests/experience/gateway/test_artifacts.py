"""Artifacts: streamed with ranges, never shown as a page, readable by a link for five minutes and no longer."""

from urllib.parse import urlsplit
from uuid import uuid4

import jwt
import pytest

from tests.support.house import House, Visitor

CONTENT = bytes(range(256)) * 1_000


async def test_content_is_streamed_with_its_type(house: House, ada: Visitor) -> None:
    artifact = house.runtime.store_artifact(ada.tenant_id, CONTENT)
    answer = await ada.http.get(f"/api/artifact/{artifact.artifact_id}")
    assert (answer.status_code, answer.content) == (200, CONTENT)
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-length"] == str(len(CONTENT))
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["etag"] == f'"{artifact.sha256}"'
    assert answer.headers["content-disposition"].startswith("inline;")
    metadata = (await ada.http.get(f"/api/artifact/{artifact.artifact_id}/metadata")).json()
    assert metadata["sha256"] == artifact.sha256


async def test_a_head_costs_no_content(house: House, ada: Visitor) -> None:
    artifact = house.runtime.store_artifact(ada.tenant_id, CONTENT)
    house.runtime.calls.clear()
    answer = await ada.http.head(f"/api/artifact/{artifact.artifact_id}")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == str(len(CONTENT))
    assert house.runtime.calls["read_artifact"] == 0


async def test_ranges(house: House, ada: Visitor) -> None:
    artifact = house.runtime.store_artifact(ada.tenant_id, CONTENT)
    path = f"/api/artifact/{artifact.artifact_id}"
    part = await ada.http.get(path, headers={"range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, CONTENT[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(CONTENT)}"
    assert part.headers["content-length"] == "10"
    beyond = await ada.http.get(path, headers={"range": f"bytes={len(CONTENT)}-"})
    assert (beyond.status_code, beyond.json()["code"]) == (416, "range_not_satisfiable")
    assert beyond.headers["content-range"] == f"bytes */{len(CONTENT)}"


async def test_a_range_of_something_else_is_answered_with_the_whole(house: House, ada: Visitor) -> None:
    artifact = house.runtime.store_artifact(ada.tenant_id, CONTENT)
    for tag, status in ((artifact.sha256, 206), ("other", 200)):
        headers = {"range": "bytes=10-19", "if-range": f'"{tag}"'}
        answer = await ada.http.get(f"/api/artifact/{artifact.artifact_id}", headers=headers)
        assert answer.status_code == status


async def test_who_has_it_already_is_sent_nothing(house: House, ada: Visitor) -> None:
    artifact = house.runtime.store_artifact(ada.tenant_id, CONTENT)
    house.runtime.calls.clear()
    headers = {"if-none-match": f'W/"{artifact.sha256}"', "range": "bytes=0-1"}
    answer = await ada.http.get(f"/api/artifact/{artifact.artifact_id}", headers=headers)
    assert (answer.status_code, answer.content) == (304, b"")
    assert answer.headers["etag"] == f'"{artifact.sha256}"'
    assert house.runtime.calls["read_artifact"] == 0


@pytest.mark.parametrize("kind", ["text/html", "image/svg+xml", "application/pdf", "text/plain; charset=utf-8"])
async def test_nothing_but_plain_pictures_is_shown_in_place(house: House, ada: Visitor, kind: str) -> None:
    artifact = house.runtime.store_artifact(ada.tenant_id, b"<script>alert(1)</script>", media_type=kind, name="a.html")
    answer = await ada.http.get(f"/api/artifact/{artifact.artifact_id}")
    assert answer.headers["content-disposition"].startswith("attachment;")
    assert answer.headers["content-type"].startswith(kind)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert answer.headers["cache-control"].startswith("private")


async def test_names_and_types_from_pages_break_no_header(house: House, ada: Visitor) -> None:
    wild = 'Rechnung "für"\r\nX-Evil: 1; ünïcode 漢.pdf'
    artifact = house.runtime.store_artifact(ada.tenant_id, b"x", media_type="text/html\r\nX-Evil: 1", name=wild)
    answer = await ada.http.get(f"/api/artifact/{artifact.artifact_id}")
    assert answer.status_code == 200
    assert "x-evil" not in answer.headers
    assert answer.headers["content-type"] == "application/octet-stream"
    assert "%E6%BC%A2.pdf" in answer.headers["content-disposition"]


async def test_another_tenants_artifact_is_unknown(house: House, ada: Visitor, bob: Visitor) -> None:
    artifact = house.runtime.store_artifact(ada.tenant_id, CONTENT)
    assert (await bob.http.get(f"/api/artifact/{artifact.artifact_id}")).status_code == 404
    assert (await bob.http.get(f"/api/artifact/{artifact.artifact_id}/metadata")).status_code == 404
    async with house.visit() as stranger:
        assert (await stranger.get(f"/api/artifact/{artifact.artifact_id}")).status_code == 401


async def test_resolving_gives_links_that_open_without_credentials(house: House, ada: Visitor, bob: Visitor) -> None:
    artifact = house.runtime.store_artifact(ada.tenant_id, CONTENT)
    foreign = house.runtime.store_artifact(bob.tenant_id, CONTENT)
    unknown = str(uuid4())
    wanted = [str(artifact.artifact_id), unknown, str(foreign.artifact_id), str(artifact.artifact_id)]
    answer = await ada.http.post("/api/artifact/resolve", json={"artifact_ids": wanted})
    assert answer.status_code == 200, answer.text
    assert answer.json()["missing"] == [unknown, str(foreign.artifact_id)]
    [item] = answer.json()["items"]
    assert item["artifact"]["sha256"] == artifact.sha256
    assert item["url"].startswith(house.settings.public_url)
    async with house.visit() as stranger:
        opened = await stranger.get(path_of(item["url"]))
        assert (opened.status_code, opened.content) == (200, CONTENT)
        ranged = await stranger.get(path_of(item["url"]), headers={"range": "bytes=0-3"})
        assert (ranged.status_code, ranged.content) == (206, CONTENT[:4])


async def test_links_end(house: House, ada: Visitor) -> None:
    link = await make_link(house, ada)
    async with house.visit() as stranger:
        house.clock.advance(290)
        assert (await stranger.get(link)).status_code == 200
        house.clock.advance(11)
        answer = await stranger.get(link)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert "resolve" in answer.json()["hint"]


async def test_a_link_opens_one_artifact_and_nothing_else(house: House, ada: Visitor) -> None:
    link = await make_link(house, ada)
    other = house.runtime.store_artifact(ada.tenant_id, b"another")
    token = link.partition("link=")[2]
    async with house.visit() as stranger:
        assert (await stranger.get(f"/api/artifact/{other.artifact_id}?link={token}")).status_code == 401
        assert (await stranger.get(f"{link[:-2]}xx")).status_code == 401
        assert (await stranger.get("/api/auth/me", headers={"authorization": f"Bearer {token}"})).status_code == 401
        as_link = await stranger.get(f"/api/artifact/{other.artifact_id}?link={ada.token}")
        assert as_link.status_code == 401
        unsigned = jwt.encode({"sub": str(other.artifact_id), "tenant": str(ada.tenant_id)}, key="", algorithm="none")
        assert (await stranger.get(f"/api/artifact/{other.artifact_id}?link={unsigned}")).status_code == 401


async def test_runtime_away_is_said_before_anything_is_sent(house: House, ada: Visitor) -> None:
    artifact = house.runtime.store_artifact(ada.tenant_id, CONTENT)
    house.runtime.down()
    answer = await ada.http.get(f"/api/artifact/{artifact.artifact_id}")
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")


async def test_readers_who_leave_give_the_connection_back(house: House, ada: Visitor) -> None:
    large = house.runtime.store_artifact(ada.tenant_id, bytes(8_000_000), media_type="application/zip")
    path = f"/api/artifact/{large.artifact_id}"
    for _ in range(110):  # more than there are connections to Runtime
        async with ada.http.stream("GET", path) as answer:
            assert answer.status_code == 200
    assert (await ada.http.get(f"{path}/metadata")).status_code == 200


async def make_link(house: House, visitor: Visitor) -> str:
    artifact = house.runtime.store_artifact(visitor.tenant_id, CONTENT)
    body = {"artifact_ids": [str(artifact.artifact_id)]}
    answer = await visitor.http.post("/api/artifact/resolve", json=body)
    return path_of(answer.json()["items"][0]["url"])


def path_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"
