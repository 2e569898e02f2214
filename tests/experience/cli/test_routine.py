"""What a terminal is spared, and what it is not."""

import pytest

from experience.cli.routine import RoutineFilter

AT = "2026-11-21 06:49:05.476 UTC"


@pytest.mark.parametrize(
    "line",
    [
        "2026-11-21T07:09:09Z [info     ] request  path=/ready",
        "2026-11-21T07:09:09Z [debug    ] looked",
        "[info     ] The Prop Room is open at http://127.0.0.1:25351",
        "experience schema at 0003",
        f"{AT} LOG:  database system is ready to accept connections",
        f"{AT} LOG:  database system was not properly shut down; automatic recovery in progress",
        f"{AT} LOG:  could not receive data from client: Connection reset by peer",
        f"{AT} FATAL:  terminating connection due to administrator command",
        f"{AT} FATAL:  terminating autovacuum process due to administrator command",
        f"{AT} FATAL:  the database system is starting up",
        f"{AT} ERROR:  canceling autovacuum task",
    ],
)
def test_what_asks_nothing_is_routine(line: str) -> None:
    assert RoutineFilter().is_routine(line)


@pytest.mark.parametrize(
    "line",
    [
        "2026-11-21T07:09:09Z [warning  ] runtime is away",
        "2026-11-21T07:09:09Z [error    ] broken",
        "Traceback (most recent call last):",
        "WARNING:  Invalid HTTP request received.",
        f"{AT} WARNING:  database has a collation version mismatch",
        f"{AT} ERROR:  could not extend file: No space left on device",
        f"{AT} FATAL:  no",
        f"{AT} PANIC:  could not write to file",
        f"{AT} LOG:  client backend (PID 7) was terminated by signal 11: Segmentation fault",
        f"{AT} LOG:  could not fork new process for connection: Resource temporarily unavailable",
        f"{AT} FATAL:  terminating connection due to unexpected postmaster exit",
    ],
)
def test_what_went_wrong_is_not(line: str) -> None:
    assert not RoutineFilter().is_routine(line)


def test_what_postgres_adds_goes_with_its_line() -> None:
    added = (
        f"{AT} DETAIL:  of it",
        f"{AT} STATEMENT:  SELECT",
        "\tFROM it",
        f"{AT} HINT:  none",
        f"{AT} CONTEXT:  there",
    )
    for first, routine in ((f"{AT} ERROR:  canceling autovacuum task", True), (f"{AT} ERROR:  disk full", False)):
        lines = RoutineFilter()
        assert [lines.is_routine(line) for line in (first, *added)] == [routine] * (1 + len(added))


def test_a_traceback_after_a_routine_line_is_its_own() -> None:
    lines = RoutineFilter()
    assert lines.is_routine("2026-11-21T07:09:09Z [info     ] request")
    assert not lines.is_routine("Traceback (most recent call last):")
    assert not lines.is_routine('  File "x.py", line 1')
