"""The shop in a real browser: accessible on every page, and as the demo workflow expects it."""

import asyncio
import re
from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page

from contracts.workflow import Node
from experience.cli.first_visit import load_demo
from experience.demo.pages import DEMO_EMAIL, DEMO_PASSWORD


async def find_faults(page: Page) -> list[str]:
    found = await Axe().run(page)
    return [f"{page.url}: {fault['id']}: {fault['nodes'][0]['html']}" for fault in found.response["violations"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_page_is_accessible(page: Page, shop_url: str, scheme: Any) -> None:
    await page.emulate_media(color_scheme=scheme)
    faults = []
    for path in (
        "/",
        "/products",
        "/products?q=nothing",
        "/products/mask",
        "/products/gramophone",
        "/cart",
        "/nowhere",
    ):
        await page.goto(shop_url + path)
        faults += await find_faults(page)
    await page.goto(f"{shop_url}/products/moon")
    await page.click("#add-to-cart")
    faults += await find_faults(page)
    await page.goto(f"{shop_url}/sign-in")
    await page.fill("#email", "somebody@example.com")
    await page.fill("#password", "wrong")
    await page.click("#sign-in")
    faults += await find_faults(page)
    await page.fill("#email", DEMO_EMAIL)
    await page.fill("#password", DEMO_PASSWORD)
    await page.click("#sign-in")
    faults += await find_faults(page)
    await page.click("#place-order")
    faults += await find_faults(page)
    assert faults == []


async def test_fits_a_narrow_screen(page: Page, shop_url: str) -> None:
    await page.set_viewport_size({"width": 360, "height": 740})
    for path in ("/", "/products", "/products/door", "/sign-in"):
        await page.goto(shop_url + path)
        assert await page.evaluate("document.documentElement.scrollWidth") <= 360


async def test_demo_workflow_finds_what_it_points_at(page: Page, shop_url: str) -> None:
    """Its steps in the order of the document, which is the order of its edges; Runtime's own run is in tests/e2e."""
    outputs: dict[str, Any] = {}
    for node in load_demo(shop_url).nodes:
        outputs[node.id] = await do_step(page, node)
    assert re.fullmatch(r"PR-\d{4,}", outputs["read_number"])
    assert [item["name"] for item in outputs["read_list"]] == ["Colour gel set", "Fresnel spotlight", "Ghost light"]


async def do_step(page: Page, node: Node) -> Any:
    inputs = node.data.inputs
    selector = inputs.get("Selector", "")
    match node.type:
        case "launch_standard_browser":
            await page.goto(inputs["Website URL"])
        case "fill_input":
            await page.fill(selector, inputs["Value"])
        case "select_option":
            await page.select_option(selector, inputs["Option"])
        case "click_element":
            await page.click(selector)
        case "wait_for_element":
            await page.wait_for_selector(selector, state=inputs["Visibility"])
        case "get_text_from_html":
            return await page.inner_text(selector)
        case "extract_list":
            items = await page.query_selector_all(selector)
            found = [await item.query_selector(inputs["Fields"]["name"]) for item in items]
            return [{"name": await name.inner_text()} for name in found if name]
        case "delay" | "get_html" | "screenshot":
            await asyncio.sleep(0)
        case other:
            raise AssertionError(f"the demo uses {other}, which this test does not know")
    return None


def test_demo_leads_from_left_to_right_without_a_gap() -> None:
    document = load_demo("http://127.0.0.1:1")
    targets = {edge.target for edge in document.edges}
    assert [node.id for node in document.nodes if node.id not in targets] == ["open_shop"]
    assert {edge.source for edge in document.edges} | targets == {node.id for node in document.nodes}
    places = [(node.position.x, node.position.y) for node in document.nodes]
    assert len(set(places)) == len(places)
