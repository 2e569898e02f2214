"""Whether a cron expression is one, and how close two of its fires come (spec W2, W11)."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from cronsim import CronSim, CronSimError

MINIMUM_GAP = timedelta(minutes=5)
_FIELDS = 5
_DAY = timedelta(days=1)
_ORIGIN = datetime(2024, 1, 1, tzinfo=UTC)
_HORIZON = _ORIGIN + timedelta(days=365.25 * 28)
"""28 years: weekdays and leap years repeat after that, so it holds every neighbourhood of days, those of any 400 days
among them."""
_SHOWN = 80


def find_cron_fault(expression: str) -> tuple[str, str] | None:
    """The rule that an expression breaks and a sentence about it, or None when it may be used (in UTC)."""
    fields = expression.split()
    shown = expression if len(expression) <= _SHOWN else expression[:_SHOWN] + "…"
    if len(fields) != _FIELDS:
        return (
            "cron_invalid",
            f"“{shown}” has {len(fields)} fields; a schedule has five: minute hour day month weekday.",
        )
    try:
        CronSim(" ".join(fields), _ORIGIN)
    except CronSimError as error:
        return "cron_invalid", f"“{shown}” can't be read: {str(error).lower()}."
    if next(_days(fields), None) is None:
        return "cron_never_fires", f"“{shown}” names no day that exists."
    gap = find_minimum_gap(" ".join(fields))
    if gap < MINIMUM_GAP:
        minutes = int(gap / timedelta(minutes=1))
        return "cron_too_often", f"“{shown}” fires twice within {minutes} min; at least 5 min must lie between."
    return None


def find_minimum_gap(expression: str) -> timedelta:
    """The smallest distance between two fires of a valid five-field expression in UTC; a day where it is longer.

    The times of day are the same on each day that fires, so it is the smallest distance within one day, or that from
    the last fire of a day to the first of the next where two days in a row fire.
    """
    fields = expression.split()
    times = [fire - _ORIGIN for fire in _fires(f"{fields[0]} {fields[1]} * * *", _ORIGIN + _DAY)]
    within = min((later - earlier for earlier, later in pairwise(times)), default=_DAY)
    across = _DAY - times[-1] + times[0]
    if across < within and any(later - earlier == _DAY for earlier, later in pairwise(_days(fields))):
        return across
    return within


def _days(fields: list[str]) -> Iterator[datetime]:
    return _fires(f"0 0 {' '.join(fields[2:])}", _HORIZON)


def _fires(expression: str, until: datetime) -> Iterator[datetime]:
    # One tick earlier, because a simulation starts after the instant it is given.
    for fire in CronSim(expression, _ORIGIN - timedelta(seconds=1)):
        if fire >= until:
            return
        yield fire
