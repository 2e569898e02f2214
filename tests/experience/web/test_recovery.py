"""Going on after a stop, in a real browser: answers, retries and decisions, by mouse and by keyboard."""

from collections.abc import AsyncIterator
from itertools import repeat

import pytest
from playwright.async_api import Page, expect

from tests.experience.web.conftest import OpenContext
from tests.experience.web.playhouse import Playhouse, ask, bury
from tests.experience.web.story import LOST, PURCHASE, Story, paint, purchase

PICTURE = paint(1280, 720, (245, 240, 230))
ASKED = 12


@pytest.fixture
async def page(open_context: OpenContext) -> AsyncIterator[Page]:
    """A tab in which Ada is signed in."""
    context = await open_context(viewport={"width": 1440, "height": 900})
    yield await context.new_page()
    await context.close()


def tell_asking() -> Story:
    story = purchase(repeat(PICTURE), until=ASKED)
    story.ask(f"node-{ASKED}", "The worker was lost while it ran.", "Look into the shop's orders.")
    return story


async def test_an_answer_from_home_goes_on_in_a_new_execution(page: Page, house: Playhouse) -> None:
    story = tell_asking()
    house.stories, house.intents = [story], [ask(story)]
    await page.goto("/")
    asked = page.get_by_role("region", name=f"Did “{PURCHASE[ASKED]}” happen?")
    await asked.get_by_role("button", name="It happened").click()
    await expect(page.get_by_role("link", name="Retry of an earlier execution")).to_be_visible()
    assert house.wishes == [{"answer": "happened"}]
    taken = page.get_by_role("region", name="Graph").get_by_text("Taken over")
    await expect(taken).to_have_count(ASKED)
    await page.goto("/")
    await expect(asked).to_have_count(0)


async def test_who_is_second_is_told_kindly(page: Page, house: Playhouse) -> None:
    story = tell_asking()
    house.stories = [story]
    await page.goto(f"/executions/{story.execution_id}")
    again = page.get_by_role("button", name="Run it again")
    await again.wait_for()
    story.question = None  # somebody else's answer
    await again.focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("Somebody has answered this already")).to_be_visible()
    assert page.url.endswith(str(story.execution_id))


async def test_a_retry_by_keyboard_alone(page: Page, house: Playhouse) -> None:
    story = purchase(repeat(PICTURE), until=11)
    story.fail("node-11", LOST)
    story.break_off(LOST)
    house.stories = [story]
    await page.goto(f"/executions/{story.execution_id}")
    opener = page.get_by_role("button", name="Retry", exact=True)
    await opener.focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name="Start the retry")).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(opener).to_be_focused()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("link", name="Retry of an earlier execution")).to_be_visible()
    assert [wish["start_at"] for wish in house.wishes] == ["failed"]


async def test_a_pause_waits_for_the_node_at_work(page: Page, house: Playhouse) -> None:
    story = purchase(repeat(PICTURE), until=2)
    house.stories = [story]
    await page.goto(f"/executions/{story.execution_id}")
    await page.get_by_role("button", name="Pause").click()
    await expect(page.get_by_text("Pausing…", exact=True)).to_be_visible()
    story.succeed("node-2")
    story.pause()
    await house.tell()
    await page.get_by_role("button", name="Resume").click()
    await expect(page.get_by_text("Resuming…", exact=True)).to_be_visible()
    story.resume()
    story.begin("node-3")
    await house.tell()
    await expect(page.locator(".node-card.is-running")).to_contain_text(PURCHASE[3])
    await expect(page.get_by_role("button", name="Pause")).to_be_visible()


async def test_a_dead_letter_is_discarded_and_listed_as_decided(page: Page, house: Playhouse) -> None:
    house.letters = [bury(purchase(repeat(PICTURE), until=3))]
    await page.goto("/")
    await page.get_by_role("link", name="Dead letters").click()
    await page.get_by_role("button", name="Discard…").click()
    await expect(page.get_by_label("Why it is discarded")).to_be_focused()
    await page.keyboard.type("Its shop is closed.")
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("No dead letters")).to_be_visible()
    await page.get_by_role("link", name="Decided").click()
    await expect(page.get_by_text("Discarded")).to_be_visible()
