"""Accounts that nobody has, for what root starts and must not be root: code of strangers, browsers."""

import os
import random
from enum import Enum
from pathlib import Path
from typing import Final

_NEEDED: Final = 2_000_200_000
"""Uids that have to be there for the large ranges; a container may have 65,536 only."""


class Kind(Enum):
    """Who needs an account: a range for each, since all that runs under an account may be counted and ended.

    Of each the first uid and the number, where there are many and where there are few. systemd's table of uids leaves
    the large ranges to nobody (systemd.io/UIDS-GIDS); the small ones it gives out for a while, which a container
    does not.
    """

    CODE = ((2_000_000_000, 100_000), (61_184, 4_000))
    BROWSER = ((2_000_100_000, 100_000), (65_184, 336))


def choose_account(kind: Kind) -> int | None:
    """A uid of its own for what is started where we are root; None for anybody else."""
    if os.geteuid() != 0:
        return None
    many = any(_maps(line) for line in Path("/proc/self/uid_map").read_text().splitlines())
    first, number = kind.value[0 if many else 1]
    return first + random.randrange(number)  # noqa: S311 — so that two runs differ, not so that nobody can guess


def _maps(line: str) -> bool:
    inside, _, count = map(int, line.split())
    return inside <= _NEEDED and inside + count >= _NEEDED
