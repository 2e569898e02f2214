"""B1: a purchase in the demo shop in twenty actions, as a workflow and as a plain Playwright script."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
from playwright.async_api import Browser, Page, async_playwright
from uuid_utils.compat import uuid7

from contracts.execution import ExecutionStatus
from contracts.model import ExecutionId, TenantId
from contracts.workflow import JsonObject, WorkflowDocument
from runtime.app import Ground as ProductGround
from runtime.app import lay_ground, make_worker
from runtime.browser.chromium import _QUIET
from runtime.browser.find import find_chromium
from runtime.browser.options import VIEWPORT_HEIGHT, VIEWPORT_WIDTH
from runtime.browser.page import _JPEG_QUALITY
from runtime.browser.pool import Pool, PoolOptions
from runtime.egress.egress import Egress
from runtime.engine.plan import make_plan
from runtime.engine.validate import check_document
from runtime.settings import Settings
from runtime.store.executions import Executions
from tests.bench.figure import Bar, Figure
from tests.bench.ground import Ground, start_process
from tests.bench.rounds import Effort, take_turns
from tests.runtime.made import make_execution
from tests.runtime.staging import edge, node

ROUNDS = 7
DEADLINE_S = 60.0


@dataclass(frozen=True)
class Action:
    """One thing done to the page."""

    kind: str
    selector: str = ""
    value: str = ""


ACTIONS = (
    Action("launch_standard_browser", value="/sign-in"),
    Action("fill_input", "#email", "stagehand@example.com"),
    Action("fill_input", "#password", "break-a-leg"),
    Action("click_element", "#sign-in"),
    Action("wait_for_element", "#search"),
    Action("fill_input", "#search", "light"),
    Action("select_option", "#category", "lighting"),
    Action("click_element", "#search-button"),
    Action("wait_for_element", "#products"),
    Action("screenshot"),
    Action("click_element", "#product-ghost-light"),
    Action("wait_for_element", "#add-to-cart"),
    Action("screenshot"),
    Action("click_element", "#add-to-cart"),
    Action("wait_for_element", "#checkout"),
    Action("click_element", "#checkout"),
    Action("fill_input", "#name", "Sam Stagehand"),
    Action("click_element", "#place-order"),
    Action("wait_for_element", "#order-number"),
    Action("screenshot"),
)


async def measure(ground: Ground, effort: Effort) -> list[Figure]:
    """The demo shop's purchase: sign in, search, choose, buy, three pictures, twenty actions. Ours is a workflow of
    twenty nodes from submit to its end, with everything recorded: queue, claim, a step and its events for each node,
    pictures kept as artifacts. The peer is the script that a person would write with Playwright: the same selectors,
    a fresh context, pictures thrown away. Both Chromiums are warm; ours goes through the proxy, the script's straight
    to the shop, which serves both.
    """
    database = await ground.make_database()
    folder = ground.make_folder(database.name)
    with start_process(["-m", "experience.demo", "--port", "{port}"], folder) as shop:
        host = f"127.0.0.1:{shop.port}"
        settings = Settings(
            database_url=database.dsn("runtime_app"),
            system_database_url=database.dsn("runtime_system"),
            artifact_dir=folder / "artifacts",
            scratch_dir=folder / "scratch",
            allowed_hosts=(host,),
        )
        async with _working(settings, database.superuser_dsn) as performer, _scripted(host) as browser:
            for warm in (performer.perform, browser.perform):
                await warm()
            ours, theirs = await take_turns(effort.rounds(ROUNDS), performer.perform, browser.perform)
    return [
        Figure(
            bench="B1",
            what=f"browser workflow of {len(ACTIONS)} actions, warm",
            unit="ms",
            ours=ours,
            against="a plain Playwright script",
            peer=theirs,
            bar=Bar(limit=1.10),
        )
    ]


class Performer:
    """Our worker."""

    def __init__(self, ground: ProductGround, reader: asyncpg.Connection) -> None:
        self._ground = ground
        self._reader = reader
        self._executions = Executions(ground.db, ground.queue)
        self._tenant_id = TenantId(uuid7())
        document = WorkflowDocument.model_validate(_make_document(ground.settings.allowed_hosts[0]))
        faults = check_document(document, ground.catalogue.types)
        assert not faults, faults
        self._plan = make_plan(document, ground.catalogue.types)

    async def perform(self) -> float:
        """ms from submit to the end, as a reader of the log learns of it."""
        new = make_execution(plan=self._plan.model_dump(mode="json"), timeout_s=DEADLINE_S)
        execution_id = ExecutionId(new.execution_id)
        began = time.perf_counter()
        with self._ground.wakeups.subscribe(execution_id) as bell:
            await self._executions.submit(self._tenant_id, new)
            async with asyncio.timeout(DEADLINE_S):
                while not (status := await self._look(execution_id)).final:
                    await bell.wait(1.0)
        took = (time.perf_counter() - began) * 1e3
        assert status is ExecutionStatus.COMPLETED, (await self._executions.get(self._tenant_id, execution_id)).error
        return took

    async def _look(self, execution_id: ExecutionId) -> ExecutionStatus:
        """As cheap as can be: the one who waits shares the worker's process, and must not slow it."""
        found = await self._reader.fetchval(
            "SELECT status FROM runtime.executions WHERE execution_id = $1", execution_id
        )
        return ExecutionStatus(found)


class Script:
    """A plain script."""

    def __init__(self, browser: Browser, host: str) -> None:
        self._browser = browser
        self._host = host

    async def perform(self) -> float:
        """ms from the new context to its end."""
        began = time.perf_counter()
        context = await self._browser.new_context(viewport={"width": VIEWPORT_WIDTH, "height": VIEWPORT_HEIGHT})
        page = await context.new_page()
        for action in ACTIONS:
            await act(page, action, self._host)
        await context.close()
        return (time.perf_counter() - began) * 1e3


async def act(page: Page, action: Action, host: str) -> None:
    """Do one action as a script does it."""
    match action.kind:
        case "launch_standard_browser":
            await page.goto(f"http://{host}{action.value}")
        case "fill_input":
            await page.locator(action.selector).first.fill(action.value)
        case "click_element":
            await page.locator(action.selector).first.click()
        case "select_option":
            await page.locator(action.selector).first.select_option(action.value)
        case "wait_for_element":
            await page.locator(action.selector).first.wait_for(state="visible")
        case "screenshot":
            await page.screenshot(type="jpeg", quality=_JPEG_QUALITY)
        case _:
            raise ValueError(action.kind)


@asynccontextmanager
async def _working(settings: Settings, reader_dsn: str) -> AsyncIterator[Performer]:
    ground = lay_ground(settings)
    reader = await asyncpg.connect(reader_dsn)
    options = PoolOptions(scratch_dir=settings.scratch_dir, spare=False)
    async with (
        Egress(settings.allowed_hosts) as egress,
        Pool(options, egress.proxy) as pool,
        asyncio.TaskGroup() as tasks,
    ):
        worker = make_worker(ground, egress, pool)
        listening = tasks.create_task(ground.wakeups.run())
        tasks.create_task(worker.work())
        try:
            yield Performer(ground, reader)
        finally:
            worker.leave()
            listening.cancel()
    await reader.close()
    await ground.close()


@asynccontextmanager
async def _scripted(host: str) -> AsyncIterator[Script]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=find_chromium(None, Path(playwright.chromium.executable_path)),
            args=list(_QUIET),
        )
        yield Script(browser, host)
        await browser.close()


def _make_document(host: str) -> JsonObject:
    names = [f"a{number}" for number in range(len(ACTIONS))]
    return {
        "name": "Buy a lamp",
        "nodes": [
            node(name, action.kind, _make_inputs(action, host)) for name, action in zip(names, ACTIONS, strict=True)
        ],
        "edges": [edge(names[place], names[place + 1], "Web Page", "Web Page") for place in range(len(names) - 1)],
    }


def _make_inputs(action: Action, host: str) -> JsonObject:
    match action.kind:
        case "launch_standard_browser":
            return {"Website URL": f"http://{host}{action.value}"}
        case "fill_input":
            return {"Selector": action.selector, "Value": action.value}
        case "select_option":
            return {"Selector": action.selector, "Option": action.value}
        case "wait_for_element":
            return {"Selector": action.selector, "Visibility": "visible"}
        case "click_element":
            return {"Selector": action.selector}
        case _:
            return {}
