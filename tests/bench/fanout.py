"""B4: what it costs Experience to give one event to many."""

from dataclasses import dataclass

import httpx

from tests.bench.crowd import Crowd
from tests.bench.figure import Bar, Figure
from tests.bench.ground import Ground, Process, start_process
from tests.bench.rounds import Effort, take_turns
from tests.bench.tiers import Scribe, Tiers, begin_log, run_tiers
from tests.bench.usage import read_cpu_s

SOCKETS = 500
RATE = 20.0
BATCH_SOCKETS = 200
BATCH_RATE = 200.0
SECONDS = 4.0
ROUNDS = 3


async def measure(ground: Ground, effort: Effort) -> list[Figure]:
    """Ours is the whole of Experience (its process, with authorisation, hub and access log) over a real Runtime,
    while a worker's hands record 330-byte events; CPU is that of the Experience process. The floor is an ASGI
    application on bare uvicorn that hands one prepared text of the same size to every `send` it has, and knows
    neither log nor client: nothing in Python on this server can send for less.

    `batch=1` is what a client may ask for: one array frame for what came within 20 ms. Its floor sends the same
    number of events, one frame each.
    """
    tiers = await ground.share(run_tiers)
    person = await tiers.register()
    with start_process(["-m", "tests.bench.peers", "fan", "{port}"], ground.folder) as peer:
        async with begin_log(tiers.database, person.tenant_id) as scribe:
            crowds = Crowds(tiers, peer, scribe, person.bearer)
            single = await crowds.compare(effort, SOCKETS, RATE, "")
            batched = await crowds.compare(effort, BATCH_SOCKETS, BATCH_RATE, "&batch=1")
    sockets, few = effort.count(SOCKETS, 2), effort.count(BATCH_SOCKETS, 2)
    against = "raw ASGI send on bare uvicorn"
    return [
        Figure(
            bench="B4",
            what=f"CPU per delivered event, {sockets} sockets",
            unit="µs",
            ours=single[0],
            against=against,
            peer=single[1],
            bar=Bar(limit=1.6),
        ),
        Figure(
            bench="B4",
            what=f"the same with batch=1, {few} sockets, {BATCH_RATE:g} events/s",
            unit="µs",
            ours=batched[0],
            against=against,
            peer=batched[1],
            bar=Bar(limit=0.5),
        ),
    ]


@dataclass(frozen=True)
class Crowds:
    """The same number of clients here and there."""

    tiers: Tiers
    peer: Process
    scribe: Scribe
    headers: dict[str, str]

    async def compare(self, effort: Effort, sockets: int, rate: float, query: str) -> tuple[list[float], list[float]]:
        """µs of CPU per event and socket, ours and the floor's."""
        count = effort.count(sockets, 2)
        events = max(3, int(rate * effort.seconds(SECONDS)))
        ours, theirs = Crowd(self.headers), Crowd({})
        path = f"/api/execution/{self.scribe.execution_id}/stream?after={self.scribe.head}{query}"
        await ours.join(self.tiers.experience.port, path, count)
        await theirs.join(self.peer.port, "/", count)

        async def measure_ours() -> float:
            before, heard = read_cpu_s(self.tiers.experience.pid), ours.events
            written = await self.scribe.write_at(rate, events / rate)
            await ours.until(heard + written * count)
            return (read_cpu_s(self.tiers.experience.pid) - before) / (written * count) * 1e6

        async def measure_theirs() -> float:
            before, heard = read_cpu_s(self.peer.pid), theirs.frames
            async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
                await http.get(f"{self.peer.url}/fan?rate={rate}&count={events}")
            await theirs.until_frames(heard + events * count)
            return (read_cpu_s(self.peer.pid) - before) / (events * count) * 1e6

        try:
            return await take_turns(effort.rounds(ROUNDS), measure_ours, measure_theirs)
        finally:
            await ours.leave()
            await theirs.leave()
