"""Needles are found whatever is around them, and each place is a place of the text."""

import subprocess
import sys
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.needles import BEGINNING, Needles

MAX_MB: Final = 100
"""A fifth of it is taken; prepared for speed alone they would take twice as much."""
# what the library takes is none of Python's memory: the most that a process of its own ever held
MEASURE = """
import random, re
from pathlib import Path
from runtime.needles import Needles

def read_most():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

chance = random.Random(1)
needles = {bytes(chance.choices(range(33, 127), k=8_000)): number for number in range(48)}
before = read_most()
Needles(needles)
print((read_most() - before) // 1024)
"""
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


@given(st.lists(st.text("ab", min_size=8, max_size=12), min_size=1, max_size=6), st.text("abü?", max_size=40))
def test_a_beginning_is_found_where_a_plain_search_finds_it(needles: list[str], text: str) -> None:
    found = Needles({needle.encode(): needle for needle in needles}).find_beginning(text, 0, len(text))
    plain = [
        at for at in range(len(text) - BEGINNING + 1) if any(needle.startswith(text[at:]) for needle in set(needles))
    ]
    assert (found[0] if found else None) == (plain[0] if plain else None)


def test_few_long_needles_take_little_memory() -> None:
    took = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True, timeout=300)
    assert int(took.stdout) < MAX_MB
