"""`/api/ws/executions/{id}` for the clients that the API guide shows, unchanged but for the address."""

import asyncio

from contracts.execution import ExecutionStatus
from tests.support.eventlog import Store, cancelled, failed, line, status
from tests.support.sockets import open_socket, read_close
from tests.support.streams import TENANT, finish, stage

# --- the API guide's dialect


async def test_the_guides_stream_speaks_only_the_guides_words() -> None:
    store = Store()
    log = store.create(TENANT)
    store.append(log, status(log, ExecutionStatus.RUNNING), line(log, "hi"), status(log, ExecutionStatus.WAITING))
    async with stage(store, ping_interval_s=0.1) as front, open_socket(front.guide(log.execution_id)) as client:
        await client.send("ping")
        await asyncio.sleep(0.4)  # no pings of ours in between
        finish(store, log)
        code, _, frames = await read_close(client)
    assert code == 1000
    kinds = [frame["type"] for frame in frames]
    assert sorted(kinds) == ["completion", "log", "pong", "status", "status", "status"]
    assert kinds[-2:] == ["status", "completion"]
    assert [frame["status"] for frame in frames if frame["type"] == "status"] == ["running", "running", "completed"]
    assert all("seq" not in frame for frame in frames)


async def test_every_bad_end_is_an_error_message_in_the_guide() -> None:
    store = Store()
    ends = (ExecutionStatus.FAILED, ExecutionStatus.BUDGET_EXCEEDED, ExecutionStatus.CANCELLED)
    async with stage(store) as front:
        for end in ends:
            log = store.create(TENANT)
            last = cancelled(log) if end is ExecutionStatus.CANCELLED else failed(log)
            store.append(log, status(log, end), last)
            async with open_socket(front.guide(log.execution_id)) as client:
                _, _, frames = await read_close(client)
            assert [frame["type"] for frame in frames] == ["status", "error"]
            assert frames[0]["status"] == "failed"
