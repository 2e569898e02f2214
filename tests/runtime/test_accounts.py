"""Accounts that root gives to what it starts."""

import os
from itertools import combinations

import pytest

from runtime.accounts import Kind, choose_account


def test_no_two_kinds_share_an_account() -> None:
    for one, other in combinations(Kind, 2):
        for (first, number), (second, count) in zip(one.value, other.value, strict=True):
            assert first + number <= second or second + count <= first


@pytest.mark.parametrize("kind", Kind)
def test_root_gives_one_that_nobody_has_and_others_none(kind: Kind) -> None:
    uid = choose_account(kind)
    if os.geteuid() != 0:
        assert uid is None
        return
    assert uid is not None
    assert any(first <= uid < first + number for first, number in kind.value)
