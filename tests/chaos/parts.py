"""One real process of the stack, which a test may kill, freeze, thaw, end in order and start again."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from experience.cli.orphans import die_with_parent

START_S = 90.0
"""A start on a machine that is busy with everything else."""
END_S = 30.0
_POLL_S = 0.02
_PROBE_S = 0.1


@dataclass
class Part:
    """A process by its name; `start` it as often as it was ended."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    """Where its log is kept, one file for all of its starts."""
    port: int = 0
    """Where it answers `/ready`; 0 where it answers nothing."""
    figures_port: int = 0
    """Where it serves its figures; 0 where it has none apart."""
    process: "subprocess.Popen[bytes] | None" = None
    pids: list[int] = field(default_factory=list)
    """Of every start, the last one last."""
    frozen: bool = False
    unswept: bool = False
    """Killed since its last start: what it left behind is still to be removed by the next one."""

    @property
    def alive(self) -> bool:
        """Whether it runs; a frozen one does."""
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self.process is not None, f"{self.name} was never started"
        return self.process.pid

    @property
    def log(self) -> Path:
        """What it wrote, over all its starts."""
        return self.folder / f"{self.name}.log"

    def start(self) -> None:
        """Begin; `ready` says when it can be used."""
        assert not self.alive, f"{self.name} runs already"
        self.unswept = False
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                list(self.command),
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=die_with_parent(),  # noqa: PLW1509  # the callable allocates nothing
            )
        self.pids.append(self.process.pid)

    def kill(self) -> None:
        """SIGKILL: it says nothing, and whatever it had in hand stays as it is."""
        if self.process is None:
            return
        self.unswept = self.unswept or self.alive
        self.process.kill()
        self.process.wait(END_S)
        self.frozen = False

    def terminate(self) -> None:
        """SIGTERM: ask it to end in order."""
        if self.alive:
            self.thaw()
            os.kill(self.pid, signal.SIGTERM)

    def freeze(self) -> None:
        """SIGSTOP: it keeps its sockets and its memory, and does nothing."""
        os.kill(self.pid, signal.SIGSTOP)
        self.frozen = True

    def thaw(self) -> None:
        """SIGCONT."""
        if self.frozen and self.alive:
            os.kill(self.pid, signal.SIGCONT)
        self.frozen = False

    async def ended(self, patience_s: float = END_S) -> int:
        """Its exit status, once it has ended by itself or was asked to."""
        assert self.process is not None
        deadline = time.monotonic() + patience_s
        while (status := self.process.poll()) is None:
            assert time.monotonic() < deadline, f"{self.name} did not end within {patience_s:g} s: {self.tail()}"
            await asyncio.sleep(_POLL_S)
        return status

    async def stop(self, patience_s: float = END_S) -> None:
        """End it in order; nothing to do when it does not run."""
        if self.alive:
            self.terminate()
            await self.ended(patience_s)

    async def ready(self, path: str = "/ready", patience_s: float = START_S) -> None:
        """Return once it says that it can work."""
        deadline = time.monotonic() + patience_s
        said = "nothing"
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", timeout=2) as http:
            while True:
                try:
                    answer = await http.get(path)
                except httpx.TransportError as error:
                    said = type(error).__name__
                else:
                    if answer.status_code == httpx.codes.OK:
                        return
                    said = answer.text
                assert self.alive, f"{self.name} ended while it was starting: {self.tail()}"
                assert time.monotonic() < deadline, f"{self.name} is not ready ({said}): {self.tail()}"
                await asyncio.sleep(_PROBE_S)

    async def read_figure(self, name: str) -> float:
        """The sum of a figure over all of its labels."""
        async with httpx.AsyncClient(timeout=10) as http:
            text = (await http.get(f"http://127.0.0.1:{self.figures_port}/metrics")).text
        lines = [line.split() for line in text.splitlines() if line.startswith(name)]
        assert lines, f"no figure {name} in {text}"
        return sum(float(value) for _, value in lines)

    async def restart(self) -> None:
        """End it in order, start it again, wait until it can be used."""
        await self.stop()
        self.start()
        await self.ready()

    def tail(self, size: int = 4_000) -> str:
        """The end of what it wrote."""
        return self.log.read_text(errors="replace")[-size:] if self.log.exists() else ""
