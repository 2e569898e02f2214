"""Where a Chromium is looked for, in which order, and what is said when there is none."""

from pathlib import Path

import pytest

from contracts.execution import FailureCode
from runtime.browser.failure import BrowserFailure
from runtime.browser.find import INSTALL, find_chromium


def make(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def nothing(_: str) -> str | None:
    return None


def test_the_setting_comes_first(tmp_path: Path) -> None:
    chosen, other = make(tmp_path / "mine"), make(tmp_path / "other")
    assert find_chromium(chosen, other, lambda _: str(other)) == chosen


@pytest.mark.parametrize("kind", ["missing", "folder", "not executable"])
def test_a_setting_that_points_nowhere_is_not_passed_over(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "mine"
    if kind == "folder":
        path.mkdir()
    elif kind == "not executable":
        make(path).chmod(0o644)
    with pytest.raises(BrowserFailure, match="STAGEDOOR_RUNTIME_BROWSER_PATH") as caught:
        find_chromium(path, make(tmp_path / "other"), nothing)
    assert caught.value.code is FailureCode.BROWSER_MISSING


def test_playwrights_own_shell_then_its_chromium_then_the_systems(tmp_path: Path) -> None:
    bundled = make(tmp_path / "chromium-1255" / "chrome-linux64" / "chrome")
    system = make(tmp_path / "bin" / "chromium")
    which = {"chromium": str(system)}.get
    assert find_chromium(None, bundled, which) == bundled
    shell = make(tmp_path / "chromium_headless_shell-1255" / "chrome-headless-shell-linux64" / "chrome-headless-shell")
    assert find_chromium(None, bundled, which) == shell
    assert find_chromium(None, tmp_path / "chromium-9" / "x" / "chrome", which) == system
    assert find_chromium(None, None, which) == system


def test_a_headless_shell_is_taken_before_a_whole_browser(tmp_path: Path) -> None:
    paths = {name: str(make(tmp_path / name)) for name in ("google-chrome", "chromium", "chromium-headless-shell")}
    assert find_chromium(None, None, paths.get).name == "chromium-headless-shell"


def test_without_any_the_one_command_is_named() -> None:
    with pytest.raises(BrowserFailure) as caught:
        find_chromium(None, None, nothing)
    assert caught.value.code is FailureCode.BROWSER_MISSING
    assert INSTALL in caught.value.hint


LAUNCHERS = {
    "debian": ("usr/bin/chromium", "usr/lib/chromium/chromium"),
    "debian's shell": ("usr/bin/chromium-headless-shell", "usr/lib/chromium/chromium-headless-shell"),
    "fedora": ("usr/lib64/chromium-browser/chromium-browser.sh", "usr/lib64/chromium-browser/chromium-browser"),
    "google": ("opt/google/chrome/google-chrome", "opt/google/chrome/chrome"),
}


@pytest.mark.parametrize("how", ["found", "set"])
@pytest.mark.parametrize("whose", LAUNCHERS)
def test_the_browser_is_taken_and_not_the_script_before_it(tmp_path: Path, whose: str, how: str) -> None:
    script, program = (tmp_path / name for name in LAUNCHERS[whose])
    make(script)
    make(program).write_bytes(b"\x7fELF")
    link = tmp_path / "bin" / "chromium"
    link.parent.mkdir()
    link.symlink_to(script)
    setting, which = (link, nothing) if how == "set" else (None, {"chromium": str(link)}.get)
    assert find_chromium(setting, None, which) == program


def test_a_script_of_ones_own_stays(tmp_path: Path) -> None:
    mine = make(tmp_path / "bin" / "chromium")
    make(tmp_path / "lib" / "chromium" / "chromium")  # a script too
    assert find_chromium(mine, None, nothing) == mine
