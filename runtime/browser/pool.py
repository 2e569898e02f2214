"""Warm Chromiums, leased to executions. One never serves two tenants.

    async with Pool(options, proxy) as pool:
        async with pool.lease(permit) as lease:
            page = await lease.open_page("node-1")

A tenant keeps its Chromium between executions; few are kept, and the one unused for longest goes. One that serves
nobody yet stands ready for the next tenant. A Chromium that crashed, has given out many contexts or holds much memory
is replaced once nobody uses it.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import structlog

from contracts.model import TenantId
from runtime.browser.chromium import Chromium
from runtime.browser.driver import Starter
from runtime.browser.failure import BrowserFailure
from runtime.browser.hosts import BLANK, explain_refusal
from runtime.browser.jail import Gate
from runtime.browser.options import DEFAULT, ContextOptions
from runtime.browser.page import Page
from runtime.browser.processes import RunFolder, reap_orphans
from runtime.browser.recording import Recording
from runtime.browser.sandboxing import Confinement, Sandboxing, SandboxMissing
from runtime.browser.trail import PageState
from runtime.browser.translate import explain_closed
from runtime.browser.watchdog import Watchdog
from runtime.egress.permit import Permit
from runtime.egress.proxy import EgressProxy

_log = structlog.get_logger(__name__)

_PARK_S = 2.0
"""After a page was taken: making the next one costs as much as a few actions, and would slow the run that took it."""


@dataclass(frozen=True)
class PoolOptions:
    """How a worker keeps its browsers."""

    scratch_dir: Path
    browser_path: Path | None = None
    max_warm: int = 4
    """Chromiums kept while nobody uses them, beside the spare one."""
    spare: bool = True
    """Whether one that belongs to no tenant yet stands ready."""
    max_contexts: int = 100
    """Contexts after which a Chromium is replaced."""
    max_memory: int = 2 * 1_073_741_824
    """Bytes above which a Chromium is replaced."""
    memory_limit: int = 1_610_612_736
    """Bytes that pages may make a Chromium hold, above which it is ended while they use it."""
    sandbox_required: bool = False
    """Whether no browser is started without Chromium's own sandbox."""
    measure_s: float = 30.0
    """Between two looks at what they hold."""


@dataclass(frozen=True)
class PoolFigures:
    """How a worker's browsers stand."""

    browsers: int
    contexts: int
    parked: int
    """Pages that stand ready."""
    memory: int
    """Bytes that all of them held when that was last measured."""
    launched: int
    crashed: int
    overgrown: int
    """Ended because their pages held too much."""
    confinement: Confinement | None
    """How they are shut in; None until one has started."""


class Lease:
    """The pages of one execution, each by the name of the node that opened it."""

    def __init__(self, pool: "Pool", permit: Permit) -> None:
        self._pool = pool
        self.permit = permit
        """What the run may reach."""
        self._pages: dict[str, tuple[Page, Chromium]] = {}
        self._held: set[Chromium] = set()
        self._recordings: list[tuple[str, Recording]] = []
        self._recorded: list[Recording] = []
        self.may_trace = self.may_film = True
        """Whether the run may be recorded so, if a page asks for it."""

    async def open_page(
        self, name: str, options: ContextOptions = DEFAULT, storage: dict[str, Any] | None = None
    ) -> Page:
        """Open a page in a browser context of its own; one of the same name from before is closed.

        `storage` is what sites find there as if they had kept it.

        Raises BrowserFailure: browser_missing, browser_crashed; invalid_input for options that Chromium doesn't know,
        host_refused for a proxy that may not be reached.
        """
        self._check_proxy(options)
        chromium = await self._obtain(name)
        page = await chromium.open_page(self.permit, self.allow(options), storage)
        self._take_up(name, page, chromium)
        self._pool.prepare_next(chromium)
        return page

    async def reopen_page(self, name: str, state: PageState) -> Page:
        """Open a page as it was elsewhere: with its session, at its address.

        Raises BrowserFailure: as `open_page` and as `Page.open_url`; there is no such page then.
        """
        chromium = await self._obtain(name)
        page = await chromium.reopen_page(self.permit, replace(state, options=self.allow(state.options)))
        self._take_up(name, page, chromium)
        try:
            await page.open_url(state.url)
        except BaseException:
            await self._close_page(name)
            raise
        page.trail.forget()  # nothing that this run did has brought it here
        return page

    def allow(self, options: ContextOptions) -> ContextOptions:
        """The options without what may not be recorded of this run."""
        return replace(options, trace=options.trace and self.may_trace, video=options.video and self.may_film)

    @property
    def records(self) -> bool:
        """Whether something is recorded of this run."""
        return bool(self._recordings)

    async def end_recordings(self) -> list[tuple[str, Recording]]:
        """End what is recorded of this run; answers it by page, once. Its files go with the lease."""
        ended, self._recordings = self._recordings, []
        self._recorded += [recording for _, recording in ended]
        async with asyncio.TaskGroup() as tasks:
            for recording in self._recorded:
                tasks.create_task(recording.stop())
        return ended

    def _check_proxy(self, options: ContextOptions) -> None:
        """Refuse now what each connection would be refused later, as far as the name of a proxy tells."""
        if options.proxy is None:
            return
        if (refusal := self.permit.policy.judge_name(options.proxy.target)) is not None:
            self.permit.refuse(refusal)
            raise explain_refusal(refusal)

    def _take_up(self, name: str, page: Page, chromium: Chromium) -> None:
        self._pages[name] = page, chromium
        if page.recording is not None:
            self._recordings.append((name, page.recording))
            self._pool.watch_recording(page.recording)

    async def replace_login(self, name: str, storage: dict[str, Any]) -> Page:
        """Open a page anew, at its address, in a context where sites find `storage` in place of what they have kept.

        What is open holds on to its databases, so that they can't be replaced under it.

        Raises BrowserFailure: as `page` and `reopen_page`.
        """
        page = self.page(name)
        url = page.url if page.can_be_reopened else BLANK
        options = page.options
        return await self.reopen_page(name, PageState(url, storage, options.width, options.height, options))

    def page(self, name: str) -> Page:
        """The page of that name. Raises BrowserFailure (page_closed, browser_crashed) when it can't be used."""
        page, _ = self._pages.get(name, (None, None))
        if page is None:
            raise explain_closed("")
        if page.lost is not None:
            raise page.lost
        return page

    async def close(self) -> None:
        """Close all pages and give the browsers back."""
        async with asyncio.TaskGroup() as tasks:
            for name in list(self._pages):
                tasks.create_task(self._close_page(name))
        for chromium in self._held:
            chromium.leases -= 1
            self._pool.take_back(chromium)
        self._held.clear()
        for recording in (*self._recorded, *(one for _, one in self._recordings)):
            await recording.remove()
        self._recorded.clear()
        self._recordings.clear()

    async def _obtain(self, name: str) -> Chromium:
        await self._close_page(name)
        chromium = await self._pool.obtain(self.permit.tenant_id)
        if chromium not in self._held:
            self._held.add(chromium)
            chromium.leases += 1
        return chromium

    async def _close_page(self, name: str) -> None:
        page, chromium = self._pages.pop(name, (None, None))
        if page is not None and chromium is not None:
            await page.close()
            chromium.forget(page)


class Pool:
    """The browsers of one worker process."""

    def __init__(self, options: PoolOptions, proxy: EgressProxy) -> None:
        """`proxy` listens for as long as the pool is open: browsers send everything through it."""
        self._options = options
        self._proxy = proxy
        self._stack = AsyncExitStack()
        self._tasks = asyncio.TaskGroup()
        self._background: set[asyncio.Task[None]] = set()
        self._launching = asyncio.Lock()
        self._warm: dict[TenantId, Chromium] = {}
        """In the order of use: the first was unused for longest."""
        self._retired: set[Chromium] = set()
        """No longer given out; each ends when its last lease does."""
        self._lost: set[Chromium] = set()
        """Ended by themselves; each is still to be closed."""
        self._spare: Chromium | None = None
        self._ending = False
        self._memory = 0
        self._watchdog = Watchdog(options.memory_limit, lambda: [one for one in self._running if one.leases])

    async def __aenter__(self) -> Self:
        """End what a killed worker left behind, and get ready."""
        scratch = self._options.scratch_dir.resolve()
        await asyncio.to_thread(reap_orphans, scratch)
        folder = RunFolder.claim(scratch, uuid4().hex)
        self._stack.callback(folder.release)
        gate = await self._stack.enter_async_context(Gate(folder.path, self._proxy))
        self.sandboxing = Sandboxing(gate, required=self._options.sandbox_required)
        self._starter = Starter(
            self._options.browser_path,
            folder,
            self._proxy,
            gate=gate,
            sandboxing=self.sandboxing,
            on_lost=self._bury,
        )
        self._stack.push_async_callback(self._close_all)
        await self._stack.enter_async_context(self._tasks)
        self._run(self._fill_spare())
        self._run(self._keep_measuring())
        self._run(self._watchdog.watch())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End every browser."""
        self._ending = True
        for task in self._background:
            task.cancel()
        if isinstance(error, asyncio.CancelledError):  # the task group must see it: it may be its own
            await self._stack.__aexit__(kind, error, trace)
        else:  # and would wrap anything else in a group, which is no business of the pool's
            await self._stack.__aexit__(None, None, None)

    @property
    def figures(self) -> PoolFigures:
        """How things stand, for who scrapes."""
        browsers = self._running
        return PoolFigures(
            browsers=len(browsers),
            contexts=sum(one.contexts for one in browsers),
            parked=sum(one.has_parked for one in browsers),
            memory=self._memory,
            launched=self._starter.tally.launched,
            crashed=self._starter.tally.crashed,
            overgrown=self._watchdog.ended,
            confinement=self.sandboxing.chosen,
        )

    @asynccontextmanager
    async def lease(self, permit: Permit) -> AsyncIterator[Lease]:
        """Lend browsers to one run; its pages are closed at the end. A Chromium is only taken for a page."""
        lease = Lease(self, permit)
        try:
            yield lease
        finally:
            await lease.close()

    async def insist(self) -> None:
        """Where browsers must have their own sandbox, start one to see that it works. Raises SandboxMissing."""
        if not self._options.sandbox_required:
            return
        try:
            await self.try_confinement()
        except BrowserFailure as failure:
            if self.sandboxing.refused:
                raise SandboxMissing(f"{failure.message} {failure.hint}") from failure
            _log.warning("no browser stands ready", reason=failure.message, hint=failure.hint)

    async def try_confinement(self) -> Confinement:
        """How browsers are shut in here, seen by one that is started now. Raises BrowserFailure."""
        async with self._launching:
            if self._spare is None or not self._spare.alive:
                self._spare = await self._starter.launch()
        return self.sandboxing.found

    async def report(self) -> str:
        """How browsers are shut in. Raises ApiError where that is not as it should be."""
        return await self.sandboxing.report()

    # --- for leases

    async def obtain(self, tenant_id: TenantId) -> Chromium:
        """The tenant's Chromium, a new one where there is none. Raises BrowserFailure."""
        if (chromium := self._use_warm(tenant_id)) is not None:
            return chromium
        async with self._launching:
            if (chromium := self._use_warm(tenant_id)) is not None:  # another execution of the tenant was first
                return chromium
            if (worn := self._warm.pop(tenant_id, None)) is not None:
                self._retire(worn)
            chromium, self._spare = self._spare, None
            if chromium is None or not chromium.alive:
                chromium = await self._starter.launch()
            self._warm[tenant_id] = chromium
        self._drop_surplus()
        self._run(self._fill_spare())
        return chromium

    def prepare_next(self, chromium: Chromium) -> None:
        """Make the next page of a browser ready in the background: soon, and at once when nobody uses it any more."""
        self._run(self._park_later(chromium))

    def watch_recording(self, recording: Recording) -> None:
        """See in the background that it stays within its bounds."""
        self._run(recording.watch())

    def take_back(self, chromium: Chromium) -> None:
        """A lease has ended."""
        if chromium.leases == 0:
            self._run(self._look_after(chromium))

    # --- keeping house

    def _use_warm(self, tenant_id: TenantId) -> Chromium | None:
        chromium = self._warm.get(tenant_id)
        if chromium is None or self._is_worn(chromium):
            return None
        del self._warm[tenant_id]
        self._warm[tenant_id] = chromium  # now the last to be dropped
        return chromium

    def _is_worn(self, chromium: Chromium) -> bool:
        return not chromium.alive or chromium.opened >= self._options.max_contexts

    def _drop_surplus(self) -> None:
        idle = [(tenant_id, one) for tenant_id, one in self._warm.items() if one.leases == 0]
        newest = next(reversed(self._warm), None)
        for tenant_id, chromium in idle[: max(0, len(self._warm) - self._options.max_warm)]:
            if tenant_id != newest:
                del self._warm[tenant_id]
                self._retire(chromium)

    def _retire(self, chromium: Chromium) -> None:
        self._retired.add(chromium)
        if chromium.leases == 0:
            self._run(self._end(chromium))

    async def _look_after(self, chromium: Chromium) -> None:
        """Replace a browser that nobody uses, if it is worn or has grown too large."""
        grown = await asyncio.to_thread(chromium.measure_memory) > self._options.max_memory
        if chromium.leases:
            return
        owner = next((tenant_id for tenant_id, one in self._warm.items() if one is chromium), None)
        if owner is not None and (grown or self._is_worn(chromium)):
            del self._warm[owner]
            self._retired.add(chromium)
        if chromium in self._retired:
            await self._end(chromium)
        self._drop_surplus()
        await self._park(chromium)

    async def _park_later(self, chromium: Chromium) -> None:
        await asyncio.sleep(_PARK_S)
        await self._park(chromium)

    async def _park(self, chromium: Chromium) -> None:
        if chromium in self._warm.values() and not self._is_worn(chromium):
            await chromium.park_page()

    def _bury(self, chromium: Chromium) -> None:
        """A browser has ended by itself: its driver has nothing left to drive."""
        self._lost.add(chromium)
        if not self._ending:
            self._run(self._end(chromium))

    async def _end(self, chromium: Chromium) -> None:
        await chromium.close()  # until it is, the pool's own end must find it
        self._retired.discard(chromium)
        self._lost.discard(chromium)

    async def _fill_spare(self) -> None:
        if not self._options.spare:
            return
        async with self._launching:
            if self._spare is not None and self._spare.alive:
                return
            try:
                self._spare = await self._starter.launch()
            except BrowserFailure as failure:
                _log.warning("no browser stands ready", reason=failure.message, hint=failure.hint)
                return
        await self._spare.park_page()

    async def _close_all(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for chromium in self._known:
                tasks.create_task(chromium.close())
            tasks.create_task(self._starter.close())

    async def _keep_measuring(self) -> None:
        while True:
            await asyncio.sleep(self._options.measure_s)
            self._memory = await asyncio.to_thread(_measure_all, self._running)

    @property
    def _known(self) -> set[Chromium]:
        spare = [self._spare] if self._spare is not None else []
        return {*self._warm.values(), *self._retired, *self._lost, *spare}

    @property
    def _running(self) -> set[Chromium]:
        return {one for one in self._known if one.alive}

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._tasks.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def _measure_all(browsers: set[Chromium]) -> int:
    return sum(one.measure_memory() for one in browsers)
