"""One execution watched through the real Traefik: native stream, API guide's stream, resume, cancel."""

import asyncio
import json
from contextlib import suppress
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from contracts.events import EVENT
from contracts.execution import ExecutionStatus
from tests.e2e.conftest import Person, Stack
from tests.e2e.work import events_of, start, visit_and_read, wait_for_end, wait_for_node, wait_long, watch


async def test_everyone_sees_every_event_once_and_in_order(stack: Stack, person: Person, shop: str) -> None:
    execution_id = await start(person, visit_and_read(shop))
    path = f"/api/execution/{execution_id}/stream"
    async with asyncio.TaskGroup() as group:
        watching = [group.create_task(watch(stack, person, path)) for _ in range(5)]
    logs = [events_of(frames) for frames, _ in (task.result() for task in watching)]
    assert [frames[0]["type"] for frames, _ in (task.result() for task in watching)] == ["hello"] * 5
    assert {code for _, code in (task.result() for task in watching)} == {1000}
    for log in logs:
        assert [event["seq"] for event in log] == list(range(1, len(log) + 1))
        assert log[0]["type"] == "accepted"
        assert log[-1]["type"] == "completion"
        assert log == logs[0]
        for event in log:
            EVENT.validate_json(json.dumps(event))
    kept = await person.http.get(f"/api/execution/{execution_id}/events?limit=1000", headers=person.bearer)
    assert kept.json()["events"] == logs[0]
    status = await wait_for_end(person, execution_id)
    assert status.head_seq == len(logs[0])
    assert status.visuals
    assert status.visuals.latest


async def test_a_cut_stream_goes_on_at_every_position(stack: Stack, person: Person, shop: str) -> None:
    execution_id = await start(person, visit_and_read(shop))
    await wait_for_end(person, execution_id)
    path = f"/api/execution/{execution_id}/stream"
    whole = events_of((await watch(stack, person, path))[0])
    hello = (await watch(stack, person, path))[0][0]
    for position in range(len(whole)):
        frames, code = await watch(stack, person, f"{path}?after={position}&log={hello['log_id']}")
        assert frames[0]["resumed"] == ("recovered" if position else "fresh")
        assert events_of(frames) == whole[position:]
        assert code == 1000


GUIDE_KEYS: dict[str, set[str]] = {
    "status": {"type", "execution_id", "status", "data", "timestamp"},
    "node_update": {"type", "execution_id", "node_id", "node_state", "timestamp"},
    "log": {"type", "execution_id", "log", "timestamp"},
    "completion": {"type", "execution_id", "result", "timestamp"},
    "error": {"type", "execution_id", "error", "timestamp"},
}


def check_guide_message(message: dict[str, Any]) -> None:
    """The shapes that the API guide prints, key by key."""
    assert message.keys() == GUIDE_KEYS[message["type"]], message
    float(message["timestamp"])
    match message["type"]:
        case "status":
            assert message["status"] in {"pending", "running", "completed", "failed"}
            assert {"progress", "current_node"} <= message["data"].keys()
        case "node_update":
            state = message["node_state"]
            assert state.keys() == {"status", "output", "error", "started_at", "completed_at"}
            assert state["status"] in {"pending", "running", "completed", "failed"}
        case "log":
            assert message["log"].keys() == {"level", "message", "node_id", "timestamp"}
            assert message["log"]["level"] in {"debug", "info", "warning", "error"}
        case "completion":
            result = message["result"]
            assert result.keys() == {"status", "output", "nodes_completed", "nodes_failed", "duration"}
            assert result["status"] == "completed"
        case _:
            assert message["error"]


async def test_the_api_guides_messages_keep_their_shapes(stack: Stack, person: Person, shop: str) -> None:
    execution_id = await start(person, visit_and_read(shop))
    messages, code = await watch(stack, person, f"/api/ws/executions/{execution_id}")
    for message in messages:
        check_guide_message(message)
    assert messages[-1]["type"] == "completion"
    assert messages[-1]["result"]["nodes_completed"] == 4
    assert code == 1000
    done = [m["node_id"] for m in messages if m["type"] == "node_update" and m["node_state"]["status"] == "completed"]
    assert done == ["open", "picture", "html", "heading"]


async def test_the_guides_ping_and_query_token_work(stack: Stack, person: Person, shop: str) -> None:
    execution_id = await start(person, wait_long(shop))
    token = person.grant.access_token
    url = f"{stack.socket_url}/api/ws/executions/{execution_id}?token={token}"
    async with connect(url, open_timeout=60) as ws:
        await ws.send("ping")
        async with asyncio.timeout(60):
            while json.loads(await ws.recv()) != {"type": "pong"}:
                pass
    assert token
    assert token not in stack.text()
    await person.http.post(f"/api/execution/{execution_id}/cancel", json={}, headers=person.bearer)


async def test_cancel_ends_a_running_step_and_keeps_what_was_done(stack: Stack, person: Person, shop: str) -> None:
    execution_id = await start(person, wait_long(shop))
    await wait_for_node(person, execution_id, "wait")
    asked = await person.http.post(
        f"/api/execution/{execution_id}/cancel", json={"reason": "enough"}, headers=person.bearer
    )
    assert asked.status_code == 202
    status = await wait_for_end(person, execution_id)
    assert status.status is ExecutionStatus.CANCELLED
    frames, code = await watch(stack, person, f"/api/execution/{execution_id}/stream")
    assert frames[-1]["type"] == "cancelled"
    assert code == 1000
    steps = (await person.http.get(f"/api/execution/{execution_id}/steps", headers=person.bearer)).json()["items"]
    assert [step["status"] for step in steps if step["node_id"] == "open"] == ["success"]
    again = await person.http.post(f"/api/execution/{execution_id}/cancel", json={}, headers=person.bearer)
    assert again.status_code == 202  # the same end, asked for twice


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ("garbage", {4400}),
        (b"\x00\x01", {4400}),
        ('{"type":"launch"}', {4400}),
        ("[" * 5_000, {4400}),
        ("x" * 10_000_000, {1009, 1006}),
    ],
    ids=["garbage", "binary", "unknown type", "nested", "10 MB"],
)
async def test_a_socket_that_sends_nonsense_is_closed_and_nobody_else(
    stack: Stack, person: Person, shop: str, sent: str | bytes, code: set[int]
) -> None:
    execution_id = await start(person, wait_long(shop))
    path = f"{stack.socket_url}/api/execution/{execution_id}/stream"
    async with (
        connect(path, additional_headers=person.bearer, open_timeout=60) as good,
        connect(path, additional_headers=person.bearer, open_timeout=60, max_size=None) as bad,
    ):
        with suppress(ConnectionClosed):  # the server need not read all ten megabytes before it says so
            await bad.send(sent)
        async with asyncio.timeout(60):
            await bad.wait_closed()
            assert bad.close_code in code
            await good.send('{"type":"ping"}')
            while json.loads(await good.recv())["type"] != "pong":
                pass
    await person.http.post(f"/api/execution/{execution_id}/cancel", json={}, headers=person.bearer)
