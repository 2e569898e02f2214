"""Requests as a proxy reads them: one reading, or none."""

import asyncio

import pytest

from runtime.egress.message import MAX_HEAD, BadRequest, parse_head, read_body, read_head


def head(*lines: str) -> bytes:
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def test_a_request_is_passed_on_without_what_is_the_proxys() -> None:
    read = parse_head(
        head(
            "POST http://user:secret@Shop.example:8080/a?b=c#d HTTP/1.1",
            "Host: other.example",
            "Proxy-Authorization: Basic eA==",
            "Proxy-Connection: keep-alive",
            "Content-Length: 3",
            "X-One:  two ",
        )
    )
    assert (read.authority, read.length, read.authorization) == ("Shop.example:8080", 3, "Basic eA==")
    assert read.make_direct() == head(
        "POST /a?b=c HTTP/1.1", "host: Shop.example:8080", "content-length: 3", "x-one: two"
    )


@pytest.mark.parametrize(("where", "path"), [("http://a.example", "/"), ("http://a.example?x=/y", "/?x=/y")])
def test_an_address_without_a_path(where: str, path: str) -> None:
    assert parse_head(head(f"GET {where} HTTP/1.1")).make_direct().startswith(f"GET {path} HTTP/1.1\r\n".encode())


def test_credentials_that_are_said_twice_are_none() -> None:
    twice = head("CONNECT a:1 HTTP/1.1", "Proxy-Authorization: Basic eA==", "proxy-authorization: Basic eQ==")
    assert parse_head(twice).authorization is None


@pytest.mark.parametrize(
    "lines",
    [
        ["GET http://a.example/ HTTP/2"],
        ["GET  http://a.example/ HTTP/1.1"],
        ["GET http://a.example/ HTTP/1.1", " folded: yes"],
        ["GET http://a.example/ HTTP/1.1", "x: 1", "\tfolded"],
        ["GET http://a.example/ HTTP/1.1", "no colon"],
        ["GET http://a.example/ HTTP/1.1", "space : before"],
        ["GET http://a.example/ HTTP/1.1", "bare: line\nfeed: yes"],
        ["GET http://a.example/ HTTP/1.1", "bare: carriage\rreturn"],
        ["GET http://a.example/ HTTP/1.1", "nul: \0"],
        ["POST http://a.example/ HTTP/1.1", "Content-Length: 1", "Content-Length: 2"],
        ["POST http://a.example/ HTTP/1.1", "Content-Length: +1"],
        ["POST http://a.example/ HTTP/1.1", "Content-Length: 1, 1"],
        ["POST http://a.example/ HTTP/1.1", "Content-Length: 1", "Transfer-Encoding: chunked"],
        ["POST http://a.example/ HTTP/1.1", "Transfer-Encoding: gzip, chunked"],
        ["POST http://a.example/ HTTP/1.1", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
        ["POST http://a.example/ HTTP/1.1", "Transfer-Encoding: xchunked"],
    ],
)
def test_what_could_be_read_in_two_ways_is_not_read(lines: list[str]) -> None:
    with pytest.raises(BadRequest):
        parse_head(head(*lines))


@pytest.mark.parametrize("where", ["/path", "https://a.example/", "ftp://a.example/", "http:///x", "http://[", "*"])
def test_what_a_proxy_is_not_asked(where: str) -> None:
    with pytest.raises(BadRequest):
        parse_head(head(f"GET {where} HTTP/1.1")).make_direct()


async def test_heads_have_a_size_and_an_end() -> None:
    reader = asyncio.StreamReader(limit=MAX_HEAD)
    reader.feed_data(b"GET http://a.example/ HTTP/1.1\r\nx: " + b"y" * MAX_HEAD * 2)
    with pytest.raises(BadRequest, match="too large"):
        await read_head(reader)
    reader = asyncio.StreamReader()
    reader.feed_data(b"GET http")
    reader.feed_eof()
    with pytest.raises(BadRequest, match="ends in its middle"):
        await read_head(reader)
    reader = asyncio.StreamReader()
    reader.feed_eof()
    assert await read_head(reader) is None


async def test_a_body_ends_where_it_says() -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(b"4;x=y\r\nbody\r\n0\r\nTrailer: x\r\n\r\nrest")
    assert b"".join([piece async for piece in read_body(reader, None)]) == b"4;x=y\r\nbody\r\n0\r\n\r\n"
    assert b"".join([piece async for piece in read_body(reader, 2)]) == b"re"
    reader.feed_eof()
    with pytest.raises(asyncio.IncompleteReadError):
        [piece async for piece in read_body(reader, 3)]


@pytest.mark.parametrize("chunk", [b"-1\r\n", b"0x4\r\n", b" 4\r\n", b"\r\n", b"4 4\r\n", b"g\r\n"])
async def test_chunks_without_a_size(chunk: bytes) -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(chunk)
    with pytest.raises(BadRequest):
        [piece async for piece in read_body(reader, None)]
