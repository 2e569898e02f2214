"""`python -m tests.support.standin_stack --data DIR [--port N]`: `stagedoor up` with stand-ins for the tiers.

`--patience S` waits so long for each part to stop, `--echo S` takes further signals for an echo so long; with `--real`
the tiers are the product's.
"""

import argparse
import sys
from pathlib import Path

from experience.cli import services, stack
from experience.cli.console import Console
from experience.cli.services import Programs


def _stand_in(name: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "tests.support.standin", name)


def main() -> int:
    """As the command does."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--port", type=int, default=None)
    parser.add_argument("--patience", type=float, default=None)
    parser.add_argument("--echo", type=float, default=stack.ECHO_S)
    parser.add_argument("--real", action="store_true")
    asked = parser.parse_args()
    stack.ECHO_S = asked.echo
    if asked.patience is not None:
        for part in ("EXPERIENCE", "RUNTIME", "TRAEFIK", "POSTGRES"):
            setattr(services, f"{part}_PATIENCE_S", asked.patience)
    programs = Programs()
    if not asked.real:
        programs = Programs(experience=_stand_in("experience"), runtime=_stand_in("runtime"), demo=_stand_in("shop"))
    return stack.run_stack(stack.Wish(port=asked.port, data=asked.data, programs=programs), Console())


if __name__ == "__main__":
    sys.exit(main())
