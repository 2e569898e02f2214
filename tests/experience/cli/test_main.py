"""The command as a person types it."""

import subprocess
import sys
from importlib.metadata import version

import pytest


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "experience.cli", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


def test_version() -> None:
    assert run("version").stdout.strip() == version("stagedoor")


@pytest.mark.parametrize("arguments", [(), ("--help",)])
def test_help_lists_the_commands(arguments: tuple[str, ...]) -> None:
    said = run(*arguments).stdout
    for command in ("up", "link", "doctor", "version"):
        assert command in said


@pytest.mark.parametrize("arguments", [("up", "--port", "0"), ("up", "--port", "x"), ("up", "--colour"), ("upp",)])
def test_wrong_words_are_refused_with_status_2(arguments: tuple[str, ...]) -> None:
    refused = run(*arguments)
    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr


def test_help_costs_no_heavy_import() -> None:
    code = "import sys; import experience.cli.__main__; print([m for m in ('httpx', 'pydantic') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"
