"""How browsers are shut in: every jail that this machine has, and what is left of a page's reach without the proxy."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import playwright
import pytest
from playwright.async_api import Error

from contracts.errors import ApiError
from contracts.execution import FailureCode
from runtime.browser.driver import find_browser
from runtime.browser.failure import BrowserFailure
from runtime.browser.jail import Jail
from runtime.browser.pool import Pool, PoolOptions
from runtime.browser.sandboxing import Confinement, SandboxMissing
from tests.runtime.browser.confined import find_renderer, list_processes, read_status
from tests.runtime.browser.test_pool import a_run_of, browser_of, list_browsers, tenant, until
from tests.support.browsers import make_permit, open_pool
from tests.support.site import Site, run_site

AS_ROOT = os.geteuid() == 0
OWN_USERS, OWN_NETWORK = (Path(f"/proc/self/ns/{kind}").readlink() for kind in ("user", "net"))
NOBODY = 65_534
JAILS = [Jail.NAMESPACE, Jail.NETWORK, Jail.NONE]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that an account without rights can walk to, unlike pytest's own."""
    folder = Path(mkdtemp(dir="/tmp"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


async def force(pool: Pool, jail: Jail, *, sandboxed: bool = True) -> None:
    """Have browsers shut in so, or skip where that can't be."""
    if jail is not Jail.NONE and not await pool.sandboxing._gate.probe(jail):
        pytest.skip(f"this machine has no {jail}")
    pool.sandboxing.chosen = Confinement(jail, sandboxed)


async def test_the_strongest_that_works_is_taken(tmp_path: Path, site: Site) -> None:
    site.pages["/"] = "<title>Home</title>"
    async with open_pool(PoolOptions(tmp_path, spare=False)) as pool:
        assert await pool.report() == "none has started yet"
        works = [jail for jail in JAILS if jail is Jail.NONE or await pool.sandboxing._gate.probe(jail)]
        async with pool.lease(a_run_of(tenant())) as lease:
            page = await lease.open_page("a")
            await page.open_url(site.url())
            assert await page.read_title() == "Home"
        found = pool.figures.confinement
        assert found is not None
        if Jail.NAMESPACE in works:
            assert found == Confinement(Jail.NAMESPACE, sandboxed=True)
            assert await pool.report() == "ok: sandbox: chromium, jail: namespace"


@pytest.mark.parametrize("jail", JAILS)
async def test_browsers_have_their_own_sandbox_and_are_never_root(open_folder: Path, site: Site, jail: Jail) -> None:
    site.pages["/"] = "<title>Home</title>"
    async with open_pool(PoolOptions(open_folder, spare=False)) as pool:
        await force(pool, jail)
        async with pool.lease(a_run_of(tenant())) as lease:
            page = await lease.open_page("a")
            await page.open_url(site.url())
            assert await page.read_title() == "Home"
            chromium = await browser_of(lease)
            renderer = find_renderer(chromium)
            assert read_status(renderer, "Seccomp") == ["2"]
            assert (renderer / "ns/user").readlink() != OWN_USERS
            for process in list_processes(chromium.pid):
                if b"chrom" in (process / "cmdline").read_bytes().split(b"\0")[0]:
                    assert set(read_status(process, "Uid")) == {str(renderer.stat().st_uid)}
            assert renderer.stat().st_uid != 0
            assert ((renderer / "ns/net").readlink() != OWN_NETWORK) or jail is Jail.NONE
    await until(lambda: list_browsers(open_folder) == [])


@pytest.mark.skipif(not AS_ROOT, reason="an ordinary user has one account")
async def test_two_browsers_of_root_have_two_accounts(tmp_path: Path, site: Site) -> None:
    async with open_pool(PoolOptions(tmp_path, spare=False)) as pool:
        await force(pool, Jail.NAMESPACE)
        async with pool.lease(a_run_of(tenant())) as one, pool.lease(a_run_of(tenant())) as two:
            found = [find_renderer(await browser_of(lease)).stat().st_uid for lease in (one, two)]
    assert len(set(found)) == 2


def run_as_nobody(folder: Path, what: str) -> dict[str, Any]:
    """What `ordinary.py` says of it, started by root for an account without rights."""
    python = next((one for one in (sys.executable, "/usr/bin/python3") if can_be_run(Path(one))), None)
    if python is None or not can_be_run(Path(playwright.__file__).parent / "driver" / "node"):
        pytest.skip("an ordinary user can walk to no Python, or not to Playwright")
    os.chown(folder, NOBODY, NOBODY)
    modules = os.pathsep.join([str(Path.cwd()), str(Path(playwright.__file__).parents[1])])
    environment = {"PATH": os.defpath, "HOME": str(folder), "PYTHONPATH": modules, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [python, "-m", "tests.runtime.browser.ordinary", str(folder), what],
        env=environment,
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def can_be_run(program: Path) -> bool:
    """By everybody; of another version of Python it is none of ours."""
    whole = program.resolve()
    fits = "python" not in whole.name or whole.name.endswith(f"{sys.version_info[0]}.{sys.version_info[1]}")
    return fits and whole.exists() and all(part.stat().st_mode & 0o001 for part in (whole, *whole.parents))


@pytest.mark.skipif(not AS_ROOT, reason="the other tests are an ordinary user's here")
@pytest.mark.parametrize("jail", JAILS)
async def test_browsers_of_an_ordinary_user_are_shut_in_as_well(open_folder: Path, jail: Jail) -> None:
    told = await asyncio.to_thread(run_as_nobody, open_folder, jail.value)
    if told.get("missing"):
        pytest.skip(f"ordinary users of this machine have no {jail}")
    assert (told["title"], told["me"], told["uid"], told["seccomp"]) == ("Home", NOBODY, NOBODY, ["2"])


@pytest.mark.skipif(not AS_ROOT, reason="the other tests are an ordinary user's here")
async def test_an_ordinary_user_gets_the_strongest_and_a_watchdog(open_folder: Path) -> None:
    told = await asyncio.to_thread(run_as_nobody, open_folder, "best")
    assert "sandboxed=True" in told["found"]
    told = await asyncio.to_thread(run_as_nobody, open_folder, "bomb")
    assert told["overgrown"] == 1
    assert "more than 600 MiB" in told["message"]


ATTEMPTS = """<title>trying</title><script>
const quiet = promise => Promise.resolve(promise).catch(() => 0), open = {mode: "no-cors"};
quiet(fetch("http://BAD/fetch", open)); new WebSocket("ws://BAD/socket");
navigator.sendBeacon("http://BAD/beacon", "x");
quiet(fetch("http://10.255.255.1/", open));
const peer = new RTCPeerConnection({iceServers: [{urls: "stun:BAD"}, {urls: "turn:BAD?transport=tcp", username: "a",
  credential: "b"}]});
peer.createDataChannel("x"); peer.createOffer().then(offer => peer.setLocalDescription(offer));
new Image().src = "http://BAD/image"</script>"""


@pytest.mark.parametrize("jail", [Jail.NAMESPACE, Jail.NETWORK])
async def test_a_browser_that_ignores_the_proxy_reaches_nobody(
    open_folder: Path, elsewhere: Site, monkeypatch: pytest.MonkeyPatch, jail: Jail
) -> None:
    """The wall's arguments are left out, and the context has no proxy."""
    monkeypatch.setattr("runtime.browser.chromium.make_arguments", lambda _: [])
    async with open_pool(PoolOptions(open_folder, spare=False)) as pool:
        await force(pool, jail)
        elsewhere.connections.clear()
        async with pool.lease(a_run_of(tenant())) as lease:
            chromium = await browser_of(lease)
            context = await chromium._browser.new_context()
            page = await context.new_page()
            with pytest.raises(Error, match=r"ERR_(CONNECTION_REFUSED|ADDRESS_UNREACHABLE|INTERNET_DISCONNECTED)"):
                await page.goto(elsewhere.url("/"))
            other = await context.new_page()
            await other.set_content(ATTEMPTS.replace("BAD", elsewhere.host))
            assert await other.title() == "trying"
            await asyncio.sleep(1.5)
            await context.close()
    assert elsewhere.connections == []


async def test_without_a_jail_the_same_browser_would(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.browser.chromium.make_arguments", lambda _: [])
    with run_site() as elsewhere:
        async with open_pool(PoolOptions(open_folder, spare=False)) as pool:
            await force(pool, Jail.NONE)
            async with pool.lease(a_run_of(tenant())) as lease:
                context = await (await browser_of(lease))._browser.new_context()
                await (await context.new_page()).goto(elsewhere.url("/"))
                await context.close()
    assert elsewhere.connections != []


@pytest.mark.parametrize("path", ["/etc/passwd", "/proc/1/environ", "{secret}", "{record}"])
async def test_a_browser_has_no_files_but_its_own(tmp_path: Path, site: Site, path: str) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("kept from strangers")
    async with open_pool(PoolOptions(tmp_path, spare=False)) as pool:
        await force(pool, Jail.NAMESPACE)
        async with pool.lease(a_run_of(tenant())) as lease:
            page = await lease.open_page("a")
            chromium = await browser_of(lease)
            record = chromium._launch.folder.record(chromium._mark)
            with pytest.raises(Error, match=r"ERR_(FILE_NOT_FOUND|ACCESS_DENIED|BLOCKED_BY_ADMINISTRATOR)"):
                await page._page.goto(f"file://{path.format(secret=secret, record=record)}")


async def test_nothing_is_left_of_a_jail_whose_browser_is_lost(tmp_path: Path, site: Site) -> None:
    async with open_pool(PoolOptions(tmp_path, spare=False)) as pool:
        await force(pool, Jail.NAMESPACE)
        async with pool.lease(a_run_of(tenant())) as lease:
            chromium = await browser_of(lease)
            leader, gate = chromium.pid, pool.sandboxing._gate
            assert len(list_processes(leader)) > 3
            assert len(gate._servers) == 1
            chromium.lose()
            await until(lambda: not list_processes(leader))
            assert gate._servers == {}


def fake(folder: Path, script: str) -> Path:
    """A program that is no browser, or one that is particular."""
    made = folder / "fake"
    made.write_text(f"#!/bin/sh\n{script}\n")
    made.chmod(0o755)
    folder.chmod(0o755)
    return made


NO_SANDBOX = "[1:1:FATAL:zygote_host_impl_linux.cc(1)] No usable sandbox! Update your kernel"


async def test_one_hiccup_chooses_no_weaker_walls(tmp_path: Path) -> None:
    failed: list[Confinement] = []

    async def start(shut_in: Confinement) -> Confinement:
        if not failed:
            failed.append(shut_in)
            raise BrowserFailure(FailureCode.BROWSER_CRASHED, "It ended at once.", "", retryable=True)
        return shut_in

    executable = await find_browser(None)
    assert executable is not None
    async with open_pool(PoolOptions(tmp_path, spare=False)) as pool:
        if not await pool.sandboxing._gate.probe(Jail.NETWORK):
            pytest.skip("this machine has no weaker walls to choose")
        assert await pool.sandboxing.start(executable, start) == failed[0]


async def test_that_browsers_have_no_jail_is_said(tmp_path: Path) -> None:
    async with open_pool(PoolOptions(tmp_path, spare=False)) as pool:
        await force(pool, Jail.NONE)
        assert "install bubblewrap" in pool.sandboxing.shortcoming
        await force(pool, Jail.NETWORK)
        assert pool.sandboxing.shortcoming == ""


async def test_without_a_sandbox_browsers_run_and_it_is_said(tmp_path: Path, site: Site) -> None:
    """A Chromium on a machine that lets it have none."""
    real = await find_browser(None)
    particular = fake(
        tmp_path, f'case "$*" in *--no-sandbox*) exec {real} "$@";; esac; echo "{NO_SANDBOX}" >&2; exit 1'
    )
    site.pages["/"] = "<title>Home</title>"
    options = PoolOptions(tmp_path, browser_path=particular, spare=False)
    async with open_pool(options) as pool, pool.lease(a_run_of(tenant())) as own:
        page = await own.open_page("a")
        await page.open_url(site.url())
        assert pool.figures.confinement is not None
        assert not pool.figures.confinement.sandboxed
        with pytest.raises(ApiError) as caught:
            await pool.report()
        assert "sandbox: none" in caught.value.detail
        assert "sandbox: none" in pool.sandboxing.shortcoming
        assert pool.sandboxing.settled.is_set()


async def test_one_that_does_not_start_in_a_jail_is_shut_in_less_and_it_is_said(open_folder: Path) -> None:
    real = await find_browser(None)
    particular = fake(open_folder, f'test -e /etc/passwd || exit 1; exec {real} "$@"')
    async with open_pool(PoolOptions(open_folder, browser_path=particular, spare=False)) as pool:
        if not await pool.sandboxing._gate.probe(Jail.NAMESPACE):
            pytest.skip("this machine has no jail that hides its files")
        async with pool.lease(a_run_of(tenant())) as lease:
            await lease.open_page("a")
        found = pool.figures.confinement
        assert found is not None
        assert found == Confinement(Jail.NETWORK, sandboxed=True)
        assert "bubblewrap is here" in found.hint


async def test_where_it_is_required_nothing_starts_without(tmp_path: Path) -> None:
    program = fake(
        tmp_path, f'case "$*" in *--no-sandbox*) touch {tmp_path}/bare;; esac; echo "{NO_SANDBOX}" >&2; exit 1'
    )
    options = PoolOptions(tmp_path, browser_path=program, sandbox_required=True)
    async with open_pool(options) as pool:
        with pytest.raises(SandboxMissing, match="STAGEDOOR_RUNTIME_ALLOW_UNSANDBOXED_BROWSERS"):
            await pool.insist()
        async with pool.lease(make_permit(tenant())) as lease:
            with pytest.raises(BrowserFailure, match="own sandbox does not work") as caught:
                await lease.open_page("a")
            assert (caught.value.code, caught.value.retryable) == (FailureCode.BROWSER_MISSING, False)
        with pytest.raises(ApiError):
            await pool.report()
        assert "No browser is started" in pool.sandboxing.shortcoming
        assert pool.sandboxing.settled.is_set()
    assert not (tmp_path / "bare").exists()


async def test_where_it_is_required_and_works_the_worker_starts(tmp_path: Path) -> None:
    async with open_pool(PoolOptions(tmp_path, sandbox_required=True)) as pool:
        await pool.insist()
        assert (await pool.report()).startswith("ok: sandbox: chromium")
        assert pool.sandboxing.shortcoming == ""
    async with open_pool(PoolOptions(tmp_path, browser_path=tmp_path / "none", sandbox_required=True)) as pool:
        await pool.insist()  # no browser at all is no danger; it is told when one is wanted
