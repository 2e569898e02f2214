"""Delays and defaults of attempts."""

import pytest

from runtime.engine.retry import default_attempts, delay_before


def test_delays_grow_as_the_specification_says() -> None:
    assert [delay_before(attempt, 0.0) for attempt in range(1, 6)] == [0, 2, 4, 8, 16]
    assert delay_before(9, 0.0) == 16


def test_jitter_only_adds() -> None:
    assert 16 < delay_before(5, 0.5) < 20
    assert delay_before(1, 0.9) == 0


@pytest.mark.parametrize(("attempt", "jitter"), [(0, 0.0), (1, 1.0), (1, -0.1)])
def test_nonsense_is_refused(attempt: int, jitter: float) -> None:
    with pytest.raises(ValueError, match=r"attempts|jitter"):
        delay_before(attempt, jitter)


def test_a_node_that_may_do_harm_twice_gets_one_attempt() -> None:
    assert (default_attempts(safe=True), default_attempts(safe=False)) == (5, 1)
