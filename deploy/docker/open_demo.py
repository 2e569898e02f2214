"""Runs the demo and prints the link that shows it: the one-shot service `demo` of docker-compose.yml."""

# ruff: noqa: INP001  # a script that is copied into an image

import asyncio
import os
import sys
import time
import urllib.error
import urllib.request

from experience.cli.data_dir import EMAIL_VARIABLE, PASSWORD_VARIABLE, Admin
from experience.cli.first_visit import prepare_visit

FRONT = "http://traefik:8080"
SHOP = "http://shop:8003"
PATIENCE_S = 180
PROBE_S = 5


def main() -> int:
    """Exit status 1: the stack did not become ready, or the demo could not be started."""
    if not wait_until_ready():
        sys.stderr.write(
            f"Stagedoor was not ready within {PATIENCE_S} s; the logs of experience and runtime say why.\n"
        )
        return 1
    admin = Admin(os.environ[EMAIL_VARIABLE], os.environ[PASSWORD_VARIABLE])
    visit = asyncio.run(prepare_visit(FRONT, admin, SHOP))
    if visit.problem:
        sys.stderr.write(f"{visit.problem}\n")
        return 1
    minutes = visit.valid_s // 60
    sys.stdout.write(
        f"Open this link within {minutes} minutes; it signs you in and shows the demo at work:\n{visit.url}\n"
    )
    return 0


def wait_until_ready() -> bool:
    """Whether the front door says that all is well before patience ends."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{FRONT}/ready", timeout=PROBE_S):  # noqa: S310  # an address of ours
                return True
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(1)
    return False


if __name__ == "__main__":
    sys.exit(main())
