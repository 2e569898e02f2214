"""Who is in the shop and what they carry; forgotten when it closes."""

import collections
import itertools
import secrets
from dataclasses import dataclass, field

from experience.demo.catalogue import Product, find_product

MOST_VISITS = 1_000
"""The oldest are forgotten; a demo must not fill a machine's memory."""
MOST_OF_ONE = 9
FIRST_ORDER = 1_001


@dataclass(frozen=True)
class Line:
    """A product in a cart or an order."""

    product: Product
    quantity: int

    @property
    def cents(self) -> int:
        """What all of them cost."""
        return self.product.cents * self.quantity


@dataclass(frozen=True)
class Purchase:
    """A placed order."""

    number: str
    lines: tuple[Line, ...]
    name: str
    delivery: str

    @property
    def cents(self) -> int:
        """What everything costs."""
        return sum(line.cents for line in self.lines)


@dataclass
class Visit:
    """One visitor."""

    email: str | None = None
    cart: dict[str, int] = field(default_factory=dict)
    purchases: dict[str, Purchase] = field(default_factory=dict)

    @property
    def lines(self) -> list[Line]:
        """The cart, in the order of putting in."""
        found = ((find_product(slug), quantity) for slug, quantity in self.cart.items())
        return [Line(product, quantity) for product, quantity in found if product]

    def put(self, product: Product, quantity: int) -> None:
        """Add to the cart, as far as there is stock and sense."""
        wanted = self.cart.get(product.slug, 0) + quantity
        self.cart[product.slug] = min(wanted, product.stock, MOST_OF_ONE)


class Visits:
    """All visitors by their cookie, and the order numbers."""

    def __init__(self) -> None:
        self._known: collections.OrderedDict[str, Visit] = collections.OrderedDict()
        self._numbers = itertools.count(FIRST_ORDER)

    def find(self, key: str | None) -> Visit | None:
        """The visit that a cookie belongs to."""
        return self._known.get(key) if key else None

    def begin(self) -> tuple[str, Visit]:
        """A new visit and its cookie."""
        key, visit = secrets.token_urlsafe(16), Visit()
        self._known[key] = visit
        if len(self._known) > MOST_VISITS:
            self._known.popitem(last=False)
        return key, visit

    def place_order(self, visit: Visit, name: str, delivery: str) -> Purchase:
        """Turn the cart into an order."""
        purchase = Purchase(f"PR-{next(self._numbers)}", tuple(visit.lines), name, delivery)
        visit.purchases[purchase.number] = purchase
        visit.cart.clear()
        return purchase
