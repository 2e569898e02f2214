"""An execution watched in a real browser while its server does what servers do."""

import asyncio
from collections.abc import AsyncIterator
from itertools import repeat

import pytest
from playwright.async_api import Page, expect

from contracts.execution import StepStatus
from contracts.model import LogId
from tests.experience.web.conftest import OpenContext
from tests.experience.web.playhouse import CODE, PASSWORD, Playhouse, open_playhouse, summarise
from tests.experience.web.story import PURCHASE, Story, chain, paint, play, purchase
from tests.support.sockets import Served

PICTURE = paint(1280, 720, (245, 240, 230))


@pytest.fixture
async def page(open_context: OpenContext) -> AsyncIterator[Page]:
    """A tab in which Ada is signed in."""
    context = await open_context(viewport={"width": 1440, "height": 900})
    yield await context.new_page()
    await context.close()


@pytest.fixture
def story(house: Playhouse) -> Story:
    """The demo, two nodes done and the third at work."""
    told = purchase(repeat(PICTURE), until=2)
    house.stories = [told]
    return told


async def watch(page: Page, story: Story) -> None:
    await page.goto(f"/executions/{story.execution_id}")
    await expect(page.get_by_text("Live", exact=True)).to_be_visible()


async def go_on(house: Playhouse, story: Story, index: int) -> None:
    """The node that was at work ends, the next one begins."""
    story.succeed(f"node-{index}")
    story.begin(f"node-{index + 1}")
    await house.tell()


async def test_nodes_light_up_as_they_run(page: Page, house: Playhouse, story: Story) -> None:
    await watch(page, story)
    graph = page.get_by_role("region", name="Graph")
    await expect(graph.locator(".is-success")).to_have_count(2)
    await expect(graph.locator(".is-running")).to_contain_text(PURCHASE[2])
    story.log("info", "Three letters of the password are typed.", "node-2")
    await go_on(house, story, 2)
    await expect(graph.locator(".is-running")).to_contain_text(PURCHASE[3])
    await expect(page.get_by_role("log")).to_contain_text("Three letters of the password are typed.")
    play(story, 3, PICTURE)
    await house.tell()
    await expect(page.get_by_text("http://127.0.0.1:8003/step/3")).to_be_visible()
    for index in range(4, len(PURCHASE)):
        play(story, index, PICTURE)
    story.complete({"order_number": "GL-2041"})
    await house.tell()
    await expect(page.get_by_text("GL-2041")).to_be_visible()
    await expect(page.get_by_text("Complete record")).to_be_visible()
    await expect(page).to_have_title("Completed · Demo: buy a ghost light · Stagedoor")


async def test_the_list_follows_the_node_that_runs(page: Page, house: Playhouse) -> None:
    story = purchase(repeat(PICTURE), until=12)
    house.stories = [story]
    await watch(page, story)
    await expect(page.get_by_role("tabpanel").get_by_role("button", name=PURCHASE[12])).to_be_in_viewport(ratio=1)


async def test_a_restarted_server_is_found_again_and_nothing_is_told_twice(
    page: Page, house: Playhouse, story: Story
) -> None:
    await watch(page, story)
    before = story.head
    story.log("info", "Written while nobody was told.", "node-2")
    await house.close_streams(1012, {"code": "restarting", "retry": True})
    await expect(page.get_by_role("log")).to_contain_text("Written while nobody was told.")
    await expect(page.get_by_text("Live", exact=True)).to_be_visible()
    assert house.opened[-1] == {"after": str(before), "log": str(story.log_id), "batch": "true"}
    await page.get_by_label("Level").select_option("debug")
    said = await page.locator(".line-message").all_inner_texts()
    assert len(said) == len(set(zip(said, await page.locator(".line time").all_inner_texts(), strict=True)))


async def test_a_server_that_is_gone_for_a_while(page: Page, house: Playhouse, story: Story, served: Served) -> None:
    await watch(page, story)
    served.terminate()
    await served.finished
    await expect(page.get_by_text("Reconnecting…")).to_be_visible()
    await go_on(house, story, 2)
    async with open_playhouse(house, served.port):
        await expect(page.get_by_text("Live", exact=True)).to_be_visible()
        await expect(page.locator(".node-card.is-running")).to_contain_text(PURCHASE[3])
        await page.goto("about:blank")


async def test_silence_is_noticed(page: Page, house: Playhouse, story: Story) -> None:
    house.ping_interval = 0.6
    await watch(page, story)
    house.ping_interval = 3_600  # promised every 0.6 s, and now none comes
    await house.wait_for_streams(2)
    await expect(page.get_by_text("Live", exact=True)).to_be_visible()


async def test_a_restored_backup_shows_what_is_true_now(page: Page, house: Playhouse, story: Story) -> None:
    await watch(page, story)
    story.log("info", "Soon forgotten.", "node-2")
    await house.tell()
    await expect(page.get_by_role("log")).to_contain_text("Soon forgotten.")
    story.log_id = LogId(story.workflow_id)
    story.states["node-2"] = StepStatus.QUEUED
    await house.close_streams(1012)
    await expect(page.get_by_role("log")).not_to_contain_text("Soon forgotten.")
    await expect(page.locator(".node-card.is-running")).to_have_count(0)
    await expect(page.get_by_text("Live", exact=True)).to_be_visible()


async def test_a_login_that_ends_asks_again_and_comes_back(page: Page, house: Playhouse, story: Story) -> None:
    await watch(page, story)
    house.log_everybody_out()
    await house.close_streams(4401)
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    await page.get_by_label("Email").fill("ada@stage.test")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Demo: buy a ghost light")).to_be_visible()
    await expect(page.get_by_text("Live", exact=True)).to_be_visible()


async def test_a_link_signs_in_and_leads_on(page: Page, house: Playhouse, story: Story) -> None:
    await page.context.clear_cookies()
    await page.goto(f"/enter?next=/executions/{story.execution_id}#{CODE}")
    await expect(page.get_by_role("heading", name="Demo: buy a ghost light")).to_be_visible()
    assert await page.evaluate("localStorage.length + sessionStorage.length + document.cookie.length") == 0
    await page.go_back()
    assert page.url == "about:blank"  # the link itself is not in the history


async def test_the_demo_starts_at_a_press(page: Page, house: Playhouse) -> None:
    house.workflows = [summarise("Demo: buy a ghost light", 18)]
    await page.goto("/")
    await page.get_by_role("button", name="Start").click()
    await expect(page.get_by_text("Live", exact=True)).to_be_visible()
    house.stories[0].start()
    house.stories[0].begin("node-0")
    await house.tell()
    await expect(page.locator(".node-card.is-running")).to_contain_text("Open the shop")


async def test_everything_is_reached_by_keyboard(page: Page, story: Story) -> None:
    await watch(page, story)
    await page.locator(".react-flow__node").first.focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name=PURCHASE[0], level=2)).to_be_visible()
    await page.get_by_role("tab", name="Nodes").focus()
    await page.keyboard.press("ArrowRight")
    await expect(page.get_by_role("tab", name="Result")).to_be_focused()
    thumbs = page.get_by_role("list", name="Pictures in order").get_by_role("button")
    await thumbs.last.focus()
    await page.keyboard.press("ArrowLeft")
    await expect(thumbs.nth(-2)).to_have_attribute("aria-pressed", "true")
    await page.get_by_role("button", name="Cancel").focus()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name="Cancelling…")).to_be_visible()


async def test_three_hundred_nodes_in_a_burst(page: Page, house: Playhouse) -> None:
    story = Story(chain("Three hundred", [f"Step {index}" for index in range(300)], per_row=20))
    house.stories = [story]
    story.start()
    await watch(page, story)
    for index in range(300):
        story.begin(f"node-{index}")
        story.log("info", f"Step {index} says so.", f"node-{index}")
        story.succeed(f"node-{index}")
        if index % 10 == 0:
            await house.tell()
            await asyncio.sleep(0)
    story.complete({})
    await house.tell()
    await expect(page.get_by_text("Complete record")).to_be_visible()
    await expect(page.locator(".node-card.is-success")).to_have_count(300)
    await expect(page.get_by_role("log")).to_contain_text("Step 299 says so.")


async def test_a_server_without_runtime_says_so_and_recovers(page: Page, house: Playhouse, story: Story) -> None:
    house.away = True
    await page.goto("/executions")
    await expect(page.get_by_role("alert")).to_contain_text("Runtime does not answer.")
    house.away = False
    await page.get_by_role("button", name="Try again").click()
    await expect(page.get_by_role("link", name=story.document.name)).to_be_visible()
