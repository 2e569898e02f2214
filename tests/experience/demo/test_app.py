"""The shop as a visitor meets it."""

import re

import httpx
import pytest

from experience.demo.pages import DEMO_EMAIL, DEMO_PASSWORD
from experience.demo.visits import MOST_VISITS, Visits

SIGNED_IN = {"email": DEMO_EMAIL, "password": DEMO_PASSWORD}


async def test_buying_from_search_to_order_number(visitor: httpx.AsyncClient) -> None:
    signed_in = await visitor.post("/sign-in", data=SIGNED_IN)
    assert signed_in.url.path == "/products"
    found = await visitor.get("/products", params={"q": "light", "category": "lighting", "sort": "cheapest"})
    assert re.findall(r'data-slug="([^"]+)"', found.text) == ["gel-set", "ghost-light", "spotlight"]
    cart = await visitor.post("/cart", data={"product": "ghost-light", "quantity": "2"})
    assert 'id="cart-total">98.00<' in cart.text
    order = await visitor.post("/checkout", data={"name": "Sam", "delivery": "stage-door"})
    number = re.search(r'id="order-number"[^>]*>(PR-\d+)<', order.text)
    assert number
    assert order.url.path == f"/orders/{number[1]}"
    assert 'data-testid="cart-count">0<' in (await visitor.get("/")).text


async def test_orders_are_seen_by_their_buyer_only(visitor: httpx.AsyncClient, shop_url: str) -> None:
    await visitor.post("/sign-in", data=SIGNED_IN)
    await visitor.post("/cart", data={"product": "bell"})
    order = await visitor.post("/checkout", data={"name": "Sam", "delivery": "box-office"})
    async with httpx.AsyncClient(base_url=shop_url) as stranger:
        assert (await stranger.get(order.url.path)).status_code == 404


async def test_checkout_asks_who_buys(visitor: httpx.AsyncClient) -> None:
    await visitor.post("/cart", data={"product": "bell"})
    assert (await visitor.get("/checkout")).url.path == "/sign-in"
    assert (await visitor.post("/sign-in", data=SIGNED_IN)).url.path == "/checkout"


async def test_wrong_password_is_said(visitor: httpx.AsyncClient) -> None:
    refused = await visitor.post("/sign-in", data={"email": '"><script>', "password": "x"})
    assert refused.status_code == 422
    assert 'id="sign-in-error"' in refused.text
    assert "<script>" not in refused.text


async def test_text_is_escaped(visitor: httpx.AsyncClient) -> None:
    assert "<script>" not in (await visitor.get("/products", params={"q": "<script>alert(1)</script>"})).text


@pytest.mark.parametrize("path", ["/nowhere", "/products/nothing", "/orders/PR-1", "/static/nothing.css"])
async def test_unknown_paths(visitor: httpx.AsyncClient, path: str) -> None:
    assert (await visitor.get(path)).status_code == 404


@pytest.mark.parametrize(
    "form", [{"product": "nothing"}, {"product": "bell", "quantity": "-1"}, {"product": "gramophone"}, {}]
)
async def test_what_cannot_be_put_into_the_cart(visitor: httpx.AsyncClient, form: dict[str, str]) -> None:
    assert (await visitor.post("/cart", data=form)).status_code in {404, 422}
    assert "It is empty" in (await visitor.get("/cart")).text


async def test_removing_from_the_cart(visitor: httpx.AsyncClient) -> None:
    await visitor.post("/cart", data={"product": "bell"})
    assert "It is empty" in (await visitor.post("/cart/remove", data={"product": "bell"})).text


async def test_oversized_form_is_refused(visitor: httpx.AsyncClient) -> None:
    assert (await visitor.post("/sign-in", content=b"a" * 100_000)).status_code == 413


async def test_pages_ask_nothing_of_others(visitor: httpx.AsyncClient) -> None:
    home = await visitor.get("/")
    assert "default-src 'none'" in home.headers["content-security-policy"]
    assert not re.search(r'(?:src|href)="(?:https?:)?//', home.text)


def test_visits_are_bounded() -> None:
    visits = Visits()
    first, _ = visits.begin()
    for _ in range(MOST_VISITS):
        last, _ = visits.begin()
    assert visits.find(first) is None
    assert visits.find(last) is not None
