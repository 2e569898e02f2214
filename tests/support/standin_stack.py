"""`python -m tests.support.standin_stack --data DIR [--port N]`: `stagedoor up` with stand-ins for the tiers."""

import argparse
import sys
from pathlib import Path

from experience.cli.console import Console
from experience.cli.services import Programs
from experience.cli.stack import Wish, run_stack


def _stand_in(name: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "tests.support.standin", name)


def main() -> int:
    """As the command does."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--port", type=int, default=None)
    asked = parser.parse_args()
    programs = Programs(experience=_stand_in("experience"), runtime=_stand_in("runtime"), demo=_stand_in("shop"))
    return run_stack(Wish(port=asked.port, data=asked.data, programs=programs), Console())


if __name__ == "__main__":
    sys.exit(main())
