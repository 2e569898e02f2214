"""The forward proxy, as a client meets it on its socket."""

import asyncio
import base64
from collections.abc import AsyncIterator, Iterator
from typing import Self

import pytest

from runtime.egress.permit import Limits, Permit, Tally
from runtime.egress.policy import Policy, Rule, read_lists
from runtime.egress.proxy import GREETING_HOST, Credentials, EgressProxy
from tests.runtime.egress.played import PUBLIC, Internet, make_permit
from tests.support.site import Site, run_site


@pytest.fixture
def public() -> Iterator[Site]:
    with run_site({"/": "<h1>hello</h1>", "/two": "two"}) as site:
        yield site


@pytest.fixture
async def internet(public: Site) -> Internet:
    names = {"public.example": [PUBLIC], "inside.example": ["127.0.0.1"], "other.example": [PUBLIC]}
    return Internet(names=names, lands={PUBLIC: int(public.host.split(":")[1])})


@pytest.fixture
async def proxy(internet: Internet) -> AsyncIterator[EgressProxy]:
    async with EgressProxy(internet.door()) as running:
        yield running


class Client:
    """One connection to the proxy."""

    def __init__(self, proxy: EgressProxy, credentials: Credentials | None) -> None:
        self._proxy = proxy
        self._credentials = credentials

    async def __aenter__(self) -> Self:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._proxy.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()

    async def ask(self, line: str, *fields: str, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
        self.send(line, *fields, body=body)
        return await self.hear()

    def send(self, line: str, *fields: str, body: bytes = b"") -> None:
        lines = [f"{line} HTTP/1.1", "host: whatever", *fields]
        if self._credentials is not None:
            said = f"{self._credentials.username}:{self._credentials.password}"
            lines.append(f"proxy-authorization: Basic {base64.b64encode(said.encode()).decode()}")
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + body)

    async def hear(self) -> tuple[int, dict[str, str], bytes]:
        async with asyncio.timeout(60):
            first, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
            fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            length = int(fields.get("content-length", "0"))
            return int(first.split()[1]), fields, await self.reader.readexactly(length)


def let_in(proxy: EgressProxy, permit: Permit | None = None) -> Client:
    credentials = proxy.issue()
    proxy.bind(credentials, permit or make_permit())
    return Client(proxy, credentials)


async def test_who_is_nobody_is_asked_who_it_is(proxy: EgressProxy, internet: Internet) -> None:
    issued = proxy.issue()
    for nobody in (None, Credentials("x", "y"), Credentials(issued.username, "wrong"), Credentials("", "")):
        async with Client(proxy, nobody) as client:
            for line in ("GET http://public.example/", "CONNECT public.example:443"):
                status, fields, _ = await client.ask(line)
                assert status == 407
                assert fields["proxy-authenticate"].startswith("Basic ")
    assert internet.asked == []


async def test_who_belongs_to_no_run_is_greeted_and_let_through_nowhere(proxy: EgressProxy, internet: Internet) -> None:
    async with Client(proxy, proxy.issue()) as client:
        assert (await client.ask(f"GET http://{GREETING_HOST}/"))[0] == 204
        assert (await client.ask("GET http://public.example/"))[0] == 403
    assert internet.asked == []


async def test_requests_follow_each_other_on_one_connection(proxy: EgressProxy, public: Site) -> None:
    public.connections.clear()
    async with let_in(proxy) as client:
        assert (await client.ask("GET http://public.example/"))[2] == b"<h1>hello</h1>"
        assert (await client.ask("GET http://public.example/two"))[2] == b"two"
        assert (await client.ask("GET http://public.example/three"))[0] == 404
    assert len(public.connections) == 1


async def test_a_request_for_another_server_is_not_sent_to_this_one(proxy: EgressProxy, public: Site) -> None:
    async with let_in(proxy) as client:
        await client.ask("GET http://public.example/")
        public.requests.clear()
        client.send("GET http://other.example/two")
        assert await client.reader.read() == b""
    assert public.requests == []


async def test_each_request_says_who_it_is(proxy: EgressProxy, public: Site) -> None:
    async with let_in(proxy) as client:
        await client.ask("GET http://public.example/")
        public.requests.clear()
        client._credentials = None
        client.send("GET http://public.example/two")
        assert await client.reader.read() == b""
    assert public.requests == []


async def test_a_tunnel_carries_both_ways(proxy: EgressProxy) -> None:
    permit = make_permit()
    async with let_in(proxy, permit) as client:
        assert (await client.ask("CONNECT public.example:8443"))[0] == 200
        client.writer.write(b"GET /two HTTP/1.1\r\nhost: x\r\n\r\n")
        assert (await client.hear())[2] == b"two"
    assert permit.sent == 30
    assert permit.received > 3


@pytest.mark.parametrize("line", ["GET http://{}/", "CONNECT {}:443", "POST http://{}:80/x?y"])
@pytest.mark.parametrize(
    ("where", "rule"),
    [
        ("127.0.0.1", Rule.LOOPBACK),
        ("inside.example", Rule.LOOPBACK),
        ("INSIDE.example.", Rule.LOOPBACK),
        ("0x7f.1", Rule.LOOPBACK),
        ("[::1]", Rule.LOOPBACK),
        ("[::ffff:127.0.0.1]", Rule.LOOPBACK),
        ("169.254.169.254", Rule.METADATA),
        ("10.1.2.3", Rule.PRIVATE),
        ("[fe80::1%25eth0]", Rule.NOT_A_HOST),
        ("1.2.3.4.5", Rule.NOT_A_HOST),
    ],
)
async def test_refusals_name_the_rule(
    proxy: EgressProxy, internet: Internet, line: str, where: str, rule: Rule
) -> None:
    permit = make_permit()
    async with let_in(proxy, permit) as client:
        status, fields, body = await client.ask(line.format(where))
        assert (status, fields["x-stagedoor-refused"]) == (403, rule.value)
        assert b"may not be reached" in body
    assert internet.connected == []


async def test_two_runs_have_each_their_own_lists_and_bytes(proxy: EgressProxy) -> None:
    narrow = make_permit(policy=Policy().narrow(read_lists(["other.example"])))
    wide = make_permit()
    async with let_in(proxy, narrow) as one, let_in(proxy, wide) as two:
        assert (await one.ask("GET http://public.example/"))[0] == 403
        assert (await two.ask("GET http://public.example/"))[0] == 200
    assert narrow.received == 0
    assert wide.received > 0


async def test_who_does_not_answer_is_a_bad_gateway(proxy: EgressProxy) -> None:
    permit = make_permit(["127.0.0.1:9"])
    for where, reason in (("nowhere.example", b"does not resolve"), ("127.0.0.1:9", b"refuses connections")):
        async with let_in(proxy, permit) as client:
            status, _, body = await client.ask(f"GET http://{where}/")
            assert status == 502
            assert reason in body


@pytest.mark.parametrize(
    "raw",
    [
        b"\x16\x03\x01\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET https://public.example/ HTTP/1.1\r\n\r\n",
        b"POST http://public.example/ HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
    ],
)
async def test_what_is_no_request_is_told_so(proxy: EgressProxy, raw: bytes) -> None:
    credentials = proxy.issue()
    proxy.bind(credentials, make_permit())
    said = base64.b64encode(f"{credentials.username}:{credentials.password}".encode())
    async with Client(proxy, None) as client:
        client.writer.write(raw.replace(b"\r\n\r\n", b"\r\nproxy-authorization: Basic " + said + b"\r\n\r\n"))
        assert (await client.hear())[0] == 400


async def test_bodies_are_no_requests(proxy: EgressProxy, internet: Internet) -> None:
    """What hides in a body stays one: a second request in it would have no credentials, and isn't read as one."""
    heard = bytearray()

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(9_999):
            heard.extend(piece)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    hidden = b"GET http://inside.example/hidden HTTP/1.1\r\n\r\n"
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(hidden), hidden)
    async with await asyncio.start_server(hear, "127.0.0.1", 0) as server:
        internet.lands[PUBLIC] = server.sockets[0].getsockname()[1]
        for field, body in ((f"content-length: {len(hidden)}", hidden), ("transfer-encoding: chunked", chunked)):
            async with let_in(proxy) as client:
                client.send("POST http://public.example/", field, body=body)
                client.writer.write_eof()
                assert (await client.hear())[0] == 200
    assert heard.count(hidden) == 2
    assert "inside.example" not in internet.asked


async def test_used_up_traffic_ends_a_download_in_its_middle(proxy: EgressProxy, public: Site) -> None:
    public.pages["/big"] = "x" * 300_000
    permit = make_permit(limits=Limits(max_bytes=100_000))
    async with let_in(proxy, permit) as client:
        client.send("GET http://public.example/big")
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await client.hear()
    assert permit.received < 250_000
    async with let_in(proxy, permit) as client:
        assert (await client.ask("GET http://public.example/"))[1]["x-stagedoor-refused"] == "bytes"


async def test_the_end_of_a_run_cuts_its_tunnels_and_revokes_its_credentials(proxy: EgressProxy) -> None:
    tally = Tally()
    permit, credentials = make_permit(tally=tally), proxy.issue()
    proxy.bind(credentials, permit)
    async with Client(proxy, credentials) as client:
        await client.ask("CONNECT public.example:443")
        assert tally.open == 1
        permit.close()
        async with asyncio.timeout(60):
            assert await client.reader.read() == b""
    async with Client(proxy, credentials) as client:
        assert (await client.ask("CONNECT public.example:443"))[0] == 403
    proxy.revoke(credentials)
    async with Client(proxy, credentials) as client:
        assert (await client.ask("CONNECT public.example:443"))[0] == 407
    assert tally.open == 0


async def test_nobody_holds_a_door_that_a_client_has_left(proxy: EgressProxy) -> None:
    permit = make_permit()
    async with let_in(proxy, permit) as client:
        await client.ask("CONNECT public.example:443")
    async with let_in(proxy, permit) as client:
        await client.ask("GET http://public.example/")
    async with asyncio.timeout(60):
        while permit.open:  # noqa: ASYNC110 — nothing tells of it
            await asyncio.sleep(0.01)


async def test_who_says_nothing_takes_nobodys_room(proxy: EgressProxy) -> None:
    silent = [await asyncio.open_connection("127.0.0.1", proxy.port) for _ in range(300)]
    async with let_in(proxy) as client:
        assert (await client.ask("GET http://public.example/"))[0] == 200
    async with asyncio.timeout(60):
        assert await silent[0][0].read() == b"", "the oldest went"
    assert not silent[-1][0].at_eof()
    for _, writer in silent:
        writer.close()
