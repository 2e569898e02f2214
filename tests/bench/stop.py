"""What is promised of ends: sockets hear of a stop at once, the stack is gone soon, a key's end ends its streams."""

import asyncio
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from contracts.frames import Close
from contracts.identity import CreateApiKey, KeyRef
from contracts.model import ExecutionId
from experience.cli.ports import find_free_port
from tests.bench.figure import Bar, Figure
from tests.bench.ground import Ground
from tests.bench.rounds import Effort
from tests.bench.usage import list_tree
from tests.e2e.conftest import Person, Stack, registered
from tests.e2e.work import node, start
from tests.support.sockets import open_socket, read_close, read_frame

STOPS = 3
WAIT_S = 120.0
"""However slow the machine: a bar that is missed is a figure, and none to break off at."""
LONG_S = 600
HEARD_BAR_S, GONE_BAR_S = 1.0, 10.0
ENDED_BAR_S = 61.0
"""A credential is asked about every 60 s."""
_LONG = {"name": "Wait", "nodes": [node("wait", "delay", Duration=LONG_S)], "edges": []}


async def measure(ground: Ground, effort: Effort) -> list[Figure]:
    """A stream of a running execution through Traefik, of the whole local stack. Once, from the moment at which the API
    key that opened it is revoked to its close with 4401. From SIGTERM to `stagedoor up` (Ctrl-C sends SIGINT, which is
    treated alike) to the stream's close with 1012, and to the moment at which no process of the stack is left.
    """
    stack = Stack(find_free_port(), ground.make_folder("ending") / "data", extra=("--no-demo",))
    ended: list[float] = []
    heard: list[float] = []
    gone: list[float] = []
    for _ in range(effort.rounds(STOPS)):
        await asyncio.to_thread(stack.start)
        try:
            async with registered(stack) as person:
                execution_id = await start(person, _LONG)
                if not ended:
                    ended.append(await _outlive_key(stack, person, execution_id))
                first, last = await _stop_under(stack, person, execution_id)
        finally:
            await asyncio.to_thread(stack.stop)
        heard.append(first)
        gone.append(last)
    return [
        _figure("API key revoked → 4401 on its stream", ended, ENDED_BAR_S),
        _figure("SIGTERM of the local stack → 1012 on an open stream", heard, HEARD_BAR_S),
        _figure("SIGTERM of the local stack → its last process is gone", gone, GONE_BAR_S),
    ]


def _figure(what: str, took: Sequence[float], bar_s: float) -> Figure:
    bar = Bar(limit=bar_s, absolute=True, unit="s")
    return Figure(bench="stop", what=what, unit="s", ours=took, against="nothing", bar=bar)


async def _outlive_key(stack: Stack, person: Person, execution_id: ExecutionId) -> float:
    key = await person.api.create_key(CreateApiKey(name="short"))
    async with open_socket(_stream(stack, execution_id), additional_headers=_bearer(key.secret)) as client:
        await read_frame(client)
        await person.api.revoke_key(KeyRef(key_id=key.key.key_id))
        began = time.monotonic()
        code, _, _ = await read_close(client, WAIT_S)
    assert code == Close.UNAUTHENTICATED, code
    return time.monotonic() - began


async def _stop_under(stack: Stack, person: Person, execution_id: ExecutionId) -> tuple[float, float]:
    assert stack.process is not None
    async with open_socket(_stream(stack, execution_id), additional_headers=person.bearer) as client:
        await read_frame(client)
        tree = list_tree(stack.process.pid)
        began = time.monotonic()
        stack.process.send_signal(signal.SIGTERM)
        code, _, _ = await read_close(client, WAIT_S)
        heard = time.monotonic() - began
    assert code == Close.RESTARTING, code
    async with asyncio.timeout(WAIT_S):
        while stack.process.poll() is None or any(_lives(pid) for pid in tree):  # noqa: ASYNC110 — other processes
            await asyncio.sleep(0.01)
    return heard, time.monotonic() - began


def _lives(pid: int) -> bool:
    """Not one that has ended and that nobody has asked about yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _stream(stack: Stack, execution_id: ExecutionId) -> str:
    return f"{stack.socket_url}/api/execution/{execution_id}/stream"


def _bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}
