"""Hosts in one spelling, however they were written."""

import pytest

from runtime.egress.hosts import NotAHost, read_host, read_target, split_port


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Example.ORG", "example.org"),
        ("example.org.", "example.org"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("faß.example", "xn--fa-hia.example"),
        ("ς.example", "xn--3xa.example"),
        ("क\u094d\u200d.example", "xn--11b6iy14e.example"),
        ("example。org", "example.org"),
        ("１２７.0.0.1", "127.0.0.1"),
        ("a_b.example", "a_b.example"),
        ("localhost", "localhost"),
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1.", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("0x7f000001", "127.0.0.1"),
        ("0X7F.1", "127.0.0.1"),
        ("017700000001", "127.0.0.1"),
        ("0177.0.0.01", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("127.0.1", "127.0.0.1"),
        ("0", "0.0.0.0"),
        ("0x", "0.0.0.0"),
        ("[::1]", "::1"),
        ("::1", "::1"),
        ("[0:0:0:0:0:0:0:1]", "::1"),
        ("[::FFFF:127.0.0.1]", "::ffff:7f00:1"),
        ("[2001:DB8::0:7]", "2001:db8::7"),
    ],
)
def test_one_spelling(text: str, name: str) -> None:
    assert read_host(text).name == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "a..b",
        ".a",
        "a b",
        "a/b",
        "a@b",
        "a%00b",
        "%31%32%37.0.0.1",
        "a\\b",
        "1.2.3.4.5",
        "256.0.0.1",
        "1.2.3.256",
        "08.0.0.1",
        "4294967296",
        "example.1",
        "[::1",
        "::1]",
        "[example.org]",
        "[127.0.0.1]",
        "[[::1]]",
        "[fe80::1%eth0]",
        "fe80::1%1",
        "1::2::3",
        "a" * 64 + "." + "b" * 200,
        "xn--\N{SNOWMAN}",
    ],
)
def test_what_names_no_host(text: str) -> None:
    with pytest.raises(NotAHost):
        read_host(text)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a.example", ("a.example", None)),
        ("a.example:8080", ("a.example", 8080)),
        ("[::1]", ("[::1]", None)),
        ("[::1]:80", ("[::1]", 80)),
        ("::1", ("::1", None)),
    ],
)
def test_hosts_with_ports(text: str, parts: tuple[str, int | None]) -> None:
    assert split_port(text) == parts


@pytest.mark.parametrize("text", ["a:", "a:0", "a:65536", "a:-1", "a:x", "a:1e3", "a:８０", "a:999999999999999999"])
def test_ports_that_are_none(text: str) -> None:
    with pytest.raises(NotAHost):
        split_port(text)


def test_a_target_says_itself() -> None:
    assert str(read_target("[::1]:80")) == "[::1]:80"
    assert str(read_target("A.example", 443)) == "a.example:443"
    with pytest.raises(NotAHost, match="has no port"):
        read_target("a.example")
