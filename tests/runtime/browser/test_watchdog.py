"""Pages that mean harm: each is ended in time and says why, and what another tenant does meanwhile goes on."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio
from playwright._impl.connection import Connection

from contracts.execution import FailureCode
from runtime.browser.failure import BrowserFailure
from runtime.browser.page import Page
from runtime.browser.pool import Lease, Pool, PoolOptions
from runtime.browser.processes import find_driver
from runtime.browser.watchdog import Watchdog, _find_groups, measure_growth
from tests.runtime.browser.clocks import let_spin
from tests.runtime.browser.test_pool import a_run_of, browser_of, find_drivers, tenant, until
from tests.support.browsers import open_pool
from tests.support.site import Site

pytestmark = pytest.mark.asyncio(loop_scope="session")

LIMIT = 600 * 1_048_576
"""Small: the machine has other things to do."""
TYPED_ARRAYS = """<title>bomb</title><script>const kept = [];
setInterval(() => { const one = new Uint8Array(32 << 20); one.fill(7); kept.push(one); }, 0)</script>"""
HEAP = """<title>bomb</title><script>const kept = [];
setInterval(() => { for (let n = 0; n < 200000; n++) kept.push({n, text: "x" + n, more: [n, n]}); }, 0)</script>"""
DATABASE = """<title>bomb</title><script>
const ask = indexedDB.open("flood", 1);
ask.onupgradeneeded = () => ask.result.createObjectStore("all", {autoIncrement: true});
const noise = () => { const one = new Uint8Array(8 << 20);
  for (let at = 0; at < one.length; at += 65536) crypto.getRandomValues(one.subarray(at, at + 65536)); return one; };
ask.onsuccess = () => { const put = () => { const move = ask.result.transaction("all", "readwrite");
  move.objectStore("all").add(noise()); move.oncomplete = put; }; put(); }</script>"""
CALM = "<title>0</title><button onclick='document.title = +document.title + 1'>on</button>"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def watched(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pool]:
    """A pool whose browsers may hold little."""
    options = PoolOptions(tmp_path_factory.mktemp("watched"), spare=False, memory_limit=LIMIT)
    async with open_pool(options) as pool:
        yield pool


@pytest_asyncio.fixture(loop_scope="session")
async def neighbour(watched: Pool, site: Site) -> AsyncIterator[Page]:
    """A page of another tenant, that counts clicks in its title."""
    site.pages["/calm"] = CALM
    async with watched.lease(a_run_of(tenant())) as lease:
        page = await lease.open_page("calm")
        await page.open_url(site.url("/calm"))
        yield page


async def work(page: Page, clicks: asyncio.Queue[float]) -> None:
    while True:
        before = time.monotonic()
        await page.click("button", timeout_s=60)
        clicks.put_nowait(time.monotonic() - before)


async def suffer(page: Page, limit_s: float) -> BrowserFailure:
    """Wait for something that never comes, as a run would that has met such a page."""
    with pytest.raises(BrowserFailure) as caught:
        await page.wait_for("#never", "visible", timeout_s=limit_s)
    return caught.value


@pytest.mark.parametrize("bomb", [TYPED_ARRAYS, DATABASE], ids=["typed arrays", "indexed db"])
async def test_a_memory_bomb_is_ended_and_the_neighbour_unharmed(
    watched: Pool, neighbour: Page, site: Site, bomb: str
) -> None:
    site.pages["/bomb"] = bomb
    owner, clicks = tenant(), asyncio.Queue[float]()
    ended = watched.figures.overgrown
    async with watched.lease(a_run_of(owner)) as lease, asyncio.TaskGroup() as tasks:
        working = tasks.create_task(work(neighbour, clicks))
        page = await lease.open_page("bomb")
        chromium = await browser_of(lease)
        await open_bomb(page, site)
        failure = await suffer(page, 30)
        assert not chromium.alive
        done = clicks.qsize()
        await until(lambda: clicks.qsize() > done + 3)  # its neighbour goes on
        working.cancel()
        again = await lease.open_page("bomb")
        await again.open_url(site.url("/calm"))
        assert await again.read_title() == "0"
    assert (failure.code, failure.retryable) == (FailureCode.BROWSER_CRASHED, True)
    assert "more than 600 MiB of memory" in failure.message
    assert watched.figures.overgrown == ended + 1
    assert neighbour.lost is None


async def open_bomb(page: Page, site: Site) -> None:
    try:
        await page.open_url(site.url("/bomb"))
    except BrowserFailure as failure:  # it was quicker than its own load event
        assert failure.code is FailureCode.BROWSER_CRASHED  # noqa: PT017


async def test_a_heap_bomb_crashes_its_page_or_is_ended(watched: Pool, neighbour: Page, site: Site) -> None:
    site.pages["/bomb"] = HEAP
    async with watched.lease(a_run_of(tenant())) as lease:
        page = await lease.open_page("bomb")
        await open_bomb(page, site)
        failure = await suffer(page, 60)
    assert failure.code is FailureCode.BROWSER_CRASHED
    await neighbour.click("button")


async def test_scripts_have_a_heap_of_their_own_limit(pool: Pool, site: Site) -> None:
    site.pages["/heap"] = "<script>document.title = performance.memory.jsHeapSizeLimit >> 20</script>"
    async with pool.lease(a_run_of(tenant())) as lease:
        page = await lease.open_page("heap")
        await page.open_url(site.url("/heap"))
        assert int(await page.read_title()) <= 1_200


async def test_a_storm_of_windows_ends_its_page_and_nobody_elses(watched: Pool, neighbour: Page, site: Site) -> None:
    site.pages["/storm"] = "<script>onload = () => setInterval(() => open('/storm'), 5)</script>storm"
    owner = tenant()
    async with watched.lease(a_run_of(owner)) as lease:
        beside = await lease.open_page("beside")
        await beside.open_url(site.url("/calm"))
        page = await lease.open_page("storm")
        chromium = await browser_of(lease)
        await page.open_url(site.url("/storm"))
        failure = await suffer(page, 30)
        assert failure.code is FailureCode.PAGE_CLOSED
        assert not failure.retryable
        assert "went on opening windows" in failure.message
        assert chromium.alive
        await beside.click("button")
        assert await beside.read_title() == "1"
    await neighbour.click("button")


FLOODS = {
    "console": "setInterval(() => { for (let n = 0; n < 200; n++) console.log(n) }, 0)",
    "requests": "setInterval(() => { for (let n = 0; n < 100; n++) fetch('/calm?' + n).catch(() => 0) }, 0)",
    "addresses": "let at = 0; setInterval(() => { for (let n = 0; n < 200; n++) location.hash = ++at }, 0)",
    "images": "setInterval(() => { for (let n = 0; n < 100; n++) new Image().src = 'data:image/gif,' + n }, 0)",
}


@pytest.mark.usefixtures("patient_evidence")
@pytest.mark.parametrize("kind", FLOODS)
async def test_a_flood_of_lines_or_requests_does_not_reach_the_worker(
    watched: Pool, neighbour: Page, site: Site, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.pages["/flood"] = f"<script>onload = () => setTimeout(() => {{ {FLOODS[kind]} }}, 50)</script>"
    async with watched.lease(a_run_of(tenant())) as lease:
        page = await lease.open_page("flood")
        await page.open_url(site.url("/flood"))
        await asyncio.sleep(0.5)
        heard = hear_driver(monkeypatch)
        for _ in range(5):
            await neighbour.click("button")
        await asyncio.sleep(0.5)
        assert len(heard) < 300, f"a few for each click: {Counter(heard)}"
        evidence = await page.collect_evidence()
        assert len(evidence.console) <= 100
        assert kind != "console" or len(evidence.console) == 100
        for _ in range(20):  # what was said before it was asked may still be on its way
            heard.clear()
            await asyncio.sleep(0.5)
            if len(heard) < 50:
                break
        assert len(heard) < 50, f"asking once is no wish to hear the rest: {Counter(heard)}"
    assert await neighbour.read_title() == "5"


ALWAYS_TOLD = {
    "errors": "setInterval(() => { for (let n = 0; n < 200; n++) setTimeout(() => { throw n }, 0) }, 0)",
    "frames": """setInterval(() => { for (let n = 0; n < 10; n++) { const one = document.createElement('iframe');
      document.body.append(one); setTimeout(() => one.remove(), 20) } }, 0)""",
}


@pytest.mark.parametrize("kind", ALWAYS_TOLD)
async def test_what_a_driver_tells_unasked_stands_in_nobody_elses_way(
    watched: Pool, neighbour: Page, site: Site, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes through a pipe of its own: between two answers to a neighbour few of its messages are taken."""
    site.pages["/told"] = f"<body><script>onload = () => setTimeout(() => {{ {ALWAYS_TOLD[kind]} }}, 50)</script>"
    async with watched.lease(a_run_of(tenant())) as lease:
        page = await lease.open_page("told")
        await page.open_url(site.url("/told"))
        await asyncio.sleep(1.0)
        heard = hear_driver(monkeypatch)
        await until(lambda: len(heard) > 100)
        for _ in range(5):
            await neighbour.click("button", timeout_s=60)
        assert lease.page("told") is page
    assert await neighbour.read_title() == "5"


def hear_driver(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What Playwright's driver tells from now on, by its kind."""
    heard: list[str] = []
    dispatch = Connection.dispatch

    def note(self: Connection, message: dict[str, object]) -> None:
        heard.append(str(message.get("method", "answer")))
        dispatch(self, message)

    monkeypatch.setattr(Connection, "dispatch", note)
    return heard


@pytest.mark.parametrize(
    "script",
    [
        "while (true) {}",
        "while (true) alert('x')",
        "while (true) confirm('x')",
        "while (true) history.pushState(1, '')",
    ],
)
async def test_a_page_that_never_rests_ends_with_its_deadline_and_its_neighbours_live(
    watched: Pool, neighbour: Page, site: Site, script: str
) -> None:
    async with watched.lease(a_run_of(tenant())) as lease:
        beside = await lease.open_page("beside")
        await beside.open_url(site.url("/calm"))
        page = await lease.open_page("busy")
        await page.open_url(site.url("/calm"))
        await let_spin(page, script)
        await asyncio.sleep(0.2)
        with pytest.raises(BrowserFailure) as caught:
            async with asyncio.timeout(60):
                await page.read_html(timeout_s=1)
        assert caught.value.code in (FailureCode.TIMEOUT, FailureCode.BROWSER_CRASHED)
        await beside.click("button")
        assert await beside.read_title() == "1"
    await neighbour.click("button")


@pytest.mark.parametrize(
    "call",
    ["title", "html", "rows", "click", "fill", "select", "wait", "picture", "state", "evidence", "open"],
)
async def test_every_call_has_a_deadline_on_a_page_that_hangs(lease: Lease, site: Site, call: str) -> None:
    site.pages["/spin"] = "<title>spin</title>spin"
    page = await lease.open_page("spin")
    await page.open_url(site.url("/spin"))
    await let_spin(page)
    await asyncio.sleep(0.2)
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "title": lambda: page.read_title(timeout_s=0.3),
        "html": lambda: page.read_html(timeout_s=0.3),
        "rows": lambda: page.read_rows("p", {"a": ("", "")}, timeout_s=0.3),
        "click": lambda: page.click("p", timeout_s=0.3),
        "fill": lambda: page.fill("p", "x", timeout_s=0.3),
        "select": lambda: page.select("p", "x", timeout_s=0.3),
        "wait": lambda: page.wait_for("p", "visible", timeout_s=0.3),
        "picture": lambda: page.take_picture(timeout_s=0.3),
        "state": page.read_state,
        "evidence": page.collect_evidence,
        "open": lambda: page.open_url(site.url("/spin?again"), timeout_s=0.3),
    }
    async with asyncio.timeout(60):
        try:
            await calls[call]()
        except BrowserFailure as failure:
            assert failure.code in (FailureCode.TIMEOUT, FailureCode.ELEMENT_NOT_FOUND)  # noqa: PT017
        await page.close()


class Grown:
    """A browser that is said to hold too much."""

    def __init__(self, pid: int) -> None:
        self.pid: int | None = pid
        self.lost: list[BrowserFailure] = []

    def lose(self, explain: object) -> None:
        assert callable(explain)
        self.lost.append(explain("https://x.example/"))
        self.pid = None


async def test_what_a_driver_holds_counts_for_its_browser(pool: Pool) -> None:
    """It keeps the last two hundred lines of a console, however long they are."""
    async with pool.lease(a_run_of(tenant())) as lease:
        chromium = await browser_of(lease)
        assert chromium.pid is not None
        driver = find_driver(chromium.pid)
        assert driver in find_drivers(pool)
        assert driver in _find_groups({chromium.pid})[chromium.pid]
    assert find_driver(os.getpid()) is None


async def test_only_the_one_that_holds_too_much_is_ended(pool: Pool) -> None:
    async with pool.lease(a_run_of(tenant())) as lease:
        chromium = await browser_of(lease)
        assert chromium.pid is not None
        held = measure_growth({chromium.pid}, 0)[chromium.pid]
        assert 10_000_000 < held < 500_000_000
        assert held <= measure_growth({chromium.pid}, 2**40)[chromium.pid], "shared pages were counted more than once"
        large, small = Grown(chromium.pid), Grown(999_999_999)
        dog = Watchdog(held // 2, lambda: [large, small])
        watching = asyncio.ensure_future(dog.watch())
        await until(lambda: bool(large.lost))
        watching.cancel()
        assert (dog.ended, small.lost) == (1, [])
        assert large.lost[0].page_url == "https://x.example/"
        assert chromium.alive
