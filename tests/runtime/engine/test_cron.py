"""Cron expressions: five fields, days that exist, and five minutes between any two fires."""

from datetime import UTC, datetime, timedelta

import pytest
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.engine.cron import find_cron_fault, find_minimum_gap


@pytest.mark.parametrize(
    "expression",
    [
        "0 9 * * 1-5",
        "*/15 * * * *",
        "0 0 1 * *",
        "0 */2 * * *",
        "*/5 * * * *",
        " 0  9 * * mon ",
        "0 0 29 2 *",
        "0 0 L * *",
    ],
)
def test_usable_expressions(expression: str) -> None:
    assert find_cron_fault(expression) is None


@pytest.mark.parametrize(
    ("expression", "rule", "words"),
    [
        ("", "cron_invalid", "0 fields"),
        ("@daily", "cron_invalid", "1 fields"),
        ("0 0 9 * * *", "cron_invalid", "6 fields"),
        ("61 * * * *", "cron_invalid", "minute"),
        ("１ * * * *", "cron_invalid", "minute"),
        ("0 0 31 2 *", "cron_invalid", "day-of-month"),
        ("* * * * *", "cron_too_often", "within 1 min"),
        ("*/7 * * * *", "cron_too_often", "within 4 min"),
        ("0,58 * * * *", "cron_too_often", "within 2 min"),
        ("58,2 0,23 * * *", "cron_too_often", "within 4 min"),
        ("58,1 0,23 L,1 * *", "cron_too_often", "within 3 min"),
    ],
)
def test_unusable_expressions(expression: str, rule: str, words: str) -> None:
    found = find_cron_fault(expression)
    assert found is not None
    assert found[0] == rule
    assert words in found[1]


def test_days_that_never_follow_each_other_are_not_taken_for_neighbours() -> None:
    assert find_cron_fault("58,2 0,23 1 * *") is None


_minutes = st.lists(st.integers(0, 59), min_size=1, max_size=2, unique=True)
_hours = st.just("*") | st.lists(st.integers(0, 23), min_size=1, max_size=3, unique=True)
_days = st.just("*") | st.lists(st.integers(1, 28), min_size=1, max_size=3, unique=True)


@given(_minutes, _hours, _days)
@settings(max_examples=25, deadline=None)
def test_the_gap_is_that_of_all_fires_of_400_days(
    minutes: list[int], hours: list[int] | str, days: list[int] | str
) -> None:
    fields = [field if isinstance(field, str) else ",".join(map(str, field)) for field in (minutes, hours, days)]
    expression = f"{' '.join(fields)} * *"
    start = datetime(2025, 1, 1, tzinfo=UTC)
    gap, previous = timedelta(days=1), None
    for fire in CronSim(expression, start - timedelta(seconds=1)):
        if fire > start + timedelta(days=400):
            break
        gap = min(gap, fire - previous) if previous else gap
        previous = fire
    assert find_minimum_gap(expression) == gap
