"""B2: how soon a client sees that what it asked for has begun."""

import asyncio
import time

import aiohttp

from contracts.workflow import JsonObject
from tests.bench.figure import Bar, Figure
from tests.bench.ground import Ground, start_process
from tests.bench.rounds import Effort, take_turns
from tests.bench.tiers import Person, run_tiers, start_runtime
from tests.support.traefik import run_traefik
from traefik.routes import Tier

SUBMITS = 30
ROUNDS = 3
WARM_UP = 5
BAR_MS = 60.0
DEADLINE_S = 20.0
PAUSE_S = 0.05


async def measure(ground: Ground, effort: Effort) -> list[Figure]:
    """A client posts an intent through Traefik, opens the stream of the execution it was given, and waits for the
    first `node_update` that says `running`: in between lie authorisation, the intent's row, delivery to Runtime,
    admission, the queue, a worker's claim, the first step's transaction, the wake-up, the internal channel and the
    socket. The floor is a Starlette endpoint behind the same Traefik that echoes its body once it is in a table: one
    hop and one durable commit.
    """
    tiers = await ground.share(run_tiers)
    person = await tiers.register()
    echo = ["-m", "tests.bench.peers", "echo", "{port}", tiers.database.superuser_dsn]
    servers = {Tier.EXPERIENCE: (tiers.experience.url,), Tier.RUNTIME: (tiers.runtime.url,)}
    with (
        start_process(echo, ground.folder, probe="/") as peer,
        start_runtime(tiers.database, tiers.folder, "work"),
        run_traefik(ground.make_folder("front"), servers) as front,
        run_traefik(ground.make_folder("echo"), dict.fromkeys(Tier, (peer.url,))) as echoing,
    ):
        async with aiohttp.ClientSession(headers=person.bearer) as session:
            ours = Client(session, f"http://127.0.0.1:{front.port}")
            await ours.make_workflow()
            await ours.measure(WARM_UP)
            count = effort.count(SUBMITS, 2)
            mine, others = await take_turns(
                effort.rounds(ROUNDS),
                lambda: ours.measure(count),
                lambda: _echo(session, f"http://127.0.0.1:{echoing.port}/echo", person, count),
            )
    return [
        Figure(
            bench="B2",
            what="submit → first node_update on the socket, through Traefik, p50",
            unit="ms",
            ours=mine,
            against="an echo through Traefik with one INSERT",
            peer=others,
            bar=Bar(limit=BAR_MS, absolute=True, unit="ms"),
        )
    ]


class Client:
    """Somebody who starts a workflow and watches it."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url
        self._workflow_id = ""

    async def make_workflow(self) -> None:
        """One node that does nothing."""
        document = {
            "name": "Nothing",
            "nodes": [{"id": "a", "type": "delay", "position": {"x": 0, "y": 0}, "data": {"inputs": {"Duration": 0}}}],
            "edges": [],
        }
        async with self._session.post(f"{self._url}/api/workflow", json=document) as answer:
            answer.raise_for_status()
            self._workflow_id = (await answer.json())["workflow_id"]

    async def measure(self, count: int) -> float:
        """p50 in ms of so many, one after the other."""
        took = []
        for _ in range(count):
            async with asyncio.timeout(DEADLINE_S):
                took.append(await self._start_and_watch())
            await asyncio.sleep(PAUSE_S)
        return sorted(took)[len(took) // 2]

    async def _start_and_watch(self) -> float:
        asked = {"realm": "workflow", "intent": "run", "parameters": {"workflow_id": self._workflow_id}}
        began = time.perf_counter()
        async with self._session.post(f"{self._url}/api/intent", json=asked) as answer:
            answer.raise_for_status()
            execution_id = (await answer.json())["execution_id"]
        async with self._session.ws_connect(f"{self._url}/api/execution/{execution_id}/stream") as socket:
            while not _has_begun(await socket.receive_json()):
                pass
            return (time.perf_counter() - began) * 1e3


def _has_begun(frame: JsonObject) -> bool:
    return bool(frame["type"] == "node_update" and frame["node_state"]["status"] == "running")


async def _echo(session: aiohttp.ClientSession, url: str, person: Person, count: int) -> float:
    took = []
    for _ in range(count):
        began = time.perf_counter()
        async with session.post(url, data=person.token) as answer:
            await answer.read()
        took.append((time.perf_counter() - began) * 1e3)
        await asyncio.sleep(PAUSE_S)
    return sorted(took)[len(took) // 2]
