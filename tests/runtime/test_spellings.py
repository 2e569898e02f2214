"""Escapes are undone level by level, and each character knows where it stood."""

import html
import json
import re
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.spellings import View, find_unfinished, fold


def undo(text: str, levels: int = 1) -> str:
    view: View | None = View(text)
    for _ in range(levels):
        view = view.unfold() if view is not None else None
    return view.text if view is not None else ""


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("a%20b", "a b"),
        ("%C3%BC%41%ff%C3", "üA%ff%C3"),
        ("&lt;&AMP;&uuml;&#65;&#x42;&#0067;", "<&üABC"),
        (r"\"\/\\\n\t\u0041\U00fc\x41", '"/\\\n\tAüA'),
        (r"\ud83d\ude00!", "😀!"),
        (r"\xc3\xbc \xfc", "ü ü"),
        (r"\n\n\r", "\n\n\r"),
    ],
)
def test_escapes_are_undone(text: str, read: str) -> None:
    assert undo(text) == read


@pytest.mark.parametrize("text", ["plain", "100% & more; \\", "&nosuch; &#0; &#xd800; &#9999999;", "%zz\\q\\u12"])
def test_what_is_no_escape_stays(text: str) -> None:
    assert View(text).unfold() is None


def test_one_level_is_undone_at_a_time() -> None:
    text = json.dumps(json.dumps('"ü'))
    assert [undo(text, level) for level in (1, 2)] == [f'"{json.dumps(chr(34) + "ü")}"', '"""ü""']
    assert undo("%2525&amp;amp;", 2) == "%&"


@given(st.text(max_size=30), st.text(min_size=1, max_size=12), st.text(max_size=30), st.integers(1, 3))
def test_what_is_found_in_a_view_stands_where_it_says(before: str, value: str, after: str, levels: int) -> None:
    for write in (lambda part: quote(part, safe=""), html.escape, lambda part: json.dumps(part)[1:-1]):
        written = [before, value, after]
        for _ in range(levels):
            try:
                written = [write(part) for part in written]
            except UnicodeEncodeError:  # half a pair is nothing that can be percent-encoded
                return
        text = "".join(written)
        view: View | None = View(text)
        for _ in range(levels):
            view = view.unfold() if view is not None else None
            if view is None:
                break
            at = len(view.text) // 2
            for place in range(at, len(view.text)):
                start, end = view.locate(place, place + 1)
                assert 0 <= start < end <= len(text)
            assert view.locate(0, len(view.text)) == (0, len(text))


def test_what_is_far_from_escapes_is_left_out_and_the_rest_keeps_its_place() -> None:
    text = f"{'x' * 100}%41bcd{'y' * 100}e%46g{'z' * 100}"
    view = View(text).unfold(5)
    assert view is not None
    assert view.text.replace("\uffff", "|") == "xxxxx|xxxxxAbcdyy|yyyyeFgzzzz"
    for part, written in (("Abcd", "%41bcd"), ("eFg", "e%46g")):
        at = view.text.index(part)
        start, end = view.locate(at, at + len(part))
        assert text[start:end] == written


@pytest.mark.parametrize(
    ("text", "begins"),
    [("abc", 3), ("a%", 1), ("a%4", 1), ("a%C3", 1), ("a&", 1), ("a&#x", 1), ("a&am", 1), ("a\\", 1), ("a\\\\u00", 1)],
)
def test_an_escape_that_was_cut_off_is_seen(text: str, begins: int) -> None:
    assert find_unfinished(text + "…", len(text)) == begins


@given(st.text())
def test_folding_keeps_the_length(text: str) -> None:
    assert len(fold(text)) == len(text)
    assert fold("İΣς\xa0ſ") == "iσσ s"


SAID_PLAINLY = re.compile(r"(?<=[A-Za-z0-9+/_-]{16})\s{1,80}(?=[A-Za-z0-9+/_-])")
PIECES = st.sampled_from(["a" * 15, "b" * 16, "c" * 40, "d", "ü", ".", "-", "\r\n", " ", "\u2003", " " * 79, "\t" * 81])


@given(st.lists(PIECES, max_size=20).map("".join))
def test_lines_are_put_together_where_sixteen_digits_end_and_others_begin(text: str) -> None:
    together = View(text).unwrap()
    assert (together.text if together is not None else text) == SAID_PLAINLY.sub("", text)
