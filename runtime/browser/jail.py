"""Where a Chromium runs: in a network without any way out, with files of its own, under an account of its own.

The proxy is what a browser is meant to use; a jail leaves it nothing else, by the kernel's word. Of the jail's network
there is a loopback only, and all that listens there is a socket that `enter.py` makes and hands to Runtime through the
gate, on the proxy's own port: so the browser is told the same address in a jail and without.
"""

import asyncio
import contextlib
import json
import os
import shutil
import socket
import sys
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import structlog

from runtime.accounts import Kind, choose_account
from runtime.browser.policy import PLACES, POLICY
from runtime.browser.processes import LAUNCHER
from runtime.egress.proxy import EgressProxy

_GATE: Final = "gate"
_HAND_OVER_S: Final = 10.0
_PROBE_S: Final = 10.0
_PROBE: Final = Path("/usr/bin/true")
_MARK_BYTES: Final = 64
_log = structlog.get_logger(__name__)


class Jail(StrEnum):
    """How much a browser is shut in, beside its own sandbox."""

    NAMESPACE = "namespace"
    """A network, files, processes and names of its own, by bubblewrap."""
    NETWORK = "network"
    """A network of its own."""
    NONE = "none"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What `enter.py` is told. Absent parts don't happen."""

    mark: str
    executable: str
    gate: str
    port: int | None
    uid: int | None
    setpriv: str | None
    bwrap: str | None
    policy: str
    policy_places: tuple[str, ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]


def make_plan(jail: Jail, *, mark: str, executable: Path, gate: Path, home: Path | None, port: int) -> Plan | None:
    """The plan of one browser; None where it is neither shut in nor given an account."""
    setpriv = shutil.which("setpriv")
    uid = choose_account(Kind.BROWSER) if can_have_account(jail, executable, gate) else None
    if jail is Jail.NONE and uid is None:
        return None
    if home is not None and uid is not None:
        os.chown(home, uid, uid)
    program = executable.resolve()
    return Plan(
        mark=mark,
        executable=str(program),
        gate=str(gate),
        port=port if jail is not Jail.NONE else None,
        uid=uid,
        setpriv=setpriv,
        bwrap=shutil.which("bwrap") if jail is Jail.NAMESPACE else None,
        policy=str(POLICY),
        policy_places=PLACES,
        reads=(str(program.parent),),
        writes=(str(home),) if home is not None else (),
    )


def describe_environment(plan: Plan | None, executable: Path, record: Path) -> dict[str, str]:
    """What launcher.sh is told."""
    told = {"STAGEDOOR_BROWSER": str(executable), "STAGEDOOR_BROWSER_RECORD": str(record)}
    if plan is not None:
        told |= {"STAGEDOOR_PYTHON": sys.executable, "STAGEDOOR_BROWSER_PLAN": json.dumps(asdict(plan))}
    return told


def can_have_account(jail: Jail, executable: Path, folder: Path) -> bool:
    """Whether a browser of root's can be somebody else: what root may read may be shut to others.

    Args:
        jail: one with files of its own shows the browser's, wherever they lie.
        executable: the browser.
        folder: where browsers keep their profiles.
    """
    program = executable.resolve()
    inside = [program, program.parent]
    needed = inside if jail is Jail.NAMESPACE else [*inside, *program.parents, folder, *folder.parents]
    try:
        return shutil.which("setpriv") is not None and all(path.stat().st_mode & 0o001 for path in needed)
    except OSError:
        return False


class Gate:
    """Takes what listens in the jails of one pool, and has the proxy serve it."""

    def __init__(self, folder: Path, proxy: EgressProxy) -> None:
        self.folder = folder
        self._proxy = proxy
        self._door: socket.socket | None = None
        self._tasks = asyncio.TaskGroup()
        self._accepting: asyncio.Task[None] | None = None
        self._servers: dict[str, asyncio.Server] = {}

    async def __aenter__(self) -> Self:
        """Listen for jails, where there can be any."""
        await self._tasks.__aenter__()
        if sys.platform == "linux":
            self._door = _listen(self.folder)
            self._accepting = self._tasks.create_task(self._accept(self._door))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cut off all jails."""
        if self._accepting is not None:
            self._accepting.cancel()
        for mark in list(self._servers):
            self.shut(mark)
        try:
            await self._tasks.__aexit__(kind, error, trace)
        finally:
            if self._door is not None:
                self._door.close()

    @property
    def port(self) -> int:
        """Where the proxy is in a jail."""
        return self._proxy.port

    def shut(self, mark: str) -> None:
        """The browser of that mark is gone, and its network with it."""
        if (server := self._servers.pop(mark, None)) is not None:
            server.close()

    async def probe(self, jail: Jail) -> bool:
        """Whether such a jail can be had here: one is made, for a program that does nothing."""
        mark = f"probe-{jail}"
        record = self.folder / f"{mark}.tried"
        plan = make_plan(jail, mark=mark, executable=_PROBE, gate=self.folder, home=None, port=self.port)
        if jail is Jail.NAMESPACE and (plan is None or plan.bwrap is None):
            return False
        environment = {"PATH": os.defpath, **describe_environment(plan, _PROBE, record)}
        pipe = asyncio.subprocess.PIPE
        tried = await asyncio.create_subprocess_exec(LAUNCHER, env=environment, stdout=pipe, stderr=pipe)
        try:
            async with asyncio.timeout(_PROBE_S):
                _, said = await tried.communicate()
        except TimeoutError:
            said = b"it did not end"
        finally:
            if tried.returncode is None:
                tried.kill()
                await tried.communicate()
            self.shut(mark)
            record.unlink(missing_ok=True)
        if tried.returncode != 0:
            _log.info("no such jail for browsers", jail=jail, reason=said.decode(errors="replace").strip()[-300:])
        return tried.returncode == 0

    async def _accept(self, door: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            caller, _ = await loop.sock_accept(door)
            self._tasks.create_task(self._take(caller))

    async def _take(self, caller: socket.socket) -> None:
        """One listener, by its browser's mark. Whoever reaches the gate is ours: its folder is nobody else's."""
        with caller:
            caller.settimeout(0)
            try:
                async with asyncio.timeout(_HAND_OVER_S):
                    await _until_readable(caller)
                    mark, descriptors, _, _ = socket.recv_fds(caller, _MARK_BYTES, 1)
                    listener = socket.socket(fileno=descriptors[0])
                    self._servers[mark.decode()] = await self._proxy.listen_on(listener)
                    await asyncio.get_running_loop().sock_sendall(caller, b"+")
            except (OSError, IndexError, TimeoutError) as error:
                _log.warning("a browser's jail could not be joined to the proxy", reason=str(error))


def _listen(folder: Path) -> socket.socket:
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    handle = os.open(folder, os.O_PATH)
    try:
        door.bind(f"/proc/self/fd/{handle}/{_GATE}")  # the path itself may be longer than such an address can be
    finally:
        os.close(handle)
    door.listen()
    door.settimeout(0)
    return door


async def _until_readable(caller: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_reader(caller, lambda: None if ready.done() else ready.set_result(None))
    try:
        await ready
    finally:
        with contextlib.suppress(OSError):
            loop.remove_reader(caller)
