"""Random histories over real processes: Hypothesis draws what is asked for and what is broken, the checker judges.

A history that fails is printed step by step, and its seed stands in the head of the report: the same seed draws the
same history, though not the same instant of each blow. Nothing is made smaller: each try takes a whole stack.
"""

import asyncio
import signal
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.chaos.checker import check_now, conclude
from tests.chaos.documents import BUYING_NODES, SAFE_NODES, UNSAFE_NODE, buy_once, read_the_ticket, wait_in_turn
from tests.chaos.parts import Part
from tests.chaos.postgres import Server
from tests.chaos.proxy import Fault
from tests.chaos.rig import Cast, Rig, run_rig
from tests.chaos.shop import run_shop
from tests.chaos.visitors import Answered, Questioned, Start, Visitor
from tests.support.postgres import Database

STEPS = 12
HISTORY_S = 600.0
"""A whole history: what waits for the end of another may have to wait until everything is mended."""
WORKERS = RUNTIMES = EXPERIENCES = 2
ROLES = ("runtime_app", "runtime_system", "experience_app", "experience_system")
NODES = {"waits": ("d0", "d1", "d2", "d3"), "ticket": SAFE_NODES, "order": BUYING_NODES}
ENDS = {("completed", None), ("cancelled", None), ("failed", "interrupted_unsafe"), ("failed", "worker_lost")}
"""All that may become of an execution here; the last only after four blows at its worker."""

ResultT = TypeVar("ResultT")


@dataclass(eq=False)
class Asked:
    """Something that a visitor asks for, and goes on asking until it is answered."""

    visitor: Visitor
    task: "asyncio.Task[str]"
    """Its execution."""
    customer: str
    """Who orders in it, if anybody does."""
    nodes: tuple[str, ...]
    """Its nodes, one after the other."""
    repeated: bool = False
    """Somebody has asked for it once more: whoever asks again wants it twice."""


@dataclass(frozen=True)
class Ground:
    """What all histories of a test share."""

    server: Server
    blueprint: Database
    folder: Path
    failures: list[Exception] = field(default_factory=list)
    """The first one: Hypothesis would play it again, and a stack never does the same twice."""


class History(RuleBasedStateMachine):
    """One stack, one history."""

    ground: ClassVar[Ground]
    asked = Bundle("asked")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.tasks: list[asyncio.Task[Any]] = []
        self.everything: list[Asked] = []
        self.told: list[str] = []
        self.failed = False
        self.customers = 0

    @initialize()
    def open_the_house(self) -> None:
        if self.ground.failures:
            self.failed = True
            raise self.ground.failures[0]
        self.run(self._open(), "open the house")

    # --- what visitors do

    @rule(target=asked, kind=st.sampled_from(["waits", "ticket", "order"]), watched=st.booleans())
    def submit(self, kind: str, *, watched: bool) -> Asked:
        return self.run(self._submit(kind, watched=watched), f"submit {kind}, watched: {watched}")

    @rule(one=asked)
    def watch(self, one: Asked) -> None:
        self.run(self._later(self._watch(one)), "watch")

    @rule(one=asked)
    def cancel(self, one: Asked) -> None:
        self.run(self._later(self._cancel(one)), "cancel")

    @rule(one=asked)
    def pause(self, one: Asked) -> None:
        self.run(self._later(self._turn_execution(one, "pause")), "pause")

    @rule(one=asked)
    def resume(self, one: Asked) -> None:
        self.run(self._later(self._turn_execution(one, "resume")), "resume")

    @rule(target=asked, one=asked)
    def do_once_more(self, one: Asked) -> Asked:
        """Once it has ended; an answer to its question, if it has one."""
        return self.run(self._do_once_more(one), "do once more")

    @rule(target=asked, one=asked, turn=st.integers(0, 7))
    def do_once_more_from_a_node(self, one: Asked, turn: int) -> Asked:
        """Once it has ended; what only a person knows of other nodes is answered, if it is asked."""
        return self.run(self._do_once_more_from(one, turn), f"do once more from node {turn}")

    @rule(seconds=st.sampled_from([0.2, 0.7, 1.5]))
    def wait(self, seconds: float) -> None:
        self.run(asyncio.sleep(seconds), f"wait {seconds} s")

    # --- what happens to the stack

    @rule(number=st.integers(0, WORKERS - 1))
    def kill_a_worker(self, number: int) -> None:
        self.run(self._kill(self.rig.workers[number]), f"kill worker {number}")

    @rule(number=st.integers(0, EXPERIENCES - 1))
    def kill_an_experience(self, number: int) -> None:
        self.run(self._kill(self.rig.experiences[number]), f"kill experience {number}")

    @rule(number=st.integers(0, RUNTIMES - 1))
    def kill_a_runtime(self, number: int) -> None:
        self.run(self._kill(self.rig.runtimes[number]), f"kill runtime {number}")

    @rule(number=st.integers(0, WORKERS - 1))
    def freeze_or_thaw_a_worker(self, number: int) -> None:
        self.run(self._turn(self.rig.workers[number]), f"freeze or thaw worker {number}")

    @rule(number=st.integers(0, WORKERS - 1))
    def drain_a_worker(self, number: int) -> None:
        self.run(self._restart(self.rig.workers[number]), f"drain worker {number}")

    @rule(how=st.sampled_from([signal.SIGINT, signal.SIGQUIT, signal.SIGKILL]))
    def restart_postgres(self, how: signal.Signals) -> None:
        self.run(self.ground.server.restart(how), f"restart PostgreSQL with {how.name}")

    @rule(role=st.sampled_from(ROLES), turn=st.integers(0, 5))
    def terminate_a_backend(self, role: str, turn: int) -> None:
        self.run(self._terminate(role, turn), f"terminate a backend of {role}")

    @rule(fault=st.sampled_from([Fault.REFUSE, Fault.BLACK_HOLE, Fault.SLOW, Fault.RESET, Fault.NONE]))
    def break_or_mend_the_line_to_runtime(self, fault: Fault) -> None:
        self.run(self._break_line(fault), f"line to Runtime: {fault}")

    @invariant()
    def promises_hold(self) -> None:
        self.run(check_now(self.rig), "check")

    def teardown(self) -> None:
        """Mend everything, let it end, and check it all."""
        try:
            if hasattr(self, "rig") and not self.failed:
                self.run(self._close(), "mend everything and let it end")
        finally:
            for task in self.tasks:
                task.cancel()
            self.runner.run(self.stack.aclose())
            self.runner.close()
            if hasattr(self, "database"):
                self.database.drop()

    # --- how

    def run(self, work: Coroutine[Any, Any, ResultT], words: str) -> ResultT:
        """Do it; all that runs beside it goes on meanwhile. The first failure is kept with all that led to it."""
        self.told.append(words)
        try:
            return self.runner.run(work)
        except Exception as error:
            self.failed = True
            if not self.ground.failures:
                self.ground.failures.append(error)
                print("The history:", *self.told, sep="\n  ")
                for part in self.rig.tiers if hasattr(self, "rig") else []:
                    print(f"--- {part.name}\n{part.tail()}")
            raise

    async def _open(self) -> None:
        self.database = self.ground.server.make_database(self.ground.blueprint)
        shop = self.stack.enter_context(run_shop())
        cast = Cast(experiences=EXPERIENCES, runtimes=RUNTIMES, workers=WORKERS, heartbeat_s=1)
        folder = self.ground.folder / self.database.name
        self.rig: Rig = await self.stack.enter_async_context(
            run_rig(cast, folder, self.ground.server, self.database, shop)
        )
        self.rig.runtime_line.delay_s = 0.1
        self.visitors = [await self.stack.enter_async_context(self.rig.visit()) for _ in range(2)]
        documents = {"waits": wait_in_turn(0.3, steps=4), "ticket": read_the_ticket(shop)}
        self.saved = {
            (visitor.tenant_id, kind): await visitor.save(document)
            for visitor in self.visitors
            for kind, document in documents.items()
        }

    async def _submit(self, kind: str, *, watched: bool) -> Asked:
        self.customers += 1
        visitor = self.visitors[self.customers % len(self.visitors)]
        if kind == "order":
            work = visitor.start(buy_once(self.rig.shop, f"customer-{self.customers}"))
        else:
            work = visitor.run(self.saved[visitor.tenant_id, kind])
        asked = Asked(visitor, asyncio.create_task(work), f"customer-{self.customers}", NODES[kind])
        one = self._keep(asked)
        if watched:
            await self._later(self._watch(one))
        await asyncio.sleep(0.1)
        return one

    async def _later(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.create_task(work))

    async def _watch(self, one: Asked) -> None:
        one.visitor.watch(await asyncio.shield(one.task))

    def _keep(self, one: Asked) -> Asked:
        self.everything.append(one)
        self.tasks.append(one.task)
        return one

    async def _cancel(self, one: Asked) -> None:
        await one.visitor.cancel(await asyncio.shield(one.task))

    async def _turn_execution(self, one: Asked, verb: Literal["pause", "resume"]) -> None:
        await one.visitor.turn(await asyncio.shield(one.task), verb)

    async def _do_once_more(self, one: Asked) -> Asked:
        async def begin() -> str:
            execution_id, ended = await self._wait_for_end(one)
            if ended["status"] == "completed":
                return await self._do_whole(one, execution_id)
            if ended["error"] and ended["error"]["code"] == "interrupted_unsafe" and not one.repeated:
                self.rig.ledger.person_said_again.add(one.customer)
                one.repeated = True
                return await one.visitor.answer(execution_id, "run_again")
            return await self._do_and_answer(one, execution_id, "failed")

        return self._keep(replace(one, task=asyncio.create_task(begin()), repeated=False))

    async def _do_once_more_from(self, one: Asked, turn: int) -> Asked:
        node_id = one.nodes[turn % len(one.nodes)]

        async def begin() -> str:
            execution_id, _ = await self._wait_for_end(one)
            if node_id <= UNSAFE_NODE:  # whoever begins before it wants it again
                self.rig.ledger.person_said_again.add(one.customer)
            return await self._do_and_answer(one, execution_id, "node", node_id)

        return self._keep(replace(one, task=asyncio.create_task(begin()), repeated=False))

    async def _wait_for_end(self, one: Asked) -> tuple[str, dict[str, Any]]:
        execution_id = await asyncio.shield(one.task)
        return execution_id, await one.visitor.ended(execution_id, patience_s=HISTORY_S)

    async def _do_and_answer(self, one: Asked, execution_id: str, start_at: Start, node_id: str | None = None) -> str:
        """What is asked is answered; what was answered before is done whole."""
        said_again = self.rig.ledger.person_said_again
        if one.repeated:
            said_again.add(one.customer)
        one.repeated = True
        try:
            return await one.visitor.retry(execution_id, start_at, node_id=node_id)
        except Questioned as asked:
            said_again.add(one.customer)
            try:
                return await one.visitor.retry_all_the_same(execution_id, asked.node_ids, start_at, node_id=node_id)
            except Answered:
                return await self._do_whole(one, execution_id)
        except Answered:
            return await self._do_whole(one, execution_id)

    async def _do_whole(self, one: Asked, execution_id: str) -> str:
        self.rig.ledger.person_said_again.add(one.customer)
        one.repeated = True
        return await one.visitor.retry(execution_id, "beginning")

    async def _kill(self, part: Part) -> None:
        part.kill()
        part.start()

    async def _turn(self, part: Part) -> None:
        if part.frozen:
            part.thaw()
        elif part.alive:
            part.freeze()

    async def _restart(self, part: Part) -> None:
        await part.stop()
        part.start()

    async def _terminate(self, role: str, turn: int) -> None:
        if pids := await self.rig.backends.list_pids(role):
            await self.rig.backends.terminate(pids[turn % len(pids)])

    async def _break_line(self, fault: Fault) -> None:
        self.rig.runtime_line.heal()
        if fault is not Fault.NONE:
            self.rig.runtime_line.break_with(fault)

    async def _close(self) -> None:
        self.rig.runtime_line.heal()
        for part in self.rig.tiers:
            part.thaw()
        await self.rig.up()
        async with asyncio.timeout(240):
            asked = asyncio.gather(*self.tasks)
            while not asked.done():
                await self._resume_all()
                await asyncio.wait([asked], timeout=1)
            await asked
            await self._resume_all()
            for one in self.everything:
                ended = await one.visitor.ended(one.task.result())
                error = ended["error"]["code"] if ended["error"] else None
                assert (ended["status"], error) in ENDS, ended
            for visitor in self.visitors:
                await visitor.seen()
            await conclude(self.rig)

    async def _resume_all(self) -> None:
        for one in self.everything:
            if one.task.done():
                await one.visitor.turn(one.task.result(), "resume")


@pytest.mark.timeout(3_600)
def test_random_histories(
    server: Server, blueprint: Database, tmp_path: Path, chaos_seed: int, chaos_histories: int
) -> None:
    class Bound(History):
        ground = Ground(server, blueprint, tmp_path)

    drawn = settings(
        max_examples=chaos_histories,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    try:
        run_state_machine_as_test(seed(chaos_seed)(Bound), settings=drawn)
    except Exception as error:  # noqa: BLE001 — whatever Hypothesis made of it
        raise (Bound.ground.failures or [error])[0] from None
