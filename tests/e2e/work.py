"""Workflows for the tests, and waiting for their ends."""

import asyncio
import json
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from contracts.execution import Execution, ReadStatus
from contracts.model import ExecutionId
from tests.e2e.conftest import Person, Stack

END_S = 120


def node(node_id: str, kind: str, **inputs: Any) -> dict[str, Any]:
    named = {name.replace("_", " "): value for name, value in inputs.items()}
    return {"id": node_id, "type": kind, "position": {"x": 0, "y": 0}, "data": {"inputs": named}}


def edge(source: str, target: str, source_handle: str = "Web Page", target_handle: str = "Web Page") -> dict[str, str]:
    return {
        "id": f"{source}-{target}-{target_handle}",
        "source": source,
        "target": target,
        "sourceHandle": source_handle,
        "targetHandle": target_handle,
    }


def visit_and_read(shop: str, *more: dict[str, Any]) -> dict[str, Any]:
    """Open the shop, take a picture, read its heading: four nodes, a few hundred milliseconds; then `more`."""
    return {
        "name": "Read the heading",
        "nodes": [
            node("open", "launch_standard_browser", Website_URL=shop),
            node("picture", "screenshot"),
            node("html", "get_html"),
            node("heading", "get_text_from_html", Selector="h1"),
            *more,
        ],
        "edges": [
            edge("open", "picture"),
            edge("picture", "html"),
            edge("html", "heading", "Html Content", "Html"),
            *(edge("html", one["id"]) for one in more),
        ],
    }


def wait_long(shop: str, seconds: float = 30) -> dict[str, Any]:
    """Open the shop and do nothing for a while."""
    return {
        "name": "Wait",
        "nodes": [node("open", "launch_standard_browser", Website_URL=shop), node("wait", "delay", Duration=seconds)],
        "edges": [edge("open", "wait")],
    }


async def start(person: Person, document: dict[str, Any]) -> ExecutionId:
    created = await person.http.post("/api/workflow", json=document, headers=person.bearer)
    assert created.status_code == 201, created.text
    assert created.json()["valid"], created.json()["faults"]
    started = await person.http.post(
        f"/api/workflow/{created.json()['workflow_id']}/run", json={}, headers=person.bearer
    )
    assert started.status_code == 202, started.text
    return ExecutionId(started.json()["execution_id"])


async def read_status(person: Person, execution_id: ExecutionId) -> Execution:
    tenant_id = person.grant.tenant.tenant_id
    return await person.api.get_status(
        ReadStatus.model_validate(
            {
                "execution_id": execution_id,
                "tenant_id": tenant_id,
                "include_artifacts": True,
                "include_visuals": True,
            }
        )
    )


async def wait_for_end(person: Person, execution_id: ExecutionId) -> Execution:
    async with asyncio.timeout(END_S):
        while True:
            status = await read_status(person, execution_id)
            if status.status.final:
                return status
            await asyncio.sleep(0.1)


async def wait_for_node(person: Person, execution_id: ExecutionId, node_id: str) -> None:
    """Until that node is the one at work."""
    async with asyncio.timeout(END_S):
        while True:
            if (await read_status(person, execution_id)).current_node == node_id:
                return
            await asyncio.sleep(0.1)


async def watch(
    stack: Stack, person: Person, path: str, *, until: int | None = None
) -> tuple[list[dict[str, Any]], int | None]:
    """Frames of a socket until it closes or `until` events came, and the close code."""
    frames: list[dict[str, Any]] = []
    url = f"{stack.socket_url}{path}"
    async with asyncio.timeout(END_S), connect(url, additional_headers=person.bearer, open_timeout=60) as ws:
        try:
            async for text in ws:
                frames.append(json.loads(text))
                if until is not None and len([f for f in frames if "seq" in f and f["type"] != "ping"]) >= until:
                    return frames, None
        except ConnectionClosed:
            pass
        return frames, ws.close_code


def events_of(frames: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [frame for frame in frames if frame["type"] not in {"hello", "ping", "pong", "reset", "auth_expiring"}]
