"""`up` as a person lives it: start, stop, crash, kill, a second time. Stand-in tiers, everything else real."""

import json
import os
import signal
import socket
import stat
import time
from pathlib import Path

import pytest

from experience.cli.stack import ECHO_S
from tests.experience.cli.conftest import StartStack
from tests.support.processes import find_marked, wait_until_gone

GONE_WITHIN_S = 60
"""Ten on a machine that never pauses: test_services.py adds up how long each part is waited for."""
READY = "Stagedoor is ready"

pytestmark = pytest.mark.timeout(400)


def test_everything_comes_up_behind_one_port_and_goes_with_ctrl_c(start_stack: StartStack) -> None:
    stack = start_stack(initialised=False)
    stack.read_until(READY)
    stack.read_until(f"http://localhost:{stack.port}")
    assert stack.ask("/ready") == 200
    names = " ".join(find_marked(stack.mark).values())
    for part in ("postgres", "traefik", "standin experience serve", "standin runtime all", "standin shop"):
        assert part in names
    assert stack.interrupt() < GONE_WITHIN_S
    assert stack.process.returncode == 0
    assert wait_until_gone(stack.mark, GONE_WITHIN_S) == {}
    assert "Stopped." in stack.read_rest()


def test_data_is_kept_over_a_restart(start_stack: StartStack) -> None:
    first = start_stack()
    first.read_until(READY)
    first.read_until("Sign in")
    kept = ["keys/internal.pem", "keys/internal.pub.pem", "keys/token.pem", "admin.json", "ports.json"]
    before = {name: (first.data / name).read_text() for name in kept}
    assert {name: stat.S_IMODE((first.data / name).stat().st_mode) for name in kept} == dict.fromkeys(kept, 0o600)
    for private in ("keys", "logs", "artifacts"):
        assert stat.S_IMODE((first.data / private).stat().st_mode) == 0o700
    system = (first.data / "postgres" / "global" / "pg_control").stat().st_ino
    first.interrupt(signal.SIGTERM)

    second = start_stack(data=first.data, port=first.port)
    second.read_until(READY)
    second.read_until("Sign in")
    assert {name: (second.data / name).read_text() for name in kept} == before
    assert (second.data / "postgres" / "global" / "pg_control").stat().st_ino == system
    password = json.loads(before["admin.json"])["password"]
    assert password in "".join(first.lines), "a password that was made up is shown"
    assert password not in "".join(second.lines), "and only once"


def test_nothing_is_orphaned_by_kill_9(start_stack: StartStack) -> None:
    stack = start_stack()
    stack.read_until(READY)
    stack.process.kill()
    stack.process.wait()
    assert wait_until_gone(stack.mark, GONE_WITHIN_S) == {}

    again = start_stack(data=stack.data)
    again.read_until(READY)


def test_a_start_that_is_interrupted_leaves_nothing(start_stack: StartStack) -> None:
    stack = start_stack(initialised=False)
    stack.read_until("Starting PostgreSQL")
    assert stack.interrupt() < GONE_WITHIN_S
    assert stack.process.returncode == 0
    again = start_stack(data=stack.data)
    again.read_until(READY)


def test_a_crash_shows_the_last_lines_and_ends_the_stack(start_stack: StartStack) -> None:
    stack = start_stack()
    stack.read_until(READY)
    stack.ask("/crash")
    stack.process.wait(GONE_WITHIN_S)
    said = stack.read_rest()
    assert stack.process.returncode == 1
    assert "experience ended with exit status 3. Its last lines:\n    experience serve\n    the last thing" in said
    assert f"All of it: {stack.data}/logs/experience.log" in said
    assert wait_until_gone(stack.mark, GONE_WITHIN_S) == {}


@pytest.mark.parametrize("part", ["postgres -D", "standin runtime"])
def test_the_end_of_any_part_ends_the_stack(start_stack: StartStack, part: str) -> None:
    stack = start_stack()
    stack.read_until(READY)
    os.kill(stack.find(part), signal.SIGKILL)
    stack.process.wait(GONE_WITHIN_S)
    assert stack.process.returncode == 1
    assert "ended with signal SIGKILL" in stack.read_rest()
    assert wait_until_gone(stack.mark, GONE_WITHIN_S) == {}


def test_what_ignores_the_signal_is_killed_in_time(start_stack: StartStack) -> None:
    stack = start_stack()
    stack.read_until(READY)
    assert stack.ask("/stubborn") == 200
    assert stack.interrupt() < GONE_WITHIN_S
    assert "experience does not stop; killing it" in stack.read_rest()


def test_an_impatient_person_ends_it_at_once(start_stack: StartStack) -> None:
    stack = start_stack(patience=80)
    stack.read_until(READY)
    stack.ask("/stubborn")
    stack.process.send_signal(signal.SIGINT)
    stack.read_until("Stopping")
    time.sleep(ECHO_S * 1.2)
    assert stack.interrupt() < 60


def test_the_echo_of_a_signal_is_no_impatience(start_stack: StartStack) -> None:
    """timeout(1) and `uv run` pass on what the terminal has sent already."""
    stack = start_stack(patience=80, echo=60)
    stack.read_until(READY)
    stack.process.send_signal(signal.SIGINT)
    stack.interrupt()
    assert "killing it" not in stack.read_rest()
    assert "database system is shut down" in (stack.data / "logs" / "postgres.log").read_text()


def test_a_port_that_is_taken_is_refused_with_its_holder(start_stack: StartStack, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        stack = start_stack(port=port, data=tmp_path / "new")
        stack.process.wait(GONE_WITHIN_S)
        said = stack.read_rest()
    assert stack.process.returncode == 1
    assert f"Port {port} is used by" in said
    assert f"(pid {os.getpid()})" in said
    assert "--port" in said
    assert not stack.data.exists()


def test_a_second_stack_on_the_same_data_is_refused(start_stack: StartStack) -> None:
    first = start_stack()
    first.read_until(READY)
    second = start_stack(data=first.data)
    second.process.wait(GONE_WITHIN_S)
    said = second.read_rest()
    assert second.process.returncode == 1
    assert f"Another stack (pid {first.process.pid}) is using {first.data}" in said
    assert first.ask("/ready") == 200


def test_a_reader_that_goes_away_ends_it(start_stack: StartStack) -> None:
    """`up | head`: nobody would know that it still runs."""
    stack = start_stack(through="head -n 3")
    said = stack.read_rest()
    assert stack.process.wait(GONE_WITHIN_S) == 0
    assert len(said.splitlines()) == 3, "no complaint about the pipe"
    assert wait_until_gone(stack.mark, GONE_WITHIN_S) == {}


def test_folder_of_somebody_else_is_refused_in_words(start_stack: StartStack) -> None:
    stack = start_stack(data=Path("/proc/stagedoor"))
    stack.process.wait(GONE_WITHIN_S)
    said = stack.read_rest()
    assert stack.process.returncode == 1
    assert "Traceback" not in said
    assert "--data" in said
