"""The sandbox of one process: which backend holds, whose canary is sent again and again, and code run in it.

It fails closed. Backends are tried in the order of BACKENDS, and the first whose canary lives is used; when none does,
no code is run at all, and whoever asks is told why and what to install.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Literal

import structlog

from contracts.errors import ApiError, Code
from runtime.sandbox import cgroup, landlock
from runtime.sandbox.bwrap import INSTALL, Bwrap
from runtime.sandbox.canary import CanaryDead, send_canary, try_program
from runtime.sandbox.cgroup import make_group
from runtime.sandbox.gate import Gate
from runtime.sandbox.landlock import Landlock
from runtime.sandbox.launch import Backend, BackendMissing
from runtime.sandbox.limits import Ended, Limits
from runtime.sandbox.programs import Language, Program, ProgramMissing, find_program
from runtime.sandbox.spares import Spares
from runtime.sandbox.warden import Stop, park

log = structlog.get_logger()

BACKENDS: Final[tuple[Backend, ...]] = (Bwrap(), Bwrap(with_proc=False), Landlock())
"""Strongest first."""
NONE: Final = "none"
AGAIN_S: Final = 300.0
"""Between two canaries."""
SOON_S: Final = 15.0
"""The same after none came back empty-handed, a few times: on a busy machine a wall may look open that is only late."""
_SOON_TRIES: Final = 4
Require = Literal["any", "namespace"]
_TRIALS: Final = {Language.PYTHON: "result = True", Language.NODE: "return true;"}


class SandboxUnavailable(Exception):  # noqa: N818 — as BackendMissing
    """Code can't be run here now; the texts say why, and what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True)
class State:
    """What the last canaries found."""

    backend: Backend | None = None
    refusals: Mapping[str, str] = field(default_factory=dict)
    """Why stronger ones are not used, by name."""
    programs: Mapping[Language, Program] = field(default_factory=dict)
    missing: Mapping[Language, str] = field(default_factory=dict)
    """Why a language can't be run although there is a backend."""

    @property
    def name(self) -> str:
        """As metrics say it."""
        return self.backend.name if self.backend else NONE

    @property
    def hint(self) -> str:
        """What a person can do for a stronger sandbox, or for any; empty where there is nothing to do."""
        if self.backend is not None and not self.refusals:
            return ""
        return f"{INSTALL} In containers see “Code in the sandbox” in docs/OPERATING.md."

    def describe(self) -> str:
        """In one line, for people."""
        why = "; ".join(f"{name}: {reason}" for name, reason in self.refusals.items())
        if self.backend is None:
            return f"no code can be run ({why or 'not looked at yet'})"
        lacks = "".join(f", without {language}: {reason}" for language, reason in self.missing.items())
        return f"{self.name}{f' ({why})' if why else ''}{lacks}"


class Sandbox:
    """Choose before the first run; keep watching beside them; close at the end."""

    def __init__(
        self,
        *,
        require: Require = "any",
        slots: int = 8,
        backends: Sequence[Backend] = BACKENDS,
        for_others: bool,
        spares: bool = False,
    ) -> None:
        """Without `spares`, each run waits until its program has started and stands behind the walls."""
        self._backends = [backend for backend in backends if require == "any" or backend.isolates]
        self._skipped = {one.name: "STAGEDOOR_RUNTIME_SANDBOX_REQUIRE is namespace" for one in backends}
        for backend in self._backends:
            del self._skipped[backend.name]
        self._names = (*(backend.name for backend in backends), NONE)
        self._for_others = for_others
        self._gate = Gate(slots)
        self._runs = ThreadPoolExecutor(slots, "sandbox")  # whoever has passed the gate finds a thread
        self._canaries = ThreadPoolExecutor(1, "canary")
        self._spares = Spares() if spares else None
        self._wanted = {Language.PYTHON}
        """Languages that were asked for since the last look; most code is Python, and Node takes more memory."""
        self.state = State()
        self.looked = False
        """Whether canaries have been sent at all."""
        self._choosing = asyncio.Lock()
        self.ended: Counter[str] = Counter()
        """Runs by how they ended."""

    @property
    def backends(self) -> Mapping[str, float]:
        """1 for the one that is used, 0 for all others, by name."""
        return {name: float(name == self.state.name) for name in self._names}

    @property
    def keeps_spares(self) -> bool:
        """Whether programs stand ready before anybody asks."""
        return self._spares is not None

    def stands_ready(self, language: Language) -> bool:
        """Whether a program of that language stands behind its walls already."""
        return self._spares is not None and self._spares.has(language)

    def check(self, language: Language) -> None:
        """Return when code of that language can be run.

        Raises:
            SandboxUnavailable: it can't.
        """
        if self.state.backend is None:
            raise SandboxUnavailable(f"There is no sandbox here: {self.state.describe()}.", self.state.hint)
        if language in self.state.missing:
            message = f"There is no sandbox for {language} code here."
            raise SandboxUnavailable(message, self.state.missing[language])

    async def choose(self) -> State:
        """Send the canaries and go by what they find. Cancelling calls them back."""
        stop = Stop()
        loop = asyncio.get_running_loop()
        looking = loop.run_in_executor(self._canaries, self._look, stop)
        try:
            found = await asyncio.shield(looking)
        except asyncio.CancelledError:
            stop.now()
            await asyncio.wait({looking})
            raise
        finally:
            stop.close()
        if found.name != self.state.name or found.missing != self.state.missing:
            tell = log.info if found.backend is not None and not found.refusals else log.warning
            tell("sandbox chosen", backend=found.name, refusals=dict(found.refusals), hint=found.hint)
        self.state, self.looked = found, True
        await loop.run_in_executor(self._canaries, self._renew_spares, found)
        return found

    def _renew_spares(self, state: State) -> None:
        if self._spares is None:
            return
        self._spares.drop()
        wanted, self._wanted = self._wanted, {Language.PYTHON}
        for language in wanted & state.programs.keys():
            assert state.backend is not None  # noqa: S101 — there is no program without
            self._spares.order(state.backend, state.programs[language])

    async def keep_watch(self, tell: Callable[[State], Awaitable[None]]) -> None:
        """Choose now and again from time to time, and tell what was found, until cancelled."""
        in_vain = 0
        while True:
            async with self._choosing:
                found = await self.choose()
            await tell(found)
            in_vain = in_vain + 1 if found.backend is None else 0
            await asyncio.sleep(SOON_S if 0 < in_vain <= _SOON_TRIES else AGAIN_S)

    async def report(self) -> str:
        """What shuts code in, in one line.

        Raises:
            ApiError: UNAVAILABLE; nothing does.
        """
        if self.looked and self.state.backend is None:
            raise ApiError(Code.UNAVAILABLE, self.state.describe(), self.state.hint)
        return f"ok: {self.state.describe()}" if self.looked else "not looked at yet"

    def _look(self, stop: Stop) -> State:
        landlock.remove_leftovers()
        cgroup.remove_leftovers()
        refusals: dict[str, str] = {}
        try:
            python = find_program(Language.PYTHON, for_others=self._for_others)
        except ProgramMissing as missing:
            return State(None, {"python": str(missing)})
        for backend in self._backends:
            try:
                send_canary(backend, python, stop)
            except CanaryDead as dead:
                refusals[backend.name] = str(dead)
                if stop.asked:
                    break
                continue
            return self._try_programs(State(backend, refusals, {Language.PYTHON: python}), stop)
        return State(None, refusals | self._skipped)

    def _try_programs(self, state: State, stop: Stop) -> State:
        programs, missing = dict(state.programs), {}
        assert state.backend is not None  # noqa: S101 — for the type checker
        for language, code in _TRIALS.items():
            try:
                programs[language] = find_program(language, for_others=self._for_others)
                try_program(state.backend, programs[language], code, stop)
            except (ProgramMissing, CanaryDead) as reason:
                missing[language] = str(reason)
        return State(state.backend, state.refusals, programs, missing)

    async def run(
        self, language: Language, code: str, inputs: Any, limits: Limits, *, tenant: Hashable = None
    ) -> Ended:
        """Run code until it has ended, by itself or by a limit. Cancelling ends it and waits until nothing is left.

        Where all places are taken it waits for one; see Gate.

        Args:
            inputs: any JSON value.
            tenant: whose run it is.

        Raises:
            SandboxUnavailable: nothing was started, or nothing of ours came up.
        """
        if not self.looked:
            async with self._choosing:
                if not self.looked:
                    await self.choose()
        self.check(language)
        async with self._gate.hold_place(tenant):
            ended = await self._run(language, code, inputs, limits)
        self.ended[_name_end(ended)] += 1
        if ended.broken:
            said = ended.stderr.decode(errors="replace").strip()[-500:]
            hint = f"Try again; if it stays, run `stagedoor doctor`. {self.state.hint}".strip()
            raise SandboxUnavailable(f"The sandbox did not come up: {said or f'status {ended.status}'}.", hint)
        return ended

    async def _run(self, language: Language, code: str, inputs: Any, limits: Limits) -> Ended:
        self.check(language)  # walls may have been found open meanwhile
        backend, program = self.state.backend, self.state.programs[language]
        assert backend is not None  # noqa: S101 — checked above
        self._wanted.add(language)
        stop = Stop()
        work = partial(self._carry_out, backend, program, program.encode(code, inputs), limits, stop)
        running = asyncio.get_running_loop().run_in_executor(self._runs, work)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            stop.now()
            await asyncio.wait({running})
            raise
        except (BackendMissing, OSError) as error:
            raise SandboxUnavailable(f"The sandbox could not be started: {error}.", self.state.hint) from error

    def _carry_out(self, backend: Backend, program: Program, payload: bytes, limits: Limits, stop: Stop) -> Ended:
        """In a thread, in a program that stands already if there is one."""
        parked = self._spares.take(backend, program, limits) if self._spares else None
        begin = self._spares.order(backend, program) if self._spares else None
        try:
            if parked is None:
                parked = park(backend.prepare(program, limits), limits, stop, make_group(limits.memory))
            return parked.go(payload, limits, stop)
        finally:
            if begin is not None:
                begin.set()
            stop.close()

    def close(self) -> None:
        """End what stands ready, and let go of the threads."""
        if self._spares is not None:
            self._spares.close()
        self._runs.shutdown(wait=False, cancel_futures=True)
        self._canaries.shutdown(wait=False, cancel_futures=True)


def _name_end(ended: Ended) -> str:
    if ended.broken:
        return "broken"
    if ended.stopped:
        return "stopped"
    if ended.bound is not None:
        return f"limit_{ended.bound}"
    return "timeout" if ended.late else "returned" if ended.frame is not None else "died"
