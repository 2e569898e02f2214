"""What the stack tests cannot aim at."""

import io
import signal
import sys
from pathlib import Path

import pytest

from experience.cli.console import Console
from experience.cli.failure import StackError
from experience.cli.supervisor import Service, StopRequested, Supervisor


def make_service(name: str, code: str, folder: Path, *, is_job: bool = False) -> Service:
    return Service(
        name=name, command=(sys.executable, "-c", code), environment={}, folder=folder, is_job=is_job, patience_s=30
    )


def test_a_stop_that_got_lost_on_its_way_is_not_forgotten(tmp_path: Path) -> None:
    supervisor = Supervisor(Console(io.StringIO()), tmp_path)
    supervisor.check()
    supervisor.stop_requested = True
    with pytest.raises(StopRequested):
        supervisor.check()
    supervisor.stop()


def test_jobs_end_and_services_go_on(tmp_path: Path) -> None:
    out = io.StringIO()
    supervisor = Supervisor(Console(out), tmp_path)
    service = supervisor.start(make_service("service", "import time; time.sleep(60)", tmp_path))
    supervisor.run_jobs([make_service(name, f"print('{name} done')", tmp_path, is_job=True) for name in "ab"], 30)
    supervisor.check()
    assert service.process.poll() is None
    supervisor.stop()
    assert service.process.poll() == -signal.SIGTERM
    assert (tmp_path / "a.log").read_text() == "a done\n"


@pytest.mark.parametrize(
    ("code", "expected"),
    [("print('no such table'); raise SystemExit(1)", "no such table"), ("import os; os.abort()", "SIGABRT")],
)
def test_a_job_that_fails_is_named_with_its_words(tmp_path: Path, code: str, expected: str) -> None:
    supervisor = Supervisor(Console(io.StringIO()), tmp_path)
    with pytest.raises(StackError) as failure:
        supervisor.run_jobs([make_service("migrate", code, tmp_path, is_job=True)], 30)
    supervisor.stop()
    assert failure.value.problem.startswith("migrate ended with")
    assert expected in failure.value.problem


def test_a_job_that_does_not_end_is_given_up(tmp_path: Path) -> None:
    supervisor = Supervisor(Console(io.StringIO()), tmp_path)
    with pytest.raises(StackError) as failure:
        supervisor.run_jobs([make_service("migrate", "import time; time.sleep(60)", tmp_path, is_job=True)], 0.3)
    supervisor.stop()
    assert "migrate did not end within" in failure.value.problem


def test_the_log_of_the_start_before_is_kept(tmp_path: Path) -> None:
    supervisor = Supervisor(Console(io.StringIO()), tmp_path)
    for word in ("first", "second"):
        supervisor.run_jobs([make_service("job", f"print('{word}')", tmp_path, is_job=True)], 30)
    supervisor.stop()
    assert ((tmp_path / "job.log").read_text(), (tmp_path / "job.log.1").read_text()) == ("second\n", "first\n")


def test_half_a_line_and_bytes_that_are_no_text_are_shown(tmp_path: Path) -> None:
    out = io.StringIO()
    supervisor = Supervisor(Console(out), tmp_path)
    code = r"import sys; sys.stdout.buffer.write(b'\xff no line end')"
    supervisor.run_jobs([make_service("job", code, tmp_path, is_job=True)], 30)
    supervisor.stop()
    assert "job        │ � no line end\n" in out.getvalue()
