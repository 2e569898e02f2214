"""Through a SOCKS5 proxy that a tenant names: by the same door, and for the address that was checked."""

from collections.abc import AsyncIterator, Iterator

import pytest

from runtime.egress.door import Unreachable
from runtime.egress.policy import Refused, Rule
from runtime.egress.upstream import Upstream, connect_through, read_upstream
from tests.runtime.egress.played import PUBLIC, Internet, make_permit
from tests.support.site import Site, run_site
from tests.support.socks import SocksRelay

PROXY = "93.184.216.99"
SIX = "2001:4860:4860::8888"
OWN = Upstream("socks5", "proxy.example", 1080)


@pytest.fixture
def site() -> Iterator[Site]:
    with run_site({"/": "<h1>hello</h1>"}) as running:
        yield running


@pytest.fixture
async def relay(site: Site) -> AsyncIterator[SocksRelay]:
    async with SocksRelay(lands=int(site.host.split(":")[1])) as running:
        yield running


@pytest.fixture
def internet(relay: SocksRelay) -> Internet:
    names = {
        "public.example": [SIX, PUBLIC],
        "six.example": [SIX],
        "inside.example": ["10.0.0.7"],
        "proxy.example": [PROXY],
        "inner-proxy.example": ["10.0.0.8"],
    }
    return Internet(names=names, lands={PROXY: relay.port})


async def fetch(internet: Internet, upstream: Upstream = OWN, host: str = "public.example") -> bytes:
    permit = make_permit()
    connection = await connect_through(internet.door(), permit, upstream, host, 80)
    await connection.write(b"GET / HTTP/1.1\r\nhost: public.example\r\nconnection: close\r\n\r\n")
    found = b""
    while piece := await connection.read(65_536):
        found += piece
    await connection.close()
    assert permit.open == 0
    return found


@pytest.mark.parametrize(("host", "asked"), [("public.example", f"{PUBLIC}:80"), ("six.example", f"{SIX}:80")])
async def test_the_proxy_is_asked_for_the_address_that_was_checked(
    internet: Internet, relay: SocksRelay, host: str, asked: str
) -> None:
    assert (await fetch(internet, host=host)).endswith(b"<h1>hello</h1>")
    assert relay.asked == [asked]
    assert internet.connected == [f"{PROXY}:1080"]


@pytest.mark.parametrize("bound", [b"\x04" + bytes(18), b"\x03\x05there" + bytes(2)], ids=["IPv6", "a name"])
async def test_whatever_it_says_of_itself_the_site_comes_after_it(
    internet: Internet, relay: SocksRelay, bound: bytes
) -> None:
    relay.bound = bound
    assert (await fetch(internet)).startswith(b"HTTP/1.1 200")


async def test_who_one_is_is_said_to_the_proxy(internet: Internet, relay: SocksRelay) -> None:
    relay.login = ("ada", "s3cret")
    for upstream in (OWN, Upstream("socks5", "proxy.example", 1080, "ada", "wrong")):
        with pytest.raises(Unreachable, match="another user's name"):
            await fetch(internet, upstream)
    assert relay.asked == []
    assert await fetch(internet, Upstream("socks5", "proxy.example", 1080, "ada", "s3cret"))
    relay.login = None
    assert await fetch(internet, Upstream("socks5", "proxy.example", 1080, "ada", "s3cret"))


async def test_what_may_not_be_reached_is_not_asked_for(internet: Internet, relay: SocksRelay) -> None:
    for host, rule in (("inside.example", Rule.PRIVATE), ("169.254.169.254", Rule.METADATA)):
        with pytest.raises(Refused) as caught:
            await fetch(internet, host=host)
        assert caught.value.refusal.rule is rule
    with pytest.raises(Unreachable, match="may not be reached from here"):
        await fetch(internet, Upstream("socks5", "inner-proxy.example", 1080))
    assert (relay.asked, internet.connected) == ([], [])


@pytest.mark.parametrize(
    ("code", "answer", "said"),
    [
        (5, None, "its proxy answered “connection refused”"),
        (2, None, "its proxy answered “connection not allowed by ruleset”"),
        (99, None, "spoke no SOCKS5"),
        (0, b"HTTP/1.1 400 Bad Request\r\n\r\n", "spoke no SOCKS5"),
        (0, b"\x05", "broke off"),
        (0, b"\x05\x00\x05\x00\x00\x09", "spoke no SOCKS5"),
        (0, b"\x05\x01", "another user's name"),
        (0, b"", "broke off"),
    ],
)
async def test_a_proxy_that_leads_nowhere(
    internet: Internet, relay: SocksRelay, code: int, answer: bytes | None, said: str
) -> None:
    relay.code, relay.answer = code, answer
    permit = make_permit()
    with pytest.raises(Unreachable, match=said):
        await connect_through(internet.door(), permit, OWN, "public.example", 80)
    assert said in str(permit.find_trouble("public.example", 80))
    assert permit.open == 0


def test_there_is_an_end_to_names_and_passwords() -> None:
    with pytest.raises(ValueError, match="255 bytes"):
        read_upstream("socks5://proxy.example", "ada", "x" * 256)
