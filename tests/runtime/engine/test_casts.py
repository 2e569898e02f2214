"""Which types connect, and what becomes of values."""

from typing import Any

import pytest

from contracts.workflow import DataType
from runtime.engine.casts import OPAQUE, apply_cast, choose_cast, may_connect

T = DataType


@pytest.mark.parametrize("source", DataType)
@pytest.mark.parametrize("target", DataType)
def test_types_connect_exactly_as_the_specification_says(source: DataType, target: DataType) -> None:
    allowed = (
        source is target
        or (source not in OPAQUE and target not in OPAQUE and (target in (T.JSON, T.ANY) or source is T.ANY))
        or (source, target) in {(T.NUMBER, T.STRING), (T.BOOLEAN, T.STRING), (T.HTML, T.STRING)}
    )
    assert may_connect(source, target) is allowed


@pytest.mark.parametrize(
    ("value", "text"),
    [(5, "5"), (5.0, "5"), (2.5, "2.5"), (True, "true"), (False, "false"), (1e300, "1e+300"), ("x", "x"), (None, None)],
)
def test_numbers_and_booleans_become_text(value: Any, text: str | None) -> None:
    assert apply_cast("text", value) == text


def test_only_numbers_and_booleans_are_converted() -> None:
    converted = {(source, target) for source in T for target in T if choose_cast(source, target)}
    assert converted == {(T.NUMBER, T.STRING), (T.BOOLEAN, T.STRING)}
    assert apply_cast(None, 5) == 5
