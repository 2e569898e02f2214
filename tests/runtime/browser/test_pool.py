"""Who gets which Chromium, and what happens when one dies."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from uuid_utils.compat import uuid7

from contracts.execution import FailureCode
from contracts.model import TenantId
from runtime.browser.chromium import Chromium
from runtime.browser.failure import BrowserFailure
from runtime.browser.jail import Jail
from runtime.browser.options import ContextOptions
from runtime.browser.pool import Lease, Pool, PoolOptions
from runtime.browser.processes import MARK
from runtime.egress.permit import Permit
from tests.support.browsers import make_permit, open_pool
from tests.support.site import Site


def tenant() -> TenantId:
    return TenantId(uuid7())


def a_run_of(owner: TenantId) -> Permit:
    return make_permit(owner, "127.0.0.1")


def list_browsers(folder: Path) -> list[int]:
    """Process ids of the browsers whose records lie under a folder, whoever keeps them."""
    marks = {record.stem for record in folder.glob("browsers/*/*.pid")}
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_text(errors="replace").split("\0")
        except OSError:
            continue
        if any(part.startswith(MARK) and part.removeprefix(MARK) in marks for part in command):
            found.append(int(process.name))
    return found


def find_drivers(pool: Pool) -> list[int]:
    """Process ids of the drivers whose temporary files go into a pool's folder."""
    mark = f"TMPDIR={pool._starter._folder.path}\0"
    found = []
    for child in list_children():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            if mark in read_environment(child):
                found.append(child)
    return found


def list_children() -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()]


def read_environment(pid: int | None) -> str:
    return Path(f"/proc/{pid}/environ").read_text()


async def until(fact: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not fact():  # noqa: ASYNC110 — the facts are those of other processes
            await asyncio.sleep(0.05)


async def browser_of(lease: Lease) -> Chromium:
    await lease.open_page("probe")
    return next(chromium for _, chromium in lease._pages.values())


@pytest.fixture
def options(site: Site, tmp_path: Path) -> PoolOptions:
    return PoolOptions(tmp_path, spare=False)


@pytest.fixture
async def small(options: PoolOptions) -> AsyncIterator[Pool]:
    """A pool without a spare browser."""
    async with open_pool(options) as pool:
        yield pool


async def test_a_tenant_keeps_its_browser_and_gets_fresh_contexts(small: Pool, site: Site) -> None:
    owner = tenant()
    site.pages["/cookie"] = "<script>document.title = document.cookie; document.cookie = 'a=1'</script>"
    async with small.lease(a_run_of(owner)) as lease:
        first = await browser_of(lease)
        one, two = await lease.open_page("one"), await lease.open_page("two")
        for page in (one, two):
            await page.open_url(site.url("/cookie"))
            assert await page.read_title() == ""
        assert lease.page("one") is one
    async with small.lease(a_run_of(owner)) as lease:
        assert await browser_of(lease) is first
        with pytest.raises(BrowserFailure) as caught:
            lease.page("one")
        assert caught.value.code is FailureCode.PAGE_CLOSED
    assert one.lost is not None


async def test_no_browser_serves_two_tenants_and_the_one_unused_longest_goes(
    options: PoolOptions, site: Site, tmp_path: Path
) -> None:
    async with open_pool(PoolOptions(tmp_path, spare=False, max_warm=1)) as pool:
        a, b = tenant(), tenant()
        async with pool.lease(a_run_of(a)) as first:
            of_a = await browser_of(first)
        async with pool.lease(a_run_of(b)) as second:
            of_b = await browser_of(second)
            assert of_a is not of_b
            await until(lambda: not of_a.alive)
            async with pool.lease(a_run_of(a)) as third:
                assert await browser_of(third) not in (of_a, of_b)
                assert of_b.alive, "one that is in use is never dropped"
    await until(lambda: list_browsers(tmp_path) == [])


async def test_who_stops_waiting_for_a_page_leaves_none_behind(tmp_path: Path) -> None:
    async with open_pool(PoolOptions(tmp_path, spare=False)) as pool, pool.lease(a_run_of(tenant())) as lease:
        chromium = await browser_of(lease)
        plain = len(chromium._browser.contexts)
        for number in range(12):
            opening = asyncio.create_task(lease.open_page(f"page{number}", ContextOptions(width=800)))
            await asyncio.sleep(0.01 * number)
            opening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await opening
                await lease._close_page(f"page{number}")
        await until(lambda: not chromium._put_aways)
        assert len(chromium._browser.contexts) <= plain + 1, "but for the one parked"
        assert chromium.contexts <= plain + 1


async def test_a_browser_is_replaced_after_enough_contexts_once_nobody_uses_it(tmp_path: Path, site: Site) -> None:
    async with open_pool(PoolOptions(tmp_path, spare=False, max_contexts=2)) as pool:
        owner = tenant()
        async with pool.lease(a_run_of(owner)) as lease:
            first = await browser_of(lease)
            await lease.open_page("second")
            await lease.open_page("third")
            assert first.alive
            assert {chromium for _, chromium in lease._pages.values()} != {first}
            page = lease.page("second")
            await page.open_url("about:blank")
        await until(lambda: not first.alive)


async def test_a_browser_that_grew_too_large_is_replaced(tmp_path: Path, site: Site) -> None:
    async with open_pool(PoolOptions(tmp_path, spare=False, max_memory=1)) as pool:
        async with pool.lease(a_run_of(tenant())) as lease:
            chromium = await browser_of(lease)
            assert chromium.alive
        await until(lambda: not chromium.alive)


async def test_a_spare_one_stands_ready_for_whoever_comes(tmp_path: Path, site: Site) -> None:
    async with open_pool(PoolOptions(tmp_path)) as pool:
        await until(lambda: pool._spare is not None and pool._spare._parked is not None)
        spare = pool._spare
        async with pool.lease(a_run_of(tenant())) as lease:
            assert await browser_of(lease) is spare
        await until(lambda: pool._spare not in (None, spare))
    await until(lambda: list_browsers(tmp_path) == [])


async def test_a_killed_browser_fails_its_pages_and_the_next_page_gets_a_new_one(small: Pool, site: Site) -> None:
    site.pages["/"] = "<title>Home</title>"
    async with small.lease(a_run_of(tenant())) as lease:
        page = await lease.open_page("a")
        await page.open_url(site.url())
        chromium = await browser_of(lease)
        waiting = asyncio.ensure_future(page.wait_for("#never", "visible", timeout_s=60))
        await asyncio.sleep(0.1)
        assert chromium.pid is not None
        os.killpg(chromium.pid, signal.SIGKILL)
        with pytest.raises(BrowserFailure) as caught:
            await waiting
        assert (caught.value.code, caught.value.retryable) == (FailureCode.BROWSER_CRASHED, True)
        with pytest.raises(BrowserFailure) as caught:
            lease.page("a")
        assert caught.value.code is FailureCode.BROWSER_CRASHED
        again = await lease.open_page("a")
        await again.open_url(site.url())
        assert await again.read_title() == "Home"


async def test_a_killed_driver_takes_its_own_browser_alone(small: Pool, site: Site) -> None:
    site.pages["/"] = "<title>Home</title>"
    async with small.lease(a_run_of(tenant())) as lease, small.lease(a_run_of(tenant())) as other:
        page = await lease.open_page("a")
        await page.open_url(site.url())
        (driver,) = find_drivers(small)
        neighbour = await other.open_page("b")
        await neighbour.open_url(site.url())
        os.kill(driver, signal.SIGKILL)
        with pytest.raises(BrowserFailure) as caught:
            await page.wait_for("#never", "visible", timeout_s=60)
        assert (caught.value.code, caught.value.retryable) == (FailureCode.BROWSER_CRASHED, True)
        again = await lease.open_page("a")
        await again.open_url(site.url())
        assert await again.read_title() == "Home"
        assert await neighbour.read_title() == "Home"


async def test_a_driver_ends_with_its_browser_however_that_ends(small: Pool, site: Site) -> None:
    async with small.lease(a_run_of(tenant())) as lease, small.lease(a_run_of(tenant())) as other:
        chromium, kept = await browser_of(lease), await browser_of(other)
        assert len(find_drivers(small)) == 2
        assert chromium.pid is not None
        os.killpg(chromium.pid, signal.SIGKILL)
        await until(lambda: len(find_drivers(small)) == 1)
        await small._end(kept)
        await until(lambda: find_drivers(small) == [])


async def test_who_stops_waiting_for_a_browser_leaves_no_driver_behind(small: Pool) -> None:
    for number in range(8):
        starting = asyncio.create_task(small._starter.launch())
        await asyncio.sleep(0.02 + 0.08 * number)
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await (await starting).close()
        await until(lambda: find_drivers(small) == [])
    assert list(small._starter._folder.path.glob("*.home")) == []


async def test_who_is_hurried_while_a_driver_starts_leaves_it_to_the_end_of_the_pool(options: PoolOptions) -> None:
    async with open_pool(options) as pool:
        starting = asyncio.create_task(pool._starter.launch())
        await asyncio.sleep(0.05)
        for _ in range(2):
            starting.cancel()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        with contextlib.suppress(asyncio.CancelledError):
            await starting
    await until(lambda: find_drivers(pool) == [])


async def test_an_end_that_somebody_stopped_waiting_for_is_waited_for_by_the_next(
    small: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with small.lease(a_run_of(tenant())) as lease:
        chromium = await browser_of(lease)
    told = asyncio.Event()
    end = chromium._playwright.stop

    async def stop() -> None:
        told.set()
        await end()

    monkeypatch.setattr(chromium._playwright, "stop", stop)
    ending = asyncio.create_task(chromium.close())
    await told.wait()
    ending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ending
    await chromium.close()
    await until(lambda: find_drivers(small) == [])


async def test_who_stops_waiting_for_what_jails_can_be_had_leaves_no_probe_behind(small: Pool) -> None:
    gate = small.sandboxing._gate
    for number in range(6):
        before = set(list_children())
        probing = asyncio.create_task(gate.probe(Jail.NETWORK))
        await asyncio.sleep(0.01 + 0.01 * number)
        probing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await probing
        assert set(list_children()) <= before, number


async def test_nothing_is_left_when_the_pool_ends_while_a_browser_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hung = asyncio.Event()

    async def hang() -> None:
        hung.set()
        await asyncio.Event().wait()

    async with open_pool(PoolOptions(scratch_dir=tmp_path, spare=False)) as pool:
        async with pool.lease(a_run_of(tenant())) as lease:
            chromium = await browser_of(lease)
            monkeypatch.setattr(chromium._browser, "close", hang)
            del pool._warm[next(iter(pool._warm))]
            pool._retire(chromium)
        async with asyncio.timeout(60):
            await hung.wait()
    await until(lambda: list_browsers(tmp_path) == [])
    await until(lambda: find_drivers(pool) == [])


async def test_the_next_page_is_made_when_a_run_is_over_not_while_it_begins(
    small: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.browser.pool._PARK_S", 60.0)
    async with small.lease(a_run_of(tenant())) as lease:
        chromium = await browser_of(lease)
        await asyncio.sleep(1)
        assert (chromium.has_parked, chromium.contexts) == (False, 1)
    await until(lambda: chromium.has_parked)


async def test_while_a_run_goes_on_the_next_page_is_made_once(small: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.browser.pool._PARK_S", 0.0)
    async with small.lease(a_run_of(tenant())) as lease:
        chromium = await browser_of(lease)
        await asyncio.gather(*(chromium.park_page() for _ in range(3)))
        await until(lambda: chromium.has_parked)
        await asyncio.sleep(0.5)
        assert chromium.contexts == 2


async def test_a_driver_that_can_not_start_is_a_failure_of_the_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLAYWRIGHT_NODEJS_PATH", "/bin/false")
    async with open_pool(PoolOptions(scratch_dir=tmp_path)) as pool, pool.lease(a_run_of(tenant())) as lease:
        with pytest.raises(BrowserFailure) as caught:
            await lease.open_page("a")
    assert (caught.value.code, caught.value.retryable) == (FailureCode.BROWSER_CRASHED, True)


async def freeze_browser(lease: Lease) -> tuple[Chromium, int]:
    """A browser that answers nothing and has no page ready, with the process group to wake it by."""
    chromium = await browser_of(lease)
    await until(lambda: chromium._parked is not None)
    chromium._parked = None
    assert chromium.pid is not None
    os.killpg(chromium.pid, signal.SIGSTOP)
    return chromium, chromium.pid


async def test_a_frozen_browser_is_given_up_in_time(small: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    async with small.lease(a_run_of(tenant())) as lease:
        chromium, _ = await freeze_browser(lease)
        with monkeypatch.context() as hurry:
            hurry.setattr("runtime.browser.chromium._OPEN_S", 0.5)
            hurry.setattr("runtime.browser.chromium._CLOSE_S", 0.5)
            with pytest.raises(BrowserFailure) as caught:
                await lease.open_page("b")
        assert (caught.value.code, caught.value.retryable) == (FailureCode.BROWSER_CRASHED, True)
        assert not chromium.alive
        await lease.open_page("b")


async def test_a_page_that_is_slow_to_be_parked_ends_no_browser(small: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    async with small.lease(a_run_of(tenant())) as lease:
        chromium, leader = await freeze_browser(lease)
        monkeypatch.setattr("runtime.browser.chromium._OPEN_S", 0.2)
        parking = asyncio.create_task(chromium.park_page())
        await asyncio.sleep(1)
        os.killpg(leader, signal.SIGCONT)
        await parking
        assert (chromium.alive, chromium.has_parked) == (True, True)


async def test_nothing_is_left_when_the_pool_ends_even_by_an_error(options: PoolOptions, tmp_path: Path) -> None:
    async def live() -> None:
        async with open_pool(options) as pool, pool.lease(a_run_of(tenant())) as lease:
            await lease.open_page("a")
            assert list_browsers(tmp_path)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await live()
    await until(lambda: list_browsers(tmp_path) == [])
    assert list((tmp_path / "browsers").iterdir()) == []


async def test_nothing_is_left_when_it_is_cancelled_while_starting(tmp_path: Path) -> None:
    async def live() -> None:
        async with open_pool(PoolOptions(tmp_path)):
            await asyncio.sleep(30)

    task = asyncio.ensure_future(live())
    await asyncio.sleep(0.6)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: list_browsers(tmp_path) == [])
    assert list((tmp_path / "browsers").iterdir()) == []


async def test_without_a_chromium_it_starts_and_says_so_when_one_is_wanted(tmp_path: Path) -> None:
    async with (
        open_pool(PoolOptions(tmp_path, browser_path=tmp_path / "none")) as pool,
        pool.lease(a_run_of(tenant())) as lease,
    ):
        with pytest.raises(BrowserFailure) as caught:
            await lease.open_page("a")
        assert caught.value.code is FailureCode.BROWSER_MISSING


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("exit 1", "ended at once"),
        ("echo 'x: error while loading shared libraries: libnss3.so' >&2; exit 127", "libnss3.so"),
        ("echo '[1:1:ERROR:zygote.cc(1)] No usable sandbox! Update your kernel' >&2; exit 1", "No usable sandbox"),
    ],
)
async def test_a_program_that_does_not_start_is_named_with_what_it_said(tmp_path: Path, script: str, why: str) -> None:
    fake = tmp_path / "fake"
    fake.write_text(f"#!/bin/sh\n{script}\n")
    fake.chmod(0o755)
    options = PoolOptions(tmp_path, browser_path=fake, spare=False)
    async with open_pool(options) as pool, pool.lease(a_run_of(tenant())) as lease:
        with pytest.raises(BrowserFailure, match="did not start") as caught:
            await lease.open_page("a")
        assert str(fake) in caught.value.message
        assert why in caught.value.message
        assert (caught.value.code, caught.value.retryable) == (FailureCode.BROWSER_CRASHED, True)


async def test_browsers_get_none_of_our_environment(small: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAGEDOOR_RUNTIME_DATABASE_URL", "postgresql://secret")
    async with small.lease(a_run_of(tenant())) as lease:
        pid = (await browser_of(lease)).pid
        assert "postgresql" not in read_environment(pid)
