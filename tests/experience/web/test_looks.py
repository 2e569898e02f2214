"""Every page, in both colour schemes and on a narrow screen: nothing refused by the policy, nothing axe objects to."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from itertools import repeat
from typing import Literal
from uuid import uuid4

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, ConsoleMessage, Locator, Page, ViewportSize, expect

from contracts.credential import CredentialKind
from contracts.execution import FailureCode
from contracts.identity import Register
from contracts.model import NodeId
from contracts.shortcoming import FoundShortcoming, Shortcoming
from contracts.tool import ToolEvent
from contracts.workflow import WorkflowDocument
from tests.experience.web.conftest import OpenContext
from tests.experience.web.playhouse import Playhouse, ask, bury, lock_away, save_login, summarise, wish
from tests.experience.web.story import LOST, PRODUCTS, PURCHASE, Story, chain, paint, purchase
from tests.support.sockets import Served
from tests.support.tab import NETWORK_CHANGED

pytestmark = pytest.mark.timeout(300)

PICTURE = paint(1280, 720, (245, 240, 230))
NOWHERE = "/nowhere"
MISSED = "the server responded with a status of 404"
"""What Chromium says of an address without a page, and of nothing else here."""
WIDE, NARROW = {"width": 1440, "height": 900}, {"width": 360, "height": 740}
PHONE = {"width": 390, "height": 844}

Scheme = Literal["light", "dark"]

PROFILES = [save_login("market", "market.example", "login.market.example")]
CREDENTIALS = [
    lock_away("shop", "shop.example", "*.shop.example", "checkout.a-rather-long-name-of-a-host.example:8443"),
    lock_away("mailer", "api.mailer.example", kind=CredentialKind.TOKEN),
    lock_away("bank", kind=CredentialKind.FIELDS),
]


SHORTCOMINGS = [
    FoundShortcoming(
        shortcoming=Shortcoming.BROWSERS_EXPOSED,
        detail="Chromium's own sandbox does not work here (sandbox: none, jail: none). Let ordinary users of "
        "this machine have user namespaces.",
        workers=1,
    ),
    FoundShortcoming(
        shortcoming=Shortcoming.CODE_REFUSED, detail="no code can be run (bwrap: it is not installed).", workers=2
    ),
]


def call_tool(story: Story, outcome: str) -> ToolEvent:
    """A call by the node that failed."""
    return ToolEvent(
        event_id=uuid4(),
        execution_id=story.execution_id,
        node_id=NodeId("node-11"),
        user_id=None,
        tool="http_request",
        what="GET https://a-rather-long-name-of-a-host.example:8443/of/something/even/longer",
        outcome=outcome,
        sent=0,
        received=12_345,
        seconds=1.25,
        at=story.now,
    )


def tell_running() -> Story:
    return purchase(repeat(PICTURE), until=8)


def tell_completed() -> Story:
    story = purchase(repeat(PICTURE), until=len(PURCHASE), began=datetime.now(UTC) - timedelta(days=400))
    story.complete({"order_number": "GL-2041", "products": PRODUCTS})
    return story


def tell_failed() -> Story:
    story = purchase(repeat(PICTURE), until=11)
    story.retry("node-11")
    story.begin("node-11", 2)
    story.show("node-11", PICTURE, "http://shop.test/cart", failed=True)
    story.fail("node-11", LOST)
    story.skip("node-12")
    story.skip("node-13")
    story.break_off(LOST)
    return story


def tell_cancelled() -> Story:
    story = purchase(repeat(PICTURE), until=3)
    stopped = "Stopped before it was done, because the execution was cancelled."
    story.fail("node-3", LOST.model_copy(update={"code": FailureCode.STOPPED, "message": stopped}))
    story.cancel("Wrong shop.")
    return story


def tell_asking() -> Story:
    story = purchase(repeat(PICTURE), until=12)
    story.ask(
        "node-12",
        "The worker was lost while “Place the order” ran, and it must not run twice by itself.",
        "Look into the shop's orders: is there one from this morning?",
    )
    return story


def tell_paused() -> Story:
    story = purchase(repeat(PICTURE), until=4)
    story.cut_short("node-4")
    story.pause()
    return story


def tell_retried() -> Story:
    story = Story(chain("Demo: buy a ghost light", PURCHASE))
    story.retry_of = tell_asking().execution_id
    story.start()
    for index in range(11):
        story.take_over(f"node-{index}")
    story.begin("node-11")
    story.succeed("node-11")
    story.pause()
    return story


def tell_visit() -> Story:
    """An execution without a stored workflow: its plan is all there is to draw."""
    nodes = chain("visit", ["Open the page", "Keep a picture"]).nodes
    story = Story(WorkflowDocument(name="Visit shop.test", nodes=nodes), intent="visit", is_stored=False)
    story.start()
    story.begin("node-0")
    return story


STORIES = (
    tell_running,
    tell_completed,
    tell_failed,
    tell_cancelled,
    tell_paused,
    tell_visit,
    tell_asking,
    tell_retried,
)


async def examine(page: Page, path: str, heading: str) -> list[str]:
    """Open a page and answer everything that is wrong with it."""
    wrong: list[str] = []
    known = (NETWORK_CHANGED, MISSED) if path == NOWHERE else (NETWORK_CHANGED,)

    def hear(message: ConsoleMessage) -> None:
        if not any(words in message.text for words in known):
            wrong.append(f"console: {message.text}")

    page.on("console", hear)
    page.on("pageerror", lambda error: wrong.append(f"thrown: {error}"))
    await page.goto(path)
    await page.get_by_role("heading", name=heading, level=1).wait_for()
    await page.wait_for_load_state("networkidle")
    return [*wrong, *await judge(page)]


async def judge(page: Page) -> list[str]:
    """What axe objects to as the page stands, and whether it is too wide."""
    found = await Axe().run(page)
    wrong = [f"axe: {one['id']} at {[node['target'] for node in one['nodes']]}" for one in found.response["violations"]]
    excess = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
    if excess > 0:
        wrong.append(f"{excess} px wider than the screen")
    return wrong


@pytest.mark.parametrize(("scheme", "screen"), [("light", WIDE), ("dark", NARROW)], ids=["light", "dark and narrow"])
async def test_pages_are_sound(
    house: Playhouse, open_context: OpenContext, scheme: str, screen: dict[str, int]
) -> None:
    house.stories = [tell() for tell in STORIES]
    house.workflows = [summarise("Demo: buy a ghost light", 18, valid=scheme == "dark")]
    house.workflows += [summarise("Half-drawn idea", 2, valid=False), summarise("Another", 3)]
    house.intents = [wish(2), ask(house.stories[STORIES.index(tell_asking)])]
    house.letters = [bury(tell_failed())]
    context = await open_context(color_scheme=scheme, viewport=screen)
    pages = {"/": "Home", "/executions": "Executions", NOWHERE: "There is no page at this address."}
    pages["/dead-letters"] = "Dead letters"
    pages["/credentials"] = "Credentials"
    house.credentials, house.profiles = CREDENTIALS, PROFILES
    pages |= {f"/executions/{story.execution_id}": story.document.name for story in house.stories}
    for path, heading in pages.items():
        page = await context.new_page()
        assert await examine(page, path, heading) == [], path
        await page.close()


@pytest.mark.parametrize(("scheme", "screen"), [("light", WIDE), ("dark", PHONE)], ids=["light", "dark phone"])
async def test_who_is_not_signed_in_hears_that_no_page_is_there(
    browser: Browser, served: Served, scheme: Scheme, screen: ViewportSize
) -> None:
    context = await browser.new_context(base_url=served.http(), color_scheme=scheme, viewport=screen)
    page = await context.new_page()
    answer = await page.goto("/foo.php")
    assert answer is not None
    assert answer.status == 404
    await page.get_by_role("heading", name="There is no page at this address.").wait_for()
    assert await judge(page) == []
    await page.get_by_role("link", name="Home").click()
    await page.get_by_role("heading", name="Sign in").wait_for()


@pytest.mark.parametrize(("scheme", "screen"), [("light", WIDE), ("dark", NARROW)], ids=["light", "dark and narrow"])
async def test_what_opens_is_sound(
    house: Playhouse, open_context: OpenContext, scheme: str, screen: dict[str, int]
) -> None:
    house.stories = [tell_failed()]
    house.letters = [bury(tell_failed())]
    house.unavailable = "no code can be run (bwrap: not installed). Install bubblewrap."
    house.tools = [call_tool(house.stories[0], outcome) for outcome in ("ok", "http_failed", "cancelled")]
    house.shortcomings = SHORTCOMINGS
    context = await open_context(color_scheme=scheme, viewport=screen)
    page = await context.new_page()
    await page.goto(f"/executions/{house.stories[0].execution_id}")
    await page.get_by_role("tabpanel").get_by_role("button", name=PURCHASE[11]).click()
    await expect(page.get_by_role("tabpanel")).to_contain_text("http failed")
    await expect(page.get_by_role("tabpanel")).to_contain_text("can't be run here now")
    await page.get_by_role("region", name="Weaker than it should be").wait_for()
    assert await judge(page) == []
    await page.get_by_role("button", name="Dismiss until the next session").click()
    await page.get_by_role("button", name="Retry", exact=True).click()
    await page.get_by_role("radio", name="From a node").check()
    await expect(page.get_by_role("form", name="Retry")).to_be_in_viewport(ratio=1)
    assert await judge(page) == []
    await page.goto("/dead-letters")
    await page.get_by_role("button", name="Runs and suspects").click()
    await page.get_by_text("place order").wait_for()
    await page.get_by_role("button", name="Discard…").click()
    assert await judge(page) == []
    house.credentials, house.profiles = CREDENTIALS, PROFILES
    await page.goto("/credentials")
    await page.get_by_role("button", name="Add", exact=True).click()
    await page.get_by_label("Kind").select_option("fields")
    await page.get_by_role("button", name="Replace values of shop").click()
    await page.get_by_role("button", name="Delete… of bank").click()
    await page.get_by_role("button", name="Delete… of the login market").click()
    assert await judge(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_door_is_sound(open_context: OpenContext, scheme: str) -> None:
    context = await open_context(color_scheme=scheme, viewport=NARROW)
    await context.clear_cookies()
    page = await context.new_page()
    wrong = await examine(page, "/sign-in", "Sign in")
    # the browser's own note that nobody is signed in
    assert [one for one in wrong if "401" not in one] == []
    await page.get_by_role("button", name="Create one").click()
    await page.get_by_role("heading", name="Create an account").wait_for()
    assert await judge(page) == []


async def test_a_new_password_is_asked_for_with_its_bound(open_context: OpenContext) -> None:
    context = await open_context(viewport=PHONE)
    await context.clear_cookies()
    page = await context.new_page()
    await page.goto("/sign-in")
    await page.get_by_role("button", name="Create one").click()
    password = page.get_by_label("Password")
    bound = Register.model_json_schema()["properties"]["password"]["minLength"]
    await expect(password).to_have_attribute("minlength", str(bound))
    await expect(password).to_have_accessible_description(re.compile(rf"At least {bound} characters\."))
    await expect(page.get_by_text(f"At least {bound} characters.")).to_be_visible()


@pytest.mark.parametrize(("scheme", "screen"), [("light", WIDE), ("dark", PHONE)], ids=["light", "dark on a phone"])
async def test_the_documentation_is_sound(open_context: OpenContext, scheme: str, screen: dict[str, int]) -> None:
    page = await (await open_context(color_scheme=scheme, viewport=screen)).new_page()
    await page.goto("/api/docs")
    assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert "`" not in await page.locator("main").inner_text()
    ways = page.get_by_role("navigation")
    is_phone = screen is PHONE
    assert await ways.get_by_role("link", name="list_executions").is_visible() is not is_phone
    await ways.get_by_role("link", name="execution", exact=True).click()
    await expect(page.get_by_role("heading", name="execution", exact=True)).to_be_in_viewport()
    await page.goto("/api/docs#shape-Shortcoming")
    await expect(page.locator("#shape-Shortcoming")).to_be_in_viewport()
    if is_phone:  # what to read begins on the first screen
        await page.goto("/api/docs")
        await expect(page.get_by_text("Send Authorization: Bearer")).to_be_in_viewport()
    # three hundred sections are made alike, and axe takes its time with each
    await page.evaluate("[...document.querySelectorAll('section')].slice(20).forEach((one) => one.remove())")
    assert await judge(page) == []


async def test_names_have_room_on_a_phone(house: Playhouse, open_context: OpenContext) -> None:
    house.stories = [tell_failed()]
    page = await (await open_context(viewport=PHONE)).new_page()
    await page.goto(f"/executions/{house.stories[0].execution_id}")
    title = page.get_by_role("heading", name="Demo: buy a ghost light")
    await title.wait_for()
    assert await count_lines(title) == 1
    ways = page.get_by_role("navigation", name="Pages").get_by_role("link")
    assert await ways.count() == 4
    for way in await ways.all():
        assert await count_lines(way) == 1
        await expect(way).to_be_in_viewport(ratio=1)


async def count_lines(what: Locator) -> int:
    """Lines of its text as they are drawn."""
    lines: int = await what.evaluate(
        """(one) => {
            const text = document.createRange();
            text.selectNodeContents(one);
            return new Set([...text.getClientRects()].map((box) => Math.round(box.top))).size;
        }"""
    )
    return lines


async def test_ends_differ_in_colour_sign_and_word(house: Playhouse, open_context: OpenContext) -> None:
    house.stories = [tell_failed(), tell_cancelled(), tell_paused()]
    page = await (await open_context(viewport=WIDE)).new_page()
    looks = set()
    for story, state, word in zip(
        house.stories, ("failed", "stopped", "paused"), ("Failed", "Stopped", "Paused"), strict=True
    ):
        await page.goto(f"/executions/{story.execution_id}")
        card = page.locator(f".node-card.is-{state}")
        await expect(card).to_contain_text(word)
        mark = card.locator(".node-mark")
        looks.add((await mark.evaluate(PAINT), await mark.locator("svg").inner_html()))
    assert len({colour for colour, _ in looks}) == len({sign for _, sign in looks}) == 3


PAINT = "(one) => `${getComputedStyle(one).color} on ${getComputedStyle(one).backgroundColor}`"


async def test_who_wants_no_motion_gets_none(house: Playhouse, open_context: OpenContext) -> None:
    house.stories = [tell_running()]
    page = await (await open_context(reduced_motion="reduce")).new_page()
    await page.goto(f"/executions/{house.stories[0].execution_id}")
    await page.get_by_text("Live", exact=True).wait_for()
    ended = "Promise.all(document.getAnimations().map((one) => one.finished.catch(() => null))).then(() => true)"
    async with asyncio.timeout(60):  # one without end never answers
        assert await page.evaluate(ended)


async def test_plain_http_is_shown_in_red(house: Playhouse, open_context: OpenContext) -> None:
    house.insecure = True
    page = await (await open_context()).new_page()
    await page.goto("/")
    warning = page.get_by_role("alert").filter(has_text="plain http")
    await warning.wait_for()
    assert await warning.evaluate("(one) => getComputedStyle(one).backgroundColor") == "rgb(168, 32, 26)"
