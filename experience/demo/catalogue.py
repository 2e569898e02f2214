"""What the Prop Room sells."""

from dataclasses import dataclass
from enum import StrEnum


class Category(StrEnum):
    """A shelf of the shop."""

    LIGHTING = "lighting"
    COSTUME = "costume"
    SCENERY = "scenery"
    SOUND = "sound"


class Order(StrEnum):
    """How a list of products may be sorted."""

    NAME = "name"
    CHEAPEST = "cheapest"
    DEAREST = "dearest"


@dataclass(frozen=True)
class Product:
    """One thing to buy. Its picture is the symbol of the same name in static/props.svg."""

    slug: str
    name: str
    category: Category
    cents: int
    text: str
    stock: int = 20


PRODUCTS: tuple[Product, ...] = (
    Product("ghost-light", "Ghost light", Category.LIGHTING, 4900, "The one lamp that is never switched off."),
    Product("spotlight", "Fresnel spotlight", Category.LIGHTING, 18900, "A soft edge for a hard entrance."),
    Product("gel-set", "Colour gel set", Category.LIGHTING, 2450, "Twelve colours, from dawn to disaster."),
    Product("mask", "Venetian mask", Category.COSTUME, 3200, "Be anybody until midnight."),
    Product("cloak", "Velvet cloak", Category.COSTUME, 9500, "For exits that want to be remembered."),
    Product("top-hat", "Top hat", Category.COSTUME, 4100, "Holds one rabbit. Rabbit not included."),
    Product("moon", "Painted moon", Category.SCENERY, 6800, "Always full, always on time."),
    Product("door", "Door that leads nowhere", Category.SCENERY, 24000, "Free-standing, slams beautifully.", stock=3),
    Product("ladder", "Rope ladder", Category.SCENERY, 5500, "Three metres; enough for any balcony."),
    Product("thunder", "Thunder sheet", Category.SOUND, 12000, "A storm on demand. Shake with both hands."),
    Product("bell", "Prompt bell", Category.SOUND, 1800, "Two rings: five minutes. Three: run."),
    Product("gramophone", "Gramophone", Category.SOUND, 31000, "Plays one song, and everybody knows it.", stock=0),
)


def find_product(slug: str) -> Product | None:
    """The product of that name in a path."""
    return next((product for product in PRODUCTS if product.slug == slug), None)


def search(text: str, category: Category | None, order: Order) -> list[Product]:
    """Products whose name, text or shelf holds every word of `text`."""
    words = text.casefold().split()
    found = [
        product
        for product in PRODUCTS
        if category in {None, product.category}
        and all(word in f"{product.name} {product.text} {product.category}".casefold() for word in words)
    ]
    match order:
        case Order.NAME:
            return sorted(found, key=lambda product: product.name)
        case Order.CHEAPEST:
            return sorted(found, key=lambda product: product.cents)
        case Order.DEAREST:
            return sorted(found, key=lambda product: -product.cents)


def format_price(cents: int) -> str:
    """For example `49.00`, in the currency of a place that does not exist."""
    return f"{cents // 100}.{cents % 100:02d}"
