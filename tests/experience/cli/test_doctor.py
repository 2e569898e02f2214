"""Doctor says what is wrong and how to mend it."""

import io
import socket
import threading
from pathlib import Path

import pytest

from experience.cli import doctor
from experience.cli.console import Console
from experience.cli.failure import StackError
from experience.cli.postgres import SHARED, Account

pytestmark = pytest.mark.timeout(400)


def test_what_is_there_is_fine(tmp_path: Path) -> None:
    assert doctor.check_postgres().seen.startswith("postgres (PostgreSQL) 18")
    assert doctor.check_traefik().seen.startswith("Traefik 3.7")
    assert doctor.check_folder(tmp_path / "not" / "yet").verdict is doctor.Verdict.FINE
    assert "hrom" in doctor.check_chromium().seen
    assert doctor.check_clock().verdict is doctor.Verdict.FINE


def test_the_sandbox_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    found = doctor.check_sandbox()
    assert found.verdict is not doctor.Verdict.BROKEN
    assert found.seen.split()[0] in ("bwrap", "bwrap-noproc", "landlock", "no")
    monkeypatch.setenv("PATH", "/nowhere")
    found = doctor.check_sandbox()
    assert found.verdict is doctor.Verdict.ODD
    assert "bwrap is not installed" in found.seen
    assert "apt-get install bubblewrap" in found.mend


def test_the_browsers_jail_is_named() -> None:
    found = doctor.check_jail()
    assert found.verdict is not doctor.Verdict.BROKEN
    assert found.seen.startswith(("sandbox: chromium, jail: ", "sandbox: none, jail: "))
    assert bool(found.mend) == (found.verdict is doctor.Verdict.ODD)


def test_a_taken_port_is_odd_but_no_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(doctor, "DEFAULT_PORT", taken.getsockname()[1])
        assert doctor.check_port().verdict is doctor.Verdict.ODD


def test_checks_run_side_by_side_and_are_shown_in_their_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    together = threading.Barrier(3)

    def wait_for_the_others() -> doctor.Finding:
        together.wait(60)
        return doctor.Finding(doctor.Verdict.FINE, "seen")

    for slow in ("check_chromium", "check_jail", "check_sandbox"):
        monkeypatch.setattr(doctor, slow, wait_for_the_others)
    out = io.StringIO()
    doctor.examine(tmp_path, Console(out))
    shown = [line.split()[1] for line in out.getvalue().splitlines() if line.startswith(("  ✓", "  !", "  ✗"))]
    assert shown == [name for name, _ in doctor.list_checks(tmp_path)]
    assert shown[-3:] == ["Chromium", "browsers", "sandbox"]


@pytest.mark.parametrize("account", [None, Account(1, 1)])
def test_root_is_told_of_files_outside(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, account: Account | None
) -> None:
    monkeypatch.setattr(doctor, "find_account", lambda: account)
    told = [check().seen for name, check in doctor.list_checks(tmp_path) if name == "root"]
    assert [str(SHARED) in seen for seen in told] == ([True] if account else [])


def test_something_broken_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail() -> doctor.Finding:
        raise StackError("There is no Chromium", "Run: install it")

    monkeypatch.setattr(doctor, "check_chromium", fail)
    out = io.StringIO()
    assert doctor.examine(tmp_path, Console(out)) == 1
    said = out.getvalue()
    assert "✗ Chromium     There is no Chromium" in said
    assert "Run: install it" in said
    assert said.endswith("1 to mend.\n")


def test_a_program_that_fails_speaks_for_itself() -> None:
    with pytest.raises(StackError) as failure:
        doctor.ask(["/bin/sh", "-c", "echo no library >&2; echo install it >&2; exit 1"])
    assert (failure.value.problem, failure.value.way_out) == ("no library", "install it")


def test_a_browser_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAGEDOOR_RUNTIME_BROWSER_PATH", "/nowhere/chromium")
    with pytest.raises(StackError) as failure:
        doctor.check_chromium()
    assert "/nowhere/chromium" in failure.value.problem
    assert failure.value.way_out
