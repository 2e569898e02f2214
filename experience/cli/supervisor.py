"""Real processes under one parent: started, listened to, and all ended together."""

import collections
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, cast

from experience.cli.console import Console
from experience.cli.failure import StackError
from experience.cli.orphans import Watchdog, die_with_parent, end_groups
from experience.cli.postgres import Identity

LAST_LINES = 15
POLL_S = 0.03


class StopRequested(BaseException):
    """Ctrl-C, a signal, or a terminal that went away: no error, and nothing for an `except Exception`."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """A process to run, as data."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    identity: Identity = field(default_factory=Identity)
    stop_signal: signal.Signals = signal.SIGTERM
    orphan_signal: signal.Signals = signal.SIGKILL
    """What the kernel sends it when the supervisor vanishes."""
    stop_turn: int = 0
    """Services of a lower turn are gone before those of a higher one are asked to stop."""
    patience_s: float = 5.0
    """From the stop signal to SIGKILL."""
    inherits: tuple[int, ...] = ()
    """File descriptors of ours that it keeps open."""
    is_job: bool = False
    """Whether it is meant to end, with exit status 0."""


class Child:
    """A started service, with a thread that takes its lines to the console and to its log file."""

    def __init__(self, service: Service, console: Console, log: Path) -> None:
        self.service = service
        self.log = log
        self._last = collections.deque[str](maxlen=LAST_LINES)
        self.process = subprocess.Popen(
            list(service.command),
            env=dict(service.environment),
            cwd=service.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches us alone, and its helpers end with it
            pass_fds=service.inherits,
            preexec_fn=die_with_parent(service.orphan_signal),  # noqa: PLW1509  # one system call, looked up before
            **service.identity,
        )
        self._reader = threading.Thread(target=self._read, args=(console,), name=service.name, daemon=True)
        self._reader.start()

    @property
    def status(self) -> int | None:
        """Exit status, negative for a signal; None while it runs."""
        return self.process.poll()

    def read_last_lines(self) -> list[str]:
        """What it wrote last; waits a moment for lines that are still on their way."""
        self._reader.join(1)
        return list(self._last)

    def stop(self, with_signal: signal.Signals) -> None:
        """Ask it to end."""
        if self.status is None:
            self.process.send_signal(with_signal)

    def kill(self) -> None:
        """End it and whatever it started, at once."""
        end_groups([self.process.pid], signal.SIGKILL)
        self.process.wait()

    def _read(self, console: Console) -> None:
        with self.log.open("wb") as log, cast("IO[bytes]", self.process.stdout) as lines:
            for raw in lines:
                log.write(raw)
                log.flush()
                line = raw.decode(errors="replace").rstrip()
                self._last.append(line)
                console.show_line(self.service.name, line)


class Supervisor:
    """Starts services, notices when one ends, and ends them all. To be used from the main thread only."""

    def __init__(self, console: Console, logs: Path) -> None:
        self._console = console
        self._logs = logs
        self._children: list[Child] = []
        self._watchdog = Watchdog()
        self.stop_requested = False
        self.in_hurry = False
        """Set it to stop without patience."""

    def start(self, service: Service) -> Child:
        """Start `service`; from now on `check` complains when it has ended."""
        log = self._logs / f"{service.name}.log"
        if log.exists():
            log.replace(log.with_suffix(".log.1"))
        child = Child(service, self._console, log)
        self._children.append(child)
        self._watchdog.add(child.process.pid)
        return child

    def check(self) -> None:
        """Raise StackError when a service has ended by itself or a job has failed, with the last lines it wrote.

        Raises StopRequested when somebody asked for the end: an exception of a signal handler is lost where Python
        happens to be in a finaliser.
        """
        if self.stop_requested or self._console.closed:
            raise StopRequested
        for child in self._children:
            if child.status is not None and not (child.service.is_job and child.status == 0):
                raise StackError(describe_end(child), f"All of it: {child.log}")

    def run_jobs(self, jobs: Sequence[Service], timeout_s: float) -> None:
        """Run `jobs` side by side to their good end, while the services go on."""
        running = [self.start(job) for job in jobs]
        deadline = time.monotonic() + timeout_s
        while slow := [child.service.name for child in running if child.status is None]:
            self.check()
            if time.monotonic() > deadline:
                raise StackError(f"{', '.join(slow)} did not end within {timeout_s:.0f} s", f"See {self._logs}.")
            time.sleep(POLL_S)
        self.check()
        for child in running:
            self._forget(child)

    def stop(self) -> None:
        """End everything, a turn after the other; what does not go in its time is killed."""
        for turn in sorted({child.service.stop_turn for child in self._children}):
            self._stop_together([child for child in self._children if child.service.stop_turn == turn])
        self._watchdog.stop()

    def _stop_together(self, children: Sequence[Child]) -> None:
        for child in children:
            child.stop(child.service.stop_signal)
        start = time.monotonic()
        while not self.in_hurry:
            waited = time.monotonic() - start
            if not any(child.status is None and waited < child.service.patience_s for child in children):
                break
            time.sleep(POLL_S)
        for child in children:
            if child.status is None:
                self._console.say(f"{child.service.name} does not stop; killing it")
            child.kill()
            self._forget(child)

    def _forget(self, child: Child) -> None:
        self._children.remove(child)
        self._watchdog.remove(child.process.pid)


def describe_end(child: Child) -> str:
    """How a service ended, with what it wrote last."""
    status = child.status or 0
    how = f"exit status {status}" if status >= 0 else f"signal {signal.Signals(-status).name}"
    last = "\n".join(f"    {line}" for line in child.read_last_lines())
    return f"{child.service.name} ended with {how}." + (f" Its last lines:\n{last}" if last else " It wrote nothing.")
