"""`stagedoor doctor`: what `up` needs on this machine, and how to mend what is missing.

Changes nothing, but that root's programs are tried as `up` starts them: with copies in SHARED where they need some.
"""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import assert_never

from experience.cli.console import Console
from experience.cli.executables import find_traefik
from experience.cli.failure import StackError
from experience.cli.ports import find_holder, is_free
from experience.cli.postgres import ACCOUNT, SHARED, find_account, place_binaries
from experience.cli.stack import DEFAULT_PORT

ASK_TIMEOUT_S = 60
NEEDED_BYTES = 1_000_000_000
"""Database, browser profiles and some days of screenshots."""
BUILT_IN = 2026
"""A clock before this year refuses tokens and certificates."""


class Verdict(Enum):
    """How bad it is."""

    FINE = "✓"
    ODD = "!"
    """`up` copes with it."""
    BROKEN = "✗"


@dataclass(frozen=True)
class Finding:
    """What one check saw, and what to do about it."""

    verdict: Verdict
    seen: str
    mend: str = ""


def examine(data: Path, console: Console) -> int:
    """Run the checks side by side, since some start a browser or an interpreter, and show what they saw in their order.

    Returns the exit status: 1 when `up` cannot work.
    """
    checks = list(list_checks(data))
    broken = 0
    with ThreadPoolExecutor(len(checks)) as threads:
        for name, finding in [(name, threads.submit(run_check, check)) for name, check in checks]:
            broken += show(name, finding.result(), console)
    console.announce("Nothing is in the way of `stagedoor up`." if not broken else f"{broken} to mend.")
    return 1 if broken else 0


def run_check(check: Callable[[], Finding]) -> Finding:
    """What `check` saw; a failure of it is something broken."""
    try:
        return check()
    except StackError as failure:
        return Finding(Verdict.BROKEN, failure.problem, failure.way_out)


def show(name: str, finding: Finding, console: Console) -> bool:
    """Print one finding. Returns whether `up` cannot work with it."""
    console.announce(f"  {finding.verdict.value} {name:<12} {finding.seen}")
    if finding.mend:
        console.announce(f"      {'':<10} **{finding.mend}**")
    match finding.verdict:
        case Verdict.FINE | Verdict.ODD:
            return False
        case Verdict.BROKEN:
            return True
        case other:
            assert_never(other)


def list_checks(data: Path) -> Iterator[tuple[str, Callable[[], Finding]]]:
    """The checks by their name, in the order in which `up` would meet them; those that take a while come last."""
    yield "folder", lambda: check_folder(data)
    yield "port", check_port
    yield "clock", check_clock
    if find_account():
        yield "root", describe_root
    yield "PostgreSQL", check_postgres
    yield "Traefik", check_traefik
    yield "Chromium", check_chromium
    yield "browsers", check_jail
    yield "sandbox", check_sandbox


def check_folder(data: Path) -> Finding:
    """Whether the data has a place to be."""
    place = data.resolve()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < NEEDED_BYTES:
        return Finding(Verdict.BROKEN, f"{place} has {free / 1e9:.1f} GB left", "Make room, or choose another --data.")
    return Finding(Verdict.FINE, f"{data.resolve()}, {free / 1e9:.0f} GB free")


def check_port() -> Finding:
    """Whether the default port is free."""
    if is_free(DEFAULT_PORT):
        return Finding(Verdict.FINE, f"{DEFAULT_PORT} is free")
    holder = find_holder(DEFAULT_PORT) or "another program"
    return Finding(Verdict.ODD, f"{DEFAULT_PORT} is used by {holder}", "`up` takes the next free one, or --port.")


def describe_root() -> Finding:
    """What is different for root: it is the one who gets files outside of the project and the data folder."""
    seen = f"accounts without rights run PostgreSQL and code; what they can't read here is copied to {SHARED}"
    return Finding(Verdict.FINE, seen)


def check_postgres() -> Finding:
    """Whether the wheel's server runs here, under the account that it will have."""
    account = find_account()
    seen = ask([str(place_binaries(account) / "postgres"), "--version"])
    return Finding(Verdict.FINE, seen + (f" (as `{ACCOUNT}`, it refuses root)" if account else ""))


def check_traefik() -> Finding:
    """Whether the wheel's proxy runs here."""
    return Finding(Verdict.FINE, "Traefik " + ask([str(find_traefik()), "version"]).split()[1])  # "Version: 3…"


def check_chromium() -> Finding:
    """Whether Runtime finds a browser, by asking Runtime, and whether that one runs."""
    path = ask([sys.executable, "-P", "-m", "runtime", "browser"])
    return Finding(Verdict.FINE, f"{ask([path, '--version'])} ({path})")


def check_jail() -> Finding:
    """How browsers would be shut in, by asking Runtime, which starts one. They work without, so nothing is broken."""
    try:
        seen, _, mend = ask([sys.executable, "-P", "-m", "runtime", "jail"]).partition("\n")
    except StackError as failure:
        return Finding(Verdict.ODD, failure.problem, failure.way_out)
    return Finding(Verdict.ODD if mend else Verdict.FINE, seen, mend)


def check_sandbox() -> Finding:
    """What code nodes would be shut in by, by asking Runtime. Everything else works without, so nothing is broken."""
    try:
        seen, _, mend = ask([sys.executable, "-P", "-m", "runtime", "sandbox"]).partition("\n")
    except StackError as failure:
        return Finding(Verdict.ODD, failure.problem, failure.way_out)
    return Finding(Verdict.ODD if mend else Verdict.FINE, seen, mend)


def check_clock() -> Finding:
    """Whether the clock is anywhere near today."""
    now = time.gmtime()
    seen = time.strftime("%Y-%m-%d %H:%M UTC", now)
    if now.tm_year < BUILT_IN:
        return Finding(Verdict.BROKEN, f"it says {seen}", "Set the clock: tokens and certificates depend on it.")
    return Finding(Verdict.FINE, seen)


def ask(command: list[str]) -> str:
    """What a program says about itself; StackError with its own words when it does not run."""
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=ASK_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise StackError(f"{command[0]} does not run: {problem}") from problem
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines() or [f"exit status {done.returncode}"]
        raise StackError(said[0], "\n".join(said[1:]))
    return done.stdout.strip()
