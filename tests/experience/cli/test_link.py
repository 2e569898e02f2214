"""A link to a stack that runs; what is said where none does. With a real one: test_first_start."""

import io
import socket
from pathlib import Path

import pytest

from experience.cli.console import Console
from experience.cli.data_dir import DataDir
from experience.cli.link import show_link
from experience.cli.stack import describe_link_command


def ask(folder: Path) -> tuple[int, str, str]:
    """Exit status, standard output, and the words beside it."""
    words, out = io.StringIO(), io.StringIO()
    status = show_link(folder, Console(words), out)
    return status, out.getvalue(), words.getvalue()


def make_folder(folder: Path) -> DataDir:
    data = DataDir(folder)
    data.make()
    data.ensure_admin({})
    return data


def test_where_nothing_ever_ran_one_is_told_how_to_start(tmp_path: Path) -> None:
    status, out, words = ask(tmp_path / "none")
    assert (status, out) == (1, "")
    assert f"No stack runs on {tmp_path}/none" in words
    assert "make run" in words
    assert "--data" in words
    assert not (tmp_path / "none").exists()


def test_a_stack_that_ended_is_none(tmp_path: Path) -> None:
    data = make_folder(tmp_path / "data")
    with data.lock():
        data.write_ports({"web": 1})
        assert data.is_in_use()
    assert not data.is_in_use()
    status, out, words = ask(data.root)
    assert (status, out) == (1, "")
    assert f"No stack runs on {data.root}" in words


@pytest.mark.parametrize("has_chosen", [False, True])
def test_a_stack_that_is_starting_is_waited_for_by_the_person(tmp_path: Path, *, has_chosen: bool) -> None:
    data = make_folder(tmp_path / "data")
    with data.lock(), socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # taken, so that nobody else answers there either
        data.write_ports({"web": silent.getsockname()[1]} if has_chosen else {})
        status, out, words = ask(data.root)
    assert (status, out) == (1, "")
    assert "Ask again when `up` says that it is" in words


def test_the_command_can_be_typed_where_up_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    usual, other = tmp_path / ".stagedoor", tmp_path / "two words"
    inside, outside = tmp_path / ".venv" / "bin" / "stagedoor", Path("/usr/bin/stagedoor")
    assert describe_link_command(usual, inside) == ".venv/bin/stagedoor link"
    assert describe_link_command(usual, Path(".venv/bin/stagedoor")) == ".venv/bin/stagedoor link"
    assert describe_link_command(usual, outside) == "stagedoor link"
    assert describe_link_command(usual, Path("experience/cli/__main__.py")) == "stagedoor link"
    assert describe_link_command(other, outside) == f"stagedoor link --data '{other}'"
