"""The shop's pages as HTML. Every id, name and data-testid is stable: workflows point at them."""

from collections.abc import Iterable, Sequence
from html import escape

from experience.demo.catalogue import Category, Order, Product, format_price
from experience.demo.visits import Line, Purchase, Visit

DEMO_EMAIL = "stagehand@example.com"
DEMO_PASSWORD = "break-a-leg"  # noqa: S105  # shown on the page, opens nothing

ORDER_NAMES = {Order.NAME: "Name", Order.CHEAPEST: "Price, lowest first", Order.DEAREST: "Price, highest first"}
DELIVERIES = {"stage-door": "To the stage door", "box-office": "Collect at the box office"}


def render_page(title: str, body: str, visit: Visit) -> str:
    """A whole document around `body`."""
    count = sum(visit.cart.values())
    account = (
        f'<span data-testid="account">{escape(visit.email)}</span>'
        '<form method="post" action="/sign-out"><button id="sign-out" class="quiet">Sign out</button></form>'
        if visit.email
        else '<a id="sign-in-link" href="/sign-in">Sign in</a>'
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)} – The Prop Room</title>
<link rel="stylesheet" href="/static/shop.css">
<link rel="icon" href="/static/icon.svg" type="image/svg+xml">
</head>
<body>
<a class="skip" href="#content">Skip to the content</a>
<header>
<a class="brand" href="/"><span class="curtain" aria-hidden="true"></span>The Prop Room</a>
<nav aria-label="Shop">
<a id="products-link" href="/products">Products</a>
<a id="cart-link" href="/cart">Cart <span class="count" data-testid="cart-count">{count}</span></a>
{account}
</nav>
</header>
<main id="content" tabindex="-1">
{body}
</main>
<footer><p>The Prop Room is a demo that comes with Stagedoor. Nothing is for sale, nothing is sent.</p></footer>
</body>
</html>
"""


def render_home(featured: Iterable[Product]) -> str:
    """The front page."""
    shelves = "".join(
        f'<li><a href="/products?category={shelf}">{escape(shelf.capitalize())}</a></li>' for shelf in Category
    )
    return f"""<section class="hero">
<h1>Everything for the show</h1>
<p>Lamps, masks, moons and thunder, ready for tonight.</p>
<p><a class="button" href="/products">See all products</a></p>
</section>
<h2>Shelves</h2>
<ul class="shelves">{shelves}</ul>
<h2>Tonight's favourites</h2>
{render_cards(featured, heading="h3")}"""


def render_sign_in(email: str = "", problem: str = "") -> str:
    """The sign-in form; `problem` says what was wrong with the last try."""
    alert = f'<p id="sign-in-error" class="alert" role="alert">{escape(problem)}</p>' if problem else ""
    described = ' aria-describedby="sign-in-error"' if problem else ""
    return f"""<div class="narrow">
<h1>Sign in</h1>
{alert}
<form id="sign-in-form" method="post" action="/sign-in" class="stack">
<label for="email">E-mail</label>
<input id="email" name="email" type="email" autocomplete="username" required value="{escape(email)}"{described}>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required{described}>
<button id="sign-in" type="submit">Sign in</button>
</form>
<p class="hint">For the demo: <code>{DEMO_EMAIL}</code> with the password <code>{DEMO_PASSWORD}</code></p>
</div>"""


def render_products(found: Sequence[Product], text: str, category: Category | None, order: Order) -> str:
    """The list with its search form."""
    shelves = [("", "All shelves"), *((shelf.value, shelf.capitalize()) for shelf in Category)]
    orders = [(one.value, name) for one, name in ORDER_NAMES.items()]
    count = f"{len(found)} product{'' if len(found) == 1 else 's'}"
    cards = (
        render_cards(found, heading="h2")
        if found
        else '<p id="no-results">Nothing fits. Try fewer words or another shelf.</p>'
    )
    return f"""<h1>Products</h1>
<form id="search-form" class="bar" role="search" method="get" action="/products">
<div><label for="search">Search</label><input id="search" name="q" type="search" value="{escape(text)}"></div>
<div><label for="category">Shelf</label>{_render_select("category", shelves, category or "")}</div>
<div><label for="sort">Sort by</label>{_render_select("sort", orders, order)}</div>
<button id="search-button" type="submit">Show</button>
</form>
<p id="result-count" data-testid="result-count" role="status">{count}</p>
{cards}"""


def render_cards(products: Iterable[Product], heading: str) -> str:
    """Products as a list of cards; `heading` is the level that follows the page's own."""
    cards = "".join(
        f"""<li class="card" data-testid="product" data-slug="{product.slug}">
{_render_picture(product)}
<{heading}>
<a class="name" id="product-{product.slug}" href="/products/{product.slug}">{escape(product.name)}</a>
</{heading}>
<p class="shelf">{escape(product.category.capitalize())}</p>
<p class="price" data-testid="price">{format_price(product.cents)}</p>
</li>"""
        for product in products
    )
    return f'<ul class="cards" id="products">{cards}</ul>'


def render_product(product: Product) -> str:
    """One product with what it takes to buy it."""
    quantities = [(str(number), str(number)) for number in range(1, min(product.stock, 5) + 1)]
    buy = (
        f"""<form id="add-form" method="post" action="/cart" class="stack">
<input type="hidden" name="product" value="{product.slug}">
<label for="quantity">How many</label>{_render_select("quantity", quantities, "1")}
<button id="add-to-cart" type="submit">Put into the cart</button>
</form>"""
        if product.stock
        else '<p id="sold-out" class="alert">Sold out until the next season.</p>'
    )
    return f"""<article class="product">
{_render_picture(product)}
<div>
<p class="shelf"><a href="/products?category={product.category}">{escape(product.category.capitalize())}</a></p>
<h1 id="product-name">{escape(product.name)}</h1>
<p>{escape(product.text)}</p>
<p class="price" id="product-price" data-testid="price">{format_price(product.cents)}</p>
{buy}
</div>
</article>"""


def render_cart(visit: Visit) -> str:
    """What is in the cart."""
    if not visit.cart:
        return """<h1>Cart</h1><p id="cart-empty">It is empty.</p>
<p><a class="button" href="/products">See all products</a></p>"""
    remove = {
        line.product.slug: f"""<form method="post" action="/cart/remove">
<input type="hidden" name="product" value="{line.product.slug}">
<button id="remove-{line.product.slug}" class="quiet" aria-label="Remove {escape(line.product.name)}">Remove</button>
</form>"""
        for line in visit.lines
    }
    return f"""<h1>Cart</h1>
{_render_table("cart", visit.lines, remove)}
<p class="actions"><a href="/products">Go on looking</a>
<a class="button" id="checkout" href="/checkout">Check out</a></p>"""


def render_checkout(visit: Visit, problem: str = "") -> str:
    """The last step before an order."""
    alert = f'<p id="checkout-error" class="alert" role="alert">{escape(problem)}</p>' if problem else ""
    choices = "".join(
        f'<label><input type="radio" name="delivery" id="delivery-{key}" value="{key}"{" checked" * (not number)}> '
        f"{escape(name)}</label>"
        for number, (key, name) in enumerate(DELIVERIES.items())
    )
    return f"""<h1>Check out</h1>
{alert}
<div class="columns">
<form id="checkout-form" method="post" action="/checkout" class="stack">
<label for="name">Name</label>
<input id="name" name="name" autocomplete="name" required maxlength="100" value="Sam Stagehand">
<fieldset><legend>Delivery</legend>{choices}</fieldset>
<button id="place-order" type="submit">Place the order</button>
</form>
{_render_table("summary", visit.lines, {})}
</div>"""


def render_order(purchase: Purchase) -> str:
    """The confirmation."""
    return f"""<section class="confirmed" aria-labelledby="thanks">
<h1 id="thanks">Thank you, {escape(purchase.name)}</h1>
<p>Your order number is <strong id="order-number" data-testid="order-number">{purchase.number}</strong>.</p>
<p id="delivery">{escape(DELIVERIES[purchase.delivery])}, before the curtain rises.</p>
</section>
{_render_table("order", purchase.lines, {})}"""


def render_not_found() -> str:
    """For paths and products that are not there."""
    return """<h1>Not in this theatre</h1><p>There is nothing at this address.</p>
<p><a class="button" href="/products">See all products</a></p>"""


def _render_picture(product: Product) -> str:
    """An ornament: the name stands beside it."""
    return (
        f'<svg class="picture {product.category}" viewBox="0 0 96 96" aria-hidden="true">'
        f'<use href="/static/props.svg#{product.slug}"></use></svg>'
    )


def _render_select(name: str, choices: Iterable[tuple[str, str]], chosen: str) -> str:
    options = "".join(
        f'<option value="{escape(value)}"{" selected" if value == chosen else ""}>{escape(label)}</option>'
        for value, label in choices
    )
    return f'<select id="{name}" name="{name}">{options}</select>'


def _render_table(name: str, lines: Sequence[Line], actions: dict[str, str]) -> str:
    rows = "".join(
        f"""<tr data-testid="{name}-line"><th scope="row">{escape(line.product.name)}</th>
<td class="number">{line.quantity}</td><td class="number">{format_price(line.cents)}</td>
{f"<td>{actions[line.product.slug]}</td>" if actions else ""}</tr>"""
        for line in lines
    )
    total = format_price(sum(line.cents for line in lines))
    last = '<th scope="col"><span class="unseen">Remove</span></th>' if actions else ""
    return f"""<table id="{name}-table">
<thead><tr><th scope="col">Product</th><th scope="col" class="number">How many</th>
<th scope="col" class="number">Price</th>{last}</tr></thead>
<tbody>{rows}</tbody>
<tfoot><tr><th scope="row" colspan="2">Total</th><td class="number" id="{name}-total">{total}</td>
{"<td></td>" if actions else ""}</tr></tfoot>
</table>"""
