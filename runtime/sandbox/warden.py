"""Watches one run: hands the code in, reads what comes out and no more, and ends it when it exceeds what it may.

Everything here blocks; whoever works with asyncio calls it in a thread. Linux only.
"""

import contextlib
import itertools
import os
import selectors
import signal
import socket
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from runtime.sandbox.cgroup import Group, NoGroup
from runtime.sandbox.descriptors import count_entries, find_buffer, survey
from runtime.sandbox.launch import Launch
from runtime.sandbox.limits import Bound, Ended, Limits
from runtime.sandbox.processes import LAST, count_threads, list_below, lower_priority, measure_memory, restrain

START_S: Final = 10.0
"""From the start of the program to its word that it is ready."""
LOOK_S: Final = 0.05
"""Between two looks at what it holds."""
END_S: Final = 2.0
"""For what was killed to be gone."""
_CHUNK: Final = 65_536
_HEAD: Final = 4
_READY: Final = b"R"
_turns = itertools.count()


class Stop:
    """How another thread ends a run. One per run; safe to use at any time, and more than once."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._lock = threading.Lock()
        self._open = True
        self.asked = False
        """Whether somebody has."""

    def now(self) -> None:
        """End the run."""
        self.asked = True
        with self._lock:
            if self._open:
                with contextlib.suppress(BlockingIOError):
                    os.write(self._write, b"x")

    def fileno(self) -> int:
        """Readable once the run is to end."""
        return self._read

    def close(self) -> None:
        """The run is over."""
        with self._lock:
            if self._open:
                self._open = False
                os.close(self._read)
                os.close(self._write)


def watch(launch: Launch, payload: bytes, limits: Limits, stop: Stop, group: Group | None = None) -> Ended:
    """Start a program, hand it `payload`, and return when it has ended, by itself or not. Nothing of it is left then.

    Raises:
        OSError: it could not be started.
    """
    return park(launch, limits, stop, group).go(payload, limits, stop)


class Parked:
    """A program that stands behind its walls and waits for its code. Either `go` or `discard`, once."""

    def __init__(self, run: "_Run") -> None:
        self._run = run

    @property
    def stands(self) -> bool:
        """Whether it still waits."""
        return self._run.ready and self._run.process.poll() is None

    def go(self, payload: bytes, limits: Limits, stop: Stop) -> Ended:
        """Hand it `payload`, and return when it has ended, by itself or not. Nothing of it is left then.

        Args:
            limits: those it was started with, or a shorter time.
        """
        return self._run.go(payload, limits, stop)

    def discard(self) -> None:
        """End it unused. Nothing of it is left then."""
        self._run.discard()


def park(launch: Launch, limits: Limits, stop: Stop, group: Group | None = None) -> Parked:
    """Start a program and return when it waits for its code, or has ended before: `go` says so.

    Raises:
        OSError: it could not be started.
    """
    ours, theirs = socket.socketpair()
    try:
        process = _start(launch, theirs)
    except BaseException:
        ours.close()
        _tidy(launch, group)
        raise
    finally:
        theirs.close()
        for descriptor in launch.descriptors:
            os.close(descriptor)
    run = _Run(process, ours, launch, limits, stop, group or NoGroup())
    run.come_up()
    return Parked(run)


def _tidy(launch: Launch, group: Group | None) -> None:
    """Nothing was started."""
    if launch.control is not None:
        os.close(launch.control)
    if launch.scratch is not None:
        _remove(launch.scratch)
    if group is not None:
        group.remove()
    launch.cleanup()


def _start(launch: Launch, channel: socket.socket) -> "subprocess.Popen[bytes]":
    as_whom = {} if launch.uid is None else {"user": launch.uid, "group": launch.uid, "extra_groups": []}
    return subprocess.Popen(  # type: ignore[call-overload,no-any-return]  # as_whom
        launch.command,
        stdin=channel,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd="/",
        env={},
        pass_fds=launch.descriptors,
        start_new_session=True,
        **as_whom,
    )


@dataclass
class _Run:
    """The state of one program, from its start to its end."""

    process: "subprocess.Popen[bytes]"
    channel: socket.socket
    launch: Launch
    limits: Limits
    stop: Stop
    group: Group
    payload: bytes | None = None
    """What is still to be handed in; None before there is anything."""
    ready: bool = False
    gone: bool = False
    began: float = 0.0
    deadline: float = 0.0
    peak: int = 0
    bound: Bound | None = None
    late: bool = False
    stopped: bool = False
    killed: bool = False
    control_open: bool = True
    answer: bytearray = field(default_factory=bytearray)
    stdout: bytearray = field(default_factory=bytearray)
    stderr: bytearray = field(default_factory=bytearray)
    selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    handle: int = -1

    def come_up(self) -> None:
        """Until it waits for its code, or has ended."""
        self.began = time.monotonic()
        self.deadline = self.began + START_S
        try:
            self._listen()
            self._attend()
            if not self.stopped:
                self.selector.unregister(self.stop)
        except BaseException:
            self._end()
            raise

    def go(self, payload: bytes, limits: Limits, stop: Stop) -> Ended:
        """Hand the code in, if it waits for that, and watch it to its end."""
        try:
            if self.ready and not self.killed:
                self._hand_over(payload, limits, stop)
                self._attend()
        finally:
            self._end()
        return self._conclude()

    def discard(self) -> None:
        """End it."""
        try:
            self._kill()
            self._attend()
        finally:
            self._end()

    def _listen(self) -> None:
        assert self.process.stdout is not None  # noqa: S101 — for the type checker
        assert self.process.stderr is not None  # noqa: S101
        self.handle = os.pidfd_open(self.process.pid)
        self.channel.setblocking(False)
        self.selector.register(self.stop, selectors.EVENT_READ, self._be_stopped)
        self.selector.register(self.handle, selectors.EVENT_READ, None)
        self.selector.register(self.channel, selectors.EVENT_READ, self._talk)
        for stream, kept in ((self.process.stdout, self.stdout), (self.process.stderr, self.stderr)):
            os.set_blocking(stream.fileno(), False)
            self.selector.register(stream, selectors.EVENT_READ, kept)

    def _hand_over(self, payload: bytes, limits: Limits, stop: Stop) -> None:
        """From now on the code's time runs."""
        self.limits, self.stop = limits, stop
        self.selector.register(stop, selectors.EVENT_READ, self._be_stopped)
        self.payload = len(payload).to_bytes(_HEAD, "big") + payload
        self.selector.modify(self.channel, selectors.EVENT_READ | selectors.EVENT_WRITE, self._talk)
        self.began = time.monotonic()
        self.deadline = self.began + limits.wall_s

    def _attend(self) -> None:
        """Until all is over; or, before there is any code, until it is waited for."""
        next_look = time.monotonic() + LOOK_S
        while not (self.ready and self.payload is None and not self.killed):
            now = time.monotonic()
            if self.gone and not any(self._brings(key) for key in self.selector.get_map().values()):
                return
            if now >= self.deadline:
                if self.gone or self.killed:
                    self._read_rest()
                    return
                self.late = self.ready
                self._kill()
            if now >= next_look and not self.gone:
                self._look()
                next_look = time.monotonic() + LOOK_S
            until = self.deadline if self.gone else min(self.deadline, next_look)
            for key, events in self.selector.select(max(0.0, until - now)):
                self._respond(key, events)

    def _read_rest(self) -> None:
        """What it wrote before it ended: we may have been kept from the processor until long after."""
        while not self.killed:
            waiting = [(key, events) for key, events in self.selector.select(0) if self._brings(key)]
            if not waiting:
                return
            for key, events in waiting:
                self._respond(key, events)

    def _brings(self, key: selectors.SelectorKey) -> bool:
        """Whether what the program has said or written comes this way."""
        return isinstance(key.data, bytearray) or key.data == self._talk

    def _respond(self, key: selectors.SelectorKey, events: int) -> None:
        if key.fd == self.handle:
            self.selector.unregister(self.handle)
            self.gone, self.deadline = True, time.monotonic() + END_S
        elif isinstance(key.data, bytearray):
            self._collect(key, key.data)
        elif key.data == self._talk:
            self._talk(events)
        else:
            self._be_stopped()

    def _be_stopped(self) -> None:
        self.selector.unregister(self.stop)
        self.stopped = True
        self._kill()

    def _collect(self, key: selectors.SelectorKey, kept: bytearray) -> None:
        """Read what it has written, up to the limit."""
        try:
            data = os.read(key.fd, _CHUNK)
        except BlockingIOError:
            return
        if not data:
            self.selector.unregister(key.fileobj)
            return
        room = self.limits.output - len(self.stdout) - len(self.stderr)
        kept += data[:room]
        if len(data) > room:
            self._exceed(Bound.OUTPUT)

    def _talk(self, events: int) -> None:
        """Go on with the conversation: its word, our frame, its answer."""
        try:
            if events & selectors.EVENT_WRITE:
                self._hand_in()
            if events & selectors.EVENT_READ:
                self._hear()
        except BlockingIOError:
            return
        except OSError:  # it closed its end with something of ours unread
            self.selector.unregister(self.channel)

    def _hear(self) -> None:
        data = self.channel.recv(_CHUNK)
        if not data or self.killed:
            self.selector.unregister(self.channel)
        elif self.payload is not None:
            self.answer += data
            if len(self.answer) > _HEAD + self.limits.result:
                self._exceed(Bound.RESULT)
                self.selector.unregister(self.channel)
        elif data == _READY and not self.ready:
            self._settle()
        else:
            self._kill()

    def _settle(self) -> None:
        """All that can be is in its place by now, and none of the code has run."""
        self.ready = True
        own = list_below(self.process.pid)
        cpus = sorted(os.sched_getaffinity(0))
        restrain(own, cpus[next(_turns) % len(cpus)])
        self.group.admit(own)

    def _hand_in(self) -> None:
        assert self.payload is not None  # noqa: S101 — nobody waits to write before
        self.payload = self.payload[self.channel.send(self.payload) :]
        if not self.payload:
            self.channel.shutdown(socket.SHUT_WR)
            self.selector.modify(self.channel, selectors.EVENT_READ, self._talk)

    def _look(self) -> None:
        """Measure what it holds."""
        if self.killed:
            self._kill()  # whoever was born in between
            return
        if not self.ready:
            return
        own = list_below(self.process.pid)
        threads = count_threads(own)
        if threads > _MANY:
            lower_priority(own, LAST)
        found = survey(own)
        waiting = found.sockets * _BUFFER
        held = max(measure_memory(own, self.limits.memory - waiting) + waiting, self.group.measure())
        self.peak = max(self.peak, held)
        if held > self.limits.memory or self.group.has_overflowed():
            self._exceed(Bound.MEMORY)
        elif threads > self.limits.processes + _OURS:
            self._exceed(Bound.PROCESSES)
        elif not self._fits(own, found.nameless):
            self._exceed(Bound.SCRATCH)

    def _fits(self, own: list[int], nameless: int) -> bool:
        """Whether its files are within their limits, in memory and on disk."""
        if count_entries(own, self.launch.memory_folders) > self.limits.entries:
            return False
        return self.launch.scratch is None or _fits(self.launch.scratch, nameless, self.limits)

    def _exceed(self, bound: Bound) -> None:
        self.bound = self.bound or bound
        self._kill()

    def _kill(self) -> None:
        """End everything below the program we have started; that one then takes leave of them, and ends."""
        if not self.killed:
            self.killed, self.deadline = True, time.monotonic() + END_S
        if self.launch.control is not None:
            if self.control_open:
                self.control_open = False
                os.close(self.launch.control)
            return
        below = list_below(self.process.pid)
        for pid in below or [self.process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _end(self) -> None:
        """Whatever happened: nothing runs any more, nothing is open, no folder is left."""
        if self.launch.control is not None and self.control_open:
            self.control_open = False
            os.close(self.launch.control)
        try:
            self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            for pid in [*list_below(self.process.pid), self.process.pid]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        self.selector.close()
        self.channel.close()
        if self.handle >= 0:
            os.close(self.handle)
        if self.launch.scratch is not None:
            _remove(self.launch.scratch)
        self.group.remove()
        self.launch.cleanup()

    def _conclude(self) -> Ended:
        status = self.process.returncode
        size = int.from_bytes(self.answer[:_HEAD], "big")
        whole = len(self.answer) >= _HEAD and len(self.answer) == _HEAD + size
        return Ended(
            status=status if status >= 0 else 128 - status,
            frame=bytes(self.answer[_HEAD:]) if whole else None,
            stdout=bytes(self.stdout),
            stderr=bytes(self.stderr),
            seconds=time.monotonic() - self.began,
            peak=self.peak,
            bound=self.bound or (Bound.MEMORY if self.group.has_overflowed() else None),
            late=self.late,
            stopped=self.stopped,
            broken=not self.ready and not self.stopped,
        )


_BUFFER: Final = find_buffer()
_MANY: Final = 16
"""Processes and threads of a run that are no longer a few; Node has a dozen from the start."""
_OURS: Final = 4
"""Processes of ours below the one we started: bwrap's own two, or none."""


def _fits(scratch: Path, nameless: int, limits: Limits) -> bool:
    """Whether its files on disk are within their limits.

    Args:
        nameless: bytes of those that have lost their names.
    """
    used = entries = 0
    waiting = [str(scratch)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as listed:
                for entry in listed:
                    entries += 1
                    if entries > limits.entries:
                        return False
                    used += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
        except OSError:
            continue
    return used + nameless <= limits.scratch


def _remove(scratch: Path) -> None:
    import shutil  # noqa: PLC0415 — the launcher has done it already, unless it was killed

    if scratch.exists():
        shutil.rmtree(scratch, ignore_errors=True)
