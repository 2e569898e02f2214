"""The shop's routes."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from experience.demo import pages
from experience.demo.catalogue import PRODUCTS, Category, Order, Product, find_product, search
from experience.demo.visits import Visit, Visits

COOKIE = "prop_room"
FORM_LIMIT = 16_384
FEATURED = ("ghost-light", "mask", "moon", "thunder")
SAFETY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}

Form = dict[str, str]
Page = Callable[[Request, Visit], Awaitable[Response]]


class Shop:
    """The handlers, over the visits of one process."""

    def __init__(self) -> None:
        self.visits = Visits()

    async def show_home(self, _request: Request, visit: Visit) -> Response:
        """Answer `GET /`."""
        featured = [product for product in PRODUCTS if product.slug in FEATURED]
        return show("Everything for the show", pages.render_home(featured), visit)

    async def show_sign_in(self, _request: Request, visit: Visit) -> Response:
        """Answer `GET /sign-in`."""
        return show("Sign in", pages.render_sign_in(), visit)

    async def sign_in(self, request: Request, visit: Visit) -> Response:
        """Answer `POST /sign-in`."""
        form = await read_form(request)
        email = form.get("email", "").strip().casefold()
        if (email, form.get("password")) != (pages.DEMO_EMAIL, pages.DEMO_PASSWORD):
            problem = "That e-mail and password do not belong together."
            return show("Sign in", pages.render_sign_in(email, problem), visit, 422)
        visit.email = email
        return RedirectResponse("/checkout" if visit.cart else "/products", 303)

    async def sign_out(self, _request: Request, visit: Visit) -> Response:
        """Answer `POST /sign-out`."""
        visit.email = None
        return RedirectResponse("/", 303)

    async def show_products(self, request: Request, visit: Visit) -> Response:
        """Answer `GET /products?q=&category=&sort=`."""
        asked = request.query_params
        category = next((shelf for shelf in Category if shelf == asked.get("category")), None)
        order = next((one for one in Order if one == asked.get("sort")), Order.NAME)
        text = asked.get("q", "").strip()[:100]
        return show("Products", pages.render_products(search(text, category, order), text, category, order), visit)

    async def show_product(self, request: Request, visit: Visit) -> Response:
        """Answer `GET /products/{slug}`."""
        product = require_product(request.path_params["slug"])
        return show(product.name, pages.render_product(product), visit)

    async def show_cart(self, _request: Request, visit: Visit) -> Response:
        """Answer `GET /cart`."""
        return show("Cart", pages.render_cart(visit), visit)

    async def put_into_cart(self, request: Request, visit: Visit) -> Response:
        """Answer `POST /cart`."""
        form = await read_form(request)
        product = require_product(form.get("product", ""))
        quantity = form.get("quantity", "1")
        if not product.stock or quantity not in set("123456789"):
            raise HTTPException(422)
        visit.put(product, int(quantity))
        return RedirectResponse("/cart", 303)

    async def remove_from_cart(self, request: Request, visit: Visit) -> Response:
        """Answer `POST /cart/remove`."""
        visit.cart.pop((await read_form(request)).get("product", ""), None)
        return RedirectResponse("/cart", 303)

    async def show_checkout(self, _request: Request, visit: Visit) -> Response:
        """Answer `GET /checkout`."""
        if not visit.cart:
            return RedirectResponse("/cart", 303)
        if not visit.email:
            return RedirectResponse("/sign-in", 303)
        return show("Check out", pages.render_checkout(visit), visit)

    async def place_order(self, request: Request, visit: Visit) -> Response:
        """Answer `POST /checkout`."""
        form = await read_form(request)
        name, delivery = form.get("name", "").strip()[:100], form.get("delivery", "")
        if not visit.cart or not visit.email:
            return RedirectResponse("/checkout", 303)
        if not name or delivery not in pages.DELIVERIES:
            return show("Check out", pages.render_checkout(visit, "Say who you are and how to deliver."), visit, 422)
        return RedirectResponse(f"/orders/{self.visits.place_order(visit, name, delivery).number}", 303)

    async def show_order(self, request: Request, visit: Visit) -> Response:
        """Answer `GET /orders/{number}`."""
        purchase = visit.purchases.get(request.path_params["number"])
        if purchase is None:
            raise HTTPException(404)
        return show("Thank you", pages.render_order(purchase), visit)

    def serve(self, page: Page) -> Callable[[Request], Awaitable[Response]]:
        """The endpoint of `page`: finds or begins the visit and keeps its cookie."""

        async def answer(request: Request) -> Response:
            key = request.cookies.get(COOKIE)
            visit = self.visits.find(key)
            begun = None
            if visit is None:
                begun, visit = self.visits.begin()
            try:
                response = await page(request, visit)
            except HTTPException as problem:
                response = show("Not found", pages.render_not_found(), visit, problem.status_code)
            if begun:
                response.set_cookie(COOKIE, begun, httponly=True, samesite="lax")
            response.headers.update(SAFETY_HEADERS)
            return response

        return answer


def make_app() -> Starlette:
    """A shop with empty carts."""
    shop = Shop()
    rows: list[tuple[str, str, Page]] = [
        ("GET", "/", shop.show_home),
        ("GET", "/sign-in", shop.show_sign_in),
        ("POST", "/sign-in", shop.sign_in),
        ("POST", "/sign-out", shop.sign_out),
        ("GET", "/products", shop.show_products),
        ("GET", "/products/{slug}", shop.show_product),
        ("GET", "/cart", shop.show_cart),
        ("POST", "/cart", shop.put_into_cart),
        ("POST", "/cart/remove", shop.remove_from_cart),
        ("GET", "/checkout", shop.show_checkout),
        ("POST", "/checkout", shop.place_order),
        ("GET", "/orders/{number}", shop.show_order),
    ]
    routes = [Route(path, shop.serve(page), methods=[method]) for method, path, page in rows]
    static = Mount("/static", StaticFiles(directory=Path(__file__).with_name("static")))
    rest = Route("/{path:path}", shop.serve(refuse), methods=["GET"])
    return Starlette(routes=[Route("/health", say_ok), static, *routes, rest])


async def say_ok(_request: Request) -> Response:
    """Answer `GET /health`."""
    return PlainTextResponse("ok")


async def refuse(_request: Request, _visit: Visit) -> Response:
    """Every other path."""
    raise HTTPException(404)


def show(title: str, body: str, visit: Visit, status: int = 200) -> Response:
    """A page as a response."""
    return HTMLResponse(pages.render_page(title, body, visit), status)


def require_product(slug: str) -> Product:
    """The product, or 404."""
    product = find_product(slug)
    if product is None:
        raise HTTPException(404)
    return product


async def read_form(request: Request) -> Form:
    """A posted form, the first value of each name; 413 beyond FORM_LIMIT bytes."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > FORM_LIMIT:
            raise HTTPException(413)
    fields = parse_qs(body.decode(errors="replace"), max_num_fields=50)
    return {name: values[0] for name, values in fields.items()}
