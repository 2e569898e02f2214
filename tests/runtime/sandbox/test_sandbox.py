"""Which backend is chosen, what is said of it, and that nothing runs without one."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from runtime.sandbox.landlock import Landlock
from runtime.sandbox.launch import Backend, BackendMissing
from runtime.sandbox.limits import Limits
from runtime.sandbox.programs import Language
from runtime.sandbox.sandbox import Sandbox, SandboxUnavailable, State
from tests.runtime.sandbox.driver import BACKENDS
from tests.runtime.sandbox.test_canary import Absent

LIMITS = Limits(wall_s=60)
Make = Callable[..., Sandbox]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    made: list[Sandbox] = []

    def build(*backends: Backend, **options: object) -> Sandbox:
        made.append(Sandbox(backends=backends, for_others=os.geteuid() == 0, **options))  # type: ignore[arg-type]
        return made[-1]

    yield build
    for one in made:
        one.close()


async def test_the_first_whose_canary_lives_is_used(make: Make) -> None:
    sandbox = make(Absent([]), BACKENDS["bare"], Landlock())
    state = await sandbox.choose()
    assert (state.name, sandbox.backends) == ("landlock", {"broken": 0, "bare": 0, "landlock": 1, "none": 0})
    assert set(state.refusals) == {"broken", "bare"}
    assert "apt-get install bubblewrap" in state.hint
    assert (await sandbox.run(Language.PYTHON, "result = inputs", [1], LIMITS)).frame == b'{"result": [1]}'
    assert sandbox.ended == {"returned": 1}


async def test_what_was_written_before_the_end_is_read_however_late(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever watches may be kept from the processor until all is over, with nothing read so far."""
    monkeypatch.setattr("runtime.sandbox.warden._CHUNK", 100)
    monkeypatch.setattr("runtime.sandbox.warden.END_S", 0.0)
    sandbox = make(Landlock())
    await sandbox.choose()
    ended = await sandbox.run(Language.PYTHON, "print('x' * 60_000)\nresult = 'y' * 60_000", None, LIMITS)
    assert len(ended.stdout) == 60_001
    assert ended.frame == b'{"result": "%s"}' % (b"y" * 60_000)


async def test_nothing_runs_without_a_backend(make: Make, tmp_path: Path) -> None:
    sandbox = make(Absent([]))
    for _ in range(2):
        with pytest.raises(SandboxUnavailable) as refused:
            await sandbox.run(Language.PYTHON, f"open('{tmp_path}/ran', 'w')", None, LIMITS)
        assert "apt-get install bubblewrap" in refused.value.hint
        await sandbox.choose()
    assert "bwrap is not installed" in refused.value.message
    assert (sandbox.state.name, sandbox.backends) == ("none", {"broken": 0, "none": 1})
    assert not (tmp_path / "ran").exists()


async def test_a_machine_that_had_no_sandbox_is_looked_at_again_soon(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.sandbox.sandbox.SOON_S", 0.01)
    states = [State(), State(), State(backend=Landlock())]
    found: list[str] = []

    async def choose(_: Sandbox) -> State:
        return states[len(found)]

    async def tell(state: State) -> None:
        found.append(state.name)

    monkeypatch.setattr(Sandbox, "choose", choose)
    sandbox = make()
    watching = asyncio.create_task(sandbox.keep_watch(tell))
    async with asyncio.timeout(60):
        while len(found) < 3:  # noqa: ASYNC110 — it tells nobody else
            await asyncio.sleep(0.01)
    watching.cancel()
    await asyncio.wait([watching])
    assert found == ["none", "none", "landlock"]


async def test_namespaces_can_be_required(make: Make) -> None:
    sandbox = make(Absent([]), Landlock(), require="namespace")
    assert (await sandbox.choose()).name == "none"
    assert "REQUIRE" in sandbox.state.refusals["landlock"]


async def test_a_sandbox_that_breaks_later_is_left(make: Make) -> None:
    class Failing(Landlock):
        works = True

        def check(self) -> None:
            if not self.works:
                raise BackendMissing("a sysctl was changed")

    backend = Failing()
    sandbox = make(backend)
    assert (await sandbox.choose()).name == "landlock"
    Failing.works = False
    assert (await sandbox.choose()).name == "none"
    with pytest.raises(SandboxUnavailable, match="a sysctl was changed"):
        await sandbox.run(Language.PYTHON, "result = 1", None, LIMITS)


async def test_a_language_without_its_interpreter_is_named(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.sandbox.programs._list_nodes", lambda: iter(()))
    sandbox = make(Landlock())
    await sandbox.choose()
    sandbox.check(Language.PYTHON)
    with pytest.raises(SandboxUnavailable, match="node") as refused:
        sandbox.check(Language.NODE)
    assert "apt-get install nodejs" in refused.value.hint


@pytest.mark.parametrize("backends", [["bwrap"], ["landlock"]], ids=str)
async def test_a_cancel_ends_the_run_before_it_returns(make: Make, backends: Sequence[str]) -> None:
    sandbox = make(*(BACKENDS[name] for name in backends))
    if (await sandbox.choose()).backend is None:
        pytest.skip(sandbox.state.describe())
    running = asyncio.create_task(sandbox.run(Language.PYTHON, "import time; time.sleep(60)", None, LIMITS))
    await asyncio.sleep(1)
    began = time.monotonic()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert time.monotonic() - began < 45
    assert running.cancelled()
    assert not [name for name in os.listdir("/tmp") if name.startswith(f"stagedoor-code-{os.getpid()}-")]  # noqa: PTH208


async def test_a_run_that_waits_can_be_cancelled_and_tenants_take_turns(make: Make) -> None:
    sandbox = make(Landlock(), slots=1)
    await sandbox.choose()
    began: list[str] = []

    async def run(tenant: str, code: str) -> None:
        await sandbox.run(Language.PYTHON, code, None, LIMITS, tenant=tenant)
        began.append(tenant)

    hog = asyncio.create_task(run("a", "import time; time.sleep(60)"))
    await asyncio.sleep(0.1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await run("b", "result = 1")
    assert not hog.done()
    waiting = [asyncio.create_task(run(tenant, "result = 1")) for tenant in "aabc"]
    await asyncio.sleep(0)
    hog.cancel()
    await asyncio.wait([hog, *waiting])
    assert began == ["a", "b", "c", "a"]


async def test_walls_that_fell_while_a_run_waited_are_not_used(make: Make) -> None:
    class Failing(Landlock):
        works = True

        def check(self) -> None:
            if not self.works:
                raise BackendMissing("a sysctl was changed")

    sandbox = make(Failing(), slots=1)
    await sandbox.choose()
    hog = asyncio.create_task(sandbox.run(Language.PYTHON, "import time; time.sleep(60)", None, LIMITS))
    await asyncio.sleep(0.1)
    waiting = asyncio.create_task(sandbox.run(Language.PYTHON, "result = 1", None, LIMITS))
    Failing.works = False
    await sandbox.choose()
    hog.cancel()
    with pytest.raises(SandboxUnavailable, match="a sysctl was changed"):
        await waiting


async def test_canaries_are_called_back_when_nobody_waits(make: Make) -> None:
    sandbox = make(*BACKENDS.values())
    looking = asyncio.create_task(sandbox.choose())
    await asyncio.sleep(0.2)
    looking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await looking
    assert not sandbox.looked


async def test_a_run_that_does_not_come_up_is_no_fault_of_the_code(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox = make(Landlock())
    await sandbox.choose()
    monkeypatch.setattr("runtime.sandbox.confine.READ", 0)
    with pytest.raises(SandboxUnavailable, match="did not come up"):
        await sandbox.run(Language.PYTHON, "result = 1", None, LIMITS)
