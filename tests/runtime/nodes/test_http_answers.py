"""Whatever a site answers, a node ends with outputs or with a failure that has a name: never with `internal`."""

import asyncio
import io
import json
import zlib
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from contracts.execution import FailureCode
from contracts.model import MAX_DEPTH
from runtime.egress.backend import DoorBackend
from runtime.egress.door import Door
from runtime.node import NodeFailure
from runtime.nodes.browser.fetch import Fetched
from runtime.nodes.http import HttpRequest
from runtime.tools.http import Answer
from tests.runtime.nodes.test_http import HttpStage
from tests.support.browsers import TENANT, make_permit

Headers = list[tuple[str, bytes]]
ANY = ["", ";", ",", "=", '"', "\\", " ", "\t", "é", "²", "\ud83d", "0", "-1", "x" * 300, "%", "%zz", "%C3"]
CHARSETS = ["utf-8", "punycode", "idna", "undefined", "unicode_escape", "utf-16", "hz", "nonsense"]
DATES = ["Mon, ", "31 Dec 9999 ", "99 Jan 99999999999999999999 ", "23:59:59 ", "-2359", "GMT", "-9999999999", "1"]
PLACES = ["http://", "https://", "//", "/", "?", "#", "@", "[", "]", ":", "::1", "127.0.0.1", "xn--", "65536", "a.test"]
NAMED = ["attachment; ", "filename=", "filename*=", "filename*0*=", "filename*1=", "a", "''", "; "]
WORDS = {
    "content-type": ["text/plain", "application/json", "image/svg+xml", "; charset=", *CHARSETS, *ANY],
    "content-encoding": ["gzip", "deflate", "identity", "br", ", "],
    "content-disposition": [*NAMED, *CHARSETS, *ANY],
    "retry-after": [*DATES, *ANY],
    "location": [*PLACES, *ANY],
    "set-cookie": ["a=b", "; path=/", *ANY],
    "content-length": ["0", "1", "-1", "1e9", "²"],
    "transfer-encoding": ["chunked", "gzip", ", "],
    "x-any": ANY,
}
STATUSES = [200, 302, 307, 404, 429, 503]
BODIES = [
    b"",
    b"x",
    b"{",
    b"[" * 5_000,
    b'"\xff"',
    b"\xff\xfe",
    b"garbage!!",
    zlib.compress(b"text"),
    b"\x1f\x8b\x08",
    b"\0",
]


def draw_header(name: str) -> st.SearchStrategy[tuple[str, bytes]]:
    word = st.sampled_from(WORDS[name])
    words = st.one_of(st.lists(word, min_size=1, max_size=1), st.lists(word, min_size=1, max_size=6))
    return st.tuples(st.just(name), words.map(lambda found: "".join(found).encode("utf-8", "surrogatepass")))


HEADERS: st.SearchStrategy[Headers] = st.lists(
    st.sampled_from(sorted(WORDS)).flatmap(draw_header), min_size=1, max_size=3
)


def write(status: int, headers: Headers, body: bytes) -> bytes:
    """An answer as it goes over the wire."""
    said = [f"{name}: ".encode() + value.translate(None, b"\r\n\0") for name, value in headers]
    return b"\r\n".join([b"HTTP/1.1 %d Said" % status, *said, b"connection: close", b"", body])


async def get(answer: bytes) -> dict[str, Any] | NodeFailure:
    """What the node makes of it."""

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(respond, "127.0.0.1", 0)
    async with server:
        place = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        door, permit = Door(), make_permit(TENANT, place)
        # too little time for another try
        stage = HttpStage(seconds=1.4, network=DoorBackend(door, permit))
        try:
            return await HttpRequest().perform({"URL": f"http://{place}/%zz", "Retries": 1, "Redirects": 2}, stage)
        except NodeFailure as failure:
            return failure
        finally:
            permit.close()
            door.close()


@settings(max_examples=250, deadline=None)
@example(429, [("retry-after", "²".encode())], b"")
@example(200, [("content-encoding", b"deflate")], b"garbage!!")
@example(200, [("content-type", b"text/plain; charset=undefined")], b"x")
@given(st.sampled_from(STATUSES), HEADERS, st.sampled_from(BODIES))
def test_no_answer_takes_a_node_by_surprise(status: int, headers: Headers, body: bytes) -> None:
    got = asyncio.run(get(write(status, headers, body)))
    if isinstance(got, NodeFailure):
        assert got.code is not FailureCode.INTERNAL
        assert got.hint
    else:
        json.dumps(got, default=str)


@settings(max_examples=400, deadline=None)
@example([("content-disposition", b"a; filename*0*=a; filename*=b")])
@given(HEADERS)
def test_no_answer_takes_a_download_by_surprise(headers: Headers) -> None:
    said = [(name, value.decode("utf-8", "replace")) for name, value in headers]
    fetched = Fetched(io.BytesIO(), Answer(200, said, b"", "https://a.test/b"))
    assert fetched.name
    assert fetched.media_type.isascii()


@pytest.mark.parametrize(
    "said",
    [
        "²",
        "٣",
        "1²",
        "Mon, 99 Jan 99999999999999999999 00:00:00 GMT",
        "Fri, 31 Dec 9999 23:59:59 -2359",
        "x" * 9_000,
        ";;(((",
    ],
)
async def test_when_to_come_back_is_no_trap(said: str) -> None:
    got = await get(write(429, [("retry-after", said.encode())], b"busy"))
    assert isinstance(got, NodeFailure)
    assert (got.code, "answered 429: busy" in got.message) == (FailureCode.HTTP_FAILED, True)


async def test_what_does_not_decompress_is_a_damaged_answer() -> None:
    for coding in (b"deflate", b"gzip"):
        got = await get(write(200, [("content-encoding", coding)], b"garbage!!"))
        assert isinstance(got, NodeFailure)
        assert (got.code, "does not decompress" in got.message) == (FailureCode.HTTP_FAILED, True)


@pytest.mark.parametrize("levels", [MAX_DEPTH, MAX_DEPTH + 1, 300, 900, 5_000])
async def test_data_too_deep_to_be_kept_is_handed_on_as_its_text(levels: int) -> None:
    body = b"[" * levels + b"]" * levels
    got = await get(write(200, [("content-type", b"application/json")], body))
    assert isinstance(got, dict)
    assert got["Body"] == (json.loads(body) if levels == MAX_DEPTH else body.decode())


async def test_a_media_type_that_can_not_be_said_again_is_not_kept() -> None:
    got = await get(write(200, [("content-type", "image/€".encode())], b"\0"))
    assert isinstance(got, dict)
    assert got["Artifact"]["media_type"] == "application/octet-stream"


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("attachment; filename*0*=a; filename*=b", "b"),
        ("attachment; filename*=utf-8''gr%C3%BCn.txt", "grün.txt"),
        ("attachment; filename*=punycode''a-b", "a-b"),
        ("attachment; filename*=undefined''a", "a"),
        ("attachment; filename*0*=utf-8''%C3; filename*1*=%BC", "ü"),
        ('attachment; filename="a b.txt"', "a b.txt"),
        ('attachment; filename="' + ";" * 90_000, None),
        ("attachment; filename*=%", None),
    ],
)
def test_what_a_file_is_called(said: str, name: str | None) -> None:
    fetched = Fetched(io.BytesIO(), Answer(200, [("content-disposition", said)], b"", "https://a.test/b"))
    assert fetched.name
    assert name is None or fetched.name == name
