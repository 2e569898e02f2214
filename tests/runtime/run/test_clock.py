"""The clock of an execution: runs add up, waits stand outside."""

from runtime.run.clock import Clock


class Hand:
    """A clock's hand that a test moves."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


def test_runs_add_up_and_waits_do_not() -> None:
    hand = Hand()
    clock = Clock(5, hand)
    hand.at += 2
    assert clock.spent_s == 7
    with clock.stand_still():
        hand.at += 50
        assert clock.spent_s == 7
        with clock.stand_still():
            hand.at += 50
        hand.at += 1
        assert clock.spent_s == 7
    hand.at += 3
    assert clock.spent_s == 10
