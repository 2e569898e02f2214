"""The workflows that are broken on purpose."""

from itertools import pairwise
from typing import Any

from tests.chaos.shop import Shop

Document = dict[str, Any]

SAFE_NODES = ("n1-open", "n2-fill", "n3-pick", "n4-wait", "n5-shot", "n6-go", "n7-html", "n8-text")
"""Eight steps, one after the other; what the last one reads depends on what the second and third have done."""
BUYING_NODES = ("b1-open", "b2-fill", "b3-buy", "b4-wait", "b5-html", "b6-text")
UNSAFE_NODE = "b3-buy"


def node(node_id: str, kind: str, inputs: dict[str, Any] | None = None, **settings: Any) -> dict[str, Any]:
    """A node of a document."""
    return {
        "id": node_id,
        "type": kind,
        "position": {"x": 0, "y": 0},
        "data": {"inputs": inputs or {}, "settings": settings},
    }


def edge(source: str, target: str, source_handle: str = "Web Page", target_handle: str = "Web Page") -> dict[str, str]:
    """An edge of a document; by default the page goes along it."""
    return {
        "id": f"{source}.{source_handle}-{target}.{target_handle}",
        "source": source,
        "target": target,
        "sourceHandle": source_handle,
        "targetHandle": target_handle,
    }


def read_the_ticket(shop: Shop) -> Document:
    """Eight safe nodes: fill in, choose, wait, look, go on with the cookies that came of it, and read."""
    nodes = [
        node("n1-open", "launch_standard_browser", {"Website URL": shop.url("/stage")}),
        node("n2-fill", "fill_input", {"Selector": "#name", "Value": "Ada"}),
        node("n3-pick", "select_option", {"Selector": "#act", "Option": "2"}),
        node("n4-wait", "wait_for_element", {"Selector": "#curtain", "Visibility": "visible"}),
        node("n5-shot", "screenshot"),
        node("n6-go", "navigate", {"URL": shop.url("/ticket")}),
        node("n7-html", "get_html"),
        node("n8-text", "get_text_from_html", {"Selector": ".of"}),
    ]
    pages = [edge(before, after) for before, after in pairwise(SAFE_NODES[:7])]
    return {
        "name": "Read the ticket",
        "nodes": nodes,
        "edges": [*pages, edge("n7-html", "n8-text", "Html Content", "Html")],
    }


TICKET_TEXT = "Ada\nact 2"
"""What `read_the_ticket` ends with when every step has really had its effect."""


def buy_once(shop: Shop, who: str) -> Document:
    """An unsafe click in the middle: it orders something, once."""
    nodes = [
        node("b1-open", "launch_standard_browser", {"Website URL": shop.url("/stage", who)}),
        node("b2-fill", "fill_input", {"Selector": "#name", "Value": "Ada"}),
        node("b3-buy", "click_element", {"Selector": "#buy"}),
        node("b4-wait", "wait_for_element", {"Selector": "#receipt", "Visibility": "visible"}),
        node("b5-html", "get_html"),
        node("b6-text", "get_text_from_html", {"Selector": "#receipt"}),
    ]
    pages = [edge(before, after) for before, after in pairwise(BUYING_NODES[:5])]
    return {
        "name": "Buy once",
        "nodes": nodes,
        "edges": [*pages, edge("b5-html", "b6-text", "Html Content", "Html")],
    }


def wait_then_buy(shop: Shop, who: str, seconds: float) -> Document:
    """A wait between the page and the unsafe click: room to freeze a worker that is about to click."""
    return {
        "name": "Wait, then buy",
        "nodes": [
            node("w1-open", "launch_standard_browser", {"Website URL": shop.url("/stage", who)}),
            node("w2-wait", "delay", {"Duration": seconds}),
            node("w3-buy", "click_element", {"Selector": "#buy"}),
        ],
        "edges": [edge("w1-open", "w2-wait"), edge("w2-wait", "w3-buy")],
    }


def wait_in_turn(seconds: float, steps: int = 3) -> Document:
    """Delays one after the other: many executions at once on few cores, each with a number of steps."""
    return {
        "name": f"{steps} waits",
        "nodes": [node(f"d{number}", "delay", {"Duration": seconds}) for number in range(steps)],
        "edges": [],
        "settings": {"max_parallel": 1},
    }


def look_around(shop: Shop, kilobytes: int = 1) -> Document:
    """Open a page and take a picture: two artifacts' worth of work."""
    return {
        "name": "Look around",
        "nodes": [
            node("v1-open", "launch_standard_browser", {"Website URL": f"{shop.url('/busy')}?n={kilobytes}"}),
            node("v2-shot", "screenshot", {"Format": "png"}),
            node("v3-html", "get_html"),
        ],
        "edges": [edge("v1-open", "v2-shot"), edge("v2-shot", "v3-html")],
    }


def meet_hostility(shop: Shop, deed: str) -> Document:
    """Open a page that misbehaves, and wait there for something that never comes."""
    return {
        "name": f"Meet {deed}",
        "nodes": [
            node("h1-open", "launch_standard_browser", {"Website URL": f"{shop.url('/hostile')}?deed={deed}"}),
            node("h2-wait", "wait_for_element", {"Selector": "#never", "Visibility": "visible"}, timeout_s=8),
        ],
        "edges": [edge("h1-open", "h2-wait")],
    }


def read_a_lot(shop: Shop, times: int, kilobytes: int) -> Document:
    """Read one long page again and again: each time an event as long as the page."""
    opened = node("r-open", "launch_standard_browser", {"Website URL": f"{shop.url('/busy')}?n={kilobytes}"})
    names = ["r-open", *(f"r{number}" for number in range(times))]
    return {
        "name": "Read a lot",
        "nodes": [opened, *(node(name, "get_html") for name in names[1:])],
        "edges": [edge(before, after) for before, after in pairwise(names)],
    }
