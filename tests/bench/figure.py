"""A measured figure: what of ours, against what, what their ratio is, and what it has to be."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Bar:
    """What a figure has to reach."""

    limit: float
    at_least: bool = False
    absolute: bool = False
    """Of our own value, not of the ratio."""
    unit: str = ""

    def admits(self, value: float) -> bool:
        """Whether a value reaches it."""
        return value >= self.limit if self.at_least else value <= self.limit

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.limit:.3g}{' ' + self.unit if self.absolute else ''}"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One line of the table. Values are one per round; those of the same place were measured side by side."""

    bench: str
    what: str
    unit: str
    ours: Sequence[float]
    against: str
    peer: Sequence[float] = ()
    """Empty where there is nothing to stand beside."""
    bar: Bar | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Median over the rounds of ours ÷ peer: what the machine did to one round, it did to both."""
        ratios = [mine / other for mine, other in zip(self.ours, self.peer, strict=True) if other] if self.peer else []
        return median(ratios) if ratios else None

    @property
    def met(self) -> bool | None:
        """Whether the bar is reached; None where there is no bar, or nothing to hold to it."""
        if self.bar is None:
            return None
        value = median(self.ours) if self.bar.absolute else self.ratio
        return None if value is None or math.isnan(value) else self.bar.admits(value)

    def to_json(self) -> dict[str, Any]:
        """Everything, every round."""
        return {
            "bench": self.bench,
            "what": self.what,
            "unit": self.unit,
            "ours": [round(value, 4) for value in self.ours],
            "against": self.against,
            "peer": [round(value, 4) for value in self.peer],
            "ratio": None if self.ratio is None else round(self.ratio, 4),
            "bar": None if self.bar is None else str(self.bar),
            "met": self.met,
            "note": self.note,
        }


def show_values(values: Sequence[float], unit: str) -> str:
    """Median, with the range where there is one."""
    if not values:
        return "–"
    middle = f"{show_number(median(values))} {unit}".strip()
    low, high = show_number(min(values)), show_number(max(values))
    return middle if low == high else f"{middle} ({low}–{high})"


def show_number(value: float) -> str:
    """Three digits that count."""
    if value == 0 or math.isnan(value):
        return f"{value:g}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` (0 to 1) of them lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
