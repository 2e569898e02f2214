"""What a person sees, and what happens when nobody looks."""

import io

import pytest

from experience.cli.console import Console


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class BrokenPipe(io.StringIO):
    def flush(self) -> None:
        raise BrokenPipeError


def test_lines_carry_the_name_of_their_process() -> None:
    out = io.StringIO()
    console = Console(out)
    console.show_line("runtime", "hello")
    console.show_line("experience", "world")
    assert out.getvalue() == "runtime    │ hello\nexperience │ world\n"


def test_colours_are_for_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    seen = []
    for out, no_color in ((Terminal(), ""), (Terminal(), "1"), (io.StringIO(), "")):
        monkeypatch.setenv("NO_COLOR", no_color)
        Console(out).announce("**here**")
        seen.append(out.getvalue())
    assert seen == ["\033[1mhere\033[0m\n", "here\n", "here\n"]


def test_routine_can_be_hidden() -> None:
    out = io.StringIO()
    console = Console(out)
    console.hides_routine = True
    for line in (
        "2026-11-21T07:09:09Z [info     ] request  path=/ready",
        "2026-11-21 06:49:05.476 UTC LOG:  shutting down",
        "2026-11-21T07:09:09Z [warning  ] runtime is away",
        "2026-11-21 06:49:05.476 UTC FATAL:  no",
        "Traceback (most recent call last):",
    ):
        console.show_line("part", line)
    assert [line.split()[-1] for line in out.getvalue().splitlines()] == ["away", "no", "last):"]


def test_nobody_reading_is_noticed_once() -> None:
    console = Console(BrokenPipe())
    console.say("is anybody there?")
    assert console.closed
    console.complain("no")
