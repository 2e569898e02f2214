"""B8: what it costs Experience to answer where an execution stands."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import aiohttp

from tests.bench.figure import Bar, Figure
from tests.bench.ground import Ground, Process, start_process
from tests.bench.rounds import Effort, take_turns
from tests.bench.tiers import Person, new_id, register, start_experience
from tests.bench.usage import read_cpu_s

CALLS = 1_500
ROUNDS = 3
MANY = 32
WARM_UP = 100
STATUS_BAR = 5.0


async def measure(ground: Ground, effort: Effort) -> list[Figure]:
    """CPU of the Experience process for one `GET /api/execution/{id}/status`: credential, scope and tenant checked, a
    token signed for Runtime, the answer validated, a line in the access log. Ids differ with each call, since equal
    calls under way share one. The peer is the same proxy as somebody would write it in an afternoon: Starlette and
    aiohttp's client, the bytes passed on, nobody asked who they are, nothing logged. Both ask one stub in place of
    Runtime, which answers 1.2 kB and looks nothing up.

    The last line counts how many calls reach Runtime when 32 clients ask for the same execution at once.
    """
    with start_process(["-m", "tests.bench.peers", "upstream", "{port}"], ground.folder) as upstream:
        proxy = ["-m", "tests.bench.peers", "proxy", "{port}", upstream.url]
        database = await ground.make_database()
        folder = ground.make_folder(database.name)
        with (
            start_experience(database, folder, upstream.url) as ours,
            start_process(proxy, ground.folder) as theirs,
        ):
            return await Callers(ours, theirs, await register(ours.url), upstream, effort).compare()


class Callers:
    """Those who ask both."""

    def __init__(self, ours: Process, theirs: Process, person: Person, upstream: Process, effort: Effort) -> None:
        self._ours = ours
        self._theirs = theirs
        self._person = person
        self._upstream = upstream
        self._effort = effort

    async def compare(self) -> list[Figure]:
        """A line for one caller, one for many, one for many who ask the same."""
        for process in (self._ours, self._theirs):
            await self._cost(process, 1, WARM_UP)
        figures = [await self._compare_at(at_once) for at_once in (1, MANY)]
        return [*figures, await self._share()]

    async def _compare_at(self, at_once: int) -> Figure:
        count = self._effort.count(CALLS, at_once)

        def cost(process: Process) -> Callable[[], Awaitable[float]]:
            return lambda: self._cost(process, at_once, count)

        mine, others = await take_turns(self._effort.rounds(ROUNDS), cost(self._ours), cost(self._theirs))
        return Figure(
            bench="B8",
            what=f"status through Experience, distinct ids, CPU, c={at_once}",
            unit="µs",
            ours=mine,
            against="the same proxy with aiohttp, no authorisation",
            peer=others,
            bar=Bar(limit=STATUS_BAR),
        )

    async def _share(self) -> Figure:
        count = self._effort.count(CALLS, MANY)
        before = await _read_asked(self._upstream)
        same = new_id()
        await self._call(self._ours, MANY, count, lambda: same)
        asked = await _read_asked(self._upstream) - before
        return Figure(
            bench="B8",
            what=f"calls that reach Runtime when all ask for one id, c={MANY}",
            unit="",
            ours=[float(asked)],
            against="calls made",
            peer=[float(count)],
        )

    async def _cost(self, process: Process, at_once: int, count: int) -> float:
        """µs of CPU per call."""
        before = read_cpu_s(process.pid)
        await self._call(process, at_once, count, new_id)
        return (read_cpu_s(process.pid) - before) / count * 1e6

    async def _call(self, process: Process, at_once: int, count: int, make_id: Callable[[], str]) -> None:
        left = iter(range(count))
        query: Mapping[str, str] = {"tenant_id": str(self._person.tenant_id)}

        async def caller(session: aiohttp.ClientSession) -> None:
            for _ in left:
                url = f"{process.url}/api/execution/{make_id()}/status"
                async with session.get(url, params=query) as answer:
                    answer.raise_for_status()
                    await answer.read()

        connector = aiohttp.TCPConnector(limit=at_once)
        async with (
            aiohttp.ClientSession(headers=self._person.bearer, connector=connector) as session,
            asyncio.TaskGroup() as tasks,
        ):
            for _ in range(at_once):
                tasks.create_task(caller(session))


async def _read_asked(upstream: Process) -> int:
    async with aiohttp.ClientSession() as session, session.get(f"{upstream.url}/count") as answer:
        return int(await answer.text())
