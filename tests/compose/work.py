"""Work for the containers: workflows, people who watch them, and looks at what was recorded."""

import asyncio
import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any
from uuid import uuid4

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.compose.containers import Containers

SHOP = "http://shop:8003"
END_S = 180
FINAL = {"completion", "error", "cancelled"}
NOT_EVENTS = {"hello", "ping", "pong", "auth_expiring"}


def make_node(node_id: str, kind: str, inputs: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"id": node_id, "type": kind, "position": {"x": 0, "y": 0}, "data": {"inputs": inputs or {}}}


def make_edge(source: str, target: str, source_handle: str, target_handle: str) -> dict[str, str]:
    handles = {"sourceHandle": source_handle, "targetHandle": target_handle}
    return {"id": f"{source}-{target}", "source": source, "target": target, **handles}


def wait_beside(*seconds: float) -> dict[str, Any]:
    """A workflow of safe nodes that wait beside each other: it can be carried out again after any loss."""
    nodes = [make_node(f"wait{number}", "delay", {"Duration": duration}) for number, duration in enumerate(seconds)]
    return {"name": f"Wait {uuid4()}", "nodes": nodes, "edges": []}


def buy_and_wait(seconds: float) -> dict[str, Any]:
    """Put a lamp into the cart, wait, and read how many lie there; the cart belongs to a cookie."""
    nodes = [
        make_node("open", "launch_standard_browser", {"Website URL": f"{SHOP}/products/ghost-light"}),
        make_node("buy", "click_element", {"Selector": "#add-to-cart"}),
        make_node("wait", "delay", {"Duration": seconds}),
        make_node("html", "get_html"),
        make_node("count", "get_text_from_html", {"Selector": "[data-testid=cart-count]"}),
    ]
    walk = ["open", "buy", "wait", "html"]
    edges = [make_edge(one, other, "Web Page", "Web Page") for one, other in pairwise(walk)]
    return {
        "name": f"Buy {uuid4()}",
        "nodes": nodes,
        "edges": [*edges, make_edge("html", "count", "Html Content", "Html")],
    }


async def start(person: httpx.AsyncClient, document: dict[str, Any]) -> str:
    created = await person.post("/api/workflow", json=document)
    assert created.status_code == 201, created.text
    assert created.json()["valid"], created.text
    started = await person.post(f"/api/workflow/{created.json()['workflow_id']}/run", json={})
    assert started.status_code == 202, started.text
    return str(started.json()["execution_id"])


class Watcher:
    """Follows one execution's stream to its end, coming back after the last event it has when it is cut off."""

    def __init__(self, person: httpx.AsyncClient, execution_id: str) -> None:
        self._person = person
        self._address = f"{str(person.base_url).replace('http', 'ws', 1)}/api/execution/{execution_id}/stream"
        self.events: list[dict[str, Any]] = []
        self.openings = 0

    @property
    def is_done(self) -> bool:
        return bool(self.events) and self.events[-1]["type"] in FINAL

    @property
    def statuses(self) -> list[str]:
        """The execution's statuses so far, oldest first."""
        return [event["status"] for event in self.events if event["type"] == "status"]

    def saw(self, node_id: str, status: str) -> bool:
        """Whether the node was told to have come to `status`."""
        return any(
            event["node_id"] == node_id and event["node_state"]["status"] == status
            for event in self.events
            if event["type"] == "node_update"
        )

    async def watch(self) -> None:
        async with asyncio.timeout(END_S):
            while not self.is_done:
                try:
                    await self._watch_once()
                except (ConnectionClosed, InvalidHandshake, OSError, TimeoutError):
                    await asyncio.sleep(0.2)

    async def _watch_once(self) -> None:
        after = self.events[-1]["seq"] if self.events else 0
        headers = {"authorization": self._person.headers["authorization"]}
        async with connect(f"{self._address}?after={after}", additional_headers=headers, open_timeout=10) as socket:
            self.openings += 1
            async for text in socket:
                frame = json.loads(text)
                if frame["type"] not in NOT_EVENTS:
                    self.events.append(frame)

    def check_gapless(self) -> None:
        """Each event once, in order, and nothing after the end."""
        assert [event["seq"] for event in self.events] == list(range(1, len(self.events) + 1))
        assert [event["type"] in FINAL for event in self.events].index(True) == len(self.events) - 1


async def run_to_end(person: httpx.AsyncClient, document: dict[str, Any]) -> Watcher:
    watcher = Watcher(person, await start(person, document))
    await watcher.watch()
    watcher.check_gapless()
    return watcher


async def wait_for(condition: Callable[[], bool], timeout_s: float = 60) -> None:
    async with asyncio.timeout(timeout_s):
        while True:
            if await asyncio.to_thread(condition):  # it may ask the engine, and streams are read meanwhile
                return
            await asyncio.sleep(0.5)


async def read_steps(person: httpx.AsyncClient, execution_id: str, epoch: int) -> list[str]:
    """The nodes that one run of an execution tried, in that order."""
    answer = await person.get(f"/api/execution/{execution_id}/steps")
    assert answer.status_code == 200, answer.text
    return [step["node_id"] for step in answer.json()["items"] if step["epoch"] == epoch]


async def read_result(person: httpx.AsyncClient, execution_id: str) -> dict[str, Any]:
    tenant_id = (await person.get("/api/auth/me")).json()["tenant"]["tenant_id"]
    answer = await person.get(f"/api/execution/{execution_id}/status", params={"tenant_id": tenant_id})
    assert answer.status_code == 200, answer.text
    result: dict[str, Any] = answer.json()["result"]
    return result


def find_worker(containers: Containers, execution_id: str) -> str:
    """The container of the worker that has the execution, or had it last."""
    sql = f"SELECT worker FROM runtime.runs WHERE execution_id = '{execution_id}' ORDER BY epoch DESC LIMIT 1"
    claimed = containers.query(sql)
    return next(
        name for name in containers.list_names("worker") if claimed.startswith(str(containers.inspect(name)["Id"])[:12])
    )
