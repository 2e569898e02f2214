"""Traces and videos of pages: whole, bounded, without what the proxy is told, and gone with the lease."""

import asyncio
import io
import json
import zipfile
from pathlib import Path

import pytest

from runtime.browser import recording as module
from runtime.browser.options import ContextOptions
from runtime.browser.page import Page
from runtime.browser.picture import read_size
from runtime.browser.pool import Lease, Pool
from runtime.browser.recording import Film
from runtime.egress.permit import Permit
from tests.support.site import Site

pytestmark = pytest.mark.asyncio(loop_scope="session")
PAGE = """<button onclick="document.body.style.background = 'red'">paint</button>"""


def home(pool: Pool) -> Path:
    return pool._starter._folder.path


def left(pool: Pool) -> list[str]:
    """What recordings have left in the folder of the pool."""
    found = [one for one in home(pool).rglob("*") if one.is_file()]
    return [str(one) for one in found if one.suffix == ".zip" or "playwright-artifacts" in str(one)]


def film_of(page: Page) -> Film:
    assert page.recording is not None
    assert page.recording._film is not None
    return page.recording._film


async def until_filmed(page: Page, pictures: int) -> None:
    async with asyncio.timeout(60):
        while len(film_of(page)._pictures) < pictures:  # noqa: ASYNC110 — a film tells nobody
            await asyncio.sleep(0.02)


async def record(lease: Lease, site: Site, options: ContextOptions) -> dict[str, bytes]:
    """Go somewhere, paint, and answer the files by their names."""
    site.pages["/paint"] = PAGE
    page = await lease.open_page("node-1", options)
    await page.open_url(site.url("/paint"))
    if options.video:
        await until_filmed(page, 1)
    await page.click("button")
    if options.video:
        await until_filmed(page, 2)
    files: dict[str, bytes] = {}
    for name, recording in await lease.end_recordings():
        assert name == "node-1"
        assert recording.troubles == []
        files |= {file.name: file.path.read_bytes() for file in recording.files}
    return files


async def test_a_video_is_pictures_with_their_times(pool: Pool, permit: Permit, site: Site) -> None:
    async with pool.lease(permit) as lease:
        files = await record(lease, site, ContextOptions(width=640, height=480, video=True))
    assert list(files) == ["video.zip"]
    archive = zipfile.ZipFile(io.BytesIO(files["video.zip"]))
    times = json.loads(archive.read("times.json"))
    pictures = times["pictures"]
    assert len(pictures) >= 2
    assert pictures[0]["at_s"] == 0
    assert [one["at_s"] for one in pictures] == sorted(one["at_s"] for one in pictures)
    assert read_size(archive.read(pictures[-1]["file"])) == (640, 480)
    assert left(pool) == []


async def test_a_trace_holds_what_was_done_and_not_what_the_proxy_is_told(
    pool: Pool, permit: Permit, site: Site
) -> None:
    async with pool.lease(permit) as lease:
        files = await record(lease, site, ContextOptions(trace=True))
        told = lease.page("node-1").way_out._credentials
    assert list(files) == ["trace.zip"]
    archive = zipfile.ZipFile(io.BytesIO(files["trace.zip"]))
    whole = b"".join(archive.read(name) for name in archive.namelist())
    assert site.url("/paint").encode() in whole
    assert b"button" in whole
    assert told.password.encode() not in whole
    assert told.username.encode() not in whole
    assert left(pool) == []


async def test_what_is_recorded_of_a_page_that_is_closed_is_kept(lease: Lease, site: Site) -> None:
    site.pages["/paint"] = PAGE
    page = await lease.open_page("node-1", ContextOptions(trace=True, video=True))
    await page.open_url(site.url("/paint"))
    await page.close()
    ((_, recording),) = await lease.end_recordings()
    assert {file.name for file in recording.files} == {"trace.zip", "video.zip"}


async def test_a_crash_costs_the_trace_at_most(pool: Pool, permit: Permit, site: Site) -> None:
    async with pool.lease(permit) as lease:
        site.pages["/paint"] = PAGE
        page = await lease.open_page("node-1", ContextOptions(trace=True, video=True))
        await page.open_url(site.url("/paint"))
        await until_filmed(page, 1)
        (await pool.obtain(permit.tenant_id)).lose()
        ((_, recording),) = await lease.end_recordings()
        kept = [file.name for file in recording.files]
        assert kept[-1] == "video.zip"
        assert len(kept) + len(recording.troubles) == 2  # the driver may have what a trace needs, or not


async def test_there_is_an_end_to_how_much(
    pool: Pool, permit: Permit, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_PICTURES", 1)
    monkeypatch.setattr(module, "MAX_TRACE", 1_000)
    monkeypatch.setattr(module, "_LOOK_S", 0.1)
    async with pool.lease(permit) as lease:
        site.pages["/paint"] = PAGE
        page = await lease.open_page("node-1", ContextOptions(trace=True, video=True))
        await page.open_url(site.url("/paint"))
        await page.click("button")
        assert page.recording is not None
        async with asyncio.timeout(60):
            while not (film_of(page)._cut and page.recording.troubles):  # noqa: ASYNC110 — it tells nobody
                await asyncio.sleep(0.02)
        ((_, recording),) = await lease.end_recordings()
        (video,) = recording.files
        assert "1 pictures" in video.remark
        assert "end to how much" in video.remark
        assert recording.troubles == ["The trace is not kept: it grew beyond 1000 bytes."]


async def test_what_may_not_be_recorded_is_not(lease: Lease, site: Site) -> None:
    lease.may_trace = lease.may_film = False
    await lease.open_page("node-1", ContextOptions(trace=True, video=True))
    assert await lease.end_recordings() == []


async def test_a_full_disk_costs_the_recording_and_nothing_else(
    pool: Pool, permit: Permit, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    async with pool.lease(permit) as lease:
        monkeypatch.setattr(zipfile.ZipFile, "writestr", refuse)
        site.pages["/paint"] = "<title>Here</title>" + PAGE
        page = await lease.open_page("node-1", ContextOptions(video=True))
        await page.open_url(site.url("/paint"))
        await page.click("button")
        assert await page.read_title() == "Here"
        ((_, recording),) = await lease.end_recordings()
        assert recording.files == []
        assert recording.troubles == ["The video is not kept: its pictures could not be written."]
        monkeypatch.undo()
