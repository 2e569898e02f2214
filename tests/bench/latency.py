"""B6, B7 and B9: how old an event is when its client has it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from statistics import median

import httpx

from tests.bench.crowd import Crowd
from tests.bench.figure import Bar, Figure, percentile
from tests.bench.ground import Ground
from tests.bench.rounds import Effort, take_turns
from tests.bench.tiers import STAMP, STAMP_DIGITS, Person, Scribe, Tiers, begin_log, run_tiers
from tests.support.traefik import run_traefik
from traefik.routes import Tier

SOCKETS = 200
RATE = 20.0
"""Events a second; with SOCKETS 4,000 messages a second."""
SECONDS = 5.0
ROUNDS = 3
TAIL_ROUNDS = 7
"""Of what compares tails: one hiccup of the machine makes a p99."""
POLL_S = 0.25
POLLED_EVENTS = 40
POLLED_RATE = 7.3
"""No divisor of the poll's rhythm, so that events fall everywhere into it."""
BACKLOG_BYTES = 4_000
BACKLOG = 4_000
"""Events of BACKLOG_BYTES that the stalled client has before it: more than any buffer on the way takes."""


async def measure_proxied(ground: Ground, effort: Effort) -> list[Figure]:
    """Age of an event on arrival, counted from before the transaction that records it, with 4,000 messages a second on
    200 sockets: through the real Traefik with the product's routes, and straight at the Experience behind it.
    """
    async with _watched(ground) as (tiers, person, scribe):
        servers = {Tier.EXPERIENCE: (tiers.experience.url,), Tier.RUNTIME: (tiers.runtime.url,)}
        with run_traefik(ground.make_folder("traefik"), servers) as proxy:
            count = effort.count(SOCKETS, 2)
            through, direct = Crowd(person.bearer), Crowd(person.bearer)
            ours, theirs = await take_turns(
                effort.rounds(ROUNDS),
                lambda: _age(through, proxy.port, scribe, count, effort),
                lambda: _age(direct, tiers.experience.port, scribe, count, effort),
            )
    return [
        Figure(
            bench="B6",
            what=f"stream p99 through Traefik, {count * RATE:,.0f} messages/s",
            unit="ms",
            ours=ours,
            against="direct",
            peer=theirs,
            bar=Bar(limit=1.5),
        )
    ]


async def measure_beside_stalled(ground: Ground, effort: Effort) -> list[Figure]:
    """The same 200 sockets, with and without one more client that stopped reading while the log owes it 16 MB: its
    connection is full, and what it is owed waits for it. The others' p99 is compared.
    """
    async with _watched(ground) as (tiers, person, scribe):
        for _ in range(effort.count(BACKLOG, 100) // 100):
            await scribe.write(100, BACKLOG_BYTES)
        count = effort.count(SOCKETS, 2)
        beside, alone = Crowd(person.bearer), Crowd(person.bearer)

        async def measure_beside() -> float:
            stalled = Crowd(person.bearer)
            await stalled.stall(tiers.experience.port, f"/api/execution/{scribe.execution_id}/stream?after=0")
            await asyncio.sleep(1.0)  # until its connection is full
            try:
                return await _age(beside, tiers.experience.port, scribe, count, effort)
            finally:
                await stalled.leave()

        ours, theirs = await take_turns(
            effort.rounds(TAIL_ROUNDS),
            measure_beside,
            lambda: _age(alone, tiers.experience.port, scribe, count, effort),
        )
    return [
        Figure(
            bench="B9",
            what="other clients' p99 beside a stalled one",
            unit="ms",
            ours=ours,
            against="without it",
            peer=theirs,
            bar=Bar(limit=1.2),
        )
    ]


async def measure_pushed(ground: Ground, effort: Effort) -> list[Figure]:
    """Time from commit to client, median: our stream, and a client of the same Experience that asks for new events
    every 250 ms, which is what a program does that has no stream. The commit is taken as the moment at which the
    writer has its answer, so an event may be there a little earlier.
    """
    async with _watched(ground) as (tiers, person, scribe):
        events = effort.count(POLLED_EVENTS, 3)
        crowd = Crowd(person.bearer)
        path = f"/api/execution/{scribe.execution_id}/stream?after={scribe.head}"
        await crowd.join(tiers.experience.port, path, 1)

        async def measure_pushed() -> float:
            crowd.ages_ns = []
            heard, commits = crowd.events, await _write_counting(scribe, events)
            await crowd.until(heard + events)
            return median(age / 1e6 - commit for age, commit in zip(crowd.ages_ns, commits, strict=True))

        async def measure_polled() -> float:
            async with asyncio.TaskGroup() as tasks:
                polling = tasks.create_task(_poll(tiers.experience.url, person, scribe, events))
                commits = await _write_counting(scribe, events)
            return median(age - commit for age, commit in zip(polling.result(), commits, strict=True))

        ours, theirs = await take_turns(effort.rounds(ROUNDS), measure_pushed, measure_polled)
        await crowd.leave()
    return [
        Figure(
            bench="B7",
            what="commit → client, p50",
            unit="ms",
            ours=ours,
            against="a 250 ms poll",
            peer=theirs,
            bar=Bar(limit=1 / 20),
        )
    ]


@asynccontextmanager
async def _watched(ground: Ground) -> AsyncIterator[tuple[Tiers, Person, Scribe]]:
    tiers = await ground.share(run_tiers)
    person = await tiers.register()
    async with begin_log(tiers.database, person.tenant_id) as scribe:
        yield tiers, person, scribe


async def _age(crowd: Crowd, port: int, scribe: Scribe, count: int, effort: Effort) -> float:
    """p99 in ms of one window with fresh sockets."""
    await crowd.join(port, f"/api/execution/{scribe.execution_id}/stream?after={scribe.head}", count)
    heard = crowd.events
    await scribe.write()  # the first one warms the way
    await crowd.until(heard + count)
    heard += count
    crowd.ages_ns = []
    written = await scribe.write_at(RATE, effort.seconds(SECONDS))
    await crowd.until(heard + written * count)
    ages = [age / 1e6 for age in crowd.ages_ns]
    await crowd.leave()
    return percentile(ages, 0.99)


async def _write_counting(scribe: Scribe, count: int) -> list[float]:
    """Record events one by one; ms that each took from its making to its commit."""
    took = []
    for _ in range(count):
        began = time.perf_counter()
        await scribe.write()
        took.append((time.perf_counter() - began) * 1e3)
        await asyncio.sleep(1 / POLLED_RATE)
    return took


async def _poll(url: str, person: Person, scribe: Scribe, count: int) -> list[float]:
    """Ask every POLL_S until `count` events came; ms from each one's making to its arrival."""
    ages: list[float] = []
    after = scribe.head
    async with httpx.AsyncClient(base_url=url, headers=person.bearer, timeout=30, trust_env=False) as http:
        while len(ages) < count:
            answer = await http.get(f"/api/execution/{scribe.execution_id}/events", params={"after": after})
            text = answer.raise_for_status().content
            now = time.monotonic_ns()
            for part in text.split(STAMP)[1:]:
                ages.append((now - int(part[:STAMP_DIGITS])) / 1e6)
                after += 1
            await asyncio.sleep(POLL_S)
    return ages
