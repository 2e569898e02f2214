"""B5 and the crowd of 10,000: what sockets cost that nobody writes to."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import httpx

from tests.bench.crowd import Crowd
from tests.bench.figure import Bar, Figure, percentile
from tests.bench.ground import Ground, Process, start_process
from tests.bench.rounds import Effort, take_turns
from tests.bench.tiers import Person, begin_log, run_tiers
from tests.bench.usage import read_private

SOCKETS = 3_000
MANY = 10_000
ROUNDS = 2
STATUS_CALLS = 200
STATUS_PAUSE_S = 0.05
SETTLE_S = 1.0


async def measure_idle(ground: Ground, effort: Effort) -> list[Figure]:
    """Private memory of the process, before and after the sockets come, divided by their number; each round has fresh
    processes, since Python gives memory back late. Ours is Experience with one stream each of one execution; the floor
    a Starlette endpoint that accepts, says one word and reads, on the same uvicorn with the same settings.
    """
    count = effort.count(SOCKETS, 5)
    tiers = await ground.share(run_tiers)
    person = await tiers.register()
    async with begin_log(tiers.database, person.tenant_id) as scribe:
        path = f"/api/execution/{scribe.execution_id}/stream?after={scribe.head}"

        async def measure_ours() -> float:
            return await _weigh(tiers.replica, path, count, person)

        async def measure_theirs() -> float:
            command = ["-m", "tests.bench.peers", "idle", "{port}"]
            return await _weigh(lambda: start_process(command, ground.folder), "/idle", count, None)

        ours, theirs = await take_turns(effort.rounds(ROUNDS), measure_ours, measure_theirs)
    return [
        Figure(
            bench="B5",
            what=f"memory per idle stream socket, {count} held",
            unit="kB",
            ours=ours,
            against="Starlette's idle socket",
            peer=theirs,
            bar=Bar(limit=1.3),
        )
    ]


async def measure_many(ground: Ground, effort: Effort) -> list[Figure]:
    """One Experience process holds the sockets; meanwhile statuses of another execution are asked for through it,
    twenty a second, authorised and read from a real Runtime. The same calls before the sockets come stand beside
    them.
    """
    count = effort.count(MANY, 10)
    tiers = await ground.share(run_tiers)
    person = await tiers.register()
    with tiers.replica() as experience:
        async with begin_log(tiers.database, person.tenant_id) as scribe:
            url = f"{experience.url}/api/execution/{scribe.execution_id}/status?tenant_id={person.tenant_id}"
            calls = effort.count(STATUS_CALLS, 5)
            alone = await _time_calls(url, person, calls)
            before = read_private(experience.pid)
            crowd = Crowd(person.bearer)
            path = f"/api/execution/{scribe.execution_id}/stream?after={scribe.head}"
            await crowd.join(experience.port, path, count)
            await asyncio.sleep(SETTLE_S)
            after = read_private(experience.pid)
            beside = await _time_calls(url, person, calls)
            lost = crowd.lost
            await crowd.leave()
    if lost:
        raise RuntimeError(f"{lost} of the idle sockets were let go")
    return [
        Figure(
            bench="10k",
            what=f"memory of Experience for {count:,} idle sockets",
            unit="MB",
            ours=[(after - before) / 1e6],
            against="the same process before they came",
            peer=[before / 1e6],
            bar=Bar(limit=300, absolute=True, unit="MB"),
            note=f"{after / 1e6:.0f} MB in all",
        ),
        Figure(
            bench="10k",
            what="status answers meanwhile, p95",
            unit="ms",
            ours=[percentile(beside, 0.95)],
            against="without the sockets",
            peer=[percentile(alone, 0.95)],
            bar=Bar(limit=50, absolute=True, unit="ms"),
        ),
    ]


async def _weigh(
    start: Callable[[], AbstractContextManager[Process]], path: str, count: int, person: Person | None
) -> float:
    """kB per socket of a fresh process."""
    with start() as process:
        headers = person.bearer if person else {}
        first = Crowd(headers)
        await first.join(process.port, path, 2)  # what is loaded for the first is not the second's weight
        await asyncio.sleep(SETTLE_S)
        before = read_private(process.pid)
        crowd = Crowd(headers)
        await crowd.join(process.port, path, count)
        await asyncio.sleep(SETTLE_S)
        weight = (read_private(process.pid) - before) / count / 1e3
        await crowd.leave()
        await first.leave()
        return weight


async def _time_calls(url: str, person: Person, count: int) -> list[float]:
    """ms of each call, one after the other."""
    took = []
    async with httpx.AsyncClient(headers=person.bearer, timeout=30, trust_env=False) as http:
        for _ in range(count):
            began = time.perf_counter()
            (await http.get(url)).raise_for_status()
            took.append((time.perf_counter() - began) * 1e3)
            await asyncio.sleep(STATUS_PAUSE_S)
    return took
