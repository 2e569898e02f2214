"""Files that pages hand out: one when it is wanted, none otherwise, and nothing stays behind."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from contracts.execution import FailureCode
from runtime.browser.downloads import name_file
from runtime.browser.failure import BrowserFailure
from runtime.browser.page import Page
from runtime.browser.pool import Pool
from runtime.browser.workspace import Workspace
from tests.support.browsers import TENANT, make_permit
from tests.support.handout import Handout, run_handout

pytestmark = pytest.mark.asyncio(loop_scope="session")
PAGE = """<a id=file href="/report.csv">report</a> <a id=large href="/large.bin">large</a>
<a id=slow href="/slow.bin">slow</a> <a id=page href="/page">page</a>
<a id=blob download="made.txt">blob</a>
<button id=two onclick="for (const n of ['report.csv', 'other.csv']) { const f = document.createElement('iframe');
  f.src = '/' + n; document.body.append(f) }">two</button>
<button id=flood onclick="const f = document.createElement('iframe'); f.src = '/slow.bin'; document.body.append(f);
  const large = window.URL.createObjectURL(new Blob([new Uint8Array(8e6)]));
  setInterval(() => { const a = document.createElement('a'); a.href = large; a.download = 'x'; a.click() }, 20)">flood
</button>
<script>blob.href = URL.createObjectURL(new Blob(['made here']))</script>"""


@pytest.fixture(scope="module")
def handout() -> Iterator[Handout]:
    with run_handout(PAGE) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def page(pool: Pool, handout: Handout) -> AsyncIterator[Page]:
    async with pool.lease(make_permit(TENANT, handout.host)) as lease:
        opened = await lease.open_page("node-1")
        await opened.open_url(handout.url("/"))
        yield opened


def left(page: Page) -> list[str]:
    return [str(found) for found in page.workspace.path.rglob("*")]


async def until_nothing_left(page: Page) -> None:
    async with asyncio.timeout(60):
        while left(page):  # noqa: ASYNC110 — the browser tells nobody
            await asyncio.sleep(0.05)


async def test_a_click_brings_a_file(page: Page, handout: Handout) -> None:
    found = await page.download(selector="#file")
    assert (found.name, found.size, found.url) == ("report.csv", len(handout.report), handout.url("/report.csv"))
    with found.file as file:
        assert file.read() == handout.report
    assert left(page) == []
    assert page.url == handout.url("/")


async def test_a_blob_does_too(page: Page) -> None:
    made = await page.download(selector="#blob")
    with made.file as file:
        assert (made.name, file.read()) == ("made.txt", b"made here")


async def test_nothing_is_taken_that_nobody_waits_for(page: Page, handout: Handout) -> None:
    await page.click("#file")
    await asyncio.sleep(0.5)
    await until_nothing_left(page)
    (await page.download(selector="#file")).file.close()
    await page.click("#large")  # once more after one that was wanted
    await asyncio.sleep(0.5)
    await until_nothing_left(page)


async def test_what_is_larger_than_wanted_is_stopped(page: Page) -> None:
    with pytest.raises(BrowserFailure) as caught:
        await page.download(selector="#large", max_bytes=100_000)
    assert (caught.value.code, caught.value.acted) == (FailureCode.OUTPUT_TOO_LARGE, True)
    await asyncio.sleep(0.3)
    await until_nothing_left(page)


async def test_one_that_does_not_end_is_given_up(page: Page) -> None:
    with pytest.raises(BrowserFailure) as caught:
        await page.download(selector="#slow", timeout_s=4)
    assert (caught.value.code, caught.value.acted) == (FailureCode.TIMEOUT, True)
    assert "did not end" in caught.value.message
    assert page.lost is None


async def test_a_link_to_a_page_is_no_download(page: Page) -> None:
    with pytest.raises(BrowserFailure, match="No download began"):
        await page.download(selector="#page", timeout_s=2)


async def test_of_two_at_once_one_is_taken(page: Page, handout: Handout) -> None:
    (await page.download(selector="#two")).file.close()
    await asyncio.sleep(0.3)
    await until_nothing_left(page)


async def test_a_page_that_begins_downloads_without_end_fills_no_disk(page: Page) -> None:
    most, done = 0, asyncio.Event()

    async def watch() -> None:
        nonlocal most
        while not done.is_set():
            most = max(most, sum(measure(found) for found in left(page)))
            await asyncio.sleep(0.02)

    watching = asyncio.create_task(watch())
    with pytest.raises(BrowserFailure) as caught:
        await page.download(selector="#flood", max_bytes=100_000, timeout_s=60)
    assert (caught.value.code, caught.value.acted) == (FailureCode.OUTPUT_TOO_LARGE, True)
    done.set()
    await watching
    assert most < 20 * 8_000_000
    await asyncio.sleep(1)
    async with asyncio.timeout(60):  # but for what was on its way
        while sum(measure(found) for found in left(page)) >= 5 * 8_000_000:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def measure(name: str) -> int:
    try:
        return Path(name).stat().st_size
    except FileNotFoundError:
        return 0


async def test_a_page_that_goes_says_so_at_once(page: Page) -> None:
    waiting = asyncio.ensure_future(page.download(selector="#slow", timeout_s=90))
    await asyncio.sleep(1)
    await page.close()
    with pytest.raises(BrowserFailure) as caught:
        async with asyncio.timeout(60):
            await waiting
    assert caught.value.code is FailureCode.PAGE_CLOSED


async def test_nothing_is_left_when_the_page_is_closed(page: Page) -> None:
    folder: Path = page.workspace.path
    await page.close()
    assert not folder.exists()  # noqa: ASYNC240 — a test waits for itself alone


@pytest.mark.parametrize("trap", ["symlink", "hardlink", "fifo", "folder"])
async def test_what_a_browser_points_at_is_not_taken_out(tmp_path: Path, trap: str) -> None:
    secret, home = tmp_path / "secret", tmp_path / "home"
    secret.write_text("ours")
    home.mkdir()
    workspace = Workspace(home)
    path = workspace.path / "file"
    match trap:
        case "symlink":
            path.symlink_to(secret)
        case "hardlink":
            path.hardlink_to(secret)
        case "fifo":
            os.mkfifo(path)
        case _:
            workspace.path.rmdir()
            (tmp_path / "elsewhere").mkdir()
            (tmp_path / "elsewhere" / "file").write_text("ours")
            workspace._path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match=r"file"):
        workspace.take_out("file")
    assert secret.exists()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("report.csv", "report.csv"),
        ("../../etc/passwd", "passwd"),
        ("..\\x.exe", "x.exe"),
        ("..", "file"),
        ("", "file"),
        ("a" * 300 + ".csv", "a" * 196 + ".csv"),
        ("new\nline", "newline"),
    ],
)
async def test_names_lead_nowhere(text: str, name: str) -> None:
    assert name_file(text) == name
