"""`python -m traefik`: write compose's configuration to deploy/traefik, or check that it is fresh."""

import argparse
import sys
from pathlib import Path

from traefik.files import find_stale, render_compose, replace_file

DEPLOYED = Path(__file__).parents[1] / "deploy" / "traefik"


def main() -> int:
    """Exit status 1 means that `--check` found a file that differs from traefik/routes.py."""
    parser = argparse.ArgumentParser(prog="python -m traefik", description=__doc__)
    parser.add_argument("--folder", type=Path, default=DEPLOYED, help="where the files go (default: deploy/traefik)")
    parser.add_argument("--check", action="store_true", help="change nothing, name the files that are not fresh")
    parser.add_argument("--print", action="store_true", dest="show", help="change nothing, print the files")
    asked = parser.parse_args()
    if asked.show:
        for name, text in render_compose().items():
            sys.stdout.write(f"--- {name}\n{text}")
        return 0
    stale = find_stale(asked.folder)
    if asked.check:
        for name in stale:
            sys.stderr.write(f"{asked.folder / name} is not what the routes say: run `python -m traefik`\n")
        return 1 if stale else 0
    for name, text in render_compose().items():
        replace_file(asked.folder / name, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
