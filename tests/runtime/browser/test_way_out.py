"""How a context gets out: by the proxy, as the run that holds it, and with words for what did not work."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from contracts.execution import FailureCode
from runtime.browser.failure import BrowserFailure
from runtime.browser.pool import Lease, Pool, PoolOptions
from runtime.egress.egress import Egress
from runtime.egress.permit import Limits, Permit
from runtime.egress.policy import Policy, Refusal, Rule, read_exceptions, read_lists
from tests.runtime.egress.played import PUBLIC, Internet
from tests.support.browsers import TENANT, make_permit
from tests.support.site import Site, run_site

pytestmark = pytest.mark.asyncio(loop_scope="session")


def limit(permit: Permit, limits: Limits, *hosts: str) -> Permit:
    return Permit(permit.tenant_id, permit.execution_id, Policy(read_exceptions(hosts)), limits)


async def refuse(lease: Lease, url: str) -> BrowserFailure:
    page = await lease.open_page("node-1")
    with pytest.raises(BrowserFailure) as caught:
        await page.open_url(url)
    return caught.value


async def test_a_public_site_is_reached_by_default(tmp_path: Path, site: Site) -> None:
    internet = Internet(names={"public.example": [PUBLIC]}, lands={PUBLIC: int(site.host.split(":")[1])})
    site.pages["/public"] = "<title>public</title>"
    async with Egress(door=internet.door()) as egress, Pool(PoolOptions(tmp_path, spare=False), egress.proxy) as pool:
        permit = make_permit(TENANT)
        async with pool.lease(permit) as lease:
            page = await lease.open_page("node-1")
            await page.open_url("http://public.example/public")
            assert await page.read_title() == "public"
            failure = await refuse(lease, "http://nowhere.example/")
            assert failure.message == "nowhere.example:80 could not be reached: its name does not resolve."
            assert (failure.code, failure.retryable) == (FailureCode.NAVIGATION_FAILED, True)
            failure = await refuse(lease, "https://nowhere.example/")
            assert failure.message == "nowhere.example:443 could not be reached: its name does not resolve."
        permit.close()
    assert set(internet.connected) == {f"{PUBLIC}:80"}


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_redirect_into_a_private_network_is_refused_by_name(lease: Lease, site: Site, scheme: str) -> None:
    failure = await refuse(lease, site.url(f"/go?to={scheme}://10.1.2.3/x"))
    assert failure.code is FailureCode.HOST_REFUSED
    port = 80 if scheme == "http" else 443
    assert failure.message == f"10.1.2.3:{port} may not be reached: it lies in a private network."


async def test_runs_that_share_a_browser_stay_apart(pool: Pool, site: Site) -> None:
    site.pages |= {"/one": "<img src=/1><title>one</title>", "/two": "<title>two</title>"}
    open_, closed = (
        make_permit(TENANT, site.host),
        Permit(
            TENANT,
            make_permit(TENANT).execution_id,
            Policy(read_exceptions([site.host])).narrow(read_lists(deny=[site.host])),
        ),
    )
    told: list[Refusal] = []
    closed.tell(told.append)
    async with pool.lease(open_) as one, pool.lease(closed) as two:
        pages = [await lease.open_page("node-1") for lease in (one, two, one)]
        assert len({chromium for lease in (one, two) for _, chromium in lease._pages.values()}) == 1
        await pages[2].open_url(site.url("/one"))
        sent = open_.sent
        with pytest.raises(BrowserFailure):
            await pages[1].open_url(site.url("/two"))
        response = await pages[1]._page.goto(site.url("/two"))  # without the check of the address before it
        assert response is not None
        assert response.status == 403
        assert closed.sent == 0
        assert open_.sent == sent
        assert [refusal.rule for refusal in told] == [Rule.DENIED]
    for permit in (open_, closed):
        permit.close()


async def test_a_parked_page_opens_nothing_until_it_is_lent(pool: Pool, permit: Permit, site: Site) -> None:
    site.pages["/parked"] = "<title>parked</title>"
    async with pool.lease(permit) as lease:
        await lease.open_page("node-1")
        _, chromium = lease._pages["node-1"]
        async with asyncio.timeout(60):
            while chromium._parked is None:  # noqa: ASYNC110 — the pool tells nobody
                await asyncio.sleep(0.02)
        parked = chromium._parked
        response = await parked._page.goto(site.url("/parked"))
        assert response is not None
        assert (response.status, response.headers["x-stagedoor-refused"]) == (403, "unbound")
        page = await lease.open_page("node-2")
        assert page is parked
        await page.open_url(site.url("/parked"))
        assert await page.read_title() == "parked"


async def test_a_page_that_is_closed_has_no_credentials_left(lease: Lease, site: Site) -> None:
    page = await lease.open_page("node-1")
    proxy, name = page.way_out._proxy, page.way_out._credentials.username
    assert name in proxy._guests
    await page.close()
    assert name not in proxy._guests


@pytest_asyncio.fixture(loop_scope="session")
async def guarded() -> AsyncIterator[tuple[str, list[bytes]]]:
    """A site that asks for a password, and what it was told."""
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(
            b"HTTP/1.1 401 x\r\nwww-authenticate: Basic realm=stagedoor\r\n"
            b"connection: close\r\ncontent-length: 2\r\n\r\nno"
        )
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", heard


async def test_no_site_is_told_the_proxys_password(pool: Pool, guarded: tuple[str, list[bytes]]) -> None:
    host, heard = guarded
    permit = make_permit(TENANT, host)
    async with pool.lease(permit) as lease:
        page = await lease.open_page("node-1")
        try:
            assert await page.open_url(f"http://{host}/") == 401
        except BrowserFailure as failure:  # a whole Chromium shows no page for it
            assert "HTTP 401" in failure.hint  # noqa: PT017
    permit.close()
    assert heard
    assert not any(b"authorization" in head.lower() for head in heard)


async def test_the_cache_stays_on(lease: Lease, pool: Pool) -> None:
    """Whoever intercepts requests turns it off."""
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode()
        asked.append(path)
        body = b"<script src=/kept.js></script>" if path.startswith("/page") else b"1"
        writer.write(
            b"HTTP/1.1 200 x\r\ncache-control: max-age=600\r\nconnection: close\r\ncontent-length: %d\r\n"
            b"content-type: text/html\r\n\r\n%s" % (len(body), body)
        )
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        permit = make_permit(TENANT, host)
        async with pool.lease(permit) as own:
            page = await own.open_page("node-1")
            for number in range(3):
                await page.open_url(f"http://{host}/page{number}")
        permit.close()
    assert asked.count("/kept.js") == 1


async def test_a_run_that_has_used_up_its_traffic_is_told_so(pool: Pool, permit: Permit, site: Site) -> None:
    site.pages["/large"] = "<title>large</title>" + "x" * 500_000
    small = limit(permit, Limits(max_bytes=50_000), site.host)
    async with pool.lease(small) as lease:
        page = await lease.open_page("node-1")
        with pytest.raises(BrowserFailure):
            await page.open_url(site.url("/large"))
        failure = await refuse(lease, site.url("/large"))
        assert failure.code is FailureCode.HOST_REFUSED
        assert "this run has used up its traffic" in failure.message
    small.close()


async def test_an_endless_download_is_cut_off(pool: Pool) -> None:
    piece, sent, whole = b"x" * 65_536, 0, 500_000_000

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 200 x\r\ncontent-type: application/octet-stream\r\ncontent-length: %d\r\n"
            b"content-disposition: attachment; filename=large.bin\r\n\r\n" % whole
        )
        try:
            while sent < whole:
                writer.write(piece)
                await writer.drain()
                sent += len(piece)
        except OSError:
            return  # cut off
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        small = limit(make_permit(TENANT), Limits(max_bytes=20_000_000), host)
        told: list[Refusal] = []
        small.tell(told.append)
        async with pool.lease(small) as lease:
            page = await lease.open_page("node-1")
            await page._page.evaluate("url => { fetch(url, {mode: 'no-cors'}).then(r => r.blob()) }", f"http://{host}/")
            async with asyncio.timeout(60):
                while not told:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        small.close()
    assert [refusal.rule for refusal in told] == [Rule.BYTES]
    assert small.received < 21_000_000
    assert sent < 60_000_000, "the site went on into a connection that nobody reads"


@pytest.mark.parametrize(
    "address",
    ["file:///etc/hostname", "view-source:file:///etc/hostname", "chrome://version", "devtools://devtools/bundled/x"],
)
async def test_no_page_leads_to_what_is_no_web(lease: Lease, site: Site, address: str) -> None:
    site.pages["/leading"] = f"""<a id=a href='{address}'>a</a><a id=b href='{address}' target=_blank>b</a>
      <iframe src='{address}'></iframe><iframe src='/go?to={address}'></iframe><h1>here</h1>
      <script>onload = () => setTimeout(() => {{ try {{ window.open('{address}') }} catch (e) {{}}
      try {{ location = '{address}' }} catch (e) {{}} }}, 100)</script>"""
    page = await lease.open_page("node-1")
    await page.open_url(site.url("/leading"))
    await page.click("#a")
    await page.click("#b")
    await asyncio.sleep(0.5)
    assert page.url == site.url("/leading")
    for other in page._context.pages:
        for frame in other.frames:
            assert not frame.url.startswith(("file:", "chrome:", "devtools:", "view-source:"))
    with pytest.raises(BrowserFailure):
        await page.open_url(site.url(f"/go?to={address}"))


async def test_playwrights_switch_for_loopback_is_taken_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: Site
) -> None:
    monkeypatch.setenv("PLAYWRIGHT_DISABLE_FORCED_CHROMIUM_PROXIED_LOOPBACK", "1")
    elsewhere.connections.clear()
    with run_site({"/": f"<img src='http://{elsewhere.host}/leak'>"}) as good:
        async with Egress() as egress, Pool(PoolOptions(tmp_path, spare=False), egress.proxy) as pool:
            permit = make_permit(TENANT, good.host)
            async with pool.lease(permit) as lease:
                page = await lease.open_page("node-1")
                await page.open_url(good.url())
            permit.close()
    assert elsewhere.connections == []
