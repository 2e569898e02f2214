"""Needles are found whatever is around them, and each place is a place of the text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.needles import BEGINNING, Needles

NEEDLES = Needles({b"abcdefgh-1": 1, b"abcdefgh-1-and-more": 2, b"bcdefgh-1x": 3})


@pytest.mark.parametrize("around", ["", "plain ", "ü€😀", "\udc80\ud800", "\0"])
def test_a_needle_is_found_where_it_stands(around: str) -> None:
    text = f"{around}abcdefgh-1{around}"
    assert list(NEEDLES.find(text)) == [(len(around), len(around) + 10, 1)]


def test_of_those_that_overlap_the_first_and_longest_is_found() -> None:
    assert list(NEEDLES.find("abcdefgh-1-and-more")) == [(0, 19, 2)]
    assert list(NEEDLES.find("abcdefgh-1xabcdefgh-1-and-")) == [(0, 10, 1), (11, 21, 1)]


def test_what_is_no_ascii_is_no_part_of_one() -> None:
    assert list(Needles({b"what?what": 1}).find("what?what")) == [(0, 9, 1)]
    assert list(NEEDLES.find("äbcdefgh-1")) == []


def test_the_longest_beginning_is_found_at_a_cut() -> None:
    text = "see abcdefgh-1-an"
    assert NEEDLES.find_beginning(text, 0, len(text)) == (4, 2)
    assert NEEDLES.find_beginning(text, 5, len(text)) is None
    assert NEEDLES.find_beginning(text, 0, 4 + BEGINNING) == (4, 1)
    assert NEEDLES.find_beginning(text, 0, 3 + BEGINNING) is None


def test_none_find_nothing() -> None:
    none: Needles[int] = Needles({})
    assert list(none.find("anything")) == list(none.find_bytes(b"anything")) == []
    assert none.find_beginning("anything", 0, 8) is None


@given(st.lists(st.text("ab", min_size=8, max_size=12), min_size=1, max_size=6), st.text("abc", max_size=40))
def test_it_finds_what_a_plain_search_finds(needles: list[str], text: str) -> None:
    found = list(Needles({needle.encode(): needle for needle in needles}).find(text))
    assert all(text[start:end] == needle for start, end, needle in found)
    assert bool(found) == any(needle in text for needle in needles)
