"""The benches run: with tiny counts, and without a word on how long anything takes."""

import json
from pathlib import Path

import pytest

from tests.bench.benches import BENCHES
from tests.bench.figure import Bar, Figure
from tests.bench.ground import Ground
from tests.bench.machine import describe_machine
from tests.bench.report import unfold, write_documents
from tests.bench.rounds import Effort

TINY = Effort(0.01)
SMOKE_S = 300
"""Real servers have to start, on a machine that is busy with the other half of the tests."""


@pytest.fixture
async def figures() -> list[Figure]:
    async with Ground() as ground:
        return [figure for name in ("b11", "b7") for figure in await BENCHES[name](ground, TINY)]


@pytest.mark.timeout(SMOKE_S)
async def test_benches_measure_both_sides_and_are_written_down(figures: list[Figure], tmp_path: Path) -> None:
    assert [figure.bench for figure in figures] == ["B11", "B7"]
    for figure in figures:
        assert len(figure.ours) == len(figure.peer) == 1
        assert figure.ratio is not None
        assert figure.met is not None
    write_documents(figures, describe_machine(), {"B7": unfold(BENCHES["b7"].__doc__)}, "", tmp_path)
    data = json.loads((tmp_path / "benchmarks.json").read_text())
    assert [figure["bench"] for figure in data["figures"]] == ["B11", "B7"]
    page = (tmp_path / "BENCHMARKS.md").read_text()
    assert "| B11 | event append" in page
    assert "**B7.** Time from commit to client" in page


@pytest.mark.timeout(SMOKE_S)
@pytest.mark.parametrize("name", ["t2", "sandbox", "a7"])
async def test_benches_of_the_walls_hold_what_they_measure_to_a_bar(name: str) -> None:
    async with Ground() as ground:
        figures = await BENCHES[name](ground, TINY)
    assert figures
    assert all(figure.ours and (figure.met is not None or "cold" in figure.what) for figure in figures)


@pytest.mark.parametrize(
    ("bar", "expected"),
    [
        (Bar(limit=1.5), (False, "≤ 1.5")),
        (Bar(limit=2.5), (True, "≤ 2.5")),
        (Bar(limit=1.5, at_least=True), (True, "≥ 1.5")),
        (Bar(limit=5, absolute=True, unit="ms"), (True, "≤ 5 ms")),
        (Bar(limit=3, absolute=True, unit="ms"), (False, "≤ 3 ms")),
    ],
)
def test_a_bar_is_held_to_the_ratio_or_to_our_own_value(bar: Bar, expected: tuple[bool, str]) -> None:
    figure = Figure(bench="B", what="", unit="ms", ours=[4.0, 2.0, 9.0], against="", peer=[2.0, 2.0, 4.0], bar=bar)
    assert figure.ratio == 2.0  # of the rounds' ratios 2, 1 and 2.25
    assert (figure.met, str(bar)) == expected


def test_nothing_beside_it_is_no_ratio() -> None:
    figure = Figure(bench="B", what="", unit="s", ours=[4.0], against="nothing", bar=Bar(limit=5, absolute=True))
    assert (figure.ratio, figure.met) == (None, True)
    assert Figure(bench="B", what="", unit="s", ours=[4.0], against="nothing", bar=Bar(limit=5)).met is None
