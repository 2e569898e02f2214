"""Orphans: found by their records, ended only when they are what was recorded."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from runtime.browser.processes import LAUNCHER, MARK, RunFolder, end_browser, measure_memory, read_pid, reap_orphans

REMOVE = shutil.rmtree
SLEEPER = "import time; time.sleep(60)"


class Browsers:
    """Programs that stand in for browsers, each the leader of a group as Playwright makes them."""

    def __init__(self) -> None:
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, record: Path, *arguments: str) -> subprocess.Popen[bytes]:
        program = Path(sys.executable)
        child = subprocess.Popen(
            [str(LAUNCHER), "-c", SLEEPER, *arguments],
            env={"STAGEDOOR_BROWSER": str(program), "STAGEDOOR_BROWSER_RECORD": str(record), "PATH": os.defpath},
            start_new_session=True,
        )
        self.started.append(child)
        for _ in range(3_000):
            if read_pid(record) is not None and "time.sleep" in Path(f"/proc/{child.pid}/cmdline").read_text():
                return child
            time.sleep(0.02)
        raise AssertionError("it did not start")


@pytest.fixture
def browsers() -> Iterator[Browsers]:
    made = Browsers()
    yield made
    for child in made.started:
        child.kill()
        child.wait()


def leave(folder: RunFolder) -> None:
    """As a killed process leaves its folder: there, and no longer locked."""
    os.close(folder._lock)


def test_the_launcher_can_be_run_and_notes_the_browsers_own_id(tmp_path: Path, browsers: Browsers) -> None:
    assert os.access(LAUNCHER, os.X_OK)
    child = browsers.start(tmp_path / "a.pid")
    assert read_pid(tmp_path / "a.pid") == child.pid


def test_orphans_are_ended_and_their_profiles_removed(tmp_path: Path, browsers: Browsers) -> None:
    folder = RunFolder.claim(tmp_path, "gone")
    mark = uuid4().hex
    child = browsers.start(folder.record(mark), f"{MARK}{mark}")
    (folder.path / "playwright_chromiumdev_profile-x").mkdir()
    leave(folder)
    assert reap_orphans(tmp_path) == 1
    assert child.wait(60) == -9
    assert list((tmp_path / "browsers").iterdir()) == []


def test_a_folder_into_which_the_dying_still_write_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    late: list[Path] = []

    def remove(path: Path, *, ignore_errors: bool) -> None:
        REMOVE(path, ignore_errors=ignore_errors)
        if not late:
            late.append(path)
            path.mkdir()
            (path / "written late").touch()

    monkeypatch.setattr("runtime.browser.processes.shutil.rmtree", remove)
    leave(RunFolder.claim(tmp_path, "gone"))
    reap_orphans(tmp_path)
    assert late
    assert list((tmp_path / "browsers").iterdir()) == []


def test_browsers_of_a_living_runtime_are_left_alone(tmp_path: Path, browsers: Browsers) -> None:
    folder = RunFolder.claim(tmp_path, "alive")
    mark = uuid4().hex
    child = browsers.start(folder.record(mark), f"{MARK}{mark}")
    assert reap_orphans(tmp_path) == 0
    assert child.poll() is None
    assert folder.path.is_dir()
    folder.release()
    assert child.wait(60) == -9
    assert not folder.path.exists()


def test_a_process_that_got_the_id_of_a_browser_is_left_alone(tmp_path: Path, browsers: Browsers) -> None:
    folder = RunFolder.claim(tmp_path, "gone")
    record = folder.record(uuid4().hex)
    stranger = browsers.start(record, f"{MARK}another")
    leave(folder)
    assert reap_orphans(tmp_path) == 0
    assert stranger.poll() is None


@pytest.mark.parametrize("text", ["", "no number", "999999999"])
def test_a_record_that_names_nothing(tmp_path: Path, text: str) -> None:
    record = tmp_path / "x.pid"
    record.write_text(text)
    assert not end_browser(record)
    assert not record.exists()


def test_nothing_to_reap(tmp_path: Path) -> None:
    assert reap_orphans(tmp_path / "never made") == 0


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="memory is told by /proc only")
def test_memory_is_that_of_the_group(tmp_path: Path, browsers: Browsers) -> None:
    child = browsers.start(tmp_path / "a.pid")
    deadline = time.monotonic() + 60
    while measure_memory(child.pid) <= 1_000_000 and time.monotonic() < deadline:
        time.sleep(0.02)  # it has only just become Python, and has next to nothing in memory
    assert 1_000_000 < measure_memory(child.pid) < 100_000_000
    assert measure_memory(999_999_999) == 0
