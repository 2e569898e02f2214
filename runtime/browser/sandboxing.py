"""How browsers are shut in on this machine: the strongest way that works is found with the first browser, and kept.

Chromium's own sandbox comes first: it stands between a page and the account that Chromium runs under. A jail, where one
can be had, stands between that and the machine. Root runs no browser itself: each gets an account of its own. What is
weaker than it could be is said once in the log, in `/ready` and the figures, and by `stagedoor doctor`; an installation
for several tenants starts no browser without its sandbox, unless its owner allows it.
"""

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import structlog
from playwright.async_api import TimeoutError as LaunchTimeout

from contracts.errors import ApiError, Code
from contracts.execution import FailureCode
from runtime.browser.failure import BrowserFailure
from runtime.browser.jail import Gate, Jail, can_have_account

BrowserT = TypeVar("BrowserT")

HINT: Final = (
    "Let ordinary users of this machine have user namespaces (on Ubuntu: kernel.apparmor_restrict_unprivileged_userns; "
    "in a container: the seccomp profile of deploy/docker)."
)
_NO_SANDBOX: Final = ("No usable sandbox", "Failed to move to new namespace", "Running as root without --no-sandbox")
_TRIES: Final = 2
"""Of each way to be shut in: what is chosen stays for the pool's life, so one hiccup must not choose a weaker one."""
_log = structlog.get_logger(__name__)


OPEN: Final = "What breaks out of a page reaches whatever listens on this machine: its browsers have no jail."
JAIL_HINT: Final = (
    "Browsers could be shut off from this machine's network and files: install bubblewrap, and let ordinary users have "
    "user namespaces."
)
NO_JAIL_HINT: Final = (
    "bubblewrap is here, but browsers don't start inside it, so they see this machine's files: the log of Runtime says "
    "why. Containers usually forbid the mounts that it needs."
)
ALLOW: Final = "STAGEDOOR_RUNTIME_ALLOW_UNSANDBOXED_BROWSERS=true starts browsers all the same."


class SandboxMissing(Exception):  # noqa: N818 — as BackendMissing
    """Browsers must have their own sandbox here and can't; the text says what to do."""


@dataclass(frozen=True)
class Confinement:
    """How a browser is shut in."""

    jail: Jail
    sandboxed: bool
    """By Chromium's own sandbox."""

    def describe(self) -> str:
        """In words, for a person."""
        return f"sandbox: {'chromium' if self.sandboxed else 'none'}, jail: {self.jail}"

    @property
    def hint(self) -> str:
        """What would make it stronger; empty where nothing would."""
        if not self.sandboxed:
            return HINT
        if self.jail is Jail.NAMESPACE:
            return ""
        return JAIL_HINT if shutil.which("bwrap") is None else NO_JAIL_HINT


class Sandboxing:
    """What one pool has found out, and holds itself to."""

    def __init__(self, gate: Gate, *, required: bool) -> None:
        """`required`: rather no browser than one without its own sandbox."""
        self._gate = gate
        self._required = required
        self.chosen: Confinement | None = None
        """None until a browser has started."""
        self.refused = False
        """Whether a browser was not started because it would have had no sandbox."""
        self.settled = asyncio.Event()
        """Set once it is known how browsers are shut in, or that none is."""

    async def start(self, executable: Path, start: Callable[[Confinement], Awaitable[BrowserT]]) -> BrowserT:
        """Start a browser as strongly shut in as can be had. Raises BrowserFailure."""
        if self.chosen is not None:
            return await start(self.chosen)
        failure: BrowserFailure | None = None
        for one in await self._list(executable):
            for _ in range(_TRIES):
                try:
                    browser = await start(one)
                except BrowserFailure as caught:
                    if not _is_ours_to_mend(caught, one):
                        raise
                    failure = caught
                    _log.warning("browsers don't start so", jail=one.jail, sandboxed=one.sandboxed, why=caught.message)
                    continue
                self._choose(one)
                return browser
        if self._required:
            self.refused = True
            self.settled.set()
            raise explain_missing()
        raise failure or explain_missing()

    async def _list(self, executable: Path) -> list[Confinement]:
        """What may work, best first."""
        jails = [jail for jail in Jail if jail is Jail.NONE or await self._gate.probe(jail)]
        able = [jail for jail in jails if _can_be_sandboxed(jail, executable, self._gate.folder)]
        bare = [] if self._required else jails
        return [
            *(Confinement(jail, sandboxed=True) for jail in able),
            *(Confinement(jail, sandboxed=False) for jail in bare),
        ]

    @property
    def found(self) -> Confinement:
        """How browsers are shut in, once one has started."""
        if self.chosen is None:
            raise explain_missing()
        return self.chosen

    @property
    def shortcoming(self) -> str:
        """What is wrong, and what to do about it; empty where nothing is, or nothing is known yet."""
        if self.refused:
            failure = explain_missing()
            return f"{failure.message} {failure.hint}"
        if self.chosen is None:
            return ""
        if self.chosen.sandboxed:
            return "" if self.chosen.jail is not Jail.NONE else f"{OPEN} {JAIL_HINT}"
        return f"Chromium's own sandbox does not work here ({self.chosen.describe()}). {HINT}"

    async def report(self) -> str:
        """How browsers are shut in, for who asks whether all is well.

        Raises:
            ApiError: UNAVAILABLE; they have no sandbox of their own, or are not started for that.
        """
        if self.refused:
            failure = explain_missing()
            raise ApiError(Code.UNAVAILABLE, failure.message, failure.hint)
        if self.chosen is None:
            return "none has started yet"
        if not self.chosen.sandboxed:
            raise ApiError(Code.UNAVAILABLE, self.chosen.describe(), HINT)
        return f"ok: {self.chosen.describe()}"

    def _choose(self, one: Confinement) -> None:
        self.chosen = one
        self.settled.set()
        if not one.sandboxed:
            _log.warning("browsers run without Chromium's own sandbox: this machine does not allow it", hint=HINT)
        if one.jail is Jail.NONE:
            _log.warning("browsers are not shut off from this machine's network", hint=JAIL_HINT)
        _log.info("browsers are shut in", jail=one.jail, sandboxed=one.sandboxed)


def explain_missing() -> BrowserFailure:
    """No browser is started, because none of them would have its own sandbox."""
    return BrowserFailure(
        FailureCode.BROWSER_MISSING,
        "No browser is started, because Chromium's own sandbox does not work on this machine.",
        f"{HINT} {ALLOW}",
    )


def _is_ours_to_mend(failure: BrowserFailure, tried: Confinement) -> bool:
    """Whether a browser that did not start may start when it is shut in less."""
    if failure.code is not FailureCode.BROWSER_CRASHED or isinstance(failure.__cause__, TimeoutError | LaunchTimeout):
        return False  # one that hangs hangs everywhere
    has_no_sandbox = any(words in failure.message for words in _NO_SANDBOX)
    return tried.jail is not Jail.NONE or (tried.sandboxed and has_no_sandbox)


def _can_be_sandboxed(jail: Jail, executable: Path, folder: Path) -> bool:
    """Chromium refuses to sandbox root."""
    return os.geteuid() != 0 or can_have_account(jail, executable, folder)
