"""Through a proxy that a tenant names: checked first, pinned, and nothing that the policy refuses by way of it."""

import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from runtime.egress.door import NoSuchHost, Unreachable
from runtime.egress.policy import Policy, Refused, Rule, read_lists
from runtime.egress.proxy import Credentials, EgressProxy
from runtime.egress.upstream import Upstream, connect_through, read_upstream
from tests.runtime.egress.played import PUBLIC, Internet, make_permit
from tests.runtime.egress.test_proxy import Client
from tests.support.relay import Relay
from tests.support.site import Site, run_site
from tests.support.tls import make_tls

PROXY = "93.184.216.99"
OWN = Upstream("http", "proxy.example", 8080)


@pytest.fixture
def site() -> Iterator[Site]:
    with run_site({"/": "<h1>hello</h1>"}) as running:
        yield running


@pytest.fixture
async def relay(site: Site) -> AsyncIterator[Relay]:
    async with Relay(lands=int(site.host.split(":")[1])) as running:
        yield running


@pytest.fixture
def internet(relay: Relay) -> Internet:
    names = {
        "public.example": ["2001:4860:4860::8888", PUBLIC],
        "inside.example": ["10.0.0.7"],
        "proxy.example": [PROXY],
        "inner-proxy.example": ["10.0.0.8"],
    }
    return Internet(names=names, lands={PROXY: relay.port})


async def fetch(internet: Internet, upstream: Upstream, host: str = "public.example", **how: ssl.SSLContext) -> bytes:
    connection = await connect_through(internet.door(), make_permit(), upstream, host, 80, **how)
    await connection.write(b"GET / HTTP/1.1\r\nhost: public.example\r\nconnection: close\r\n\r\n")
    found = b""
    while piece := await connection.read(65_536):
        found += piece
    await connection.close()
    return found


async def test_the_proxy_is_asked_for_the_address_that_was_checked(internet: Internet, relay: Relay) -> None:
    assert (await fetch(internet, OWN)).endswith(b"<h1>hello</h1>")
    assert relay.asked == [f"{PUBLIC}:80"]
    assert internet.connected == [f"{PROXY}:8080"]
    assert "public.example" not in relay.heard[0]


async def test_who_one_is_is_said_to_the_proxy(internet: Internet, relay: Relay) -> None:
    relay.login = ("ada", "s3cret")
    with pytest.raises(Unreachable, match="another user's name"):
        await fetch(internet, OWN)
    assert await fetch(internet, Upstream("http", "proxy.example", 8080, "ada", "s3cret"))
    assert "s3cret" not in repr(Upstream("http", "proxy.example", 8080, "ada", "s3cret"))


async def test_what_may_not_be_reached_is_not_asked_for(internet: Internet, relay: Relay) -> None:
    for host, rule in (
        ("inside.example", Rule.PRIVATE),
        ("169.254.169.254", Rule.METADATA),
        ("localhost", Rule.LOOPBACK),
    ):
        with pytest.raises(Refused) as caught:
            await fetch(internet, OWN, host)
        assert caught.value.refusal.rule is rule
    assert (relay.heard, internet.connected) == ([], [])


@pytest.mark.parametrize("upstream", [Upstream("http", "inner-proxy.example", 8080), Upstream("http", "127.0.0.1", 80)])
async def test_a_proxy_inside_is_not_reached(internet: Internet, relay: Relay, upstream: Upstream) -> None:
    permit = make_permit()
    with pytest.raises(Unreachable, match="may not be reached from here"):
        await connect_through(internet.door(), permit, upstream, "public.example", 80)
    assert relay.heard == []
    assert permit.find_refusal(upstream.host, upstream.port) is not None
    assert "its proxy" in str(permit.find_trouble("public.example", 80))


@pytest.mark.parametrize(
    ("proxy", "host", "said"),
    [
        ("proxy.example", "nowhere.example", "its name does not resolve"),
        ("gone.example", "public.example", "of its proxy gone.example:8080, its name does not resolve"),
    ],
)
async def test_who_does_not_exist_is_named(internet: Internet, relay: Relay, proxy: str, host: str, said: str) -> None:
    permit = make_permit()
    with pytest.raises(NoSuchHost) as caught:
        await connect_through(internet.door(), permit, Upstream("http", proxy, 8080), host, 80)
    missing = proxy if host == "public.example" else host
    assert (caught.value.missing, caught.value.reason) == (missing, said)
    assert permit.find_missing(host, 80) == missing


async def test_a_tenants_lists_hold_for_the_proxy_too(internet: Internet, relay: Relay) -> None:
    permit = make_permit(policy=Policy().narrow(read_lists(["public.example"], [])))
    with pytest.raises(Unreachable, match=r"proxy\.example:8080 may not be reached"):
        await connect_through(internet.door(), permit, OWN, "public.example", 80)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "answered 403"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "spoke no HTTP"),
        (b"HTTP/1.1 200 OK\r\n", "broke off"),
        (b"", "broke off"),
    ],
)
async def test_a_proxy_that_leads_nowhere(internet: Internet, relay: Relay, answer: bytes, said: str) -> None:
    relay.answer = answer
    permit = make_permit()
    with pytest.raises(Unreachable, match=said):
        await connect_through(internet.door(), permit, OWN, "public.example", 80)
    assert said in str(permit.find_trouble("public.example", 80))
    assert permit.open == 0


async def test_an_https_proxy_has_to_show_who_it_is(
    internet: Internet, relay: Relay, site: Site, tmp_path: Path
) -> None:
    made = make_tls(tmp_path, "proxy.example")
    async with Relay(lands=relay.lands, tls=made.server) as guarded:
        internet.lands[PROXY] = guarded.port
        upstream = Upstream("https", "proxy.example", 443)
        assert (await fetch(internet, upstream, tls=made.client)).endswith(b"<h1>hello</h1>")
        with pytest.raises(Unreachable, match="broke off"):
            await fetch(internet, upstream)  # nobody has signed for it


async def test_our_own_proxy_goes_on_through_it(internet: Internet, relay: Relay) -> None:
    permit = make_permit()
    async with EgressProxy(internet.door()) as proxy:
        credentials: Credentials = proxy.issue()
        proxy.bind(credentials, permit, OWN)
        async with Client(proxy, credentials) as client:
            status, _, body = await client.ask("GET http://public.example/")
            assert (status, body) == (200, b"<h1>hello</h1>")
        async with Client(proxy, credentials) as client:
            status, _, body = await client.ask("GET http://inside.example/")
            assert (status, b"private network" in body) == (403, True)
    assert relay.asked == [f"{PUBLIC}:80"]
    assert permit.received > 0


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://", "no host"),
        ("socks4://proxy.example:1080", "not the address of an http"),
        ("ftp://proxy.example", "not the address of an http"),
        ("http://ada:pw@proxy.example:8080", "user's name or password"),
        ("http://proxy.example:8080/path", "more behind"),
        ("http://proxy.example:99999", "no host"),
    ],
)
def test_what_is_no_proxy(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_upstream(url)


def test_addresses_of_proxies() -> None:
    assert read_upstream("http://Proxy.Example:8080/") == OWN
    assert read_upstream("socks5://proxy.example") == Upstream("socks5", "proxy.example", 1080)
    assert read_upstream("https://proxy.example") == Upstream("https", "proxy.example", 443)
    assert str(read_upstream("http://[2001:db8::1]:3128").target) == "[2001:db8::1]:3128"
